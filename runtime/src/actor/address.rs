//! Addresses: where an actor is, valid on every shard, and how to send there.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::reply::ReplyTo;
use super::{Call, CallError, Message, Receives, VOID};
use crate::sched::SlotKey;
use crate::shard::Shard;

/// The untyped name of an actor: runtime, shard, slot, generation. 12 bytes, of which the first
/// four are compared as one word.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ActorId {
    pub(crate) shard: u16,
    pub(crate) runtime: u16,
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

    /// The place of a shard of a runtime, in one word.
    #[inline(always)]
    pub(crate) const fn place(runtime: u16, shard: u16) -> u32 {
        (runtime as u32) << 16 | shard as u32
    }

    /// Whether the actor is at a place.
    #[inline(always)]
    pub(crate) fn is_at(self, place: u32) -> bool {
        Self::place(self.runtime, self.shard) == place
    }

    /// The id without the mark of having come from parts: signals go to actors of every type.
    pub(crate) fn plain(self) -> ActorId {
        ActorId {
            index: self.index & !SlotKey::FROM_PARTS,
            ..self
        }
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
    /// The shard sheds messages of this class, because they wait too long there: back off.
    #[error("the shard sheds load: messages of this class have waited too long; retry later")]
    Shed(M),
    /// The message counts for more bytes than the whole mailbox holds: it will never fit.
    #[error("the message is larger than the whole mailbox; raise SpawnOptions::bytes or split it")]
    TooLarge(M),
}

/// Like `std`'s channel errors: the message need not be `Debug`.
impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full(_) => "Full(..)",
            SendError::Closed(_) => "Closed(..)",
            SendError::OffShard(_) => "OffShard(..)",
            SendError::Shed(_) => "Shed(..)",
            SendError::TooLarge(_) => "TooLarge(..)",
        })
    }
}

impl<M> SendError<M> {
    /// The message that was refused.
    pub fn into_message(self) -> M {
        match self {
            SendError::Full(m)
            | SendError::Closed(m)
            | SendError::OffShard(m)
            | SendError::Shed(m)
            | SendError::TooLarge(m) => m,
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
    /// [`SendError`] hands the message back when the mailbox is full, the actor has stopped, the
    /// shard sheds load or this thread is not one of its runtime's shards. A message for another
    /// shard that finds the actor stopped on arrival, or that is too large for its mailbox, is
    /// counted there and dropped.
    #[inline]
    pub fn cast<M: Message, K>(&self, message: M) -> Result<(), SendError<M>>
    where
        A: Receives<M, K>,
    {
        self.send(message, 0)
    }

    /// Tells something that is worth knowing only `within` that time: a message that is reached
    /// later is dropped and counted. Resolution a microsecond, at most 71 minutes. The shard reads
    /// its clock after every fourth message while handlers are short, and after each once they are
    /// not: the first few after a handler that took long for once may be handled late.
    ///
    /// # Errors
    /// As [`Address::cast`].
    #[inline]
    pub fn cast_within<M: Message, K>(
        &self,
        message: M,
        within: Duration,
    ) -> Result<(), SendError<M>>
    where
        A: Receives<M, K>,
    {
        self.send(message, deadline_us(within))
    }

    #[inline(always)]
    fn send<M: Message, K>(&self, message: M, deadline_us: u32) -> Result<(), SendError<M>>
    where
        A: Receives<M, K>,
    {
        Shard::with_message(message, |shard, message| {
            shard.post(self.id, A::glue().0, message, ReplyTo::NONE, deadline_us)
        })
        .unwrap_or_else(|message| Err(SendError::OffShard(message)))
    }

    /// Asks: queues `message` now and resolves to the answer, or to an error after `deadline`. A
    /// question that is reached after its deadline is not handled any more.
    ///
    /// The question is sent before the future is polled; dropping the future abandons the answer.
    /// The deadline counts from the end of the shard's present tick, at most a few turns later.
    #[inline]
    pub fn call<M: Message, K>(&self, message: M, deadline: Duration) -> Call<M>
    where
        A: Receives<M, K>,
    {
        let sent = Shard::with_message(message, |shard, message| {
            let Some(reply) = shard.replies.open::<M::Reply>(shard.id()) else {
                return Err(CallError::Full(message));
            };
            match shard.post(self.id, A::glue().0, message, reply, deadline_us(deadline)) {
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

/// A deadline as it travels: microseconds, rounded up, zero for none, saturating at 71 minutes.
#[inline(always)]
fn deadline_us(within: Duration) -> u32 {
    let us = within.as_secs().saturating_mul(1_000_000)
        + u64::from(within.subsec_nanos().div_ceil(1000));
    u32::try_from(us).unwrap_or(VOID).clamp(1, VOID - 1)
}
