//! The node: shards that listen, a control plane that watches, and an orderly end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ninefold_runtime::net::TcpListener;
use ninefold_runtime::stats::Snapshot;
use ninefold_runtime::{
    Config, ControlPlane, Handle, Plan, Runtime, ShutdownReport, StartError, clock, spawn_local,
};

use crate::admin::{self, ShardStatus, Status};
use crate::auth::{Keeper, Looking};
use crate::doors::{self, Doors, Listener, SocketFile};
use crate::guard::Guard;
use crate::handle::{Hub, Hubs, IdCodec, ShardSessions, ShardTasks};
use crate::host::Host;
use crate::net::{self, NetStats, ShardSeat};
use crate::notify::{Manager, Teller};
use crate::server::Server;
use crate::service::Service;

/// How a node is to be run.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where MCP is served, at the path `/mcp`. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where health, readiness and metrics are served; `None` serves none.
    pub admin: Option<SocketAddr>,
    /// Where MCP is served over TCP, a message a line; `None` serves none.
    pub lines: Option<SocketAddr>,
    /// The Unix socket on which MCP is served, a message a line; `None` serves none.
    pub unix: Option<PathBuf>,
    /// The Unix socket on which MCP is served over HTTP; `None` serves none.
    pub unix_http: Option<PathBuf>,
    /// Whether HTTP serves the transport of 2024-11-05 too, at `/sse`.
    pub sse_2024: bool,
    /// Shards, placement, blocking threads.
    pub runtime: Config,
    /// Hosts accepted in addition to loopback names; listing one switches the check on everywhere.
    pub allow_hosts: Vec<String>,
    /// Origins accepted in addition to loopback ones.
    pub allow_origins: Vec<String>,
    /// How long a shutdown waits for requests under way.
    pub drain: Duration,
    /// The host as it was found and is held; `None` when nobody checked it.
    pub host: Option<Arc<Host>>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 9090))),
            lines: None,
            unix: None,
            unix_http: None,
            sse_2024: false,
            runtime: Config::default(),
            allow_hosts: Vec::new(),
            allow_origins: Vec::new(),
            drain: Duration::from_secs(10),
            host: None,
        }
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The port is taken.
    #[error(
        "wanted to listen on {address}, but it is taken; choose another address with {flag}, or \
         find who has it with `ss -ltnp`"
    )]
    Taken {
        /// The address asked for.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// The address cannot be listened on.
    #[error("wanted to listen on {address} ({flag}), but {error}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// A Unix socket cannot be listened on.
    #[error("wanted to listen on the Unix socket {path:?} ({flag}), but {why}")]
    Unix {
        /// The path asked for.
        path: PathBuf,
        /// The flag that sets it.
        flag: &'static str,
        /// What is in the way, and what to do.
        why: String,
    },
    /// An authorization beside a transport that knows no tokens.
    #[error(
        "wanted a token with every request, as the authorization says, but nothing can ask for one \
         on {flag}; leave {flag} out, or serve it from a node of its own without an authorization"
    )]
    NoTokens {
        /// The flag that asks for the transport.
        flag: &'static str,
    },
    /// The way to the parent process cannot be made.
    #[error("wanted pipes for standard input and output, but {0}")]
    Pipes(io::Error),
    /// The shards or the control plane did not come up.
    #[error(transparent)]
    Runtime(#[from] StartError),
    /// The thread that keeps the keys of an authorization did not start.
    #[error("wanted a thread that keeps the keys of the authorization, but {0}")]
    Keys(io::Error),
    /// The system gave no randomness for session ids.
    #[error("wanted random bytes for session ids from the system, but {0}")]
    Random(getrandom::Error),
}

/// A running node. Dropping it stops it without waiting for requests under way.
pub struct Node {
    /// First, since they go before the sockets behind them are closed.
    socket_files: Vec<SocketFile>,
    runtime: Runtime,
    control: Option<ControlPlane>,
    keeper: Option<Keeper>,
    listen: SocketAddr,
    lines: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    drain: Duration,
    net: Vec<Arc<NetStats>>,
}

impl Node {
    /// Starts `server` as `config` says, and returns when it answers.
    ///
    /// # Errors
    /// [`NodeError`], which says what was wanted, what was found and what to do.
    pub fn start(server: Server, config: &NodeConfig) -> Result<Self, NodeError> {
        let codec = Arc::new(IdCodec::fresh().map_err(NodeError::Random)?);
        doors::require_tokens(&server, config)?;
        doors::require_free(config)?;
        let runtime = Runtime::start(&config.runtime)?;
        let handle = runtime.handle();
        let hubs = Arc::new(Hubs::new(handle.shards()));
        let Doors {
            shards: listeners,
            address,
            lines,
            admin,
            socket_files,
        } = Doors::open(config, handle.shards())?;
        let guard = guard(config, address);
        let (keeper, looking) = start_keeper(&server, runtime.plan())?.unzip();
        let mut shards = Vec::with_capacity(listeners.len());
        for (shard, listeners) in listeners.into_iter().enumerate() {
            let status = ShardStatus::default();
            let parts = ShardParts {
                server: server.clone(),
                guard: guard.clone(),
                pairs: config.sse_2024,
                status: status.clone(),
                codec: codec.clone(),
                hubs: hubs.clone(),
                looking: looking.clone(),
            };
            start_shard(&handle, shard, listeners, parts);
            shards.push(status);
        }
        let status = Status {
            handle,
            plan: runtime.plan().clone(),
            shards,
            started_ns: clock::monotonic_ns(),
            host: config.host.clone(),
        };
        let net = status.shards.iter().map(|s| s.net.clone()).collect();
        let mut node = Self {
            net,
            runtime,
            control: None,
            keeper,
            listen: address,
            lines,
            admin: None,
            drain: config.drain,
            socket_files,
        };
        if let Some((listener, bound)) = admin {
            let control = start_admin(listener, status, node.runtime.plan().control)?;
            (node.control, node.admin) = (Some(control), Some(bound));
        }
        Ok(node)
    }

