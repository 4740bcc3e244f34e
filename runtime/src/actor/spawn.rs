//! Starting actors: the body in its slot, the vtable of its type.

use super::exit::{ExitReason, Signal};
use super::supervisor::Child;
use super::{Actor, Address, Context, SpawnOptions};
use crate::limits::{GROUPS_MAX, OPTIONS_MAX};
use crate::sched::{BodyVtable, Class, Slot};
use crate::shard::Shard;
use crate::task::SpawnError;

/// Builds an actor again after a failure, and says who decides about that.
pub(crate) trait Rebuild {
    /// Puts a fresh body into the vacant slot.
    ///
    /// # Errors
    /// Why the actor could not be built.
    fn rebuild(&mut self, slot: &Slot) -> Result<(), String>;

    /// Which child of which supervisor the actor is.
    fn child(&self) -> Child;
}

struct Glue<A>(std::marker::PhantomData<A>);

impl<A: Actor> Glue<A> {
    const VTABLE: &'static BodyVtable = &BodyVtable {
        name: std::any::type_name::<A>,
        type_id: std::any::TypeId::of::<A>,
        poll: None,
        started: started::<A>,
        signal: signal::<A>,
        stopped: stopped::<A>,
        hibernate: hibernate::<A>,
        destroy: destroy::<A>,
        traps_exits: A::TRAPS_EXITS,
    };
}

/// The table of actors of type `A`: tables of two types differ, but one type may have several.
#[inline(always)]
pub(crate) fn vtable_of<A: Actor>() -> &'static BodyVtable {
    Glue::<A>::VTABLE
}

/// # Safety
/// For this and the functions below: `body` is the live `A` of a slot that is in its own turn, so
/// that no other reference to it exists.
unsafe fn started<A: Actor>(body: *mut (), slot: &Slot, shard: &Shard) {
    // SAFETY: see above.
    let actor = unsafe { &mut *body.cast::<A>() };
    actor.started(&mut Context::new(shard, slot));
}

/// # Safety
/// As [`started`].
unsafe fn signal<A: Actor>(body: *mut (), signal: Signal, slot: &Slot, shard: &Shard) {
    // SAFETY: see `started`.
    let actor = unsafe { &mut *body.cast::<A>() };
    let context = &mut Context::new(shard, slot);
    match signal {
        Signal::Exit(exit) | Signal::Ask(exit) => actor.exited(exit, context),
        Signal::Down(down) => actor.down(down, context),
        Signal::Kill
        | Signal::Link(_)
        | Signal::Unlink(_)
        | Signal::Watch(..)
        | Signal::Unwatch(_)
        | Signal::Ended(_) => {}
    }
}

/// # Safety
/// As [`started`].
unsafe fn stopped<A: Actor>(body: *mut (), why: &ExitReason) {
    // SAFETY: see `started`.
    unsafe { &mut *body.cast::<A>() }.stopped(why);
}

/// # Safety
/// As [`started`].
unsafe fn hibernate<A: Actor>(body: *mut ()) {
    // SAFETY: see `started`.
    unsafe { &mut *body.cast::<A>() }.hibernate();
}

/// # Safety
/// As [`started`], and the body is used no more.
unsafe fn destroy<A: Actor>(body: *mut ()) {
    // SAFETY: the body was installed as an `A` by `install`, and the slot is done with it.
    unsafe { Slot::destroy::<A>(body) };
}

/// Starts an actor that is not restarted: a panic stops it.
///
/// # Errors
/// [`SpawnError`] when this thread is no shard, the shard is full or shutting down, the options
/// name a group that there is not, or the actor panicked in [`Actor::started`].
pub fn spawn_actor<A: Actor>(options: SpawnOptions, actor: A) -> Result<Address<A>, SpawnError> {
    Shard::with(|shard| {
        let slot = place(shard, options, actor)?;
        start(shard, slot)
    })
    .unwrap_or(Err(SpawnError::OffShard))
}

/// Puts `actor` into a slot of `shard`; it has not started yet.
pub(crate) fn place<A: Actor>(
    shard: &Shard,
    options: SpawnOptions,
    actor: A,
) -> Result<&Slot, SpawnError> {
    let slot = prepare::<A>(shard, options)?;
    slot.install(actor);
    Ok(slot)
}

/// Takes a slot for an actor of type `A`, still vacant.
pub(crate) fn prepare<A: Actor>(shard: &Shard, options: SpawnOptions) -> Result<&Slot, SpawnError> {
    let groups = shard.groups();
    if usize::from(options.group) >= groups.min(GROUPS_MAX) {
        return Err(SpawnError::NoGroup {
            wanted: options.group,
            groups,
        });
    }
    let options = SpawnOptions {
        capacity: options.capacity.max(1),
        class: options.class.max(Class::Normal),
        ..options
    };
    let index = shard
        .options
        .intern(options)
        .ok_or(SpawnError::TooManyOptions { limit: OPTIONS_MAX })?;
    let slot = shard.take_slot()?;
    slot.vtable.set(Some(Glue::<A>::VTABLE));
    slot.options.set(index);
    shard.make_room(slot);
    slot.class.set(options.class);
    slot.group.set(options.group);
    slot.kind.set(shard.kinds.of_actor::<A>());
    shard.stats().actors_spawned.add(1);
    Ok(slot)
}

/// Calls `started` of the actor in `slot`.
///
/// # Errors
/// [`SpawnError::Died`] when it panicked or stopped there: a start that failed is no silent
/// half-start.
pub(crate) fn start<A: Actor>(shard: &Shard, slot: &Slot) -> Result<Address<A>, SpawnError> {
    let address = Context::new(shard, slot).address();
    match shard.start_actor(slot) {
        None => Ok(address),
        Some(why) => Err(SpawnError::Died(why)),
    }
}
