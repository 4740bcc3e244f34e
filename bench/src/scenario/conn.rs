//! What connections cost that do nothing: their memory, setting them up, and what is left of them
//! when they have gone.

use std::time::Duration;

use ninefold_tuning::facts::process;

use super::sustained_http::order;
use super::{Scenario, ScenarioError};
use crate::load::idle::Greeting;
use crate::load::remote::{self, Crowd};
use crate::load::spec::Pace;
use crate::measure::clock;
use crate::node::{NodeProcess, NodeSpec};
use crate::plan::{Phase, Plan};
use crate::process::raise_descriptor_limit;
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::Unit;

/// Connections in the quick phase.
const CONNECTIONS_QUICK: u64 = 10_000;
/// Connections wanted otherwise.
const CONNECTIONS: u64 = 50_000;
/// Sessions that are set up.
const SESSIONS: u64 = 10_000;
/// Connections that come and go in one round.
const CHURN: u64 = 5_000;
/// Descriptors of a node that are not connections.
pub(super) const DESCRIPTORS_SPARE: u64 = 128;
/// Time for the node to come to rest after the last request, and to publish its levels.
pub(super) const SETTLE: Duration = Duration::from_millis(700);
/// How long connections that were closed may take to be gone from the node.
const GONE_WITHIN: Duration = Duration::from_secs(20);

pub(super) struct Conn;

impl Scenario for Conn {
    fn id(&self) -> &'static str {
        "conn"
    }

    fn describe(&self) -> &'static str {
        "idle connections: bytes of each after a call, silent, with a stream; sessions, churn"
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Quick, Phase::Full]
    }

    fn run(
        &self,
        plan: &Plan,
        recorder: &mut Recorder,
        progress: &Progress,
    ) -> Result<(), ScenarioError> {
        let wanted = if plan.phase == Phase::Quick {
            CONNECTIONS_QUICK
        } else {
            CONNECTIONS
        };
        // A child inherits the limit, and the node takes one descriptor a connection.
        let limit = raise_descriptor_limit();
        let allowed = |wanted: u64| wanted.min(limit.saturating_sub(DESCRIPTORS_SPARE));
        let count = allowed(wanted);
        if count < wanted {
            recorder.note(format!(
                "conn: wanted {wanted} connections, the descriptor limit of {limit} \
                 (RLIMIT_NOFILE, hard) allows {count}; lift it with `ulimit -Hn` or LimitNOFILE="
            ));
        }
        let mut addresses_used = 0;
        let mut next = |connections, greeting| {
            let crowd = Crowd {
                connections,
                greeting,
                addresses_used,
            };
            addresses_used += crowd.addresses();
            crowd
        };
        progress.doing(format!("conn: {count} connections after one call"));
        spoke(plan, recorder, next(count, Greeting::Call))?;
        progress.doing(format!("conn: {count} connections that say nothing"));
        silent(plan, recorder, next(count, Greeting::Silent))?;
        let sessions = allowed(SESSIONS);
        progress.doing(format!("conn: {sessions} sessions, each with its stream"));
        streams(plan, recorder, next(sessions, Greeting::Stream))?;
        progress.doing("conn: connections that come and go");
        let rounds = plan.rounds(3, 6);
        let crowds: Vec<_> = (0..rounds)
            .map(|_| next(allowed(CHURN), Greeting::Call))
            .collect();
        churn(plan, recorder, &crowds)
    }
}

/// What a crowd of connections cost.
struct Weighed {
    open: u64,
    failed: u64,
    seconds: f64,
    first_error: Option<String>,
    rss_before: Option<u64>,
    rss: Option<u64>,
    /// Stalls reported by the first weighing, and by the second.
    stalls: (f64, f64),
    /// Bytes that the pool of arenas gained, and arenas in use now.
    arena_bytes: f64,
    arenas_in_use: f64,
}

impl Weighed {
    fn bytes_each(&self) -> Option<f64> {
        let grown = self.rss?.saturating_sub(self.rss_before?);
        (self.open > 0).then(|| grown as f64 / self.open as f64)
    }

    fn record_each(&self, recorder: &mut Recorder, id: &str) {
        if let Some(each) = self.bytes_each() {
            recorder.metric(id, each, Unit::Bytes, self.open);
        }
        mention_stalls(recorder, id, self.stalls.0, self.stalls.1);
        if self.failed > 0 {
            let why = self.first_error.as_deref().unwrap_or("no reason given");
            recorder.note(format!(
                "{id}: {} connections failed, first: {why}",
                self.failed
            ));
        }
    }
}

/// Opens `crowd` to a fresh node and weighs that before and after.
fn weigh(plan: &Plan, crowd: Crowd) -> Result<Weighed, ScenarioError> {
    let node = start(plan, crowd.connections)?;
    let stalls_before = stalls(&node)?;
    let rss_before = process::rss_bytes(node.pid());
    let pooled = || node.scrape("ninefold_arena_pooled_bytes");
    let pooled_before = pooled()?;
    let clients = remote::hold_many(plan, node.ready.address, crowd, |_| ())?;
    clock::sleep(SETTLE);
    let ready = || clients.iter().map(|held| &held.ready);
    let weighed = Weighed {
        open: ready().map(|held| held.open).sum(),
        failed: ready().map(|held| held.failed).sum(),
        seconds: ready().map(|held| held.seconds).sum(),
        first_error: ready().find_map(|held| held.first_error.clone()),
        rss_before,
        stalls: (stalls_before, stalls(&node)?),
        rss: process::rss_bytes(node.pid()),
        arena_bytes: (pooled()? - pooled_before).max(0.0),
        arenas_in_use: node.scrape("ninefold_arenas_in_use")?,
    };
    drop(clients);
    node.finish()?;
    if weighed.open == 0 {
        let why = weighed.first_error.as_deref().unwrap_or("no reason given");
        let none = format!(
            "wanted {} connections, found none: {why}",
            crowd.connections
        );
        return Err(ScenarioError::Host(none));
    }
    Ok(weighed)
}

