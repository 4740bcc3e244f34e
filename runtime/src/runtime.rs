//! The runtime: starts the shards, reaches them from outside, takes them down in order.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use ninefold_tuning::facts::cpu::Topology;

use crate::accounts::Accounts;
use crate::blocking::BlockingPool;
use crate::clock;
use crate::driver::DriverError;
use crate::handle::Handle;
use crate::limits::{
    BULK_SLOTS, EXPRESS_SLOTS, GROUPS_MAX, INJECT_MAX, SHARES_MAX, SPIN, STOP_WITHIN,
};
use crate::mesh::{Doorbell, full_mesh};
use crate::panics;
use crate::placement::{Placement, PlacementError, Plan};
use crate::sched::Policy;
use crate::seat::Seat;
use crate::shard::{Job, Phase, SHED_NOTHING, Shard, Shedding};
use crate::stall::{StallConfig, Stalls, Watchdog};
use crate::stats::ShardStats;
use crate::task::TaskWaker;
use crate::thread;

/// What a runtime is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Shards; by default one for each allowed CPU but one, which the control plane gets.
    pub shards: Option<usize>,
    /// How they are laid over the CPUs.
    pub placement: Placement,
    /// Whether the control plane gets a CPU of its own where there are two.
    pub own_control_cpu: bool,
    /// Threads of the blocking pool.
    pub blocking_threads: usize,
    /// Time an idle shard spins before it parks; `None` is [`SPIN`], or zero when CPUs are shared.
    pub spin: Option<Duration>,
    /// What decides which ready actor runs next.
    pub policy: Policy,
    /// Scheduling groups beside the default one: the actors of each share time by its shares.
    pub groups: Vec<SchedulingGroup>,
    /// When messages are refused because those before them wait too long.
    pub shedding: Shedding,
    /// What is reported of turns that hold a shard for too long.
    pub stall: StallConfig,
    /// The budgets of turns as a multiple of the standard ones (high 50, normal 20, low 10 us).
    pub turn_scale: f64,
    /// Messages carry the `tracing` span of their sender, and run in a child of it. Costs an
    /// allocation a message that is sent inside a span.
    pub trace_messages: bool,
}

/// A scheduling group: actors that share time by shares with those of other groups, class by class
/// (tenants, say). Seastar's word and rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulingGroup {
    /// Its name, for people.
    pub name: String,
    /// Its weight, 1 to [`SHARES_MAX`]; the default group has 100.
    pub shares: u32,
}

/// Shares of the default scheduling group.
const DEFAULT_SHARES: u32 = 100;

/// How the shards of a runtime schedule.
#[derive(Clone, Debug)]
pub(crate) struct Scheduling {
    pub(crate) policy: Policy,
    groups: Vec<SchedulingGroup>,
    pub(crate) shedding: Shedding,
    pub(crate) turn_scale: f64,
    pub(crate) trace_messages: bool,
}

impl Scheduling {
    /// What `config` says.
    ///
    /// # Errors
    /// [`StartError::Groups`], [`StartError::Shares`], [`StartError::TurnScale`].
    pub(crate) fn of(config: &Config) -> Result<Self, StartError> {
        if config.groups.len() >= GROUPS_MAX {
            return Err(StartError::Groups(config.groups.len()));
        }
        let possible = 1..=SHARES_MAX;
        if let Some(group) = config.groups.iter().find(|g| !possible.contains(&g.shares)) {
            return Err(StartError::Shares {
                group: group.name.clone(),
                shares: group.shares,
            });
        }
        if !(0.01..=1000.0).contains(&config.turn_scale) {
            return Err(StartError::TurnScale(config.turn_scale));
        }
        Ok(Scheduling {
            policy: config.policy,
            groups: config.groups.clone(),
            shedding: config.shedding,
            turn_scale: config.turn_scale,
            trace_messages: config.trace_messages,
        })
    }

