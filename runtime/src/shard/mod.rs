//! A shard: one pinned thread and everything it owns.
//!
//! Nothing in here is shared: other threads reach a shard through its mesh lanes, its doorbell and
//! its injection queue, and read its statistics.

mod build;
mod codel;
mod credit;
mod end;
mod forward;
mod house;
mod inspect;
mod lap;
mod migrate;
mod post;
mod quarantine;
mod receive;
mod run;
mod signal;
mod state;
mod trace;
mod turn;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::accounts::Kinds;
use crate::actor::{ActorId, EnvelopePool, OptionsTable, ReplyCells, ReplyTo};
use crate::clock::{Cycles, Time};
use crate::driver::Driver;
use crate::groups::View;
use crate::mesh::Mesh;
use crate::mesh::credit::{Credits, Returns};
use crate::registry::Registry;
use crate::runtime::{Port, Shared};
use crate::sched::{Class, Ready, Slot, SlotKey, Slots, flag};
use crate::stall::Watch;
use crate::stats::ShardStats;
use crate::task::{Polling, SpawnError};
use crate::timer::Wheel;

pub(crate) use build::Parts;
pub use codel::Shedding;
pub(crate) use codel::{SHED_NOTHING, is_shed};
pub use inspect::ActorInfo;
pub use migrate::{MigrateError, migrate};
pub use quarantine::Quarantined;
pub(crate) use run::{Next, run};

use codel::Codel;
use lap::Lap;
use quarantine::Quarantine;

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

/// Spans that a turn is judged by, in cycles.
struct Thresholds {
    /// A turn longer than this is a stall.
    stall: Cycles,
    /// A handler longer than this has its time read after every message.
    slow: Cycles,
    /// A handler shorter than this is one of many.
    brief: Cycles,
    microsecond: Cycles,
    /// A housekeeping longer ago than this is too long ago.
    house: Cycles,
}

/// The state of one shard, used by its own thread only.
pub(crate) struct Shard {
    id: u16,
    /// See [`ActorId::place`].
    place: u32,
    /// The shard as a sender's mark: there are at most 64.
    from: u8,
    shared: Arc<Shared>,
    port: Arc<Port>,
    /// What the stall detector sees of the present turn.
    stall_watch: Arc<Watch>,
    pub(crate) slots: Slots,
    pub(crate) envelopes: EnvelopePool,
    pub(crate) replies: ReplyCells,
    pub(crate) options: OptionsTable,
    pub(crate) kinds: Kinds,
    pub(crate) ready: Ready,
    groups: usize,
    pub(crate) mesh: Mesh,
    /// For each peer, the credits of ours under way there, and those of its to be given back.
    credits: RefCell<Vec<(Credits, Returns)>>,
    /// Bit per peer with credits to be given back.
    credits_due: Cell<u64>,
    pub(crate) timers: RefCell<Wheel>,
    /// Calls of the present tick, whose deadlines are not on the wheel yet: most are answered
    /// before they need to be.
    watched: RefCell<Vec<(ReplyTo, Duration)>>,
    pub(crate) registry: RefCell<Registry>,
    /// The process groups of the runtime, as this shard has been told.
    pub(crate) view: RefCell<View>,
    /// `None` once the shard has closed its sockets on the way down.
    pub(crate) driver: RefCell<Option<Driver>>,
    phase: Cell<Phase>,
    pub(crate) time: Time,
    pub(crate) rng: RefCell<fastrand::Rng>,
    /// When the clock was last read.
    now: Cell<Cycles>,
    /// `CLOCK_MONOTONIC` and cycles as of the last housekeeping.
    epoch: Cell<(u64, Cycles)>,
    running: Cell<*const Slot>,
    running_class: Cell<Class>,
    pub(crate) running_reply: Cell<ReplyTo>,
    /// A copy of the message being handled, if its type makes one.
    pub(crate) specimen: Cell<Option<Box<dyn Any + Send>>>,
    pub(crate) polling: Cell<Polling>,
    /// Something more urgent than the running turn has become ready.
    resched: Cell<bool>,
    /// The shard has slept: timers and heartbeat are looked at in the next tick.
    house_due: Cell<bool>,
    /// Nothing has happened since the clock was read at the end of the last turn.
    clock_is_fresh: Cell<bool>,
    ticks: Cell<u64>,
    house_kept_at: Cell<Cycles>,
    swept: Cell<u32>,
    /// Sum of queue delays and number of turns as of the last housekeeping.
    delays_seen: Cell<(Cycles, u64)>,
    lap: Lap,
    codel: Codel,
    /// What the shard refuses now (see `codel`), and the class of the message asks for it.
    shed: Cell<u8>,
    /// Serial of the last monitor.
    monitors: Cell<u64>,
    /// Serial of the last time-out of a state.
    state_timeouts: Cell<u32>,
    quarantine: RefCell<Quarantine>,
    /// Messages carry the span they were sent in: the spans of those in mailboxes.
    spans: Option<RefCell<trace::Spans>>,
    thresholds: Thresholds,
    turns_a_tick: Cell<u32>,
}

thread_local! {
    static CURRENT: Cell<*const Shard> = const { Cell::new(std::ptr::null()) };
}

impl Shard {
    /// Makes `shard` the current shard of this thread until the guard is dropped.
    pub(crate) fn enter(shard: Rc<Shard>) -> Entered {
        let outer = CURRENT.replace(Rc::as_ptr(&shard));
        Entered { shard, outer }
    }

    /// Changes after how many turns the shard looks at rings, I/O and timers.
    pub(crate) fn set_turns_a_tick(&self, turns: u32) {
        self.turns_a_tick.set(turns.max(1));
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

    /// What its messages carry as their sender.
    pub(crate) fn mark(&self) -> u8 {
        self.from
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

    /// Scheduling groups that there are, the default one included.
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    /// Changes the shares of a scheduling group on this shard.
    pub(crate) fn set_shares(&self, group: usize, shares: u32) {
        self.ready.set_shares(group, shares);
    }

    /// The id of what is in `slot`.
    #[inline]
    pub(crate) fn id_of(&self, slot: &Slot) -> ActorId {
        ActorId {
            runtime: self.runtime_id(),
            shard: self.id,
            index: slot.index,
            generation: slot.generation.get(),
        }
    }

    /// `CLOCK_MONOTONIC` in nanoseconds, by the counter since the last housekeeping.
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        let (ns, at) = self.epoch.get();
        ns + self.time.to_ns(self.time.cycles().saturating_sub(at))
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
        let slot = self.slots.take().ok_or(SpawnError::Full {
            limit: crate::limits::ACTORS_MAX,
        })?;
        // As if it had run just now: its idle time counts from here.
        slot.flags.set(flag::ACTIVE);
        slot.cpu.set(0);
        Ok(slot)
    }

    /// Whether code of `slot`'s own runs right now.
    pub(crate) fn is_running(&self, slot: &Slot) -> bool {
        slot.has(flag::RUNNING)
    }

    /// The task that is being polled with its own waker, if `key` is it.
    pub(crate) const NOT_POLLING: Polling = (std::ptr::null(), SlotKey::NONE);
}

/// Keeps a shard current on its thread.
pub(crate) struct Entered {
    shard: Rc<Shard>,
    /// A simulator steps one shard after the other; what it builds may enter another in between.
    outer: *const Shard,
}

impl std::ops::Deref for Entered {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
    }
}
