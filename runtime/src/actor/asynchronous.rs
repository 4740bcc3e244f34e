//! Handlers that wait: the answer comes when a future is done.

use std::future::Future;

use super::mailbox::EnvelopeId;
use super::message::Specimen;
use super::reply::{NoAnswer, ReplyTo};
use super::{Actor, Context, Message, Payload};
use crate::sched::{Slot, SlotKey, flag};
use crate::shard::Shard;
use crate::task;

/// What an actor does with one type of message when the answer takes a wait: a call to another
/// actor, a socket, the blocking pool.
///
/// The future does not borrow the actor: it takes along what it needs (an address, a clone), and
/// sends the actor a message when its state is to change. It ends with the actor, and its caller is
/// then told that the actor stopped. A panic in it ends the future alone: its caller is told, and
/// the actor goes on.
pub trait AsyncHandler<M: Message>: Actor {
    /// Whether other messages wait until the future is done. When false, the actor goes on with its
    /// mailbox meanwhile, and answers may overtake each other.
    const EXCLUSIVE: bool = false;

    /// Begins with one message; the future's output answers a `call`.
    fn handle(
        &mut self,
        message: M,
        context: &mut Context<'_, Self>,
    ) -> impl Future<Output = M::Reply> + 'static;
}

/// Answers for a future that ends without an answer, because it panicked or was dropped.
struct Owed {
    reply: ReplyTo,
    /// The actor that waits for this handler alone, and its incarnation.
    exclusive: Option<(SlotKey, u32)>,
}

impl Drop for Owed {
    fn drop(&mut self) {
        Shard::with(|shard| {
            if self.reply.is_wanted() {
                // A future that panics drops what it holds while it unwinds.
                let why = if std::thread::panicking() {
                    NoAnswer::Panicked
                } else {
                    NoAnswer::Stopped
                };
                shard.fail_reply(self.reply, why);
            }
            if let Some((actor, incarnation)) = self.exclusive
                && let Some(slot) = shard.slots.get(actor)
            {
                shard.async_handler_ended(slot, incarnation);
            }
        });
    }
}

/// # Safety
/// `body` points to the live actor of type `A` of `slot`, nobody else borrows it, and the envelope
/// holds an `M` and is linked nowhere.
pub(super) unsafe fn run<A: AsyncHandler<M>, M: Message>(
    body: *mut (),
    id: EnvelopeId,
    slot: &Slot,
    shard: &Shard,
) {
    let envelope = shard.envelopes.get(id);
    // SAFETY: the caller promises that the envelope holds an M; it is read once.
    let message: M = unsafe { Payload::read(shard.envelopes.payload(id)) };
    let reply = envelope.reply.get();
    shard.envelopes.put(id, Payload::used::<M>());
    shard.running_reply.set(reply);
    let specimen = Specimen::keep(shard, &message);
    // SAFETY: an actor runs only on its shard and only one turn at a time, so this is the only
    // reference to it.
    let actor = unsafe { &mut *body.cast::<A>() };
    let future = actor.handle(message, &mut Context::<A>::new(shard, slot));
    specimen.discard();
    shard.running_reply.set(ReplyTo::NONE);
    let mut owed = Owed {
        reply,
        exclusive: None,
    };
    if A::EXCLUSIVE {
        let incarnation = slot.cold().map_or(0, |cold| cold.incarnation.get());
        owed.exclusive = Some((slot.key(), incarnation));
        slot.set(flag::SUSPENDED);
    }
    let task = async move {
        let answer = future.await;
        let reply = std::mem::replace(&mut owed.reply, ReplyTo::NONE);
        if reply.is_wanted() {
            Shard::with(|shard| shard.answer::<M::Reply>(reply, answer));
        }
        drop(owed);
    };
    // A refusal drops the task, and with it what is owed.
    if let Ok(key) = task::spawn_in_group(shard, slot.class.get(), slot.group.get(), task) {
        let mut tasks = slot.cold_or_new().tasks.borrow_mut();
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| shard.slots.get(*task).is_some());
        }
        tasks.push(key);
    }
}