    /// Shares of all groups, the default one first.
    pub(crate) fn shares(&self) -> Vec<u32> {
        let others = self.groups.iter().map(|group| group.shares);
        std::iter::once(DEFAULT_SHARES).chain(others).collect()
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            shards: None,
            placement: Placement::default(),
            own_control_cpu: true,
            blocking_threads: 2,
            spin: None,
            policy: Policy::default(),
            groups: Vec::new(),
            shedding: Shedding::default(),
            stall: StallConfig::default(),
            turn_scale: 1.0,
            trace_messages: false,
        }
    }
}

/// Why a runtime did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The CPUs do not fit the wish.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// Too many scheduling groups.
    #[error(
        "wanted {0} scheduling groups beside the default one, but there can be {GROUPS_MAX} in all"
    )]
    Groups(usize),
    /// A scheduling group cannot have that weight.
    #[error("wanted {shares} shares for scheduling group {group:?}; give 1 to {SHARES_MAX}")]
    Shares {
        /// Its name.
        group: String,
        /// The shares asked for.
        shares: u32,
    },
    /// Turns cannot be that short or long.
    #[error("wanted turns of {0} times the standard budget; give a factor from 0.01 to 1000")]
    TurnScale(f64),
    /// A shard, or the control plane, has no io_uring.
    #[error("{thread}: {error}")]
    Driver {
        /// The name of its thread.
        thread: String,
        /// Why, and what to change.
        error: DriverError,
    },
    /// glommio's executor did not come up.
    #[error(
        "{thread}: wanted a glommio executor, but {error}; it needs io_uring and 512 KiB of \
         lockable memory (`ulimit -l`)"
    )]
    Executor {
        /// The name of its thread.
        thread: String,
        /// glommio's words.
        error: String,
    },
    /// No thread or descriptor could be made.
    #[error("could not make a thread or descriptor for a shard: {0}")]
    System(#[from] io::Error),
}

/// What ends a shard's park.
enum WakeUp {
    /// A descriptor that its ring reads.
    EventFd(OwnedFd),
    /// A flag that a simulator looks at.
    Flag(AtomicBool),
}

/// How other threads reach one shard.
pub(crate) struct Port {
    pub(crate) doorbell: Doorbell,
    wake_up: WakeUp,
    pub(crate) jobs: (Sender<Job>, Receiver<Job>),
    pub(crate) wakes: (Sender<Arc<TaskWaker>>, Receiver<Arc<TaskWaker>>),
    /// Jobs sent and not yet run.
    pub(crate) injected: AtomicUsize,
    /// What the shard refuses by queue delay; senders look before they send.
    pub(crate) shedding: AtomicU8,
    pub(crate) stats: ShardStats,
    pub(crate) accounts: Arc<Accounts>,
}

impl Port {
    pub(crate) fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let fd = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Port::with(WakeUp::EventFd(fd)))
    }

    /// The port of a shard that a simulator steps.
    pub(crate) fn simulated() -> Self {
        Port::with(WakeUp::Flag(AtomicBool::new(false)))
    }

    fn with(wake_up: WakeUp) -> Self {
        Port {
            doorbell: Doorbell::new(),
            wake_up,
            jobs: crossbeam_channel::bounded(INJECT_MAX),
            // Bounded by the number of tasks: each is queued at most once (`TaskWaker::queued`).
            wakes: crossbeam_channel::unbounded(),
            injected: AtomicUsize::new(0),
            shedding: AtomicU8::new(SHED_NOTHING),
            stats: ShardStats::default(),
            accounts: Arc::default(),
        }
    }

    /// What the shard's ring is to read while it is parked; none where a simulator steps it.
    pub(crate) fn wake_fd(&self) -> Option<&OwnedFd> {
        match &self.wake_up {
            WakeUp::EventFd(fd) => Some(fd),
            WakeUp::Flag(_) => None,
        }
    }

    /// Takes the wake-up that a simulator is to deliver, if there is one.
    pub(crate) fn take_wake_up(&self) -> bool {
        match &self.wake_up {
            WakeUp::EventFd(_) => false,
            WakeUp::Flag(flag) => flag.swap(false, Ordering::AcqRel),
        }
    }

    /// What the shard refuses by queue delay.
    #[inline(always)]
    pub(crate) fn shedding(&self) -> u8 {
        self.shedding.load(Ordering::Relaxed)
    }

    /// Ends the shard's park.
    pub(crate) fn wake(&self) {
        match &self.wake_up {
            // An eventfd refuses a write only at 2^64 - 1 unread wake-ups.
            WakeUp::EventFd(fd) => {
                let _ = rustix::io::write(fd, &1_u64.to_ne_bytes());
            }
            WakeUp::Flag(flag) => flag.store(true, Ordering::Release),
        }
    }

    pub(crate) fn ring_injected(&self) {
        if self.doorbell.ring_injected() {
            self.wake();
        }
    }
}

