//! A shard: one pinned thread and everything it owns.
//!
//! Nothing in here is shared: other threads reach a shard through its mesh lanes, its doorbell and
//! its injection queue, and read its statistics.

mod post;
mod run;
mod turn;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::actor::{MessageVtable, NodePool, ReplyCells, ReplyTo};
use crate::clock::{self, Cycles};
use crate::driver::Driver;
use crate::mesh::Mesh;
use crate::registry::Registry;
use crate::runtime::{Port, Shared};
use crate::sched::{Class, Quanta, Ready, Slot, SlotKey, Slots};
use crate::stats::ShardStats;
use crate::task::{Polling, SpawnError};
use crate::timer::Wheel;

pub(crate) use run::run;

/// Work that a thread outside the shard asked for.
pub(crate) type Job = Box<dyn FnOnce(&Shard) + Send>;

/// How far a shard is on its way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Serving.
    Running = 0,
    /// Taking nothing new, finishing what is under way.
    Draining = 1,
    /// Stopping what is left.
    Stopping = 2,
}

/// The state of one shard, used by its own thread only.
pub(crate) struct Shard {
    id: u16,
    shared: Arc<Shared>,
    port: Arc<Port>,
    pub(crate) slots: Slots,
    pub(crate) nodes: NodePool,
    pub(crate) replies: ReplyCells,
    ready: Ready,
    pub(crate) mesh: Mesh,
    pub(crate) timers: RefCell<Wheel>,
    /// Calls of the present tick, whose deadlines are not on the wheel yet: most are answered
    /// before they need to be.
    watched: RefCell<Vec<(ReplyTo, Duration)>>,
    pub(crate) registry: RefCell<Registry>,
    /// `None` once the shard has closed its sockets on the way down.
    pub(crate) driver: RefCell<Option<Driver>>,
    phase: Cell<Phase>,
    /// TSC at the end of the last turn.
    now: Cell<Cycles>,
    /// `CLOCK_MONOTONIC` and TSC as of the last housekeeping.
    epoch: Cell<(u64, Cycles)>,
    running: Cell<*const Slot>,
    running_class: Cell<Class>,
    running_message: Cell<Option<&'static MessageVtable>>,
    pub(crate) running_reply: Cell<ReplyTo>,
    pub(crate) polling: Cell<Polling>,
    /// Something more urgent than the running turn has become ready.
    resched: Cell<bool>,
    /// The shard has slept: timers and heartbeat are looked at in the next tick.
    house_due: Cell<bool>,
    /// Thresholds of `turn`, in cycles.
    stall: Cycles,
    slow: Cycles,
}

thread_local! {
    static CURRENT: Cell<*const Shard> = const { Cell::new(std::ptr::null()) };
}

impl Shard {
    pub(crate) fn new(id: u16, shared: Arc<Shared>, mesh: Mesh, driver: Driver) -> Rc<Self> {
        Rc::new(Shard {
            id,
            port: shared.ports[id as usize].clone(),
            shared,
            slots: Slots::new(),
            nodes: NodePool::new(),
            replies: ReplyCells::new(),
            ready: Ready::new(Quanta::standard()),
            mesh,
            watched: RefCell::new(Vec::new()),
            timers: RefCell::new(Wheel::new(clock::monotonic_ns())),
            registry: RefCell::new(Registry::default()),
            driver: RefCell::new(Some(driver)),
            phase: Cell::new(Phase::Running),
            now: Cell::new(clock::cycles()),
            epoch: Cell::new((clock::monotonic_ns(), clock::cycles())),
            running: Cell::new(std::ptr::null()),
            running_class: Cell::new(Class::High),
            running_message: Cell::new(None),
            running_reply: Cell::new(ReplyTo::NONE),
            polling: Cell::new((
                std::ptr::null(),
                SlotKey {
                    index: 0,
                    generation: 0,
                },
            )),
            resched: Cell::new(false),
            house_due: Cell::new(true),
            stall: Self::stall_cycles(),
            slow: Self::slow_cycles(),
        })
    }

    /// Makes `shard` the current shard of this thread until the guard is dropped.
    pub(crate) fn enter(shard: Rc<Shard>) -> Entered {
        CURRENT.set(Rc::as_ptr(&shard));
        Entered(shard)
    }

    /// Calls `f` with the shard of this thread; `None` on any other thread.
    #[inline(always)]
    pub(crate) fn with<R>(f: impl FnOnce(&Shard) -> R) -> Option<R> {
        // SAFETY: `CURRENT` is non-null only while an `Entered` guard on this very thread keeps the
        // shard alive, and the reference does not leave this call.
        unsafe { CURRENT.get().as_ref() }.map(f)
    }

    /// As [`Shard::with`], giving `message` back on a thread that is no shard.
    #[inline(always)]
    pub(crate) fn with_message<M, R>(message: M, f: impl FnOnce(&Shard, M) -> R) -> Result<R, M> {
        // SAFETY: as in `with`.
        match unsafe { CURRENT.get().as_ref() } {
            Some(shard) => Ok(f(shard, message)),
            None => Err(message),
        }
    }

    #[inline(always)]
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    #[inline(always)]
    pub(crate) fn runtime_id(&self) -> u16 {
        self.shared.id
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    #[inline(always)]
    pub(crate) fn stats(&self) -> &ShardStats {
        &self.port.stats
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// `CLOCK_MONOTONIC` in nanoseconds, by TSC since the last housekeeping.
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        let (ns, at) = self.epoch.get();
        ns + clock::cycles_to_ns(clock::cycles().saturating_sub(at))
    }

    /// Sees to it that `reply` fails when no answer comes within `deadline`.
    #[inline]
    pub(crate) fn watch(&self, reply: ReplyTo, deadline: Duration) {
        self.watched.borrow_mut().push((reply, deadline));
    }

    /// Takes a slot for a new actor or task.
    pub(crate) fn take_slot(&self) -> Result<&Slot, SpawnError> {
        if self.phase.get() == Phase::Stopping {
            return Err(SpawnError::ShuttingDown);
        }
        self.slots.take().ok_or(SpawnError::Full {
            limit: crate::limits::ACTORS_MAX,
        })
    }
}

/// Keeps a shard current on its thread.
pub(crate) struct Entered(Rc<Shard>);

impl std::ops::Deref for Entered {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        &self.0
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(std::ptr::null());
    }
}
