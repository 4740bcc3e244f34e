//! Migration: an actor moves to another shard between two turns, with all that it has.
//!
//! First the new home reserves a slot, while the actor goes on working. Then, between two of its
//! turns, its body and its mailbox leave in one message. The old slot becomes a forwarder (see
//! `forward`) and sends on whatever comes to the old address. That may overtake the actor: the new
//! slot keeps it until the actor has arrived and puts the older mailbox before it. So the messages
//! of a sender that goes on using one address stay in order. An address of the new home leads
//! straight there, and between the two ways no order is promised.
//!
//! The forwarder keeps what others know the actor by: links and monitors that name the old address
//! stay with it, and it tells them, in that name, when the new home reports the actor's end.

use std::any::TypeId;
use std::future::Future;
use std::time::Duration;

use crate::actor::{
    Actor, ActorId, Address, AsyncHandler, CallError, Context, ExitReason, Lane, Message, Monitor,
    SpawnOptions, prepare,
};
use crate::limits::{ERRAND_WITHIN, MIGRATIONS_MAX};
use crate::place::{NotRun, Porter, Where, not_run, run_there};
use crate::sched::{BodyVtable, Class, LANE_HIGH, LANE_NORMAL, LANE_SYSTEM, Slot, SlotKey, flag};
use crate::service;
use crate::task::SpawnError;
use crate::timer::sleep;

use super::Shard;
use super::forward::{Parcel, count};

/// Why an actor stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MigrateError {
    /// The calling thread is not a shard of the actor's runtime.
    #[error("actors are moved by a shard of their runtime, and this thread is none")]
    OffShard,
    /// The actor has stopped.
    #[error("the actor has stopped")]
    NoActor,
    /// The actor has moved from this address before.
    #[error("the actor has moved to {0:?}; move it from there")]
    Moved(ActorId),
    /// A supervisor of its shard restarts it in place, and cannot follow.
    #[error("the actor is supervised on its shard; move unsupervised actors only")]
    Supervised,
    /// Futures of asynchronous handlers run on its shard, and cannot follow.
    #[error("an asynchronous handler of the actor is under way; retry when it is done")]
    Waiting,
    /// A state time-out is set on its shard's wheel.
    #[error("the actor has a state time-out; it can move after its next transition")]
    Timed,
    /// It has moved [`MIGRATIONS_MAX`] times, and each time has left a forwarder.
    #[error("the actor has moved {MIGRATIONS_MAX} times, which is the limit")]
    TooOften,
    /// The new home could not be told; the actor goes on where it was.
    #[error("shard {0} takes no actor now; retry later")]
    Busy(u16),
    /// The new home has no room for it.
    #[error("the new home refuses the actor: {0}")]
    NoRoom(SpawnError),
    /// The actor's shard was not reached or did not answer.
    #[error("shard {0}, where the actor lives, was not reached or did not answer")]
    Unanswered(u16),
}

/// How an actor of one type leaves and where it arrives.
#[derive(Clone, Copy)]
struct Kind {
    type_id: fn() -> TypeId,
    /// Takes the body out, and makes what puts it into another slot.
    pack: unsafe fn(*mut ()) -> Body,
    /// Reserves a slot for it.
    reserve: fn(&Shard, SpawnOptions) -> Result<ActorId, SpawnError>,
}

type Body = Box<dyn FnOnce(&Slot) + Send>;

impl Kind {
    fn of<A: Actor + Send>() -> Self {
        Kind {
            type_id: TypeId::of::<A>,
            pack: pack::<A>,
            reserve: reserve::<A>,
        }
    }
}

/// # Safety
/// `body` is the live `A` of a slot that is between turns, and the slot forgets it.
unsafe fn pack<A: Actor + Send>(body: *mut ()) -> Body {
    // SAFETY: the caller's promise; slots hold what `install` put there.
    let actor: A = unsafe { Slot::take_out(body) };
    Box::new(move |slot| slot.install(actor))
}

fn reserve<A: Actor>(shard: &Shard, options: SpawnOptions) -> Result<ActorId, SpawnError> {
    let slot = prepare::<A>(shard, options)?;
    slot.set(flag::ARRIVING | flag::SUSPENDED);
    Ok(shard.id_of(slot))
}

