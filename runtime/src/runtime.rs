//! The runtime: starts the shards, reaches them from outside, takes them down in order.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use ninefold_tuning::facts::cpu::Topology;

use crate::blocking::BlockingPool;
use crate::clock;
use crate::driver::{Driver, DriverError};
use crate::limits::{INJECT_MAX, SPIN, STOP_WITHIN};
use crate::mesh::{Doorbell, Mesh, full_mesh};
use crate::panics;
use crate::placement::{Placement, PlacementError, Plan};
use crate::sched::Class;
use crate::shard::{self, Job, Phase, Shard};
use crate::stats::ShardStats;
use crate::task::{self, TaskWaker};
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
}

impl Default for Config {
    fn default() -> Self {
        Config {
            shards: None,
            placement: Placement::default(),
            own_control_cpu: true,
            blocking_threads: 2,
            spin: None,
        }
    }
}

/// Why a runtime did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The CPUs do not fit the wish.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// A shard has no io_uring.
    #[error("shard {shard}: {error}")]
    Driver {
        /// Which shard.
        shard: usize,
        /// Why, and what to change.
        error: DriverError,
    },
    /// glommio's executor did not come up.
    #[error(
        "shard {shard}: wanted a glommio executor, but {error}; it needs io_uring and 512 KiB of \
         lockable memory (`ulimit -l`)"
    )]
    Executor {
        /// Which shard.
        shard: usize,
        /// glommio's words.
        error: String,
    },
    /// The control plane's executor did not come up.
    #[error(
        "control plane: wanted a glommio executor, but {0}; it needs io_uring and 512 KiB of \
         lockable memory (`ulimit -l`)"
    )]
    Control(String),
    /// No thread or descriptor could be made.
    #[error("could not make a thread or descriptor for a shard: {0}")]
    System(#[from] io::Error),
}

/// How other threads reach one shard.
pub(crate) struct Port {
    pub(crate) doorbell: Doorbell,
    wake_fd: OwnedFd,
    pub(crate) jobs: (Sender<Job>, Receiver<Job>),
    pub(crate) wakes: (Sender<Arc<TaskWaker>>, Receiver<Arc<TaskWaker>>),
    /// Jobs sent and not yet run.
    pub(crate) injected: AtomicUsize,
    pub(crate) stats: ShardStats,
}

impl Port {
    fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Port {
            doorbell: Doorbell::new(),
            wake_fd: eventfd(0, EventfdFlags::CLOEXEC)?,
            jobs: crossbeam_channel::bounded(INJECT_MAX),
            // Bounded by the number of tasks: each is queued at most once (`TaskWaker::queued`).
            wakes: crossbeam_channel::unbounded(),
            injected: AtomicUsize::new(0),
            stats: ShardStats::default(),
        })
    }

    /// Ends the shard's park.
    pub(crate) fn wake(&self) {
        // An eventfd refuses a write only at 2^64 - 1 unread wake-ups.
        let _ = rustix::io::write(&self.wake_fd, &1_u64.to_ne_bytes());
    }

    fn ring_injected(&self) {
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
    phase: AtomicU8,
}

impl Shared {
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    fn enter_phase(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        self.ports.iter().for_each(|port| port.ring_injected());
    }

    pub(crate) fn inject_wake(&self, shard: u16, waker: Arc<TaskWaker>) {
        if let Some(port) = self.ports.get(shard as usize)
            && port.wakes.0.send(waker).is_ok()
        {
            port.ring_injected();
        }
    }
}

/// Reaches the shards from any thread.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// Why a job did not reach its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// There is no such shard.
    #[error("wanted shard {0}, which does not exist")]
    NoShard(usize),
    /// [`INJECT_MAX`] jobs wait already.
    #[error("the shard's injection queue is full ({INJECT_MAX} jobs)")]
    Full,
    /// The work panicked or its shard stopped before it was done.
    #[error("the work ended without a result: it panicked or the shard stopped")]
    Lost,
}

impl Handle {
    /// Number of shards.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.0.ports.len()
    }

    /// Counters and histograms of one shard, live.
    #[must_use]
    pub fn stats(&self, shard: usize) -> Option<&ShardStats> {
        self.0.ports.get(shard).map(|p| &p.stats)
    }

    /// Jobs that wait for a thread of the blocking pool.
    #[must_use]
    pub fn blocking_queued(&self) -> usize {
        self.0.blocking.queued()
    }

    /// How far the runtime is on its way down.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.0.phase()
    }

    /// Asks everything to finish: futures of [`draining`] resolve, nothing is stopped yet.
    pub fn drain(&self) {
        self.0.enter_phase(Phase::Draining);
    }

    /// Starts the future that `make` builds as a task of `shard`.
    ///
    /// # Errors
    /// [`InjectError`] when there is no such shard or its queue is full.
    pub fn spawn_on<F: Future<Output = ()> + 'static>(
        &self,
        shard: usize,
        make: impl FnOnce() -> F + Send + 'static,
    ) -> Result<(), InjectError> {
        let port = self.0.ports.get(shard).ok_or(InjectError::NoShard(shard))?;
        let job: Job = Box::new(move |shard: &Shard| {
            if let Err(why) = task::spawn(shard, Class::Normal, make()) {
                tracing::warn!(%why, "a task from outside was not started");
            }
        });
        port.injected.fetch_add(1, Ordering::AcqRel);
        port.jobs.0.try_send(job).map_err(|e| {
            port.injected.fetch_sub(1, Ordering::AcqRel);
            match e {
                TrySendError::Full(_) => InjectError::Full,
                TrySendError::Disconnected(_) => InjectError::Lost,
            }
        })?;
        port.ring_injected();
        Ok(())
    }

    /// Runs the future that `make` builds on `shard` and blocks this thread until it is done. Not
    /// for threads that are shards.
    ///
    /// # Errors
    /// [`InjectError`]; `Lost` when the future panicked or the shard stopped first.
    pub fn run_on<T: Send + 'static, F: Future<Output = T> + 'static>(
        &self,
        shard: usize,
        make: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, InjectError> {
        let (result, wait) = crossbeam_channel::bounded(1);
        self.spawn_on(shard, move || {
            let future = make();
            async move {
                // The waiting thread may have given up.
                let _ = result.send(future.await);
            }
        })?;
        wait.recv().map_err(|_| InjectError::Lost)
    }
}

