//! The node: shards that listen, a control plane that watches, and an orderly end.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ninefold_runtime::net::{TcpListener, listen};
use ninefold_runtime::stats::Snapshot;
use ninefold_runtime::{
    Config, ControlPlane, Handle, Plan, Runtime, ShutdownReport, StartError, clock,
};

use crate::admin::{self, ShardStatus, Status};
use crate::auth::{Keeper, Looking};
use crate::counters::Counters;
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
    runtime: Runtime,
    control: Option<ControlPlane>,
    keeper: Option<Keeper>,
    listen: SocketAddr,
    admin: Option<SocketAddr>,
    drain: Duration,
    net: Vec<Arc<NetStats>>,
}

const LISTEN: &str = "--listen";
const ADMIN: &str = "--admin";

impl Node {
    /// Starts `server` as `config` says, and returns when it answers.
    ///
    /// # Errors
    /// [`NodeError`], which says what was wanted, what was found and what to do.
    pub fn start(server: Server, config: &NodeConfig) -> Result<Self, NodeError> {
        let codec = Arc::new(IdCodec::fresh().map_err(NodeError::Random)?);
        require_free(config.listen)?;
        let runtime = Runtime::start(&config.runtime)?;
        let handle = runtime.handle();
        let hubs = Arc::new(Hubs::new(handle.shards()));
        let (listeners, address) = bind_shards(config.listen, handle.shards())?;
        let admin = config.admin.map(bind_admin).transpose()?;
        let guard = guard(config, address);
        let (keeper, looking) = start_keeper(&server, runtime.plan())?.unzip();
        let mut shards = Vec::with_capacity(listeners.len());
        for (shard, listener) in listeners.into_iter().enumerate() {
            let status = ShardStatus {
                net: Arc::default(),
                counters: Arc::default(),
            };
            start_shard(
                &handle,
                shard,
                listener,
                &status,
                &server,
                &guard,
                (&codec, &hubs, &looking),
            );
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
            admin: None,
            drain: config.drain,
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

fn bind(
    address: SocketAddr,
    flag: &'static str,
    shared: bool,
) -> Result<std::net::TcpListener, NodeError> {
    listen(address, shared).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => NodeError::Taken { address, flag },
        _ => NodeError::Listen {
            address,
            flag,
            error,
        },
    })
}

/// The address that `listener` has got, which has been asked for `address`.
fn bound(
    listener: &std::net::TcpListener,
    address: SocketAddr,
    flag: &'static str,
) -> Result<SocketAddr, NodeError> {
    listener.local_addr().map_err(|error| NodeError::Listen {
        address,
        flag,
        error,
    })
}

/// The admin listener, which shares its port with nobody.
fn bind_admin(address: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr), NodeError> {
    let listener = bind(address, ADMIN, false)?;
    let bound = bound(&listener, address, ADMIN)?;
    Ok((listener, bound))
}

/// With SO_REUSEPORT alone, a second node of the same user would quietly share the port.
fn require_free(address: SocketAddr) -> Result<(), NodeError> {
    if address.port() == 0 {
        return Ok(());
    }
    bind(address, LISTEN, false).map(drop)
}

/// One listener a shard on one port; the kernel spreads connections over them.
fn bind_shards(
    address: SocketAddr,
    shards: usize,
) -> Result<(Vec<std::net::TcpListener>, SocketAddr), NodeError> {
    let first = bind(address, LISTEN, true)?;
    let bound = bound(&first, address, LISTEN)?;
    let mut listeners = vec![first];
    for _ in 1..shards {
        listeners.push(bind(bound, LISTEN, true)?);
    }
    Ok((listeners, bound))
}

fn start_shard(
    handle: &Handle,
    shard: usize,
    listener: std::net::TcpListener,
    status: &ShardStatus,
    server: &Server,
    guard: &Guard,
    (codec, hubs, looking): (&Arc<IdCodec>, &Arc<Hubs>, &Option<Arc<Looking>>),
) {
    let (stats, counters): (Arc<NetStats>, Arc<Counters>) =
        (status.net.clone(), status.counters.clone());
    let (server, guard) = (server.clone(), guard.clone());
    let (codec, hubs, looking) = (codec.clone(), hubs.clone(), looking.clone());
    let started = handle.spawn_on(shard, move || async move {
        let limits = server.limits();
        let hub = match Hub::open(hubs, limits) {
            Ok(hub) => hub,
            Err(error) => return tracing::error!(%error, "a shard has no room for its hub"),
        };
        let tasks = Rc::new(ShardTasks::new(codec.clone(), limits, counters.clone()));
        let sessions = ShardSessions::new(codec, hub, limits);
        let service = Service::new(server, guard)
            .with_counters(counters)
            .with_looking(looking)
            .with_tasks(tasks);
        let seat = Rc::new(ShardSeat::new(service, sessions, stats));
        match TcpListener::from_std(listener) {
            Ok(listener) => net::accept(listener, seat).await,
            Err(error) => tracing::error!(%error, "a shard could not take its listener over"),
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
