//! What the control plane knows of the node, read by copy.

use std::sync::Arc;

use ninefold_runtime::{Handle, Phase, Plan, clock};
use serde::Serialize;

use crate::counters::Counters;
use crate::host::Host;
use crate::net::NetStats;

/// A shard whose loop has not turned for this long is reported as stuck. An idle shard turns at
/// least every 250 ms.
pub(crate) const STUCK_NS: u64 = 1_000_000_000;

/// One shard as the control plane sees it.
#[derive(Clone, Default)]
pub(crate) struct ShardStatus {
    pub(crate) net: Arc<NetStats>,
    pub(crate) counters: Arc<Counters>,
}

/// The node as the control plane sees it.
pub(crate) struct Status {
    pub(crate) handle: Handle,
    pub(crate) plan: Plan,
    pub(crate) shards: Vec<ShardStatus>,
    pub(crate) started_ns: u64,
    pub(crate) host: Option<Arc<Host>>,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    uptime_s: u64,
    control: Control,
    shards: Vec<ShardHealth>,
}

#[derive(Serialize)]
struct Control {
    cpu: u32,
    shared_with_shard: bool,
}

#[derive(Serialize)]
struct ShardHealth {
    shard: usize,
    cpu: u32,
    status: &'static str,
    last_turn_ms: u64,
    connections: u64,
}

impl Status {
    /// Whether the node takes new work.
    pub(crate) fn is_ready(&self) -> bool {
        self.handle.phase() == Phase::Running
    }

    /// Whether every shard turns, and a JSON document that says so.
    pub(crate) fn health(&self) -> (bool, String) {
        let now_ns = clock::monotonic_ns();
        let shards: Vec<_> = (0..self.shards.len())
            .map(|s| self.shard_health(s, now_ns))
            .collect();
        let healthy = shards.iter().all(|s| s.status == "ok");
        let health = Health {
            status: if healthy { "ok" } else { "stuck" },
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: (now_ns - self.started_ns) / 1_000_000_000,
            control: Control {
                cpu: self.plan.control,
                shared_with_shard: self.plan.control_shared,
            },
            shards,
        };
        (healthy, serde_json::to_string(&health).unwrap_or_default())
    }

    fn shard_health(&self, shard: usize, now_ns: u64) -> ShardHealth {
        let beat = self.handle.stats(shard).map_or(0, |s| s.heartbeat_ns.get());
        let silent_ns = now_ns.saturating_sub(beat);
        ShardHealth {
            shard,
            cpu: self.plan.shards.get(shard).copied().unwrap_or_default(),
            status: if silent_ns < STUCK_NS { "ok" } else { "stuck" },
            last_turn_ms: silent_ns / 1_000_000,
            connections: self.shards[shard].net.connections.get(),
        }
    }
}
