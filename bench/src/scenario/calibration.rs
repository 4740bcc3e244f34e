//! The instruments before the instrumented: what the clock costs, what the generator can do
//! against a target that does nothing, and what the host takes away from everybody.

use ninefold_tuning::Facts;

use super::{Scenario, ScenarioError};
use crate::load::remote;
use crate::load::schedule::Arrival;
use crate::load::spec::{Answers, LoadSpec, Pace};
use crate::load::wire::Wire;
use crate::measure::clock;
use crate::measure::hiccup::Hiccups;
use crate::plan::{Phase, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::{Check, Unit};

/// Share of the planned arrivals that the null-target run must complete.
const KEPT_MIN: f64 = 0.999;
/// Deadline of the null-target runs, in ns.
const DEADLINE_NS: u64 = 50_000_000;
/// Connections of the null-target runs.
const CONNECTIONS: usize = 64;

pub(super) struct Calibration;

impl Scenario for Calibration {
    fn id(&self) -> &'static str {
        "calibration"
    }

    fn describe(&self) -> &'static str {
        "clock cost, host hiccups on every CPU in use, and the generator against a null target"
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Quick, Phase::Baseline, Phase::Overload, Phase::Full]
    }

    fn run(
        &self,
        plan: &Plan,
        recorder: &mut Recorder,
        progress: &Progress,
    ) -> Result<(), ScenarioError> {
        progress.doing("clock");
        let clock = clock::calibrate();
        recorder.metric(
            "calibration.clock.cost_ns",
            clock.cost_ns,
            Unit::Ns,
            clock.reads,
        );
        let resolution_ns = clock.resolution_ns as f64;
        recorder.metric(
            "calibration.clock.resolution_ns",
            resolution_ns,
            Unit::Ns,
            clock.reads,
        );
        progress.doing("host hiccups");
        hiccups(plan, recorder)?;
        progress.doing("generator against the null target");
        generator(plan, recorder)
    }
}

/// Probes every CPU of the plan at once, while nothing else of ours runs.
fn hiccups(plan: &Plan, recorder: &mut Recorder) -> Result<(), ScenarioError> {
    let seconds = plan.seconds_or(1.0, 5.0);
    let mut cpus = [plan.cpus.server.as_slice(), plan.cpus.client.as_slice()].concat();
    cpus.sort_unstable();
    cpus.dedup();
    let waited_us = || Facts::capture().pressure.cpu_some_total_us;
    let before = waited_us();
    let seen = remote::probe_hiccups(plan, &cpus, seconds)?;
    if let (Some(before), Some(after)) = (before, waited_us()) {
        let share = after.saturating_sub(before) as f64 / (seconds * 1e6);
        recorder.quiet_pressure_share = Some(share);
    }
    let reads = seen.iter().map(|h| h.reads).sum();
    let worst = |of: fn(&Hiccups) -> f64| seen.iter().map(of).fold(0.0, f64::max);
    let max_us = worst(|h| h.max_ns as f64 / 1e3);
    recorder.metric("host.hiccup.max_us", max_us, Unit::Us, reads);
    recorder.metric(
        "host.hiccup.lost_share",
        worst(|h| h.lost_share),
        Unit::Ratio,
        reads,
    );
    let over_1_ms = seen.iter().map(|h| h.over_1_ms).sum::<u64>() as f64;
    recorder.metric("host.hiccup.over_1_ms", over_1_ms, Unit::Count, reads);
    recorder.hiccups = seen;
    Ok(())
}

/// The ceiling of the generator in closed loop, and whether it keeps the rated schedule.
fn generator(plan: &Plan, recorder: &mut Recorder) -> Result<(), ScenarioError> {
    let target = remote::null_target(plan)?;
    let spec = |pace, seconds| LoadSpec {
        target: target.address,
        wire: Wire::Modern,
        path: "/mcp".into(),
        message_bytes: 1024,
        answers: Answers::Own,
        connections: CONNECTIONS,
        pipeline: 1,
        pace,
        warmup_seconds: 0.2,
        seconds,
        drain_seconds: 2.0,
        deadline_ns: DEADLINE_NS,
        cpu: plan.cpus.client.last().copied(),
        spin: !plan.cpus.shared,
        server_pid: Some(target.pid()),
    };
    let rounds = plan.rounds(3, 5);
    let mut ceilings = Vec::new();
    let mut calls = 0;
    for _ in 0..rounds {
        let result = remote::run(plan, &spec(Pace::Closed, plan.seconds_or(0.5, 1.0)))?;
        ceilings.push(result.achieved_per_s);
        calls += result.correct;
    }
    recorder.samples(
        "calibration.generator.ceiling_per_s",
        &ceilings,
        Unit::PerSecond,
        calls,
    );
    let pace = Pace::Open {
        rate: plan.rate(),
        arrival: Arrival::Constant,
        seed: plan.seed,
    };
    let result = remote::run(plan, &spec(pace, plan.seconds_or(1.0, 5.0)))?;
    let kept = result.correct as f64 / result.offered.max(1) as f64;
    let id = "calibration.generator";
    recorder.metric(
        &format!("{id}.kept_share"),
        kept,
        Unit::Ratio,
        result.offered,
    );
    recorder.metric(
        &format!("{id}.busy_share"),
        result.busy_share,
        Unit::Ratio,
        result.offered,
    );
    let what = "generator keeps the schedule against the null target";
    recorder.check(Check::at_least(what, "sustained.http", KEPT_MIN, kept));
    recorder
        .open_loop("calibration.null", &result, DEADLINE_NS)
        .map_err(|e| ScenarioError::Host(e.to_string()))
}
