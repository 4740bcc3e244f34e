//! What travels between shards: a message, an answer, or the news that no answer will come.

use crate::actor::{MessageVtable, NoAnswer, Payload, ReplyTo};
use crate::clock::Cycles;

/// The head of a frame.
pub(crate) enum Head {
    /// A message to the actor `(index, generation)`.
    Message {
        vtable: &'static MessageVtable,
        index: u32,
        generation: u32,
        reply: ReplyTo,
        posted_at: Cycles,
    },
    /// The answer to a call; `used` payload bytes, dropped by `drop` when nobody waits any more.
    Answer {
        to: ReplyTo,
        used: usize,
        drop: unsafe fn(*mut u8),
    },
    /// A call that will get no answer.
    Failed { to: ReplyTo, why: NoAnswer },
}

/// One slot of a mesh ring: two cache lines, of which messages up to 24 bytes touch the first.
#[repr(C, align(64))]
pub(crate) struct Frame {
    pub(crate) head: Head,
    pub(crate) payload: Payload,
}

// SAFETY: a frame carries a `Message` or a `Reply`, both `Send` by their traits, in a payload that
// only the receiving shard touches after the ring's release/acquire hand-over.
unsafe impl Send for Frame {}

impl Drop for Frame {
    /// Only frames that were never delivered are dropped (a runtime that shuts down).
    fn drop(&mut self) {
        // SAFETY: an undelivered frame still owns its payload, whose type the head knows.
        unsafe {
            match &self.head {
                Head::Message { vtable, .. } => (vtable.drop)(self.payload.as_ptr()),
                Head::Answer { drop, .. } => drop(self.payload.as_ptr()),
                Head::Failed { .. } => {}
            }
        }
    }
}
