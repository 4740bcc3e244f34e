//! Messages, and how a shard runs one without knowing its type.

use std::any::TypeId;

use super::mailbox::Node;
use super::reply::ReplyTo;
use super::{Context, Handler, Payload};
use crate::sched::{Class, Slot};
use crate::shard::Shard;

/// A message to an actor, and the type of its answer.
///
/// The scheduling class belongs to the type, so that no sender can shout.
pub trait Message: Send + 'static {
    /// What a `call` with this message gives back; `()` for a message that is only cast.
    type Reply: Send + 'static;
    /// How urgent messages of this type are.
    const CLASS: Class = Class::Normal;
}

/// What the shard must know of one pair of actor and message type.
pub(crate) struct MessageVtable {
    /// Moves the message out of the node, gives the node back, runs the handler, sends the reply.
    pub(crate) run: unsafe fn(body: *mut (), node: &Node, slot: &Slot, shard: &Shard),
    /// Drops a message that will never run.
    pub(crate) drop: unsafe fn(payload: *mut u8),
    /// Bytes of the payload in use.
    pub(crate) used: usize,
    /// The lane and, with it, the run queue.
    pub(crate) class: Class,
    /// Type name of the message, for stall and panic reports.
    pub(crate) name: fn() -> &'static str,
    /// Type of the actor that can run it.
    pub(crate) actor: fn() -> TypeId,
}

/// Carries the vtable of one `(A, M)` pair as a promoted constant.
pub(crate) struct Glue<A, M>(std::marker::PhantomData<(A, M)>);

impl<A: Handler<M>, M: Message> Glue<A, M> {
    pub(crate) const VTABLE: &'static MessageVtable = &MessageVtable {
        run: run::<A, M>,
        drop: Payload::drop_in_place::<M>,
        used: Payload::used::<M>(),
        class: M::CLASS,
        name: std::any::type_name::<M>,
        actor: TypeId::of::<A>,
    };
}

/// # Safety
/// `body` points to the live actor of type `A` of `slot`, nobody else borrows it, and `node` holds
/// an `M` and is linked nowhere.
unsafe fn run<A: Handler<M>, M: Message>(body: *mut (), node: &Node, slot: &Slot, shard: &Shard) {
    // SAFETY: the caller promises that the node holds an M; it is read once, then the node is free.
    let message: M = unsafe { Payload::read(node.payload.as_ptr()) };
    let reply = node.reply.get();
    shard.nodes.put(node);
    shard.running_reply.set(reply);
    // SAFETY: an actor runs only on its shard and only one turn at a time, so this is the only
    // reference to it.
    let actor = unsafe { &mut *body.cast::<A>() };
    let answer = actor.handle(message, &mut Context::<A>::new(shard, slot));
    if reply.is_wanted() {
        shard.running_reply.set(ReplyTo::NONE);
        shard.answer::<M::Reply>(reply, answer);
    }
}
