//! Pauses of a node under its rated load, beside those of the host.

use super::sustained_http::{open_at, order, rated};
use super::{Scenario, ScenarioError};
use crate::load::remote;
use crate::load::spec::LoadSpec;
use crate::load::wire::Wire;
use crate::node::{NodeProcess, NodeSpec};
use crate::plan::{Phase, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::Unit;

/// Messages per second of this load, at most.
const HALF_LOAD: f64 = 30_000.0;

pub(super) struct Pauses;

impl Scenario for Pauses {
    fn id(&self) -> &'static str {
        "pauses"
    }

    fn describe(&self) -> &'static str {
        "a node under load, by its own account: longest turn, queue delay, sleeps"
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
        progress.doing("pauses");
        // What one core carries with room to spare: at its limit every delay is a queue.
        let rate = rated(plan).min(HALF_LOAD);
        let node = NodeProcess::start(plan, &NodeSpec::one_shard(plan))?;
        let seconds = plan.seconds_or(3.0, 15.0);
        let spec = LoadSpec {
            // Each request asks its session's actor, so that queue delays are seen at all.
            wire: Wire::Legacy,
            ..order(plan, &node, open_at(plan, rate), seconds)
        };
        let result = remote::run(plan, &spec)?;
        let report = node.finish()?;
        let us = |ns: u64| ns as f64 / 1e3;
        let mut put = |name: &str, value, unit, n| {
            recorder.metric(&format!("pauses.{name}"), value, unit, n);
        };
        put(
            "turn.max_us",
            us(report.turn_max_ns),
            Unit::Us,
            report.turns,
        );
        if let Some(mean_ns) = report.turn_mean_ns {
            put("turn.mean_us", mean_ns / 1e3, Unit::Us, report.turns);
        }
        if let Some(p99_ns) = report.arena_reset_p99_ns {
            let (max, n) = (report.arena_reset_max_ns, report.arena_resets);
            put("arena_reset.p99_us", us(p99_ns), Unit::Us, n);
            put("arena_reset.max_us", us(max), Unit::Us, n);
        }
        let stalls = report.turns_over_budget as f64;
        put("turn.stalls", stalls, Unit::Count, report.turns);
        for (name, ns) in &report.delay_ns {
            let n = report.delays;
            put(&format!("queue_delay.{name}_us"), us(*ns), Unit::Us, n);
        }
        put("parks", report.parks as f64, Unit::Count, report.turns);
        let host_max_ns = recorder.hiccups.iter().map(|seen| seen.max_ns).max();
        let host = host_max_ns.map_or("was not probed".to_owned(), |ns| {
            format!(
                "took up to {:.0} us from a loop that only read the clock",
                us(ns)
            )
        });
        recorder.note(format!(
            "pauses: since the start of a node at {rate:.0} messages/s of the legacy era ({} \
             answered), longest queue delay {:.0} us of {}; the host {host}",
            result.correct,
            us(report.delay_max_ns),
            report.delays
        ));
        Ok(())
    }
}