/// What the threads of a runtime share.
pub(crate) struct Shared {
    pub(crate) id: u16,
    pub(crate) ports: Vec<Arc<Port>>,
    pub(crate) blocking: BlockingPool,
    pub(crate) stalls: Arc<Stalls>,
    phase: AtomicU8,
}

impl Shared {
    pub(crate) fn new(
        id: u16,
        ports: Vec<Arc<Port>>,
        blocking: BlockingPool,
        stalls: Arc<Stalls>,
    ) -> Self {
        Shared {
            id,
            ports,
            blocking,
            stalls,
            phase: AtomicU8::new(0),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    pub(crate) fn enter_phase(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        self.ports.iter().for_each(|port| port.ring_injected());
    }

    /// Has `job` run on `shard`, or hands it back when [`INJECT_MAX`] wait there.
    pub(crate) fn inject(&self, shard: u16, job: Job) -> Result<(), Job> {
        let Some(port) = self.ports.get(shard as usize) else {
            return Err(job);
        };
        port.injected.fetch_add(1, Ordering::AcqRel);
        port.jobs.0.try_send(job).map_err(|refused| {
            port.injected.fetch_sub(1, Ordering::AcqRel);
            refused.into_inner()
        })?;
        port.ring_injected();
        Ok(())
    }

    pub(crate) fn inject_wake(&self, shard: u16, waker: Arc<TaskWaker>) {
        if let Some(port) = self.ports.get(shard as usize)
            && port.wakes.0.send(waker).is_ok()
        {
            port.ring_injected();
        }
    }
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Tasks that had not finished by the deadline and were dropped.
    pub tasks_dropped: u64,
    /// Threads that ended with a panic, or not within [`STOP_WITHIN`].
    pub threads_lost: usize,
}

/// A running set of shards. Dropping it without [`Runtime::shutdown`] stops it at once.
pub struct Runtime {
    handle: Handle,
    plan: Plan,
    shards: Vec<JoinHandle<()>>,
    /// Ends after the shards, whose end it watches.
    _watchdog: Watchdog,
}

/// An id that no runtime of this process has had, until 65,536 have: addresses carry it.
pub(crate) fn fresh_id() -> u16 {
    static RUNTIMES: AtomicU16 = AtomicU16::new(0);
    RUNTIMES.fetch_add(1, Ordering::Relaxed)
}

/// What a process with shards needs once; harmless when it is done again.
pub(crate) fn prepare_process() {
    panics::install_hook();
    clock::calibrate();
    raise_soft_limits();
}

impl Runtime {
    /// Starts the shards and waits until each has.
    ///
    /// # Errors
    /// [`StartError`], which says what was wanted, what was found and what to do.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        prepare_process();
        let scheduling = Scheduling::of(config)?;
        let topology = Topology::host();
        let plan = Plan::make(
            &topology,
            config.shards,
            &config.placement,
            config.own_control_cpu,
        )?;
        let count = plan.shards.len();
        let ports = (0..count)
            .map(|_| Port::new().map(Arc::new))
            .collect::<Result<_, _>>()?;
        let (blocking, _) = BlockingPool::start(config.blocking_threads, &plan.blocking)?;
        let stalls = Stalls::new(&config.stall, count);
        let shared = Arc::new(Shared::new(fresh_id(), ports, blocking, stalls));
        let beating = shared.ports.clone();
        let watchdog = Watchdog::start(shared.stalls.clone(), &plan.blocking, move |shard| {
            beating[shard].stats.heartbeat_ns.get()
        })?;
        let crowded = plan.oversubscribed || plan.control_shared;
        let spin = config
            .spin
            .unwrap_or(if crowded { Duration::ZERO } else { SPIN });
        let (ready, started) = crossbeam_channel::bounded(count);
        let mut shards = Vec::with_capacity(count);
        for (index, mesh) in full_mesh(count, [EXPRESS_SLOTS, BULK_SLOTS])
            .into_iter()
            .enumerate()
        {
            let name = format!("shard-{index}");
            let seat = Seat {
                index,
                thread: name.clone(),
                mesh,
                shared: shared.clone(),
                spin,
                scheduling: scheduling.clone(),
                begin: Box::new(|_| Ok(())),
            };
            let (cpu, ready) = (plan.shards[index], ready.clone());
            shards.push(thread::spawn_pinned(name, cpu, move || seat.run(ready))?);
        }
        drop(ready);
        let runtime = Runtime {
            handle: Handle::new(shared),
            plan,
            shards,
            _watchdog: watchdog,
        };
        for _ in 0..count {
            started.recv().unwrap_or_else(|_| {
                Err(StartError::System(io::Error::other(
                    "a shard ended while it started",
                )))
            })?;
        }
        Ok(runtime)
    }

    /// The way to the shards from other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Who runs where.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Drains for at most `grace`, then stops what is left: tasks are dropped, actors stop newest
    /// first, sockets close, threads join.
    pub fn shutdown(mut self, grace: Duration) -> ShutdownReport {
        self.handle.drain();
        let until = clock::monotonic_ns().saturating_add(nanoseconds(grace));
        while self.tasks_alive() > 0 && clock::monotonic_ns() < until {
            thread::pause(Duration::from_millis(1));
        }
        let tasks_dropped = self.tasks_alive();
        ShutdownReport {
            tasks_dropped,
            threads_lost: self.stop(),
        }
    }

    fn tasks_alive(&self) -> u64 {
        let alive = |port: &Arc<Port>| {
            let injected = port.injected.load(Ordering::Acquire) as u64;
            let ShardStats {
                tasks_spawned,
                tasks_ended,
                ..
            } = &port.stats;
            injected + tasks_spawned.get().saturating_sub(tasks_ended.get())
        };
        self.handle.shared().ports.iter().map(alive).sum()
    }

    /// Stops the shards. A thread that does not come back, because what runs on it blocks, is left
    /// behind after [`STOP_WITHIN`].
    fn stop(&mut self) -> usize {
        self.handle.shared().enter_phase(Phase::Stopping);
        thread::join_within(std::mem::take(&mut self.shards), STOP_WITHIN)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Saturates at 292 years.
fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// Raises the soft limits of descriptors and lockable memory to the hard ones; best effort, since
/// too low a limit is reported where it hurts.
fn raise_soft_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    for resource in [Resource::Memlock, Resource::Nofile] {
        let Rlimit { maximum, .. } = getrlimit(resource);
        let _ = setrlimit(
            resource,
            Rlimit {
                current: maximum,
                maximum,
            },
        );
    }
}

/// The shard this thread is, if it is one.
#[must_use]
pub fn current_shard() -> Option<u16> {
    Shard::with(Shard::id)
}