/// Resolves when the runtime begins to drain: the shard polls every task once then.
pub async fn draining() {
    std::future::poll_fn(|_| {
        if is_draining() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

/// Whether the runtime of this shard drains or has ended.
#[must_use]
pub fn is_draining() -> bool {
    Shard::with(Shard::phase) != Some(Phase::Running)
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
}

static RUNTIMES: AtomicU16 = AtomicU16::new(0);

impl Runtime {
    /// Starts the shards and waits until each is primed.
    ///
    /// # Errors
    /// [`StartError`], which says what was wanted, what was found and what to do.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        panics::install_hook();
        clock::calibrate();
        raise_soft_limits();
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
        let id = RUNTIMES.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared {
            id,
            ports,
            blocking,
            phase: AtomicU8::new(0),
        });
        let crowded = plan.oversubscribed || plan.control_shared;
        let spin = config
            .spin
            .unwrap_or(if crowded { Duration::ZERO } else { SPIN });
        let (ready, started) = crossbeam_channel::bounded(count);
        let mut shards = Vec::with_capacity(count);
        for (index, mesh) in full_mesh(count).into_iter().enumerate() {
            let seat = Seat {
                index,
                mesh,
                shared: shared.clone(),
                spin,
                ready: ready.clone(),
            };
            let name = format!("shard-{index}");
            shards.push(thread::spawn_pinned(name, plan.shards[index], move || {
                seat.run()
            })?);
        }
        drop(ready);
        let runtime = Runtime {
            handle: Handle(shared),
            plan,
            shards,
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
        self.handle.0.ports.iter().map(alive).sum()
    }

    /// Stops the shards. A thread that does not come back, because what runs on it blocks, is left
    /// behind after [`STOP_WITHIN`].
    fn stop(&mut self) -> usize {
        self.handle.0.enter_phase(Phase::Stopping);
        let until = clock::monotonic_ns() + nanoseconds(STOP_WITHIN);
        let ended = |shards: &[JoinHandle<()>]| shards.iter().all(JoinHandle::is_finished);
        while !ended(&self.shards) && clock::monotonic_ns() < until {
            thread::pause(Duration::from_millis(1));
        }
        let lost = |thread: JoinHandle<()>| !thread.is_finished() || thread.join().is_err();
        self.shards.drain(..).map(lost).filter(|&lost| lost).count()
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

/// Everything a shard's thread needs to begin.
struct Seat {
    index: usize,
    mesh: Mesh,
    shared: Arc<Shared>,
    spin: Duration,
    ready: Sender<Result<(), StartError>>,
}

/// glommio's submission queue entries per ring; the shard's own I/O has its own ring.
const GLOMMIO_RING: usize = 32;
/// glommio's registered I/O memory; its default of 10 MiB an executor would be pinned for nothing.
const GLOMMIO_IO_MEMORY: usize = 64 << 10;
/// How often glommio's own sources get their turn while the shard is busy.
const GLOMMIO_PREEMPT: Duration = Duration::from_millis(10);

impl Seat {
    fn run(self) {
        let Seat {
            index,
            mesh,
            shared,
            spin,
            ready,
        } = self;
        // Before glommio, which panics instead of saying that io_uring is forbidden.
        let driver = match Driver::new(&shared.ports[index].wake_fd) {
            Ok(driver) => driver,
            Err(error) => {
                let _ = ready.send(Err(StartError::Driver {
                    shard: index,
                    error,
                }));
                return;
            }
        };
        let executor = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
            .name("shard")
            .ring_depth(GLOMMIO_RING)
            .io_memory(GLOMMIO_IO_MEMORY)
            .preempt_timer(GLOMMIO_PREEMPT)
            .make();
        let executor = match executor {
            Ok(executor) => executor,
            Err(e) => {
                let error = e.to_string();
                let _ = ready.send(Err(StartError::Executor {
                    shard: index,
                    error,
                }));
                return;
            }
        };
        executor.run(async move {
            // The first sleep of an executor registers with membarrier and takes milliseconds.
            glommio::timer::sleep(Duration::from_micros(100)).await;
            let id = u16::try_from(index).unwrap_or(u16::MAX);
            let shard = Shard::enter(Shard::new(id, shared, mesh, driver));
            let _ = ready.send(Ok(()));
            drop(ready);
            shard::run(&shard, u64::try_from(spin.as_nanos()).unwrap_or(0)).await;
        });
    }
}

/// The shard this thread is, if it is one.
#[must_use]
pub fn current_shard() -> Option<u16> {
    Shard::with(Shard::id)
}

/// The handle of the runtime that this thread is a shard of.
#[must_use]
pub fn current_handle() -> Option<Handle> {
    Shard::with(|shard| Handle(shard.shared().clone()))
}
