//! The node under test, in a process of its own: started by this program from its own binary,
//! told what to be in one JSON line, ended by closing its standard input.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use ninefold::limits::Limits;
use ninefold::{Node, NodeConfig, Server};
use ninefold_runtime::stats::{ShardStats, Snapshot};
use ninefold_runtime::{Class, Config, Handle, Placement, clock};
use serde::{Deserialize, Serialize};

use crate::load::conn::exchange;
use crate::load::flood;
use crate::load::spec::LoadError;
use crate::load::wire::{self, Endpoint, Wire};
use crate::plan::Plan;
use crate::process::{Child, ProcessError};
use crate::scenario::ScenarioError;

/// How long a node may take to start or to end.
const WITHIN: Duration = Duration::from_secs(20);
/// How long a shutdown waits for requests under way.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a crowd may be silent: longer than any run.
const KEEP_ALIVE_IDLE_MS: u64 = 3_600_000;

/// What a node is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// The CPU of each shard; the control plane takes another one if the process has one.
    pub cpus: Vec<u32>,
    /// Connections, sessions and streams that a shard takes, and keeps for an hour without a
    /// request; the node's defaults if absent.
    pub connections: Option<usize>,
    /// Keep the shards busy from within.
    pub flood: bool,
}

/// What a node says when it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeReady {
    /// Where MCP is served.
    pub address: SocketAddr,
    /// Where health and metrics are served.
    pub admin: SocketAddr,
    /// The CPU of the control plane.
    pub control_cpu: u32,
    /// That CPU is a shard's, too.
    pub control_shared: bool,
}

/// What the shards counted in a node's life, all classes and shards together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeReport {
    /// Turns of actors and polls of tasks.
    pub turns: u64,
    /// Longest of them, in ns.
    pub turn_max_ns: u64,
    /// Mean of them, in ns.
    pub turn_mean_ns: Option<f64>,
    /// Turns of more than 1 ms.
    pub turns_over_budget: u64,
    /// Turns with a queue delay.
    pub delays: u64,
    /// Queue delay at p50, p99, p99.9 and p99.99, in ns, where ten lie beyond.
    pub delay_ns: Vec<(String, u64)>,
    /// Longest queue delay, in ns.
    pub delay_max_ns: u64,
    /// Times a shard went to sleep.
    pub parks: u64,
    /// System calls into the ring.
    pub ring_enters: u64,
    /// Arenas emptied after a request.
    pub arena_resets: u64,
    /// Longest time that took, in ns.
    pub arena_reset_max_ns: u64,
    /// Its p99, in ns.
    pub arena_reset_p99_ns: Option<u64>,
    /// Shard threads that ended with a panic.
    pub threads_lost: usize,
}

impl NodeSpec {
    /// A shard on each of the server's CPUs, with room for `connections` on all of them together
    /// however unevenly they spread.
    #[must_use]
    pub fn every_cpu(plan: &Plan, connections: u64) -> Self {
        let cpus = plan.cpus.server.iter();
        Self {
            cpus: cpus.filter_map(|&cpu| u32::try_from(cpu).ok()).collect(),
            connections: usize::try_from(connections).ok(),
            flood: false,
        }
    }

    /// One shard on the server's first CPU: figures are for one core.
    #[must_use]
    pub fn one_shard(plan: &Plan) -> Self {
        let cpus = plan.cpus.server.iter().take(1);
        Self {
            cpus: cpus.filter_map(|&cpu| u32::try_from(cpu).ok()).collect(),
            connections: None,
            flood: false,
        }
    }
}

/// A running node.
#[derive(Debug)]
pub struct NodeProcess {
    /// Where it is.
    pub ready: NodeReady,
    child: Child,
    within: Duration,
}

impl NodeProcess {
    /// Starts a node with all CPUs of the plan in its mask, and waits until it answers.
    ///
    /// # Errors
    /// When the process fails or does not answer in time.
    pub fn start(plan: &Plan, spec: &NodeSpec) -> Result<Self, ScenarioError> {
        Self::start_as(Command::new(&plan.exe), plan, spec, WITHIN)
    }

