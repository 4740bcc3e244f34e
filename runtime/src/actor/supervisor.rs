//! Supervision: one-for-one, in place, with restart intensity.
//!
//! A panic ends one incarnation. The supervisor puts a fresh actor into the same slot, so that the
//! address and the mailbox survive; the message that caused the panic is gone. More restarts than
//! the intensity allows stop the child, as in OTP's `supervisor`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::{Actor, Address, Context};
use crate::clock::{self, Cycles};
use crate::limits::MAILBOX_MESSAGES;
use crate::sched::{BodyVtable, Class, Slot};
use crate::shard::Shard;
use crate::task::SpawnError;

/// How many restarts a supervisor grants its children within a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// Restarts granted.
    pub restarts: u32,
    /// Length of the window.
    pub within: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Intensity {
            restarts: 10,
            within: Duration::from_secs(1),
        }
    }
}

/// Mailbox and class of a new actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpawnOptions {
    /// Messages each lane of the mailbox holds.
    pub capacity: u32,
    /// The class of its normal messages: [`Class::Normal`] or [`Class::Low`].
    pub class: Class,
}

impl Default for SpawnOptions {
    fn default() -> Self {
        SpawnOptions {
            capacity: MAILBOX_MESSAGES,
            class: Class::Normal,
        }
    }
}

struct SupervisorState {
    name: &'static str,
    intensity: Intensity,
    restarts: RefCell<VecDeque<Cycles>>,
    gave_up: Cell<bool>,
}

/// Restarts its children in place, one for one. Belongs to the shard it was made on.
#[derive(Clone)]
pub struct Supervisor(Rc<SupervisorState>);

impl Supervisor {
    /// A supervisor without children; `name` appears in its log lines.
    #[must_use]
    pub fn new(name: &'static str, intensity: Intensity) -> Self {
        Supervisor(Rc::new(SupervisorState {
            name,
            intensity,
            restarts: RefCell::new(VecDeque::new()),
            gave_up: Cell::new(false),
        }))
    }

    /// Starts a child on the current shard; `make` builds it now and again after each panic.
    ///
    /// # Errors
    /// [`SpawnError`] when this thread is no shard or the shard is full or shutting down.
    pub fn spawn<A: Actor>(
        &self,
        options: SpawnOptions,
        make: impl FnMut() -> A + 'static,
    ) -> Result<Address<A>, SpawnError> {
        let mut make = make;
        let actor = make();
        let plan = Plan {
            make: Box::new(make),
            supervisor: self.clone(),
        };
        Shard::with(|shard| start(shard, options, actor, Some(Box::new(plan))))
            .unwrap_or(Err(SpawnError::OffShard))
    }

    /// Whether the restart intensity was exceeded, so that children are no longer restarted.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.0.gave_up.get()
    }

    /// Grants one restart, or gives up.
    fn grant(&self) -> bool {
        let state = &self.0;
        let (now, window) = (
            clock::cycles(),
            clock::duration_to_cycles(state.intensity.within),
        );
        let mut restarts = state.restarts.borrow_mut();
        while restarts
            .front()
            .is_some_and(|&t| now.saturating_sub(t) > window)
        {
            restarts.pop_front();
        }
        if restarts.len() >= state.intensity.restarts as usize {
            state.gave_up.set(true);
            tracing::error!(
                supervisor = state.name,
                restarts = state.intensity.restarts,
                within = ?state.intensity.within,
                "restart intensity exceeded: the child stays stopped"
            );
            return false;
        }
        restarts.push_back(now);
        true
    }
}

struct Plan<A> {
    make: Box<dyn FnMut() -> A>,
    supervisor: Supervisor,
}

/// The actor comes first, so that its address is the body's address.
#[repr(C)]
struct ActorBody<A> {
    actor: A,
    plan: Option<Box<Plan<A>>>,
}

struct Glue<A>(std::marker::PhantomData<A>);

impl<A: Actor> Glue<A> {
    const VTABLE: &'static BodyVtable = &BodyVtable {
        name: std::any::type_name::<A>,
        type_id: std::any::TypeId::of::<A>,
        poll: None,
        started: started::<A>,
        restart: restart::<A>,
        stopped: stopped::<A>,
        destroy: destroy::<A>,
    };
}

/// # Safety
/// For this and the functions below: `body` is the live `ActorBody<A>` of a slot that is in its own
/// turn, so that no other reference to it exists.
unsafe fn started<A: Actor>(body: *mut (), slot: &Slot, shard: &Shard) {
    // SAFETY: see above; the actor is the first field of a `repr(C)` body.
    let actor = unsafe { &mut *body.cast::<A>() };
    actor.started(&mut Context::new(shard, slot));
}

/// # Safety
/// As [`started`].
unsafe fn stopped<A: Actor>(body: *mut ()) {
    // SAFETY: as in `started`.
    unsafe { &mut *body.cast::<A>() }.stopped();
}

/// The new actor is built before the old one is dropped, so that a panic in `make` leaves the body
/// whole; a panic in the old actor's `drop` is caught by the shard after the new one is in place.
///
/// # Safety
/// As [`started`].
unsafe fn restart<A: Actor>(body: *mut ()) -> bool {
    // SAFETY: as in `started`.
    let body = unsafe { &mut *body.cast::<ActorBody<A>>() };
    let Some(plan) = &mut body.plan else {
        return false;
    };
    if !plan.supervisor.grant() {
        return false;
    }
    let fresh = (plan.make)();
    drop(std::mem::replace(&mut body.actor, fresh));
    true
}

/// # Safety
/// As [`started`], and the body is used no more.
unsafe fn destroy<A: Actor>(body: *mut ()) {
    // SAFETY: the body came from `Box::into_raw` in `start`, and the slot is done with it.
    drop(unsafe { Box::from_raw(body.cast::<ActorBody<A>>()) });
}

/// Starts an actor that is not restarted: a panic stops it.
///
/// # Errors
/// [`SpawnError`] when this thread is no shard or the shard is full or shutting down.
pub fn spawn_actor<A: Actor>(options: SpawnOptions, actor: A) -> Result<Address<A>, SpawnError> {
    Shard::with(|shard| start(shard, options, actor, None)).unwrap_or(Err(SpawnError::OffShard))
}

fn start<A: Actor>(
    shard: &Shard,
    options: SpawnOptions,
    actor: A,
    plan: Option<Box<Plan<A>>>,
) -> Result<Address<A>, SpawnError> {
    let slot = shard.take_slot()?;
    slot.body
        .set(Box::into_raw(Box::new(ActorBody { actor, plan })).cast());
    slot.vtable.set(Some(Glue::<A>::VTABLE));
    slot.capacity.set(options.capacity.max(1));
    slot.class.set(options.class.max(Class::Normal));
    slot.incarnation.set(0);
    shard.stats().actors_spawned.add(1);
    shard.start_actor(slot);
    Ok(Context::new(shard, slot).address())
}
