//! Addresses: where an actor is, valid on every shard, and how to send there.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::message::Glue;
use super::reply::ReplyTo;
use super::{Call, CallError, Handler, Message};
use crate::sched::SlotKey;
use crate::shard::Shard;

/// The untyped name of an actor: runtime, shard, slot, generation. 12 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ActorId {
    pub(crate) runtime: u16,
    pub(crate) shard: u16,
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl ActorId {
    /// The shard that owns the actor.
    #[must_use]
    pub fn shard(&self) -> u16 {
        self.shard
    }

    /// Shard, slot and generation, for an id that leaves the process (a session id).
    #[must_use]
    pub fn to_parts(self) -> (u16, u32, u32) {
        (self.shard, self.index, self.generation)
    }

    #[inline(always)]
    pub(crate) fn key(self) -> SlotKey {
        SlotKey {
            index: self.index,
            generation: self.generation,
        }
    }
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}.{}.{}>", self.shard, self.index, self.generation)
    }
}

/// The address of an actor of type `A`; survives restarts, dies with the actor.
pub struct Address<A> {
    id: ActorId,
    actor: PhantomData<fn(A)>,
}

impl<A> Clone for Address<A> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<A> Copy for Address<A> {}

impl<A> fmt::Debug for Address<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", std::any::type_name::<A>(), self.id)
    }
}

/// A message that was refused, handed back with the reason.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError<M> {
    /// The mailbox or the way to its shard is full: slow down or shed.
    #[error("the mailbox is full; slow down, shed, or raise its capacity")]
    Full(M),
    /// The actor has stopped.
    #[error("the actor has stopped; look its name up again")]
    Closed(M),
    /// The calling thread is not a shard of the actor's runtime.
    #[error("this thread is not a shard of the actor's runtime; send through a Handle")]
    OffShard(M),
}

/// Like `std`'s channel errors: the message need not be `Debug`.
impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full(_) => "Full(..)",
            SendError::Closed(_) => "Closed(..)",
            SendError::OffShard(_) => "OffShard(..)",
        })
    }
}

impl<M> SendError<M> {
    /// The message that was refused.
    pub fn into_message(self) -> M {
        match self {
            SendError::Full(m) | SendError::Closed(m) | SendError::OffShard(m) => m,
        }
    }
}

impl<A> Address<A> {
    pub(crate) fn new(id: ActorId) -> Self {
        Address {
            id,
            actor: PhantomData,
        }
    }

    /// The untyped name.
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.id
    }

    /// The address behind `(shard, index, generation)` of an id that came back from outside, in
    /// the runtime of the calling shard.
    ///
    /// The parts are checked on delivery: a slot that is free, in other use or of another type
    /// answers [`CallError::Stopped`] or [`SendError::Closed`]. Authenticate them before, so that
    /// nobody can reach an actor by guessing.
    #[must_use]
    pub fn from_parts(shard: u16, index: u32, generation: u32) -> Option<Self> {
        let runtime = Shard::with(Shard::runtime_id)?;
        let index = index | SlotKey::FROM_PARTS;
        Some(Address::new(ActorId {
            runtime,
            shard,
            index,
            generation,
        }))
    }

    /// Tells: queues `message` and goes on.
    ///
    /// # Errors
    /// [`SendError`] hands the message back when the mailbox is full, the actor has stopped or
    /// this thread is not one of its runtime's shards. A message for another shard that finds the
    /// actor stopped on arrival is counted there and dropped.
    #[inline]
    pub fn cast<M: Message>(&self, message: M) -> Result<(), SendError<M>>
    where
        A: Handler<M>,
    {
        Shard::with_message(message, |shard, message| {
            if shard.runtime_id() != self.id.runtime {
                return Err(SendError::OffShard(message));
            }
            shard.post(self.id, Glue::<A, M>::VTABLE, message, ReplyTo::NONE)
        })
        .unwrap_or_else(|message| Err(SendError::OffShard(message)))
    }

    /// Asks: queues `message` now and resolves to the answer, or to an error after `deadline`.
    ///
    /// The question is sent before the future is polled; dropping the future abandons the answer.
    /// The deadline counts from the end of the shard's present tick, at most a few turns later.
    #[inline]
    pub fn call<M: Message>(&self, message: M, deadline: Duration) -> Call<M>
    where
        A: Handler<M>,
    {
        let sent = Shard::with_message(message, |shard, message| {
            if shard.runtime_id() != self.id.runtime {
                return Err(CallError::OffShard(message));
            }
            let reply = shard.replies.open::<M::Reply>(shard.id());
            match shard.post(self.id, Glue::<A, M>::VTABLE, message, reply) {
                Ok(()) => {
                    shard.watch(reply, deadline);
                    Ok(reply)
                }
                Err(refused) => {
                    shard.replies.close(reply);
                    Err(refused.into())
                }
            }
        });
        Call::new(sent.unwrap_or_else(|message| Err(CallError::OffShard(message))))
    }
}
