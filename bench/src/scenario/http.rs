//! A call over HTTP beside its floor: what the server's core spends on it, how much of that is the
//! kernel's, and how many a second that makes. Each trial of the node is followed by one of the
//! floor, on the same core and with the same client, so that the host does to one what it does to
//! the other; the ratio of a pair says more than either value.

use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

use super::http_cost;
use super::sustained_http::{CONNECTIONS, complaints, deadline_ns, open_at};
use super::{Scenario, ScenarioError};
use crate::load::conn::exchange;
use crate::load::floor::{FloorSpec, Mechanism};
use crate::load::remote::{self, FloorProcess};
use crate::load::schedule::Arrival;
use crate::load::spec::{Answers, LoadError, LoadResult, LoadSpec, Pace};
use crate::load::wire::{self, Endpoint, Wire};
use crate::node::{NodeProcess, NodeSpec};
use crate::plan::{Phase, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::{Check, Unit, show};
use crate::stats::bootstrap::median_interval;
use crate::stats::median;

/// Bytes that each call asks to echo.
const TEXT_BYTES: usize = 200;
/// Requests in flight on one connection where pipelining is measured.
const PIPELINE: usize = 16;
/// Connections of the crowded trial.
const CROWD: usize = 1024;
/// Share of its own maximum at which each server is asked in the open loop.
const SHARE: f64 = 0.5;
/// Health checks a second while the shard is flooded.
const PROBES_PER_S: f64 = 500.0;
/// How long the first answer may take.
const WITHIN: Duration = Duration::from_secs(5);
/// Confidence of the intervals of ratios.
const CONFIDENCE: f64 = 0.95;

pub(super) struct Http;

impl Scenario for Http {
    fn id(&self) -> &'static str {
        "http"
    }

    fn describe(&self) -> &'static str {
        "echo of 200 B over HTTP, in turn with a fixed-response floor: CPU per call, calls a second"
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
        progress.doing("http: 64 connections, in turn with the floor");
        let floor = Floor::start(plan, node.ready.address, Mechanism::Epoll)?;
        let maximum = closed(plan, recorder, &node, &floor)?;
        progress.doing("http: open loop at half of its own maximum");
        half(plan, recorder, &node, &floor, maximum)?;
        floor.finish(recorder)?;
        progress.doing("http: 1,024 connections, in turn with a raw ring");
        let ring = Floor::start(plan, node.ready.address, Mechanism::Ring)?;
        crowded(plan, recorder, &node, &ring)?;
        ring.finish(recorder)?;
        progress.doing("http: health checks while 64 connections flood the shard");
        control(plan, recorder, &node)?;
        progress.doing("http: instructions of a call");
        http_cost::instructions(plan, recorder, &node)?;
        let lost = node.finish()?.threads_lost;
        if lost > 0 {
            let lost = format!("the node lost {lost} shard threads");
            return Err(ScenarioError::Host(lost));
        }
        Ok(())
    }
}

/// A floor and what its clients were told of its work.
struct Floor {
    process: FloorProcess,
    name: &'static str,
    answered: std::cell::Cell<u64>,
}

impl Floor {
    /// A floor that answers with the very bytes of the node's own answer.
    fn start(plan: &Plan, node: SocketAddr, by: Mechanism) -> Result<Self, ScenarioError> {
        let answer = own_answer(node)?;
        let process = remote::floor(plan, &FloorSpec { by, answer })?;
        Ok(Self {
            process,
            name: match by {
                Mechanism::Epoll => "http.floor",
                Mechanism::Ring => "http.raw_ring",
            },
            answered: std::cell::Cell::new(0),
        })
    }

    fn load(&self, plan: &Plan, spec: &LoadSpec) -> Result<LoadResult, ScenarioError> {
        let spec = LoadSpec {
            target: self.process.address,
            wire: Wire::Modern,
            answers: Answers::Prepared,
            server_pid: Some(self.process.pid()),
            ..spec.clone()
        };
        let result = remote::run(plan, &spec)?;
        self.answered.set(self.answered.get() + result.correct);
        Ok(result)
    }

    /// Ends it: it must have answered at least what its clients counted.
    fn finish(self, recorder: &mut Recorder) -> Result<(), ScenarioError> {
        let counted = self.process.finish()?.requests as f64;
        let told = self.answered.get() as f64;
        let what = format!("requests that {} counted itself", self.name);
        recorder.check(Check::at_least(&what, self.name, told, counted));
        Ok(())
    }
}