/// A node with room for `connections`, after a warm-up: every buffer that belongs to the shard and
/// not to a connection is in use before the first weighing.
fn start(plan: &Plan, connections: u64) -> Result<NodeProcess, ScenarioError> {
    let spec = NodeSpec {
        connections: usize::try_from(connections + DESCRIPTORS_SPARE).ok(),
        ..NodeSpec::one_shard(plan)
    };
    let node = NodeProcess::start(plan, &spec)?;
    remote::run(plan, &order(plan, &node, Pace::Closed, 0.5))?;
    clock::sleep(SETTLE);
    Ok(node)
}

/// Connections that have made a call.
fn spoke(plan: &Plan, recorder: &mut Recorder, crowd: Crowd) -> Result<(), ScenarioError> {
    let found = weigh(plan, crowd)?;
    let n = found.open;
    recorder.metric("conn.count", n as f64, Unit::Count, n);
    found.record_each(recorder, "conn.idle.user_bytes");
    if let Some(rss) = found.rss {
        recorder.metric("conn.idle.rss_bytes", rss as f64, Unit::Bytes, n);
    }
    if found.arenas_in_use == 0.0 {
        let each = found.arena_bytes / n as f64;
        recorder.metric("conn.idle.arena_bytes", each, Unit::Bytes, n);
    } else {
        recorder.note(format!(
            "conn.idle.arena_bytes: not measured, {} arenas were in use at rest",
            found.arenas_in_use
        ));
    }
    let rate = n as f64 / found.seconds;
    recorder.metric("conn.open.per_s", rate, Unit::PerSecond, n);
    Ok(())
}

/// Connections that say nothing.
fn silent(plan: &Plan, recorder: &mut Recorder, crowd: Crowd) -> Result<(), ScenarioError> {
    let found = weigh(plan, crowd)?;
    recorder.note(format!(
        "conn: of {} connections that said nothing the node kept {} open",
        crowd.connections, found.open
    ));
    found.record_each(recorder, "conn.silent.user_bytes");
    Ok(())
}

/// Legacy sessions with their GET streams: what each costs, and how fast they are set up.
fn streams(plan: &Plan, recorder: &mut Recorder, crowd: Crowd) -> Result<(), ScenarioError> {
    let found = weigh(plan, crowd)?;
    found.record_each(recorder, "conn.stream.user_bytes");
    let rate = found.open as f64 / found.seconds;
    recorder.metric("conn.sessions_per_s", rate, Unit::PerSecond, found.open);
    Ok(())
}

/// Crowds that come and go on one node: what it has grown by since the first one.
fn churn(plan: &Plan, recorder: &mut Recorder, crowds: &[Crowd]) -> Result<(), ScenarioError> {
    let Some(first) = crowds.first() else {
        return Ok(());
    };
    let node = start(plan, first.connections)?;
    let (mut weights, mut come) = (Vec::new(), 0);
    let stalls_before = stalls(&node)?;
    for &crowd in crowds {
        for clients in remote::hold_many(plan, node.ready.address, crowd, |_| ())? {
            come += clients.release()?.open;
        }
        gone(&node)?;
        clock::sleep(SETTLE);
        weights.extend(process::rss_bytes(node.pid()).map(|rss| rss as f64));
    }
    if let [first, .., last] = weights[..] {
        let grown = (last - first).max(0.0);
        let id = "conn.churn.growth_bytes";
        recorder.metric(id, grown, Unit::Bytes, come);
        mention_stalls(recorder, id, stalls_before, stalls(&node)?);
    }
    node.finish()?;
    Ok(())
}

/// Stalls that the node has reported so far.
pub(super) fn stalls(node: &NodeProcess) -> Result<f64, ScenarioError> {
    Ok(node.scrape("ninefold_stalls_reported_total")?)
}

/// Says so when stalls were reported between two weighings: the first report of a process reads the
/// debug information of its binary, which is in its memory from then on, and in the figure.
pub(super) fn mention_stalls(recorder: &mut Recorder, id: &str, before: f64, after: f64) {
    let reported = after - before;
    if reported > 0.0 {
        recorder.note(format!(
            "{id}: {reported} stalls were reported meanwhile (a disturbed host): the symbols that \
             the first report reads, some 70 MB once, may be in the figure"
        ));
    }
}

/// Waits until the node has no connection left but the one that asks.
pub(super) fn gone(node: &NodeProcess) -> Result<(), ScenarioError> {
    let give_up = clock::now_ns() + clock::ns(GONE_WITHIN.as_secs_f64());
    loop {
        let open = node.scrape("ninefold_connections_open")?;
        if open == 0.0 {
            return Ok(());
        }
        if clock::now_ns() >= give_up {
            let left = format!(
                "wanted every connection gone within {GONE_WITHIN:?} of its end, found {open} open"
            );
            return Err(ScenarioError::Host(left));
        }
        clock::sleep(Duration::from_millis(50));
    }
}
