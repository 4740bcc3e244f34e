//! Messages, and how a shard runs one without knowing its type.

use std::any::{Any, TypeId};

use super::asynchronous::{self, AsyncHandler};
use super::exit::Signal;
use super::mailbox::{EnvelopeId, SIZE_UNIT};
use super::reply::ReplyTo;
use super::{Actor, Context, Handler, Payload};
use crate::sched::{Class, Slot};
use crate::shard::Shard;

/// A message to an actor, and the type of its answer.
///
/// The scheduling class belongs to the type, so that no sender can shout.
pub trait Message: Send + Sized + 'static {
    /// What a `call` with this message gives back; `()` for a message that is only cast.
    type Reply: Send + 'static;

    /// How urgent messages of this type are. [`Class::System`] is the runtime's own: a message
    /// type that claims it does not compile.
    const CLASS: Class = Class::Normal;

    /// Bytes that the message counts for in the bound of its mailbox. By default its own size; a
    /// type that owns heap adds that. More than 4 MiB count as 4 MiB.
    #[inline]
    fn bytes(&self) -> usize {
        size_of::<Self>()
    }

    /// A copy for the quarantine, should handling the message panic. Made before each message is
    /// handled, so only types that ask for it pay for it; by default there is none.
    #[inline]
    fn specimen(&self) -> Option<Box<dyn Any + Send>> {
        None
    }
}

/// What the shard must know of one pair of actor and message type.
pub(crate) struct MessageVtable {
    /// Moves the message out of its envelope, gives that back, runs the handler, sends the reply.
    pub(crate) run: unsafe fn(body: *mut (), id: EnvelopeId, slot: &Slot, shard: &Shard),
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

/// An actor that receives messages of type `M`, in the way `K`: by a [`Handler`] ([`ByHandler`])
/// or by an [`AsyncHandler`] ([`ByAsyncHandler`]). Implemented for you; `K` is inferred.
pub trait Receives<M: Message, K>: Actor {
    #[doc(hidden)]
    fn glue() -> VtableRef;
}

/// The vtable of a pair, opaque outside this crate.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct VtableRef(pub(crate) &'static MessageVtable);

/// Marks receivers that run to completion.
#[derive(Debug)]
pub enum ByHandler {}

/// Marks receivers that may wait.
#[derive(Debug)]
pub enum ByAsyncHandler {}

impl<A: Handler<M>, M: Message> Receives<M, ByHandler> for A {
    #[inline(always)]
    fn glue() -> VtableRef {
        VtableRef(Glue::<A, M>::SYNC)
    }
}

impl<A: AsyncHandler<M>, M: Message> Receives<M, ByAsyncHandler> for A {
    #[inline(always)]
    fn glue() -> VtableRef {
        VtableRef(AsyncGlue::<A, M>::ASYNC)
    }
}

/// Carries the vtable of one `(A, M)` pair as a promoted constant.
struct Glue<A, M>(std::marker::PhantomData<(A, M)>);

impl<A: Handler<M>, M: Message> Glue<A, M> {
    const SYNC: &'static MessageVtable = &vtable::<A, M>(run::<A, M>);
}

struct AsyncGlue<A, M>(std::marker::PhantomData<(A, M)>);

impl<A: AsyncHandler<M>, M: Message> AsyncGlue<A, M> {
    const ASYNC: &'static MessageVtable = &vtable::<A, M>(asynchronous::run::<A, M>);
}

const fn vtable<A: Actor, M: Message>(
    run: unsafe fn(*mut (), EnvelopeId, &Slot, &Shard),
) -> MessageVtable {
    assert!(
        !matches!(M::CLASS, Class::System),
        "Class::System is the runtime's own: give the message High, Normal or Low"
    );
    MessageVtable {
        run,
        drop: Payload::drop_in_place::<M>,
        used: Payload::used::<M>(),
        class: M::CLASS,
        name: std::any::type_name::<M>,
        actor: TypeId::of::<A>,
    }
}

/// What `message` counts for in its mailbox, in units of [`SIZE_UNIT`] bytes, at least one.
#[inline(always)]
pub(crate) fn size_of_message<M: Message>(message: &M) -> u16 {
    let units = message.bytes().div_ceil(SIZE_UNIT as usize).max(1);
    u16::try_from(units).unwrap_or(u16::MAX)
}

/// # Safety
/// `body` points to the live actor of type `A` of `slot`, nobody else borrows it, and the envelope
/// holds an `M` and is linked nowhere.
unsafe fn run<A: Handler<M>, M: Message>(
    body: *mut (),
    id: EnvelopeId,
    slot: &Slot,
    shard: &Shard,
) {
    let envelope = shard.envelopes.get(id);
    // SAFETY: the caller promises that the envelope holds an M; it is read once, and written back
    // if the actor is not ready for it.
    let message: M = unsafe { Payload::read(shard.envelopes.payload(id)) };
    // SAFETY: an actor runs only on its shard and only one turn at a time, so this is the only
    // reference to it.
    let actor = unsafe { &mut *body.cast::<A>() };
    let reply = envelope.reply.get();
    if reply.is_wanted() {
        shard.running_reply.set(reply);
    }
    let in_use = InUse(shard, id, Payload::used::<M>());
    if !actor.accepts(&message) {
        std::mem::forget(in_use);
        // SAFETY: the message was read above; it moves back whole.
        unsafe { Payload::put(shard.envelopes.payload(id), message) };
        shard.running_reply.set(ReplyTo::NONE);
        shard.postpone(slot, id, M::CLASS);
        return;
    }
    drop(in_use);
    let specimen = Specimen::keep(shard, &message);
    let answer = actor.handle(message, &mut Context::<A>::new(shard, slot));
    specimen.discard();
    if reply.is_wanted() {
        shard.running_reply.set(ReplyTo::NONE);
        shard.answer::<M::Reply>(reply, answer);
    }
}

/// An envelope whose message was moved out: given back when `accepts` panics, too.
struct InUse<'a>(&'a Shard, EnvelopeId, usize);

impl Drop for InUse<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.envelopes.put(self.1, self.2);
    }
}

/// The specimen of the message being handled, which stays with the shard if that panics. Costs
/// nothing for types without one.
pub(super) struct Specimen<'a>(Option<&'a Shard>);

impl<'a> Specimen<'a> {
    #[inline(always)]
    pub(super) fn keep<M: Message>(shard: &'a Shard, message: &M) -> Self {
        let specimen = message.specimen();
        if specimen.is_none() {
            return Specimen(None);
        }
        shard.specimen.set(specimen);
        Specimen(Some(shard))
    }

    /// The message was handled.
    #[inline(always)]
    pub(super) fn discard(self) {
        if let Some(shard) = self.0 {
            drop(shard.specimen.take());
        }
    }
}

/// The vtable of signals, which the shard itself handles for actors of every type.
pub(crate) const SIGNAL: &MessageVtable = &MessageVtable {
    run: run_signal,
    drop: Payload::drop_in_place::<Signal>,
    used: Payload::used::<Signal>(),
    class: Class::System,
    name: std::any::type_name::<Signal>,
    actor: TypeId::of::<()>,
};

/// # Safety
/// The envelope holds a `Signal` and is linked nowhere.
unsafe fn run_signal(_: *mut (), id: EnvelopeId, slot: &Slot, shard: &Shard) {
    // SAFETY: the caller's promise.
    let signal: Signal = unsafe { Payload::read(shard.envelopes.payload(id)) };
    shard.envelopes.put(id, SIGNAL.used);
    shard.signalled(slot, signal);
}