/// An actor on its way: its body, its mailbox lane by lane, and what it knows.
struct Package {
    to: ActorId,
    body: Body,
    lanes: [Vec<Parcel>; 3],
    postponed: [Vec<Parcel>; 2],
    watching: Vec<(Monitor, ActorId)>,
    incarnation: u32,
    /// Where it has lived, oldest first.
    former: Vec<ActorId>,
    cpu: u64,
}

impl Shard {
    /// The slot of an actor that can leave, and its options.
    fn movable(&self, id: ActorId, kind: Kind) -> Result<(&Slot, SpawnOptions), MigrateError> {
        let key = SlotKey {
            index: id.index & !SlotKey::FROM_PARTS,
            generation: id.generation,
        };
        let slot = self.slots.get(key).ok_or(MigrateError::NoActor)?;
        // An address that was made from parts promises nothing about the type.
        let typed = |body: &&BodyVtable| (body.type_id)() == (kind.type_id)();
        if slot.vtable.get().filter(typed).is_none() {
            return Err(MigrateError::NoActor);
        }
        if let Some(to) = self.moved_to(slot) {
            return Err(MigrateError::Moved(to));
        }
        if let Some(cold) = slot.cold() {
            if cold.rebuild.borrow().is_some() {
                return Err(MigrateError::Supervised);
            }
            let live = |task: &SlotKey| self.slots.get(*task).is_some();
            if cold.tasks.borrow().iter().any(live) {
                return Err(MigrateError::Waiting);
            }
            if cold.state_timer.get().is_some() {
                return Err(MigrateError::Timed);
            }
            if cold.former.borrow().len() >= MIGRATIONS_MAX {
                return Err(MigrateError::TooOften);
            }
        }
        Ok((slot, *self.options.get(slot.options.get())))
    }

    /// Sends an actor that is between turns to the slot reserved at `to`, and forwards from now on.
    ///
    /// # Errors
    /// [`MigrateError`]: the actor is where it was.
    fn depart(&self, id: ActorId, kind: Kind, to: ActorId) -> Result<(), MigrateError> {
        let (slot, _) = self.movable(id, kind)?;
        let body = slot.body.get();
        if body.is_null() || slot.has(flag::RUNNING | flag::STOPPING) {
            return Err(MigrateError::Busy(to.shard));
        }
        slot.body.set(std::ptr::null_mut());
        let cold = slot.cold_or_new();
        let mut former = cold.former.take();
        former.push(self.id_of(slot));
        let package = Package {
            to,
            // SAFETY: the body is live, `movable` has compared its type, its slot is between turns
            // and has forgotten it above.
            body: unsafe { (kind.pack)(body) },
            lanes: [LANE_SYSTEM, LANE_HIGH, LANE_NORMAL]
                .map(|lane| self.collect(slot, &slot.lanes[lane])),
            postponed: [0, 1].map(|lane| self.collect(slot, &cold.postponed[lane])),
            watching: cold.watching.take(),
            incarnation: cold.incarnation.get(),
            former,
            cpu: slot.cpu.get(),
        };
        self.make_room(slot);
        cold.moved_to.set(Some(to));
        slot.set(flag::MOVED | flag::SUSPENDED);
        self.kinds.ended(slot.kind.get());
        self.stats().actors_moved.add(1);
        self.send_job(to.shard, Box::new(move |shard| shard.arrive(package)));
        Ok(())
    }

    fn arrive(&self, package: Package) {
        match self.slots.get(package.to.key()) {
            Some(slot) => self.settle_in(slot, package),
            // The shard stops.
            None => self.run_caught("drop of an actor that arrived too late", || drop(package)),
        }
    }

    /// Puts an actor into its slot: its mailbox before what has come there meanwhile.
    fn settle_in(&self, slot: &Slot, package: Package) {
        let cold = slot.cold_or_new();
        (package.body)(slot);
        for (lane, parcels) in package.lanes.into_iter().enumerate() {
            let older = Lane::new();
            for parcel in parcels {
                let size = self.unwrap(parcel, &older);
                if lane != LANE_SYSTEM {
                    count(slot, lane - LANE_HIGH, size);
                }
            }
            slot.lanes[lane].prepend(&self.envelopes, &older);
        }
        for (lane, parcels) in package.postponed.into_iter().enumerate() {
            for parcel in parcels {
                let size = self.unwrap(parcel, &cold.postponed[lane]);
                count(slot, lane, size);
            }
        }
        cold.watching.borrow_mut().extend(package.watching);
        cold.incarnation.set(package.incarnation);
        *cold.former.borrow_mut() = package.former;
        slot.cpu.set(package.cpu);
        slot.unset(flag::ARRIVING | flag::SUSPENDED);
        if let Some(class) = slot.wanted_class() {
            self.schedule(slot, class);
        }
    }

