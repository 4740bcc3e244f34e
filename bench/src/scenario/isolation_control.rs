//! What still answers while the one shard of a node is flooded: the control plane over TCP.

use std::time::Duration;

use super::{Scenario, ScenarioError};
use crate::load::schedule::Arrival;
use crate::load::spec::{Answers, LoadSpec, Pace};
use crate::load::wire::Wire;
use crate::load::{flood, remote};
use crate::measure::clock;
use crate::node::{NodeProcess, NodeSpec};
use crate::plan::{Phase, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::Unit;

/// Probes per second: what the peers were measured with.
const RATE: f64 = 2_000.0;
/// Deadline of a health check, in ns.
const DEADLINE_NS: u64 = 50_000_000;
/// Time for the flood to settle before probing.
const SETTLE: Duration = Duration::from_millis(300);

pub(super) struct IsolationControl;

impl Scenario for IsolationControl {
    fn id(&self) -> &'static str {
        "isolation_control"
    }

    fn describe(&self) -> &'static str {
        "a node whose one shard is flooded: GET /health over TCP, 2,000 a second, open loop"
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Quick, Phase::Overload, Phase::Full]
    }

    fn run(
        &self,
        plan: &Plan,
        recorder: &mut Recorder,
        progress: &Progress,
    ) -> Result<(), ScenarioError> {
        let seconds = plan.seconds_or(6.0, 20.0);
        recorder.note(format!("isolation: the flood is {}", flood::DESCRIPTION));
        progress.doing("isolation: control plane");
        control(plan, recorder, seconds)
    }
}

/// GET /health of a node whose one shard is flooded, while nobody else asks it anything.
fn control(plan: &Plan, recorder: &mut Recorder, seconds: f64) -> Result<(), ScenarioError> {
    let spec = NodeSpec {
        flood: true,
        ..NodeSpec::one_shard(plan)
    };
    let node = NodeProcess::start(plan, &spec)?;
    let client = plan.cpus.client.last().copied();
    let control = node.ready.control_cpu as usize;
    if node.ready.control_shared {
        recorder.note("isolation.control: one CPU for shard, control plane and prober");
    } else if Some(control) == client {
        recorder.note(format!(
            "isolation.control: control plane and prober share CPU {control}, the shard has its own"
        ));
    }
    let turns = || node.scrape("ninefold_messages_total");
    let (handled, start) = (turns()?, clock::now_ns());
    let spec = LoadSpec {
        target: node.ready.admin,
        wire: Wire::Get,
        path: "/health".into(),
        message_bytes: 0,
        answers: Answers::Own,
        connections: 4,
        pipeline: 1,
        pace: Pace::Open {
            rate: RATE,
            arrival: Arrival::Poisson,
            seed: plan.seed,
        },
        warmup_seconds: SETTLE.as_secs_f64(),
        seconds,
        drain_seconds: 2.0,
        deadline_ns: DEADLINE_NS,
        cpu: client,
        spin: Some(control) != client && !plan.cpus.shared,
        server_pid: Some(node.pid()),
    };
    let result = remote::run(plan, &spec)?;
    recorder.open_loop("isolation.control", &result, DEADLINE_NS)?;
    let handled = turns()? - handled;
    let flood_seconds = (clock::now_ns() - start) as f64 / 1e9;
    recorder.metric(
        "isolation.flood.per_s",
        handled / flood_seconds,
        Unit::PerSecond,
        result.offered,
    );
    node.finish()?;
    Ok(())
}
