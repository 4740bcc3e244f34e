//! Sending: into a mailbox of this shard, or into the mesh towards another.

use crate::actor::{ActorId, Message, MessageVtable, NoAnswer, Payload, ReplyTo, SendError};
use crate::mesh::{Frame, Head, Lane};
use crate::sched::{Class, LANE_HIGH, LANE_NORMAL, Slot, SlotKey};

use super::Shard;

/// Why a mailbox takes no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Full,
    Closed,
}

impl Shard {
    /// Sends `message` to `to`, or hands it back.
    #[inline]
    pub(crate) fn post<M: Message>(
        &self,
        to: ActorId,
        vtable: &'static MessageVtable,
        message: M,
        reply: ReplyTo,
    ) -> Result<(), SendError<M>> {
        if to.shard != self.id() {
            return self.post_remote(to, vtable, message, reply);
        }
        match self.admit(to.key(), vtable) {
            Ok(slot) => {
                // SAFETY: the vtable was made for M, whose payload `write` stores.
                self.enqueue(slot, vtable, reply, self.now.get(), |p| unsafe {
                    p.write(message)
                });
                Ok(())
            }
            Err(Refusal::Full) => {
                self.stats().messages_refused_full.add(1);
                Err(SendError::Full(message))
            }
            Err(Refusal::Closed) => Err(SendError::Closed(message)),
        }
    }

    fn post_remote<M: Message>(
        &self,
        to: ActorId,
        vtable: &'static MessageVtable,
        message: M,
        reply: ReplyTo,
    ) -> Result<(), SendError<M>> {
        let lane = if vtable.class == Class::High {
            Lane::Express
        } else {
            Lane::Bulk
        };
        let head = Head::Message {
            vtable,
            index: to.index,
            generation: to.generation,
            reply,
            posted_at: self.now.get(),
        };
        let sent = self.mesh.send(self, to.shard, lane, head, message);
        if matches!(sent, Err(SendError::Full(_))) {
            self.stats().messages_refused_full.add(1);
        }
        sent
    }

    /// The slot that takes a message for `key`, if it has room.
    #[inline(always)]
    pub(super) fn admit(
        &self,
        key: SlotKey,
        vtable: &'static MessageVtable,
    ) -> Result<&Slot, Refusal> {
        let slot = if key.index & SlotKey::FROM_PARTS == 0 {
            self.slots.get(key).ok_or(Refusal::Closed)?
        } else {
            self.admit_checked(key, vtable)?
        };
        if slot.lanes[lane_of(vtable)].len() >= slot.capacity.get() {
            return Err(Refusal::Full);
        }
        Ok(slot)
    }

    /// As a plain look-up, but the actor must be of the type the message was made for.
    #[cold]
    fn admit_checked(
        &self,
        key: SlotKey,
        vtable: &'static MessageVtable,
    ) -> Result<&Slot, Refusal> {
        let key = SlotKey {
            index: key.index & !SlotKey::FROM_PARTS,
            ..key
        };
        let slot = self.slots.get(key).ok_or(Refusal::Closed)?;
        let same = slot
            .vtable
            .get()
            .is_some_and(|body| (body.type_id)() == (vtable.actor)());
        if same { Ok(slot) } else { Err(Refusal::Closed) }
    }

    /// Puts an admitted message into the mailbox and its actor into a run queue.
    #[inline(always)]
    pub(super) fn enqueue(
        &self,
        slot: &Slot,
        vtable: &'static MessageVtable,
        reply: ReplyTo,
        posted_at: u64,
        fill: impl FnOnce(&Payload),
    ) {
        let node = self.nodes.take();
        node.vtable.set(Some(vtable));
        node.reply.set(reply);
        node.posted_at.set(posted_at);
        fill(&node.payload);
        slot.lanes[lane_of(vtable)].push(node);
        let class = if vtable.class == Class::High {
            Class::High
        } else {
            slot.class.get()
        };
        self.schedule(slot, class);
    }

    /// Makes `slot` ready in `class`; what is running now notices if that is more urgent.
    #[inline(always)]
    pub(super) fn schedule(&self, slot: &Slot, class: Class) {
        if std::ptr::eq(slot, self.running.get()) {
            return;
        }
        self.ready.link(slot, class);
        if class < self.running_class.get() {
            self.resched.set(true);
        }
    }

    /// Wakes a task; a stale key wakes nobody.
    #[inline]
    pub(crate) fn wake(&self, key: SlotKey) {
        if let Some(slot) = self.slots.get(key)
            && !slot.woken.replace(true)
        {
            slot.woken_at.set(self.now.get());
            self.schedule(slot, slot.class.get());
        }
    }

    /// Delivers the answer to a call, here or on the asker's shard.
    #[inline]
    pub(crate) fn answer<R: Send + 'static>(&self, to: ReplyTo, answer: R) {
        if to.shard == self.id() {
            // An asker that gave up has closed its cell: the answer is dropped here.
            drop(self.replies.answer(to, answer));
            return;
        }
        let head = Head::Answer {
            to,
            used: Payload::used::<R>(),
            drop: Payload::drop_in_place::<R>,
        };
        let frame = Frame {
            head,
            payload: Payload::empty(),
        };
        // SAFETY: the head says that the payload holds an R.
        unsafe { frame.payload.write(answer) };
        self.mesh.send_reserved(self, to.shard, frame);
    }

    /// Tells the asker that no answer will come.
    pub(crate) fn fail_reply(&self, to: ReplyTo, why: NoAnswer) {
        if to.shard == self.id() {
            self.replies.fail(to, why);
        } else {
            let frame = Frame {
                head: Head::Failed { to, why },
                payload: Payload::empty(),
            };
            self.mesh.send_reserved(self, to.shard, frame);
        }
    }

    /// Takes one frame that arrived; false when its mailbox is full, so that it stays in the lane.
    pub(crate) fn receive(&self, frame: &Frame) -> bool {
        let from = frame.payload.as_ptr();
        match &frame.head {
            Head::Message {
                vtable,
                index,
                generation,
                reply,
                posted_at,
            } => {
                let key = SlotKey {
                    index: *index,
                    generation: *generation,
                };
                match self.admit(key, vtable) {
                    Ok(slot) => self.enqueue(slot, vtable, *reply, *posted_at, |payload| {
                        // SAFETY: the frame holds a message of `used` bytes; it moves to the node.
                        unsafe { payload.copy_from(from, vtable.used) };
                    }),
                    Err(Refusal::Full) => return false,
                    Err(Refusal::Closed) => {
                        self.stats().messages_dropped.add(1);
                        // SAFETY: the frame owns a message of the vtable's type; it ends here.
                        unsafe { (vtable.drop)(from) };
                        if reply.is_wanted() {
                            self.fail_reply(*reply, NoAnswer::Stopped);
                        }
                    }
                }
            }
            Head::Answer { to, used, drop } => {
                // SAFETY: the answer in the frame has the type its cell was opened for, because
                // both come from the same `Message::Reply`; if nobody waits, it is dropped here.
                unsafe {
                    if !self.replies.answer_raw(*to, from, *used) {
                        drop(from);
                    }
                }
            }
            Head::Failed { to, why } => self.replies.fail(*to, *why),
        }
        true
    }
}

#[inline(always)]
fn lane_of(vtable: &MessageVtable) -> usize {
    if vtable.class == Class::High {
        LANE_HIGH
    } else {
        LANE_NORMAL
    }
}