    /// Frees a reserved slot that nobody will arrive in.
    fn cancel_arrival(&self, to: ActorId) {
        if let Some(slot) = self.slots.get(to.key())
            && slot.has(flag::ARRIVING)
            && let Some(vtable) = slot.vtable.get()
        {
            self.end_body(slot, vtable, &ExitReason::Shutdown);
            self.stats().actors_stopped.add(1);
        }
    }
}

/// Asks the porter of an actor's shard to move it.
struct Move {
    id: ActorId,
    to: u16,
    kind: Kind,
}

impl Message for Move {
    type Reply = Result<ActorId, MigrateError>;
    const CLASS: Class = Class::High;
}

impl AsyncHandler<Move> for Porter {
    fn handle(
        &mut self,
        order: Move,
        _: &mut Context<'_, Self>,
    ) -> impl Future<Output = Result<ActorId, MigrateError>> + 'static {
        carry_out_or_log(order)
    }
}

async fn carry_out_or_log(order: Move) -> Result<ActorId, MigrateError> {
    let Move { id, to, kind } = order;
    let moved = carry_out(id, to, kind).await;
    if let Err(why) = &moved {
        tracing::warn!(actor = ?id, shard = to, %why, "an actor was not moved");
    }
    moved
}

/// Moves an actor of this shard.
async fn carry_out(id: ActorId, to: u16, kind: Kind) -> Result<ActorId, MigrateError> {
    let (here, options) = Shard::with(|shard| {
        let (_, options) = shard.movable(id, kind)?;
        Ok((shard.id(), options))
    })
    .unwrap_or(Err(MigrateError::OffShard))?;
    if here == to {
        return Ok(id);
    }
    let reserved = run_there(to, move |shard| (kind.reserve)(shard, options)).await;
    let reserved = reserved
        .map_err(|why| match why {
            NotRun::Busy => MigrateError::Busy(to),
            why => MigrateError::NoRoom(not_run(why, to)),
        })?
        .map_err(MigrateError::NoRoom)?;
    let departed = Shard::with(|shard| shard.depart(id, kind, reserved));
    let departed = departed.unwrap_or(Err(MigrateError::OffShard));
    if departed.is_err() {
        // A reserved slot must not stay behind, however long the way there is full.
        let free = move |shard: &Shard| shard.cancel_arrival(reserved);
        while let Err(NotRun::Busy) = run_there(to, free).await {
            sleep(Duration::from_millis(1)).await;
        }
    }
    departed.map(|()| reserved)
}

impl<A: Actor + Send> Context<'_, A> {
    /// Moves this actor to shard `to`: between two of its turns, as soon as that shard has made
    /// room. It keeps its mailbox, postponed messages, links and monitors, and its address goes on
    /// to work, by way of the old shard. [`Context::address`] then gives the new one, which leads
    /// straight there.
    ///
    /// Messages of timers that are set ([`Context::send_after`]) follow, but their keys are those
    /// of the old shard: cancel them before. Nothing is called at the new home: no `started`.
    ///
    /// # Errors
    /// [`MigrateError`] for what is known at once; what fails later is logged, and the actor goes
    /// on where it is.
    pub fn migrate_to(&mut self, to: u16) -> Result<(), MigrateError> {
        let id = self.id();
        let order = Shard::with(|shard| {
            shard.movable(id, Kind::of::<A>())?;
            let to = Where::Shard(to).resolve(shard);
            order::<A>(shard, id, to.map_err(MigrateError::NoRoom)?)
        });
        let (porter, order) = order.unwrap_or(Err(MigrateError::OffShard))?;
        porter
            .cast(order)
            .map_err(|_| MigrateError::Unanswered(id.shard))
    }
}

fn order<A: Actor + Send>(
    shard: &Shard,
    id: ActorId,
    to: u16,
) -> Result<(Address<Porter>, Move), MigrateError> {
    if shard.runtime_id() != id.runtime {
        return Err(MigrateError::OffShard);
    }
    let kind = Kind::of::<A>();
    let porter = service::address::<Porter>(shard, id.shard);
    Ok((porter, Move { id, to, kind }))
}