/// The whole answer of the node to one call, head and body.
fn own_answer(target: SocketAddr) -> Result<String, ScenarioError> {
    let to = Endpoint {
        target,
        path: "/mcp".into(),
    };
    let mut stream = TcpStream::connect_timeout(&target, WITHIN)
        .map_err(LoadError::io("connect to the node"))?;
    stream
        .set_read_timeout(Some(WITHIN))
        .map_err(LoadError::io("set a read timeout"))?;
    let text = wire::padding(Wire::Modern, bytes_of(Wire::Modern));
    let template = wire::call(Wire::Modern, &to, &text, None);
    let (bytes, reply) = exchange(&mut stream, &to, &template)?;
    Ok(String::from_utf8_lossy(&bytes[..reply.end]).into_owned())
}

/// Length of the message of a call.
pub(super) fn bytes_of(wire: Wire) -> usize {
    wire::message_bytes(wire, TEXT_BYTES)
}

/// An order for a closed loop on `node`.
fn order(plan: &Plan, node: &NodeProcess, wire: Wire, seconds: f64) -> LoadSpec {
    LoadSpec {
        target: node.ready.address,
        wire,
        path: "/mcp".into(),
        message_bytes: bytes_of(wire),
        answers: Answers::Own,
        connections: CONNECTIONS,
        pipeline: 1,
        pace: Pace::Closed,
        warmup_seconds: 0.2,
        seconds,
        drain_seconds: 2.0,
        deadline_ns: deadline_ns(plan),
        cpu: plan.cpus.client.last().copied(),
        spin: !plan.cpus.shared,
        server_pid: Some(node.pid()),
    }
}

/// What the trials of one kind of call found, one value a trial.
#[derive(Default)]
struct Trials {
    per_s: Vec<f64>,
    cpu_us: Vec<f64>,
    user_us: Vec<f64>,
    system_us: Vec<f64>,
    calls: u64,
}

impl Trials {
    fn add(&mut self, result: &LoadResult) {
        self.per_s.push(result.achieved_per_s);
        self.calls += result.correct;
        let done = result.achieved_per_s * result.seconds;
        let Some(ticks) = result.server_cpu.filter(|_| done > 0.0) else {
            return;
        };
        let whole_us = match result.server_run_ns {
            Some(ns) => ns as f64 / 1e3,
            None => ticks.total_us() as f64,
        };
        if whole_us == 0.0 {
            return;
        }
        self.cpu_us.push(whole_us / done);
        // Ticks say how the whole divides; without one there is nothing to divide by.
        if ticks.total_us() > 0 {
            let user_us = whole_us * ticks.user_us as f64 / ticks.total_us() as f64;
            self.user_us.push(user_us / done);
            self.system_us.push((whole_us - user_us) / done);
        }
    }

    fn record(&self, recorder: &mut Recorder, rate_id: &str, prefix: &str) {
        recorder.samples(rate_id, &self.per_s, Unit::PerSecond, self.calls);
        let costs = [
            ("cpu_us_per_call", &self.cpu_us),
            ("cpu_user_us_per_call", &self.user_us),
            ("cpu_system_us_per_call", &self.system_us),
        ];
        for (name, values) in costs.iter().filter(|(_, values)| !values.is_empty()) {
            recorder.samples(&format!("{prefix}.{name}"), values, Unit::Us, self.calls);
        }
    }
}

/// The ratio of each pair, with the interval of their median.
fn ratio(plan: &Plan, recorder: &mut Recorder, id: &str, ours: &[f64], floor: &[f64]) {
    let pairs: Vec<f64> = ours.iter().zip(floor).map(|(own, low)| own / low).collect();
    if pairs.is_empty() {
        return;
    }
    recorder.samples(id, &pairs, Unit::Ratio, pairs.len() as u64);
    if let Some(interval) = median_interval(&pairs, CONFIDENCE, plan.seed) {
        recorder.note(format!(
            "{id}: {} (95 % interval {} to {}, {} pairs)",
            show(interval.mid),
            show(interval.low),
            show(interval.high),
            pairs.len()
        ));
    }
}

/// What a core can do, at most.
struct Maximum {
    node_per_s: f64,
    floor_per_s: f64,
}

/// Both eras in turn with the floor, then pipelined.
fn closed(
    plan: &Plan,
    recorder: &mut Recorder,
    node: &NodeProcess,
    floor: &Floor,
) -> Result<Maximum, ScenarioError> {
    let seconds = plan.seconds_or(0.5, 2.0);
    let modern_order = order(plan, node, Wire::Modern, seconds);
    let legacy_order = order(plan, node, Wire::Legacy, seconds);
    let piped_order = LoadSpec {
        pipeline: PIPELINE,
        ..modern_order.clone()
    };
    let kinds = [
        ("http", &modern_order),
        ("http.legacy", &legacy_order),
        ("http.pipelined", &piped_order),
    ];
    let mut ours: [Trials; 3] = Default::default();
    let mut lowest = Trials::default();
    for _ in 0..plan.rounds(3, 5) {
        for (trials, (name, order)) in ours.iter_mut().zip(kinds) {
            let result = remote::run(plan, order)?;
            complaints(recorder, name, &result);
            trials.add(&result);
        }
        lowest.add(&floor.load(plan, &modern_order)?);
    }
    let [modern, legacy, piped] = &ours;
    modern.record(recorder, "http.calls_per_s", "http");
    legacy.record(recorder, "http.legacy.calls_per_s", "http.legacy");
    piped.record(recorder, "http.pipelined_calls_per_s", "http.pipelined");
    lowest.record(recorder, "http.floor.calls_per_s", "http.floor");
    ratio(
        plan,
        recorder,
        "http.over_floor",
        &modern.cpu_us,
        &lowest.cpu_us,
    );
    ratio(
        plan,
        recorder,
        "http.legacy.over_floor",
        &legacy.cpu_us,
        &lowest.cpu_us,
    );
    Ok(Maximum {
        node_per_s: median(&modern.per_s),
        floor_per_s: median(&lowest.per_s),
    })
}

