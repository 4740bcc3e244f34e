//! Connections that do nothing: how many a node holds and what each costs it.

use ninefold_tuning::facts::process;

use super::sustained_http::order;
use super::{Scenario, ScenarioError};
use crate::load::idle::IdleRequest;
use crate::load::remote;
use crate::load::spec::Pace;
use crate::load::wire::Wire;
use crate::measure::clock;
use crate::node::{NodeProcess, NodeSpec};
use crate::plan::{Phase, Plan};
use crate::process::raise_descriptor_limit;
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::Unit;
use std::time::Duration;

/// Connections in the quick phase.
const CONNECTIONS_QUICK: u64 = 10_000;
/// Connections wanted otherwise.
const CONNECTIONS: u64 = 50_000;
/// Descriptors of a node that are not connections.
const DESCRIPTORS_SPARE: u64 = 128;
/// Time for the node to come to rest after the last request, and to publish its levels.
const SETTLE: Duration = Duration::from_millis(700);

/// Loopback hosts that the two crowds connect from.
const SPOKE_FROM: u8 = 2;
const SILENT_FROM: u8 = 102;

pub(super) struct Idle;

impl Scenario for Idle {
    fn id(&self) -> &'static str {
        "idle"
    }

    fn describe(&self) -> &'static str {
        "idle connections, each after one request: how many, RSS and arena bytes of each"
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
        let count = wanted.min(limit.saturating_sub(DESCRIPTORS_SPARE));
        if count < wanted {
            recorder.note(format!(
                "idle: wanted {wanted} connections, the descriptor limit of {limit} allows {count}"
            ));
        }
        progress.doing(format!("idle: {count} connections after one request"));
        let request = IdleRequest {
            wire: Wire::Modern,
            path: "/mcp".into(),
        };
        let spoke = hold(plan, count, Some(&request), SPOKE_FROM)?;
        spoke.record(recorder);
        progress.doing(format!("idle: {count} connections that say nothing"));
        let silent = hold(plan, count, None, SILENT_FROM)?;
        recorder.note(format!(
            "idle: of {count} connections that said nothing the node kept {} open",
            silent.open
        ));
        if let Some(each) = silent.bytes_each() {
            recorder.metric("conn.silent.user_bytes", each, Unit::Bytes, silent.open);
        }
        Ok(())
    }
}

/// What a crowd of connections cost.
struct Crowd {
    open: u64,
    rss_before: Option<u64>,
    rss: Option<u64>,
    /// Bytes that the pool of arenas gained, and arenas in use now.
    arena_bytes: f64,
    arenas_in_use: f64,
    failed: u64,
    first_error: Option<String>,
}

impl Crowd {
    fn bytes_each(&self) -> Option<f64> {
        let grown = self.rss?.saturating_sub(self.rss_before?);
        (self.open > 0).then(|| grown as f64 / self.open as f64)
    }

    fn record(&self, recorder: &mut Recorder) {
        let n = self.open;
        recorder.metric("conn.count", n as f64, Unit::Count, n);
        if let Some(each) = self.bytes_each() {
            recorder.metric("conn.idle.user_bytes", each, Unit::Bytes, n);
        }
        if let Some(rss) = self.rss {
            recorder.metric("conn.idle.rss_bytes", rss as f64, Unit::Bytes, n);
        }
        if self.arenas_in_use == 0.0 {
            let each = self.arena_bytes / n.max(1) as f64;
            recorder.metric("conn.idle.arena_bytes", each, Unit::Bytes, n);
        } else {
            recorder.note(format!(
                "conn.idle.arena_bytes: not measured, {} arenas were in use at rest",
                self.arenas_in_use
            ));
        }
        if self.failed > 0 {
            let why = self.first_error.as_deref().unwrap_or("no reason given");
            recorder.note(format!(
                "idle: {} connections failed, first: {why}",
                self.failed
            ));
        }
    }
}

/// Opens `count` connections to a fresh node and weighs it before and after.
fn hold(
    plan: &Plan,
    count: u64,
    request: Option<&IdleRequest>,
    first_host: u8,
) -> Result<Crowd, ScenarioError> {
    let spec = NodeSpec {
        connections: usize::try_from(count + DESCRIPTORS_SPARE).ok(),
        ..NodeSpec::one_shard(plan)
    };
    let node = NodeProcess::start(plan, &spec)?;
    // Every buffer that belongs to the shard and not to a connection is in use before the first
    // weighing.
    remote::run(plan, &order(plan, &node, Pace::Closed, 0.5))?;
    clock::sleep(SETTLE);
    let rss = || process::rss_bytes(node.pid());
    let rss_before = rss();
    let pooled = || node.scrape("ninefold_arena_pooled_bytes");
    let pooled_before = pooled()?;
    let clients = remote::hold_many(plan, node.ready.address, count, request, first_host)?;
    clock::sleep(SETTLE);
    let crowd = Crowd {
        open: clients.iter().map(|held| held.ready.open).sum(),
        rss_before,
        rss: rss(),
        arena_bytes: (pooled()? - pooled_before).max(0.0),
        arenas_in_use: node.scrape("ninefold_arenas_in_use")?,
        failed: clients.iter().map(|held| held.ready.failed).sum(),
        first_error: clients
            .iter()
            .find_map(|held| held.ready.first_error.clone()),
    };
    drop(clients);
    node.finish()?;
    Ok(crowd)
}
