//! Twice what a node can do: what still gets through, what is refused, and how it is afterwards.

use super::sustained_http::{deadline_ns, open_at, order};
use super::{Scenario, ScenarioError};
use crate::load::remote;
use crate::load::spec::{LoadSpec, Pace};
use crate::measure::hist::Latency;
use crate::node::{NodeProcess, NodeSpec};
use crate::plan::{Phase, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::Unit;

/// Offered load as a multiple of the capacity measured just before.
const FACTOR: f64 = 2.0;
/// Requests in flight on a connection, at most: what the node buffers of one; the rest of the
/// overload waits in the client.
const PIPELINE: usize = 64;
/// Load of the recovery check, as a share of capacity.
const AFTER: f64 = 0.5;

pub(super) struct Overload;

impl Scenario for Overload {
    fn id(&self) -> &'static str {
        "overload"
    }

    fn describe(&self) -> &'static str {
        "tools/call at twice the measured capacity: goodput, refusals, and latency afterwards"
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Overload, Phase::Full]
    }

    fn run(
        &self,
        plan: &Plan,
        recorder: &mut Recorder,
        progress: &Progress,
    ) -> Result<(), ScenarioError> {
        let node = NodeProcess::start(plan, &NodeSpec::one_shard(plan))?;
        let seconds = plan.seconds_or(2.0, 10.0);
        progress.doing("overload: capacity");
        let capacity = remote::run(plan, &order(plan, &node, Pace::Closed, seconds))?;
        let rate = capacity.achieved_per_s;
        recorder.metric(
            "overload.capacity_per_s",
            rate,
            Unit::PerSecond,
            capacity.correct,
        );

        progress.doing("overload: twice that");
        let spec = LoadSpec {
            pipeline: PIPELINE,
            ..order(plan, &node, open_at(plan, FACTOR * rate), seconds)
        };
        let flood = remote::run(plan, &spec)?;
        let n = flood.offered;
        let mut rated = |name: &str, value| {
            recorder.metric(&format!("overload.{name}"), value, Unit::PerSecond, n);
        };
        rated("offered_per_s", n as f64 / flood.seconds);
        rated("achieved_per_s", flood.achieved_per_s);
        rated(
            "goodput_per_s",
            n.saturating_sub(flood.misses) as f64 / flood.seconds,
        );
        let share = |count: u64| count as f64 / n.max(1) as f64;
        let shares = [
            ("shed_share", flood.shed),
            ("failed_share", flood.failed),
            ("late_share", flood.late),
            ("unanswered_share", flood.unanswered + flood.unsent),
        ];
        for (name, count) in shares {
            recorder.metric(&format!("overload.{name}"), share(count), Unit::Ratio, n);
        }

        progress.doing("overload: afterwards");
        let after = remote::run(
            plan,
            &order(plan, &node, open_at(plan, AFTER * rate), seconds),
        )?;
        let latency = Latency::from_dump(&after.latency)?;
        recorder.latency("overload.after", &latency, Unit::Us);
        recorder.note(format!(
            "overload: goodput counts answers within {} ms of their intended start; capacity is \
             that of one request at a time on each connection, the overload is pipelined",
            deadline_ns(plan) / 1_000_000
        ));
        node.finish()?;
        Ok(())
    }
}
