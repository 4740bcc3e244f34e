//! Typed mailbox actors: messages, handlers, addresses, calls, supervision.
//!
//! The words are OTP's: a `cast` tells, a `call` asks with a deadline, a supervisor restarts a
//! child in place, where its address and its mailbox survive.

mod address;
mod call;
mod context;
mod mailbox;
mod message;
mod payload;
mod reply;
mod supervisor;

use crate::sched::{Class, Slot};

pub use address::{ActorId, Address, SendError};
pub use call::{Call, CallError};
pub use context::Context;
pub(crate) use mailbox::{Lane, NodePool};
pub use message::Message;
pub(crate) use message::MessageVtable;
pub(crate) use payload::Payload;
pub(crate) use reply::{NoAnswer, ReplyCells, ReplyTo};
pub use supervisor::{Intensity, SpawnOptions, Supervisor, spawn_actor};

/// State with a mailbox, owned by one shard and run one message at a time.
pub trait Actor: Sized + 'static {
    /// Runs before the first message of every incarnation.
    fn started(&mut self, context: &mut Context<'_, Self>) {
        let _ = context;
    }

    /// Runs when the actor stops in good order; not after a panic.
    fn stopped(&mut self) {}
}

/// What an actor does with one type of message. Run to completion: it must not block.
pub trait Handler<M: Message>: Actor {
    /// Handles one message; the value returned answers a `call` and is dropped after a `cast`.
    fn handle(&mut self, message: M, context: &mut Context<'_, Self>) -> M::Reply;
}

/// Drops every message of a mailbox that will never run, telling those who wait for an answer.
pub(crate) fn drain(shard: &crate::shard::Shard, slot: &Slot) -> u64 {
    let mut dropped = 0;
    for lane in &slot.lanes {
        while let Some(node) = lane.pop() {
            if let Some(vtable) = node.vtable.get() {
                // SAFETY: the node holds an untaken message of the type the vtable was made for.
                unsafe { (vtable.drop)(node.payload.as_ptr()) };
            }
            let reply = node.reply.get();
            shard.nodes.put(node);
            if reply.is_wanted() {
                shard.fail_reply(reply, NoAnswer::Stopped);
            }
            dropped += 1;
        }
    }
    debug_assert!(slot.wanted_class() != Some(Class::High));
    dropped
}
