//! tools/call over loopback HTTP against a node in a process of its own, one shard, one core.

use super::{Scenario, ScenarioError};
use crate::load::remote;
use crate::load::schedule::Arrival;
use crate::load::spec::{Answers, LoadResult, LoadSpec, Pace};
use crate::load::wire::Wire;
use crate::node::{NodeProcess, NodeSpec};
use crate::plan::{Phase, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::Unit;

/// Connections of every load on a node.
pub(super) const CONNECTIONS: usize = 64;
/// Bytes of one JSON-RPC message.
const MESSAGE_BYTES: usize = 1024;
/// Requests in flight on one connection where pipelining is measured.
const PIPELINE: usize = 16;
/// Deadline of a call where no claim sets one, in ns.
const DEADLINE_NS: u64 = 50_000_000;
/// Sessions of the node that is asked for nothing else: more than it can open in the time.
const SESSIONS_MAX: usize = 1_000_000;
/// Messages per second of the quick phase: well below what one core does.
const RATE_QUICK: f64 = 20_000.0;

pub(super) struct SustainedHttp;

impl Scenario for SustainedHttp {
    fn id(&self) -> &'static str {
        "sustained_http"
    }

    fn describe(&self) -> &'static str {
        "tools/call of 1 KiB over loopback, open loop at the rated load; sessions opened"
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
        let node = NodeProcess::start(plan, &NodeSpec::one_shard(plan))?;
        progress.doing("sustained_http: sessions");
        sessions(plan, recorder)?;
        progress.doing("sustained_http: open loop");
        open(plan, recorder, &node)?;
        let report = node.finish()?;
        if report.threads_lost > 0 {
            let lost = format!("the node lost {} shard threads", report.threads_lost);
            return Err(ScenarioError::Host(lost));
        }
        Ok(())
    }
}

/// An order for a load on `node`.
pub(super) fn order(plan: &Plan, node: &NodeProcess, pace: Pace, seconds: f64) -> LoadSpec {
    LoadSpec {
        target: node.ready.address,
        wire: Wire::Modern,
        path: "/mcp".into(),
        message_bytes: MESSAGE_BYTES,
        answers: Answers::Own,
        connections: CONNECTIONS,
        pipeline: 1,
        pace,
        warmup_seconds: 0.5,
        seconds,
        drain_seconds: 2.0,
        deadline_ns: deadline_ns(plan),
        cpu: plan.cpus.client.last().copied(),
        spin: !plan.cpus.shared,
        server_pid: Some(node.pid()),
    }
}

/// The deadline of a call over HTTP, in ns.
pub(super) fn deadline_ns(plan: &Plan) -> u64 {
    plan.deadline_ns("sustained.http").unwrap_or(DEADLINE_NS)
}

/// The rated load of this run; the quick phase takes a fifth, so that any core can carry it.
pub(super) fn rated(plan: &Plan) -> f64 {
    match (plan.rate, plan.phase) {
        (None, Phase::Quick) => RATE_QUICK,
        _ => plan.rate(),
    }
}

/// An open loop at `rate`.
pub(super) fn open_at(plan: &Plan, rate: f64) -> Pace {
    Pace::Open {
        rate,
        arrival: Arrival::Constant,
        seed: plan.seed,
    }
}

fn open(plan: &Plan, recorder: &mut Recorder, node: &NodeProcess) -> Result<(), ScenarioError> {
    let rate = rated(plan);
    recorder.note(format!(
        "sustained.http: {rate:.0} messages/s of {MESSAGE_BYTES} bytes over {CONNECTIONS} \
         connections to one shard on one core"
    ));
    let seconds = plan.seconds_or(4.0, 30.0);
    let spec = LoadSpec {
        // Arrivals that find every connection taken wait in the client, from their intended start.
        pipeline: PIPELINE,
        ..order(plan, node, open_at(plan, rate), seconds)
    };
    let result = remote::run(plan, &spec)?;
    recorder.open_loop("sustained.http", &result, spec.deadline_ns)?;
    complaints(recorder, "sustained.http", &result);
    Ok(())
}

/// Sessions opened over HTTP, each an actor, on a node that has room for all of them.
fn sessions(plan: &Plan, recorder: &mut Recorder) -> Result<(), ScenarioError> {
    let spec = NodeSpec {
        connections: Some(SESSIONS_MAX),
        ..NodeSpec::one_shard(plan)
    };
    let node = NodeProcess::start(plan, &spec)?;
    let spec = LoadSpec {
        wire: Wire::Initialize,
        ..order(plan, &node, Pace::Closed, plan.seconds_or(1.0, 2.0))
    };
    let result = remote::run(plan, &spec)?;
    complaints(recorder, "session.open", &result);
    let rate = result.achieved_per_s;
    recorder.metric("session.open.per_s", rate, Unit::PerSecond, result.correct);
    node.finish()?;
    Ok(())
}

/// What a load did not get, for the reader.
pub(super) fn complaints(recorder: &mut Recorder, id: &str, result: &LoadResult) {
    let LoadResult {
        shed,
        failed,
        unanswered,
        unsent,
        late,
        ..
    } = result;
    if shed + failed + unanswered + unsent + late > 0 {
        recorder.note(format!(
            "{id}: of {} requests {shed} shed, {failed} failed, {unanswered} unanswered, {unsent} \
             unsent, {late} late; {}",
            result.offered,
            result.errors.join("; ")
        ));
    }
}
