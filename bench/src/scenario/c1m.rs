//! A million connections, or what the host allows: one node, client processes on loopback addresses
//! of their own, calls over connections chosen at random, and what is left when all have gone.

use ninefold_tuning::Facts;
use ninefold_tuning::facts::{memory, net, process};

use super::conn::{DESCRIPTORS_SPARE, SETTLE, gone, mention_stalls, stalls};
use super::{Scenario, ScenarioError, sustained_http};
use crate::load::idle::Greeting;
use crate::load::remote::{self, Crowd, IdleClients};
use crate::load::rolling::{self, RollingSpec};
use crate::measure::clock;
use crate::node::{NodeProcess, NodeSpec};
use crate::plan::{Phase, Plan};
use crate::process::raise_descriptor_limit;
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::{Unit, show};

/// Connections unless `--connections` says otherwise.
const CONNECTIONS: u64 = 1_000_000;
/// Calls a second over all of them.
const RATE: f64 = 10_000.0;
/// Memory of one connection with both its ends, in bytes: some 6 KiB in the kernel, less than one
/// in the node, next to nothing in the client.
const BYTES_EACH: u64 = 8 * 1024;
/// Open files of the rest of the host.
const FILES_SPARE: u64 = 10_000;

pub(super) struct Million;

impl Scenario for Million {
    fn id(&self) -> &'static str {
        "c1m"
    }

    fn describe(&self) -> &'static str {
        "up to 1,000,000 connections (--connections): memory, 10,000 calls/s over random ones"
    }

    fn phases(&self) -> &'static [Phase] {
        &[]
    }

    fn run(
        &self,
        plan: &Plan,
        recorder: &mut Recorder,
        progress: &Progress,
    ) -> Result<(), ScenarioError> {
        let count = allowed(plan, recorder, progress);
        let node = NodeProcess::start(plan, &NodeSpec::every_cpu(plan, count + DESCRIPTORS_SPARE))?;
        // Buffers of the shards fill before the first weighing.
        let warm_up = crate::load::spec::Pace::Closed;
        remote::run(plan, &sustained_http::order(plan, &node, warm_up, 0.5))?;
        clock::sleep(SETTLE);
        let (before, stalls_before) = (Weight::of(&node), stalls(&node)?);
        let mut clients = open(plan, &node, count, progress)?;
        clock::sleep(SETTLE);
        let held = record_held(recorder, &clients, before, Weight::of(&node), count)?;
        progress.doing("c1m: calls over connections chosen at random");
        progress.say("c1m: calls over connections chosen at random");
        roll(plan, recorder, &mut clients)?;
        progress.doing("c1m: closing");
        progress.say(&format!("c1m: closing {held} connections"));
        close(recorder, clients, held)?;
        gone(&node)?;
        clock::sleep(SETTLE);
        given_back(recorder, before, Weight::of(&node), held);
        mention_stalls(
            recorder,
            "conn.node.rss_bytes",
            stalls_before,
            stalls(&node)?,
        );
        node.finish()?;
        Ok(())
    }
}

/// What a bound allows, and how to lift it.
struct Bound {
    count: u64,
    what: String,
}

/// Connections that the host allows, at most what was asked for; says which bound was met.
fn allowed(plan: &Plan, recorder: &mut Recorder, progress: &Progress) -> u64 {
    let wanted = plan.connections.unwrap_or(CONNECTIONS);
    let facts = Facts::capture();
    let limit = raise_descriptor_limit();
    let mut bounds = vec![Bound {
        count: limit.saturating_sub(DESCRIPTORS_SPARE),
        what: format!(
            "the descriptor limit of the node, {limit} (RLIMIT_NOFILE, hard); lift it with `ulimit \
             -Hn` as root or LimitNOFILE=, up to fs.nr_open{}",
            facts
                .limits
                .nr_open
                .map_or_else(String::new, |max| format!(", {max}"))
        ),
    }];
    if let Some(files) = facts.limits.file_max {
        bounds.push(Bound {
            // Both ends are files of this host.
            count: files.saturating_sub(FILES_SPARE) / 2,
            what: format!("fs.file-max, {files} files for both ends; lift it with sysctl"),
        });
    }
    if let Some(bytes) = facts.memory.available_bytes {
        bounds.push(Bound {
            count: bytes / 4 * 3 / BYTES_EACH,
            what: format!("memory: three quarters of {bytes} bytes at {BYTES_EACH} a connection"),
        });
    }
    let Some(least) = bounds.into_iter().min_by_key(|bound| bound.count) else {
        return wanted;
    };
    if least.count >= wanted {
        return wanted;
    }
    let said = format!(
        "c1m: wanted {wanted} connections, {} are allowed by {}",
        least.count, least.what
    );
    progress.say(&said);
    recorder.note(said);
    least.count.max(1)
}

/// What node and kernel hold at one moment, in bytes.
#[derive(Clone, Copy)]
struct Weight {
    node: Option<u64>,
    slab: Option<u64>,
    tcp: Option<u64>,
}

impl Weight {
    fn of(node: &NodeProcess) -> Self {
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(0);
        Self {
            node: process::rss_bytes(node.pid()),
            slab: memory::slab_bytes(),
            tcp: net::sockstat().map(|found| found.tcp_mem_pages * page),
        }
    }

