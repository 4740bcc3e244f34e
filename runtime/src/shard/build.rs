//! What a shard is built from.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::accounts::Kinds;
use crate::actor::{ActorId, EnvelopePool, OptionsTable, ReplyCells, ReplyTo};
use crate::clock::Time;
use crate::driver::Driver;
use crate::groups::View;
use crate::limits::TICK_TURNS;
use crate::mesh::Mesh;
use crate::registry::Registry;
use crate::runtime::{Scheduling, Shared};
use crate::sched::{Class, Quanta, Ready, Slots};
use crate::service;
use crate::timer::Wheel;

use super::codel::{Codel, SHED_NOTHING};
use super::lap::Lap;
use super::quarantine::Quarantine;
use super::{Phase, Shard, Thresholds};

/// A handler that takes longer than this has its time read after every message.
const SLOW_HANDLER_NS: u64 = 2_000;
/// A handler that takes less than this is one of many.
const BRIEF_HANDLER_NS: u64 = 200;
/// A turn longer than this is counted as a stall.
const STALL_NS: u64 = 1_000_000;

/// Everything that comes from outside a shard: its clock and its driver may be a simulator's.
pub(crate) struct Parts {
    pub(crate) id: u16,
    pub(crate) shared: Arc<Shared>,
    pub(crate) mesh: Mesh,
    /// `None`: no sockets (a simulation without a network).
    pub(crate) driver: Option<Driver>,
    pub(crate) time: Time,
    /// Seed of jitter and of random choices.
    pub(crate) seed: u64,
}

impl Thresholds {
    fn of(time: &Time) -> Self {
        Thresholds {
            stall: time.to_cycles(STALL_NS),
            slow: time.to_cycles(SLOW_HANDLER_NS),
            brief: time.to_cycles(BRIEF_HANDLER_NS),
            microsecond: time.to_cycles(1_000).max(1),
            house: time.to_cycles(super::house::NS),
        }
    }
}

impl Shard {
    /// Builds a shard.
    ///
    /// # Errors
    /// The system's, when the address space of the process is limited.
    pub(crate) fn new(parts: Parts, scheduling: &Scheduling) -> io::Result<Rc<Self>> {
        let Parts {
            id,
            shared,
            mesh,
            driver,
            time,
            seed,
        } = parts;
        let port = shared.ports[id as usize].clone();
        let (now_ns, now) = (time.monotonic_ns(), time.cycles());
        let quanta = Quanta::standard(&time, scheduling.turn_scale);
        let shares = scheduling.shares();
        let shard = Rc::new(Shard {
            id,
            place: ActorId::place(shared.id, id),
            stall_watch: shared.stalls.watch(id as usize).clone(),
            from: u8::try_from(id).unwrap_or(u8::MAX),
            slots: Slots::new()?,
            envelopes: EnvelopePool::new()?,
            replies: ReplyCells::new()?,
            options: OptionsTable::new()?,
            kinds: Kinds::new(port.accounts.clone()),
            ready: Ready::new(scheduling.policy, quanta, &shares, &time),
            groups: shares.len(),
            mesh,
            credits: RefCell::new(shared.ports.iter().map(|_| Default::default()).collect()),
            credits_due: Cell::new(0),
            watched: RefCell::new(Vec::new()),
            timers: RefCell::new(Wheel::new(now_ns)),
            registry: RefCell::new(Registry::default()),
            view: RefCell::new(View::default()),
            driver: RefCell::new(driver),
            phase: Cell::new(Phase::Running),
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            now: Cell::new(now),
            epoch: Cell::new((now_ns, now)),
            running: Cell::new(std::ptr::null()),
            running_class: Cell::new(Class::System),
            running_reply: Cell::new(ReplyTo::NONE),
            specimen: Cell::new(None),
            polling: Cell::new(Shard::NOT_POLLING),
            resched: Cell::new(false),
            house_due: Cell::new(true),
            clock_is_fresh: Cell::new(false),
            ticks: Cell::new(0),
            house_kept_at: Cell::new(0),
            swept: Cell::new(0),
            delays_seen: Cell::new((0, 0)),
            lap: Lap::new(),
            codel: Codel::new(&scheduling.shedding, &time),
            shed: Cell::new(SHED_NOTHING),
            monitors: Cell::new(0),
            state_timeouts: Cell::new(0),
            quarantine: RefCell::new(Quarantine::new()),
            spans: scheduling.trace_messages.then(RefCell::default),
            thresholds: Thresholds::of(&time),
            turns_a_tick: Cell::new(TICK_TURNS),
            time,
            shared,
            port,
        });
        service::start(&shard)?;
        Ok(shard)
    }
}
