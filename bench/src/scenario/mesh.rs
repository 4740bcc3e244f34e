//! Messages between two shards, each on a CPU of its own where there are two.

use ninefold_runtime::Address;

use super::mailbox::{Sink, ask, record_streams, sink, tell};
use super::{Scenario, ScenarioError};
use crate::inproc;
use crate::plan::{Phase, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::Unit;

pub(super) struct Mesh;

impl Scenario for Mesh {
    fn id(&self) -> &'static str {
        "mesh"
    }

    fn describe(&self) -> &'static str {
        "two shards: a stream of casts from one to the other, and calls one by one"
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Quick, Phase::Baseline, Phase::Full]
    }

    fn run(
        &self,
        plan: &Plan,
        recorder: &mut Recorder,
        progress: &Progress,
    ) -> Result<(), ScenarioError> {
        let runtime = inproc::start(plan, 2)?;
        let handle = runtime.handle();
        if runtime.plan().oversubscribed {
            recorder.note("mesh: both shards share one CPU, so a hop costs a context switch");
        }
        let far: Address<Sink> = inproc::run_on(&handle, 0, || async { sink() })?;

        progress.doing("mesh: tell");
        let rounds = plan.rounds(5, 15);
        let told = plan.rounds(1_000_000, 4_000_000) as u64;
        let streams = inproc::run_on(&handle, 1, move || async move {
            tell(far, told / 4).await?;
            let mut streams = Vec::with_capacity(rounds);
            for _ in 0..rounds {
                streams.push(tell(far, told).await?);
            }
            Ok(streams)
        })?;
        record_streams(recorder, "mesh.tell", &streams, told);

        progress.doing("mesh: round trips");
        let asked = plan.rounds(200_000, 1_000_000) as u64;
        let asks = inproc::run_on(&handle, 1, move || async move {
            ask(far, asked / 10).await?;
            ask(far, asked).await
        })?;
        recorder.latency("mesh.rtt", &asks, Unit::Ns);
        Ok(())
    }
}
