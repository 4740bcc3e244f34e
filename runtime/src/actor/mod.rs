//! Typed mailbox actors: messages, handlers, addresses, calls, supervision.
//!
//! The words are OTP's: a `cast` tells, a `call` asks with a deadline, a supervisor restarts a
//! child in place, where its address and its mailbox survive.

mod address;
mod asynchronous;
mod call;
mod context;
mod exit;
mod mailbox;
mod message;
mod options;
mod payload;
mod reply;
mod spawn;
mod supervisor;

pub use address::{ActorId, Address, SendError};
pub use asynchronous::AsyncHandler;
pub use call::{Call, CallError};
pub use context::Context;
pub(crate) use exit::Signal;
pub use exit::{Down, Exit, ExitReason, Monitor};
pub(crate) use mailbox::{Envelope, EnvelopeId, EnvelopePool, Lane, SIZE_UNIT, Stamp, VOID, units};
pub(crate) use message::size_of_message;
pub use message::{ByAsyncHandler, ByHandler, Message, Receives, VtableRef};
pub(crate) use message::{MessageVtable, SIGNAL};
pub(crate) use options::OptionsTable;
pub use options::{Overflow, SpawnOptions};
pub(crate) use payload::Payload;
pub(crate) use reply::{NoAnswer, ReplyCells, ReplyTo};
pub use spawn::spawn_actor;
pub(crate) use spawn::{Rebuild, place, prepare, vtable_of};
pub use supervisor::{
    Backoff, ChildInfo, ChildOptions, DynamicSupervisor, Intensity, NotAChild, Restart, Strategy,
    Supervisor, SupervisorBuilder,
};

/// State with a mailbox, owned by one shard and run one message at a time.
pub trait Actor: Sized + 'static {
    /// Whether the exit of a linked actor calls [`Actor::exited`] instead of ending this one.
    const TRAPS_EXITS: bool = false;

    /// Runs before the first message of every incarnation.
    fn started(&mut self, context: &mut Context<'_, Self>) {
        let _ = context;
    }

    /// A linked actor has ended; called only for types that trap exits.
    fn exited(&mut self, exit: Exit, context: &mut Context<'_, Self>) {
        let _ = (exit, context);
    }

    /// A watched actor has ended.
    fn down(&mut self, down: Down, context: &mut Context<'_, Self>) {
        let _ = (down, context);
    }

    /// Runs when the actor stops in good order; not after a panic.
    fn stopped(&mut self, why: &ExitReason) {
        let _ = why;
    }

    /// The actor has been idle for long (see [`SpawnOptions::hibernate`]): a good moment to shrink
    /// what it holds. Its mailbox owns nothing while it is empty.
    fn hibernate(&mut self) {}
}

/// What an actor does with one type of message. Run to completion: it must not block.
pub trait Handler<M: Message>: Actor {
    /// Handles one message; the value returned answers a `call` and is dropped after a `cast`.
    fn handle(&mut self, message: M, context: &mut Context<'_, Self>) -> M::Reply;

    /// Whether the actor's present state can do with this message. A message that is not accepted
    /// is postponed: it comes again, in its old place, once the actor has called
    /// [`Context::transition`] (`gen_statem`'s `postpone`). Postponed messages stay within the
    /// bounds of the mailbox.
    #[inline(always)]
    fn accepts(&self, message: &M) -> bool {
        let _ = message;
        true
    }
}
