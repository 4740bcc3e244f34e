//! What a handler can do with its shard.

use std::future::Future;
use std::marker::PhantomData;
use std::time::Duration;

use super::{ActorId, Address, Handler, Message};
use crate::sched::Slot;
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
        let key = self.slot.key();
        Address::new(ActorId {
            runtime: self.shard.runtime_id(),
            shard: self.shard.id(),
            index: key.index,
            generation: key.generation,
        })
    }

    /// The shard the actor lives on.
    #[must_use]
    pub fn shard(&self) -> u16 {
        self.shard.id()
    }

    /// How many times the actor was restarted.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.slot.incarnation.get()
    }

    /// Stops the actor after this message; what is still in its mailbox is refused to its senders.
    pub fn stop(&mut self) {
        self.slot.stopping.set(true);
    }

    /// Casts `message` to this actor itself after `delay`, in the class of its type.
    ///
    /// The timer dies with the actor.
    pub fn send_after<M: Message>(&mut self, delay: Duration, message: M) -> TimerKey
    where
        A: Handler<M>,
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
        task::spawn(self.shard, crate::Class::Normal, future)
    }
}
