//! What arrives through the mesh.

use crate::actor::{NoAnswer, Payload, Signal, Stamp};
use crate::mesh::{Frame, Head, Lane, MessageHead};
use crate::sched::{Class, SlotKey};

use super::Shard;
use super::post::{Refusal, mesh_lane};

impl Shard {
    /// Takes one frame that arrived from shard `peer`; false when its mailbox is full, so that it
    /// stays in the lane.
    pub(crate) fn receive(&self, peer: usize, frame: &Frame) -> bool {
        let from = frame.payload();
        match frame.head() {
            Head::Message(head) if head.vtable.class != Class::System => {
                return self.receive_message(peer, frame, &head);
            }
            Head::Message(head) => {
                let key = SlotKey {
                    index: head.index,
                    generation: head.generation,
                };
                // SAFETY: only signals have the system class; the frame's is read once, here.
                let signal: Signal = unsafe { Payload::read(from) };
                self.deliver_signal(key, signal);
            }
            Head::Answer { to, used, drop } => {
                // SAFETY: the answer in the frame has the type its cell was opened for, because
                // both come from the same `Message::Reply`; if nobody waits, it is dropped here.
                unsafe {
                    if !self.replies.answer_raw(to, from, used) {
                        self.drop_caught(drop, from);
                    }
                }
            }
            Head::Failed { to, why } => self.replies.fail(to, why),
            Head::Credits(batch) => self.take_returns(peer, &batch),
        }
        true
    }

    #[inline]
    fn receive_message(&self, peer: usize, frame: &Frame, head: &MessageHead) -> bool {
        let vtable = head.vtable;
        let key = SlotKey {
            index: head.index,
            generation: head.generation,
        };
        match self.admit(key, vtable, head.size) {
            Ok(slot) => {
                let Some((id, envelope)) = self.envelopes.take(vtable.used) else {
                    return false;
                };
                let (from, to) = (frame.payload(), self.envelopes.payload(id));
                // SAFETY: the frame holds a message of `used` bytes; it moves to the envelope,
                // which was taken for as many. Its span goes the same way.
                let span = unsafe {
                    std::ptr::copy_nonoverlapping(from, to, vtable.used);
                    frame.take_span()
                };
                envelope.stamp.set(Stamp {
                    deadline_us: head.deadline_us,
                    size: head.size,
                    from: u8::try_from(peer).unwrap_or(u8::MAX),
                    traced: false,
                });
                if let Some(span) = span {
                    self.attach_span(id, envelope, *span);
                }
                self.enqueue(slot, vtable, head.reply, head.posted_at, id, envelope);
                true
            }
            Err(refusal) => self.receive_refused(peer, frame, head, refusal),
        }
    }

    #[cold]
    fn receive_refused(
        &self,
        peer: usize,
        frame: &Frame,
        head: &MessageHead,
        refusal: Refusal,
    ) -> bool {
        let why = match refusal {
            Refusal::Full => return false,
            Refusal::Closed => NoAnswer::Stopped,
            // It would wait in the lane for ever, and all others behind it.
            Refusal::Dropped | Refusal::TooLarge => NoAnswer::Dropped,
        };
        self.stats().messages_dropped.add(1);
        self.owe_for(peer, head);
        // SAFETY: the frame owns a message of the vtable's type and, if any, a span; both end here.
        unsafe {
            self.drop_caught(head.vtable.drop, frame.payload());
            drop(frame.take_span());
        }
        if head.reply.is_wanted() {
            self.fail_reply(head.reply, why);
        }
        true
    }

    /// The message of a frame needs no credit any more.
    fn owe_for(&self, peer: usize, head: &MessageHead) {
        if mesh_lane(head.vtable) == Lane::Bulk {
            let index = head.index & !SlotKey::FROM_PARTS;
            self.owe(
                u8::try_from(peer).unwrap_or(u8::MAX),
                (index, head.generation),
            );
        }
    }
}