/// Node and floor, each asked for half of what it can do.
fn half(
    plan: &Plan,
    recorder: &mut Recorder,
    node: &NodeProcess,
    floor: &Floor,
    maximum: Maximum,
) -> Result<(), ScenarioError> {
    let seconds = plan.seconds_or(0.7, 5.0);
    let at = |rate: f64| LoadSpec {
        pace: open_at(plan, rate * SHARE),
        pipeline: PIPELINE,
        ..order(plan, node, Wire::Modern, seconds)
    };
    let spec = at(maximum.node_per_s);
    let result = remote::run(plan, &spec)?;
    recorder.open_loop("http.half", &result, spec.deadline_ns)?;
    complaints(recorder, "http.half", &result);
    let result = floor.load(plan, &at(maximum.floor_per_s))?;
    recorder.open_loop("http.floor.half", &result, spec.deadline_ns)?;
    complaints(recorder, "http.floor.half", &result);
    Ok(())
}

/// A thousand connections, in turn with a server that is nothing but a ring.
fn crowded(
    plan: &Plan,
    recorder: &mut Recorder,
    node: &NodeProcess,
    ring: &Floor,
) -> Result<(), ScenarioError> {
    let order = LoadSpec {
        connections: CROWD,
        ..order(plan, node, Wire::Modern, plan.seconds_or(0.5, 2.0))
    };
    let (mut ours, mut raw) = (Trials::default(), Trials::default());
    for _ in 0..plan.rounds(3, 5) {
        let result = remote::run(plan, &order)?;
        complaints(recorder, "http.c1024", &result);
        ours.add(&result);
        raw.add(&ring.load(plan, &order)?);
    }
    ours.record(recorder, "http.c1024.calls_per_s", "http.c1024");
    raw.record(recorder, "http.raw_ring.calls_per_s", "http.raw_ring");
    let id = "http.c1024.over_raw_ring";
    ratio(plan, recorder, id, &ours.per_s, &raw.per_s);
    let id = "http.c1024.cpu_over_raw_ring";
    ratio(plan, recorder, id, &ours.cpu_us, &raw.cpu_us);
    Ok(())
}

/// GET /health on the control plane's core while 64 connections keep the shard busy.
fn control(plan: &Plan, recorder: &mut Recorder, node: &NodeProcess) -> Result<(), ScenarioError> {
    let seconds = plan.seconds_or(1.0, 10.0);
    let client = plan.cpus.client.last().copied();
    let shares = node.ready.control_shared || client == Some(node.ready.control_cpu as usize);
    let flood = LoadSpec {
        // Where control plane and client share a core, both get their turns.
        spin: !shares && plan.cpus.client.len() > 1,
        ..order(plan, node, Wire::Modern, seconds + 1.0)
    };
    let probe = LoadSpec {
        target: node.ready.admin,
        wire: Wire::Get,
        path: "/health".into(),
        connections: 1,
        pipeline: PIPELINE,
        pace: Pace::Open {
            rate: PROBES_PER_S,
            arrival: Arrival::Poisson,
            seed: plan.seed,
        },
        warmup_seconds: 0.5,
        seconds,
        spin: false,
        cpu: plan.cpus.client.first().copied(),
        ..flood.clone()
    };
    let flooding = remote::start(plan, &flood)?;
    let probed = remote::run(plan, &probe)?;
    let flooded = flooding.finish()?;
    complaints(recorder, "http.control: the flood", &flooded);
    recorder.open_loop("http.control", &probed, probe.deadline_ns)?;
    let (rate, n) = (flooded.achieved_per_s, flooded.correct);
    recorder.metric("http.control.flood_per_s", rate, Unit::PerSecond, n);
    if shares {
        recorder.note(format!(
            "http.control: control plane (CPU {}), flood and prober share a core: a health check \
             waits for the client's turns, too",
            node.ready.control_cpu
        ));
    }
    Ok(())
}