/// Moves an actor to where `place` says, and gives its new address: see [`Context::migrate_to`].
///
/// # Errors
/// [`MigrateError`]: the actor goes on where it was.
pub async fn migrate<A: Actor + Send>(
    address: Address<A>,
    place: Where,
) -> Result<Address<A>, MigrateError> {
    let id = address.id();
    let order = Shard::with(|shard| {
        let to = place.resolve(shard).map_err(MigrateError::NoRoom)?;
        order::<A>(shard, id, to)
    });
    let (porter, order) = order.unwrap_or(Err(MigrateError::OffShard))?;
    match porter.call(order, ERRAND_WITHIN).await {
        Ok(moved) => moved.map(Address::new),
        Err(CallError::OffShard(_)) => Err(MigrateError::OffShard),
        Err(_) => Err(MigrateError::Unanswered(id.shard)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::forward::Mark;
    use super::*;
    use crate::actor::{Handler, Signal, spawn_actor};
    use crate::{Config, Runtime};

    #[derive(Default)]
    struct Listener(Vec<u64>);
    impl Actor for Listener {}

    struct Word(u64);
    impl Message for Word {
        type Reply = Vec<u64>;
    }
    impl Handler<Word> for Listener {
        fn handle(&mut self, word: Word, _: &mut Context<'_, Self>) -> Vec<u64> {
            self.0.push(word.0);
            self.0.clone()
        }
    }

    /// The id of an actor with these words in its mailbox.
    fn listener_with(words: std::ops::Range<u64>) -> ActorId {
        let listener = spawn_actor(SpawnOptions::default(), Listener::default()).unwrap();
        words.for_each(|n| listener.cast(Word(n)).unwrap());
        listener.id()
    }

    #[test]
    fn what_overtakes_an_actor_waits_and_comes_after_its_mailbox() {
        let config = Config {
            shards: Some(1),
            ..Config::default()
        };
        let runtime = Runtime::start(&config).unwrap();
        let heard = runtime.handle().run_on(0, || async {
            let (old, forwarder) = (listener_with(0..3), listener_with(3..6));
            let new = Shard::with(|shard| {
                let take = |id: ActorId| {
                    let slot = shard.slots.get(id.key()).unwrap();
                    shard.collect(slot, &slot.lanes[LANE_NORMAL])
                };
                let new = reserve::<Listener>(shard, SpawnOptions::default()).unwrap();
                shard.take_batch(new, take(forwarder), Mark { forwarder, lane: 1 });
                shard.arrive(Package {
                    to: new,
                    body: Box::new(|slot| slot.install(Listener::default())),
                    lanes: [Vec::new(), Vec::new(), take(old)],
                    postponed: [Vec::new(), Vec::new()],
                    watching: Vec::new(),
                    incarnation: 0,
                    former: Vec::new(),
                    cpu: 0,
                });
                new
            });
            let listener = Address::<Listener>::new(new.unwrap());
            listener.call(Word(6), Duration::from_secs(5)).await.ok()
        });
        assert_eq!(heard.unwrap(), Some((0..7).collect()));
    }

    #[test]
    fn a_kill_that_overtakes_an_actor_waits_for_it() {
        let config = Config {
            shards: Some(1),
            ..Config::default()
        };
        let runtime = Runtime::start(&config).unwrap();
        let lives =
            |id: ActorId| Shard::with(|shard| shard.slots.get(id.key()).is_some()).unwrap_or(false);
        let seen = runtime.handle().run_on(0, move || async move {
            let new = Shard::with(|shard| {
                let new = reserve::<Listener>(shard, SpawnOptions::default()).unwrap();
                shard.signal(new, Signal::Kill);
                new
            })
            .unwrap();
            sleep(Duration::from_millis(5)).await;
            let reserved = lives(new);
            Shard::with(|shard| {
                shard.arrive(Package {
                    to: new,
                    body: Box::new(|slot| slot.install(Listener::default())),
                    lanes: [Vec::new(), Vec::new(), Vec::new()],
                    postponed: [Vec::new(), Vec::new()],
                    watching: Vec::new(),
                    incarnation: 0,
                    former: Vec::new(),
                    cpu: 0,
                });
            });
            sleep(Duration::from_millis(5)).await;
            (reserved, lives(new))
        });
        assert_eq!(seen.unwrap(), (true, false));
    }
}
