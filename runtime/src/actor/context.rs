//! What a handler can do with its shard.

use std::future::Future;
use std::marker::PhantomData;
use std::time::Duration;

use super::exit::{ExitReason, Monitor};
use super::{ActorId, Address, Message, Receives};
use crate::sched::{Slot, flag};
use crate::shard::Shard;
use crate::task::{self, SpawnError};
use crate::timer::{self, TimerKey};

/// The shard as seen from inside a handler of `A`.
pub struct Context<'a, A> {
    shard: &'a Shard,
    slot: &'a Slot,
    actor: PhantomData<fn(A)>,
}

impl<'a, A: super::Actor> Context<'a, A> {
    #[inline(always)]
    pub(crate) fn new(shard: &'a Shard, slot: &'a Slot) -> Self {
        Context {
            shard,
            slot,
            actor: PhantomData,
        }
    }

    /// The actor's own address.
    #[must_use]
    pub fn address(&self) -> Address<A> {
        Address::new(self.id())
    }

    /// The actor's own id.
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.shard.id_of(self.slot)
    }

    /// The shard the actor lives on.
    #[must_use]
    pub fn shard(&self) -> u16 {
        self.shard.id()
    }

    /// How many times the actor was restarted.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.slot.cold().map_or(0, |cold| cold.incarnation.get())
    }

    /// Stops the actor after this message; what is still in its mailbox is refused to its senders.
    pub fn stop(&mut self) {
        self.slot.set(flag::STOPPING);
    }

    /// Stops the actor after this message because it cannot go on: linked actors end for the same
    /// reason.
    pub fn fail(&mut self, why: &str) {
        self.shard
            .fail_running(self.slot, ExitReason::Failed(why.into()));
    }

    /// Ties this actor's fate to `other`'s: when one ends for a reason that is not normal, the
    /// other ends too, unless it traps exits. Linking to an actor that is gone is an exit with
    /// [`ExitReason::NoActor`].
    pub fn link(&mut self, other: ActorId) {
        self.shard.link(self.slot, other);
    }

    /// Unties what [`Context::link`] tied.
    pub fn unlink(&mut self, other: ActorId) {
        self.shard.unlink(self.slot, other);
    }

    /// Watches `other`: its end calls [`super::Actor::down`] once. Watching an actor that is gone
    /// calls it at once.
    pub fn monitor(&mut self, other: ActorId) -> Monitor {
        self.shard.monitor(self.slot, other)
    }

    /// Ends the watch; a `down` that is under way may still come.
    pub fn demonitor(&mut self, monitor: Monitor) {
        self.shard.demonitor(self.slot, monitor);
    }

    /// Sends `other` an exit as if from a linked actor. [`ExitReason::Killed`] cannot be trapped by
    /// `other`, but by those that are linked to it.
    pub fn exit(&mut self, other: ActorId, why: ExitReason) {
        self.shard.exit(self.id(), other, why);
    }

    /// The actor's state has changed: messages that it did not accept come again, in their old
    /// order, and the time-out of the old state is off.
    pub fn transition(&mut self) {
        self.shard.transition(self.slot);
    }

    /// Casts `message` to this actor itself when it is still in the present state after `delay`
    /// (`gen_statem`'s state time-out). Replaces an earlier one.
    pub fn state_timeout<M: Message, K>(&mut self, delay: Duration, message: M)
    where
        A: Receives<M, K>,
    {
        let id = self.id();
        self.shard.forget_state_timeout(self.slot);
        let timer = timer::start_job(self.shard, delay, move || {
            Shard::with(|shard| shard.state_timed_out(id, A::glue().0, message));
        });
        self.slot.cold_or_new().state_timer.set(Some(timer));
    }

    /// Casts `message` to this actor itself after `delay`, in the class of its type.
    ///
    /// The timer dies with the actor.
    pub fn send_after<M: Message, K>(&mut self, delay: Duration, message: M) -> TimerKey
    where
        A: Receives<M, K>,
    {
        let to = self.address();
        timer::start_job(self.shard, delay, move || {
            // A stopped actor needs no reminder, and a full mailbox is the flood the actor is in.
            if to.cast(message).is_err() {
                Shard::with(|shard| shard.stats().timer_messages_refused.add(1));
            }
        })
    }

    /// Cancels a timer of [`Context::send_after`]; one that has fired is left alone.
    pub fn cancel(&mut self, timer: TimerKey) {
        timer::cancel(self.shard, timer);
    }

    /// Runs `future` as a task beside the actor, in the normal class.
    ///
    /// # Errors
    /// [`SpawnError`] when the shard is full or shutting down.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + 'static) -> Result<(), SpawnError> {
        task::spawn(self.shard, crate::Class::Normal, future).map(|_| ())
    }
}
