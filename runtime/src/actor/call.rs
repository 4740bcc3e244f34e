//! The future of a `call`.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::reply::{NoAnswer, ReplyTo};
use super::{Message, SendError};
use crate::shard::Shard;
use crate::timer;

/// Why a call has no answer.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError<M> {
    /// The mailbox or the way to its shard is full; the message is handed back.
    #[error("the mailbox is full; slow down, shed, or raise its capacity")]
    Full(M),
    /// The actor had stopped before the question was sent; the message is handed back.
    #[error("the actor has stopped; look its name up again")]
    Closed(M),
    /// The calling thread is not a shard of the actor's runtime; the message is handed back.
    #[error("this thread is not a shard of the actor's runtime; call through a Handle")]
    OffShard(M),
    /// The shard sheds messages of this class; the message is handed back.
    #[error("the shard sheds load: messages of this class have waited too long; retry later")]
    Shed(M),
    /// The message counts for more bytes than the whole mailbox holds; it is handed back.
    #[error("the message is larger than the whole mailbox; raise SpawnOptions::bytes or split it")]
    TooLarge(M),
    /// The mailbox was full, and its overflow policy gave this message up; or it came from another
    /// shard and is larger than the whole mailbox.
    #[error("the mailbox had no room and dropped the message")]
    Dropped,
    /// No answer within the deadline; the message may still be handled.
    #[error("no answer within the deadline; the message may still be handled")]
    TimedOut,
    /// The actor panicked on this message and was restarted or stopped.
    #[error("the actor panicked while it handled the message")]
    Panicked,
    /// The actor stopped before it reached the message.
    #[error("the actor stopped before it reached the message")]
    Stopped,
}

/// The message need not be `Debug`.
impl<M> fmt::Debug for CallError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallError::Full(_) => "Full(..)",
            CallError::Closed(_) => "Closed(..)",
            CallError::OffShard(_) => "OffShard(..)",
            CallError::Shed(_) => "Shed(..)",
            CallError::TooLarge(_) => "TooLarge(..)",
            CallError::Dropped => "Dropped",
            CallError::TimedOut => "TimedOut",
            CallError::Panicked => "Panicked",
            CallError::Stopped => "Stopped",
        })
    }
}

impl<M> From<SendError<M>> for CallError<M> {
    fn from(refused: SendError<M>) -> Self {
        match refused {
            SendError::Full(m) => CallError::Full(m),
            SendError::Closed(m) => CallError::Closed(m),
            SendError::OffShard(m) => CallError::OffShard(m),
            SendError::Shed(m) => CallError::Shed(m),
            SendError::TooLarge(m) => CallError::TooLarge(m),
        }
    }
}

enum State<M> {
    Refused(CallError<M>),
    Waiting(ReplyTo),
    Done,
}

/// Resolves to the answer of one `call`. Belongs to the shard that asked.
#[must_use = "a call that is not awaited drops its answer"]
pub struct Call<M: Message> {
    state: State<M>,
    shard_local: PhantomData<*const ()>,
}

impl<M: Message> Call<M> {
    pub(crate) fn new(sent: Result<ReplyTo, CallError<M>>) -> Self {
        let state = match sent {
            Ok(reply) => State::Waiting(reply),
            Err(refused) => State::Refused(refused),
        };
        Call {
            state,
            shard_local: PhantomData,
        }
    }

    #[inline]
    fn poll_reply(
        reply: ReplyTo,
        cx: &mut Context<'_>,
    ) -> Option<Poll<Result<M::Reply, NoAnswer>>> {
        // SAFETY: `reply` was opened with `M::Reply` by `Address::call` and is closed only by
        // `Drop`, after the last poll.
        Shard::with(|shard| unsafe { shard.replies.poll::<M::Reply>(reply, cx) })
    }
}

impl<M: Message> Unpin for Call<M> {}

impl<M: Message> Future for Call<M> {
    type Output = Result<M::Reply, CallError<M>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Waiting(reply) = self.state {
            return match Self::poll_reply(reply, cx) {
                Some(Poll::Pending) => Poll::Pending,
                Some(Poll::Ready(answer)) => Poll::Ready(answer.map_err(CallError::from)),
                None => Poll::Ready(Err(CallError::Stopped)),
            };
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::Refused(why) => Poll::Ready(Err(why)),
            State::Waiting(_) | State::Done => Poll::Ready(Err(CallError::Stopped)),
        }
    }
}

impl<M> From<NoAnswer> for CallError<M> {
    fn from(why: NoAnswer) -> Self {
        match why {
            NoAnswer::Panicked => CallError::Panicked,
            NoAnswer::Stopped => CallError::Stopped,
            NoAnswer::TimedOut => CallError::TimedOut,
            NoAnswer::Dropped => CallError::Dropped,
        }
    }
}

impl<M: Message> Drop for Call<M> {
    #[inline]
    fn drop(&mut self) {
        if let State::Waiting(reply) = self.state {
            Shard::with(|shard| {
                if let Some(timer) = shard.replies.close(reply) {
                    timer::cancel(shard, timer);
                }
            });
        }
    }
}