    /// As [`NodeProcess::start`], by a command that ends in this program, such as one that watches
    /// it; `within` bounds its start and its end.
    ///
    /// # Errors
    /// When the process fails or does not answer in time.
    pub fn start_as(
        mut command: Command,
        plan: &Plan,
        spec: &NodeSpec,
        within: Duration,
    ) -> Result<Self, ScenarioError> {
        let json = serde_json::to_string(spec).map_err(|e| LoadError::Spec(e.to_string()))?;
        let mut cpus = [plan.cpus.server.as_slice(), &plan.cpus.client].concat();
        cpus.dedup();
        command.args(["node", "--spec", &json]);
        let mut child = Child::spawn("node", command, &cpus)?;
        let ready: Result<NodeReady, String> = child.read_json(within)?;
        let ready = ready.map_err(ScenarioError::Host)?;
        Ok(Self {
            ready,
            child,
            within,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Ends it and takes its report.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn finish(mut self) -> Result<NodeReport, ProcessError> {
        self.child.close_stdin();
        let report = self.child.read_json(self.within)?;
        self.child.wait(self.within)?;
        Ok(report)
    }

    /// The sum over shards of a gauge or counter of its `/metrics`.
    ///
    /// # Errors
    /// When the admin listener does not answer, or not with that metric.
    pub fn scrape(&self, name: &str) -> Result<f64, LoadError> {
        let to = Endpoint {
            target: self.ready.admin,
            path: "/metrics".into(),
        };
        let mut stream = TcpStream::connect(to.target)
            .map_err(LoadError::io("connect to the admin listener"))?;
        stream
            .set_read_timeout(Some(WITHIN))
            .map_err(LoadError::io("set a read timeout"))?;
        let template = wire::call(Wire::Get, &to, "", None);
        let (bytes, reply) = exchange(&mut stream, &to, &template)?;
        let text = String::from_utf8_lossy(&bytes[reply.body_at..reply.end]);
        sum(&text, name).ok_or_else(|| LoadError::Handshake {
            target: to.target,
            reason: format!("wanted the metric {name} in /metrics, found none"),
        })
    }
}

/// The sum of all samples of `name` in an OpenMetrics text.
fn sum(text: &str, name: &str) -> Option<f64> {
    text.lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok())
        .reduce(|sum, value| sum + value)
}

/// Runs a node until standard input closes: tells `ready` where it is, and returns its report.
///
/// # Errors
/// In words, when the node does not start.
pub fn serve(spec: &NodeSpec, ready: impl FnOnce(NodeReady)) -> Result<NodeReport, String> {
    let node = start(spec).map_err(|e| e.to_string())?;
    if spec.flood {
        for shard in 0..node.handle().shards() {
            let started = node.handle().run_on(shard, || async { flood::start() });
            started
                .map_err(|e| e.to_string())?
                .map_err(|e| e.to_string())?;
        }
    }
    let plan = node.plan();
    ready(NodeReady {
        address: node.address(),
        admin: node.admin_address().ok_or("wanted an admin listener")?,
        control_cpu: plan.control,
        control_shared: plan.control_shared,
    });
    // Any byte or the end of the stream: the coordinator has let go.
    let _ = std::io::stdin().read(&mut [0; 1]);
    let mut report = NodeReport::of(&node.handle());
    let resets = node.arena_resets();
    report.arena_resets = resets.count();
    report.arena_reset_max_ns = resets.max_ns();
    report.arena_reset_p99_ns = resets.quantile_ns(0.99);
    report.threads_lost = node.shutdown().threads_lost;
    Ok(report)
}

fn start(spec: &NodeSpec) -> Result<Node, Box<dyn std::error::Error>> {
    let mut limits = Limits::default();
    if let Some(connections) = spec.connections {
        limits.connections_per_shard = connections;
        limits.peer_connections_per_shard = connections;
        limits.sessions_per_shard = connections;
        limits.streams_per_shard = connections;
        limits.waits_per_shard = limits.waits_per_shard.max(connections);
        limits.keep_alive_idle_ms = KEEP_ALIVE_IDLE_MS;
    }
    let server = Server::builder("ninefold-bench", env!("CARGO_PKG_VERSION"))
        .limits(limits)
        .builtin_tools(clock::wall_clock)
        .build()?;
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = NodeConfig {
        listen: any_port,
        admin: Some(any_port),
        runtime: Config {
            shards: Some(spec.cpus.len()),
            placement: Placement::Explicit(spec.cpus.clone()),
            ..Config::default()
        },
        drain: DRAIN,
        ..NodeConfig::default()
    };
    Ok(Node::start(server, &config)?)
}

impl NodeReport {
    fn of(handle: &Handle) -> Self {
        let shards: Vec<&ShardStats> = (0..handle.shards())
            .filter_map(|shard| handle.stats(shard))
            .collect();
        let (mut delays, mut turns) = (Snapshot::default(), Snapshot::default());
        for (delay, turn) in shards
            .iter()
            .flat_map(|stats| Class::ALL.map(|class| stats.of_class(class)))
        {
            delays.merge(&delay);
            turns.merge(&turn);
        }
        let total = |of: fn(&ShardStats) -> u64| shards.iter().map(|stats| of(stats)).sum();
        let resolved = |&(q, _): &(f64, &str)| (1.0 - q) * delays.count() as f64 >= 10.0;
        let quantiles = [
            (0.5, "p50"),
            (0.99, "p99"),
            (0.999, "p999"),
            (0.9999, "p9999"),
        ];
        Self {
            turns: turns.count(),
            turn_max_ns: turns.max_ns(),
            turn_mean_ns: turns.mean_ns(),
            turns_over_budget: total(|stats| stats.turns_over_budget.get()),
            delays: delays.count(),
            delay_ns: quantiles
                .iter()
                .filter(|quantile| resolved(quantile))
                .filter_map(|&(q, name)| Some((name.to_owned(), delays.quantile_ns(q)?)))
                .collect(),
            delay_max_ns: delays.max_ns(),
            parks: total(|stats| stats.parks.get()),
            ring_enters: total(|stats| stats.ring_enters.get()),
            arena_resets: 0,
            arena_reset_max_ns: 0,
            arena_reset_p99_ns: None,
            threads_lost: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_shards_and_not_mistaken_for_another() {
        let text = "# TYPE a gauge\na{shard=\"0\"} 3\na{shard=\"1\"} 4.5\na_total{shard=\"0\"} 9\n";
        assert_eq!(sum(text, "a"), Some(7.5));
        assert_eq!(sum(text, "b"), None);
        assert_eq!(sum("b_total 3\nb_total_more 4\n", "b_total"), Some(3.0));
    }
}