    /// The kernel's share since `before`: small objects of the whole host, and TCP's buffers.
    fn kernel_since(self, before: Self) -> Option<u64> {
        let slab = self.slab?.saturating_sub(before.slab?);
        let tcp = self.tcp?.saturating_sub(before.tcp?);
        Some(slab + tcp)
    }
}

fn open(
    plan: &Plan,
    node: &NodeProcess,
    count: u64,
    progress: &Progress,
) -> Result<Vec<IdleClients>, ScenarioError> {
    let crowd = Crowd {
        connections: count,
        greeting: Greeting::Call,
        addresses_used: 0,
    };
    remote::hold_many(plan, node.ready.address, crowd, |opened| {
        let said = format!("c1m: {opened} of {count} connections");
        progress.doing(said.clone());
        progress.say(&said);
    })
}

/// What the crowd costs while it does nothing; how many it is.
fn record_held(
    recorder: &mut Recorder,
    clients: &[IdleClients],
    before: Weight,
    now: Weight,
    wanted: u64,
) -> Result<u64, ScenarioError> {
    let held: u64 = clients.iter().map(|client| client.ready.open).sum();
    let why = clients
        .iter()
        .find_map(|client| client.ready.first_error.as_deref());
    let why = why.unwrap_or("no reason given");
    if held == 0 {
        let none = format!("wanted {wanted} connections, found none: {why}");
        return Err(ScenarioError::Host(none));
    }
    if held < wanted {
        recorder.note(format!(
            "c1m: {held} of {wanted} connections are open, first failure: {why}"
        ));
    }
    let mut bytes = |id: &str, value: Option<u64>| {
        if let Some(value) = value {
            recorder.metric(id, value as f64, Unit::Bytes, held);
        }
    };
    bytes("conn.before.rss_bytes", before.node);
    bytes("conn.node.rss_bytes", now.node);
    bytes("conn.kernel_bytes", now.kernel_since(before));
    recorder.metric("conn.count", held as f64, Unit::Count, held);
    if let (Some(before), Some(now)) = (before.node, now.node) {
        let each = now.saturating_sub(before) as f64 / held as f64;
        recorder.metric("conn.node.user_bytes", each, Unit::Bytes, held);
    }
    let seconds: f64 = clients.iter().map(|client| client.ready.seconds).sum();
    recorder.note(format!(
        "c1m: {held} connections from {} client processes, opened in {} s; conn.kernel_bytes is of \
         both ends, and of whatever else the host did meanwhile",
        clients.len(),
        show(seconds)
    ));
    Ok(held)
}

/// Calls over all clients at once, each at its share of the rate.
fn roll(
    plan: &Plan,
    recorder: &mut Recorder,
    clients: &mut [IdleClients],
) -> Result<(), ScenarioError> {
    let all: u64 = clients.iter().map(|client| client.ready.open).sum();
    let rate = plan.rate.unwrap_or(RATE);
    let spec = |index: u64, open: u64| RollingSpec {
        rate: rate * open as f64 / all as f64,
        warmup_seconds: 1.0,
        seconds: plan.seconds_or(2.0, 20.0),
        drain_seconds: 5.0,
        deadline_ns: sustained_http::deadline_ns(plan),
        seed: plan.seed + index,
    };
    let specs: Vec<_> = clients
        .iter()
        .zip(0..)
        .map(|(client, index)| spec(index, client.ready.open))
        .collect();
    let mut busy: Vec<_> = clients
        .iter_mut()
        .zip(&specs)
        .filter(|(client, _)| client.ready.open > 0)
        .collect();
    for (client, spec) in &mut busy {
        client.roll(spec)?;
    }
    let mut results = Vec::new();
    for (client, spec) in &mut busy {
        results.push(client.rolled(spec)?);
    }
    if let Some(result) = rolling::together(&results)? {
        let deadline_ns = sustained_http::deadline_ns(plan);
        recorder.open_loop("conn.rolling", &result, deadline_ns)?;
        sustained_http::complaints(recorder, "conn.rolling", &result);
    }
    Ok(())
}

/// Lets the crowd go; what the node had closed by then was dropped.
fn close(
    recorder: &mut Recorder,
    clients: Vec<IdleClients>,
    held: u64,
) -> Result<(), ScenarioError> {
    let mut still_open = 0;
    for client in clients {
        still_open += client.release()?.open;
    }
    let dropped = held.saturating_sub(still_open);
    recorder.metric("conn.dropped", dropped as f64, Unit::Count, held);
    Ok(())
}

/// What is left of the crowd in node and kernel.
fn given_back(recorder: &mut Recorder, before: Weight, after: Weight, held: u64) {
    if let Some(rss) = after.node {
        recorder.metric("conn.after.rss_bytes", rss as f64, Unit::Bytes, held);
    }
    if let (Some(before), Some(after)) = (before.node, after.node) {
        let kept = after.saturating_sub(before) as f64;
        recorder.metric("conn.after.kept_bytes", kept, Unit::Bytes, held);
    }
    if let Some(kept) = after.kernel_since(before) {
        recorder.metric("conn.after.kernel_bytes", kept as f64, Unit::Bytes, held);
    }
}