    /// Where MCP is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Where MCP is served over TCP, a message a line.
    #[must_use]
    pub fn lines_address(&self) -> Option<SocketAddr> {
        self.lines
    }

    /// Where health, readiness and metrics are served.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Who runs where.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        self.runtime.plan()
    }

    /// The way to the shards.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.runtime.handle()
    }

    /// Tells `manager` from now on how the node is: `READY=1` once all shards accept, then its
    /// status, and `WATCHDOG=1` while every shard turns.
    ///
    /// # Errors
    /// The system's error when no thread can be made.
    pub fn tell(&self, manager: Manager) -> io::Result<Teller> {
        Teller::start(
            manager,
            self.handle(),
            self.net.clone(),
            self.plan().control,
        )
    }

    /// How long the arenas of answered requests took to be emptied, all shards together.
    #[must_use]
    pub fn arena_resets(&self) -> Snapshot {
        let mut all = Snapshot::default();
        for shard in &self.net {
            all.merge(&shard.arena_reset.snapshot());
        }
        all
    }

    /// Stops accepting, lets requests under way finish for at most [`NodeConfig::drain`], then
    /// stops the shards and last the control plane.
    pub fn shutdown(self) -> ShutdownReport {
        // Who looks for a socket file from now on is to find none rather than nobody behind it.
        drop(self.socket_files);
        let report = self.runtime.shutdown(self.drain);
        drop(self.control);
        drop(self.keeper);
        report
    }
}

fn guard(config: &NodeConfig, address: SocketAddr) -> Guard {
    let guard = Guard::new(address.ip().is_loopback());
    let guard = config
        .allow_hosts
        .iter()
        .fold(guard, |g, host| g.allow_host(host));
    config
        .allow_origins
        .iter()
        .fold(guard, |g, origin| g.allow_origin(origin))
}

/// What a shard is made of.
pub(crate) struct ShardParts {
    pub(crate) server: Server,
    pub(crate) guard: Guard,
    /// Whether the transport of 2024-11-05 is served.
    pub(crate) pairs: bool,
    pub(crate) status: ShardStatus,
    pub(crate) codec: Arc<IdCodec>,
    pub(crate) hubs: Arc<Hubs>,
    /// How new keys of an authorization are waited for, if there is one.
    pub(crate) looking: Option<Arc<Looking>>,
}

impl ShardParts {
    /// Puts the parts together, on the shard that they are for, and starts what it does for all
    /// its connections; what went wrong is logged.
    pub(crate) fn assemble(self) -> Option<Rc<ShardSeat>> {
        let Self {
            server,
            guard,
            pairs,
            status,
            codec,
            hubs,
            looking,
        } = self;
        let limits = server.limits();
        let hub = match Hub::open(hubs, limits) {
            Ok(hub) => hub,
            Err(error) => {
                tracing::error!(%error, "a shard has no room for its hub");
                return None;
            }
        };
        let counters = status.counters.clone();
        let tasks = ShardTasks::new(codec.clone(), hub.clone(), limits, counters);
        let tasks = Rc::new(tasks);
        let sessions = ShardSessions::new(codec, hub, limits);
        let service = Service::new(server, guard)
            .with_counters(status.counters)
            .with_looking(looking)
            .with_tasks(tasks);
        let seat = ShardSeat::new(service, sessions, status.net).with_pairs(pairs);
        let seat = Rc::new(seat);
        match net::tend(&seat) {
            Ok(()) => Some(seat),
            Err(error) => {
                tracing::error!(%error, "a shard could not begin");
                None
            }
        }
    }
}

fn start_shard(handle: &Handle, shard: usize, listeners: Vec<Listener>, parts: ShardParts) {
    let started = handle.spawn_on(shard, move || async move {
        let Some(seat) = parts.assemble() else {
            return;
        };
        let mut all = true;
        for Listener { socket, speech } in listeners {
            let accepts = TcpListener::from_std(socket)
                .map(|listener| spawn_local(net::accept(listener, speech, seat.clone())));
            match accepts {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => tracing::error!(%error, "a shard took no acceptor"),
                Err(error) => tracing::error!(%error, "a shard could not take its listener over"),
            }
            all = false;
        }
        if all {
            seat.stats.listening.set(1);
        }
    });
    if let Err(error) = started {
        tracing::error!(%error, shard, "a shard took no acceptor");
    }
}

/// Starts the thread that keeps the keys, where there are any, beside the control plane.
fn start_keeper(server: &Server, plan: &Plan) -> Result<Option<(Keeper, Arc<Looking>)>, NodeError> {
    let Some(access) = server.access() else {
        return Ok(None);
    };
    let (limits, cpus) = (server.limits().clone(), vec![plan.control]);
    let started = Keeper::start(access.clone(), limits, cpus);
    started.map(Some).map_err(NodeError::Keys)
}

fn start_admin(
    listener: std::net::TcpListener,
    status: Status,
    cpu: u32,
) -> Result<ControlPlane, StartError> {
    let status = Arc::new(status);
    ControlPlane::start(cpu, move || {
        let listener = TcpListener::from_std(listener)?;
        Ok(admin::serve(listener, status, admin::Bounds::default()))
    })
}
