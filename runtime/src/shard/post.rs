//! Sending: into a mailbox of this shard, or into the mesh towards another.

use crate::actor::{
    ActorId, Envelope, EnvelopeId, Message, MessageVtable, NoAnswer, Overflow, Payload, ReplyTo,
    SendError, Stamp, size_of_message,
};
use crate::actor::{Lane as MailboxLane, units};
use crate::clock::Cycles;
use crate::mesh::{Frame, Lane, MessageHead};
use crate::sched::{Class, LANE_HIGH, LANE_NORMAL, LANE_SYSTEM, Slot, SlotKey, flag};

use super::turn::WOKEN_UNIT;
use super::{Shard, is_shed};

/// Why a mailbox takes no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Full,
    Closed,
    /// The mailbox's overflow policy gives the new message up.
    Dropped,
    /// The mailbox would not hold it if it were empty.
    TooLarge,
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
        deadline_us: u32,
    ) -> Result<(), SendError<M>> {
        if !to.is_at(self.place) {
            return self.post_elsewhere(to, vtable, message, reply, deadline_us);
        }
        let stamp = Stamp {
            deadline_us,
            size: size_of_message(&message),
            from: self.from,
            traced: false,
        };
        if is_shed(self.shed.get(), vtable.class) {
            self.stats().messages_shed.add(1);
            return Err(SendError::Shed(message));
        }
        let refusal = match self.admit(to.key(), vtable, stamp.size) {
            Ok(slot) => match self.envelopes.take(Payload::used::<M>()) {
                Some((id, envelope)) => {
                    // SAFETY: the vtable was made for M, and the envelope has room for it.
                    unsafe { Payload::put(self.envelopes.payload(id), message) };
                    envelope.stamp.set(stamp);
                    if let Some(span) = self.sender_span() {
                        self.attach_span(id, envelope, span);
                    }
                    self.enqueue(
                        slot,
                        vtable,
                        reply,
                        self.stamp_of(reply, deadline_us),
                        id,
                        envelope,
                    );
                    return Ok(());
                }
                None => Refusal::Full,
            },
            Err(refusal) => refusal,
        };
        self.refuse(refusal, message, reply)
    }

    /// The moment that a message counts as posted at. The deadline of a cast counts from now, and
    /// the last look at the clock may be as old as the running handler; a call has a timer too,
    /// which is exact.
    #[inline(always)]
    fn stamp_of(&self, reply: ReplyTo, deadline_us: u32) -> Cycles {
        if deadline_us == 0 || reply.is_wanted() {
            self.now.get()
        } else {
            self.time.cycles()
        }
    }

    #[cold]
    fn refuse<M: Message>(
        &self,
        refusal: Refusal,
        message: M,
        reply: ReplyTo,
    ) -> Result<(), SendError<M>> {
        match refusal {
            Refusal::Full => {
                self.stats().messages_refused_full.add(1);
                Err(SendError::Full(message))
            }
            Refusal::Closed => Err(SendError::Closed(message)),
            Refusal::Dropped => {
                self.stats().messages_dropped.add(1);
                if reply.is_wanted() {
                    self.fail_reply(reply, NoAnswer::Dropped);
                }
                self.run_caught("drop of a message", || drop(message));
                Ok(())
            }
            Refusal::TooLarge => {
                self.stats().messages_refused_full.add(1);
                Err(SendError::TooLarge(message))
            }
        }
    }

    /// To another shard, if it is one of this runtime's.
    #[inline(never)]
    fn post_elsewhere<M: Message>(
        &self,
        to: ActorId,
        vtable: &'static MessageVtable,
        message: M,
        reply: ReplyTo,
        deadline_us: u32,
    ) -> Result<(), SendError<M>> {
        if to.runtime != self.runtime_id() {
            return Err(SendError::OffShard(message));
        }
        self.post_remote(to, vtable, message, reply, deadline_us)
    }

    fn post_remote<M: Message>(
        &self,
        to: ActorId,
        vtable: &'static MessageVtable,
        message: M,
        reply: ReplyTo,
        deadline_us: u32,
    ) -> Result<(), SendError<M>> {
        let lane = mesh_lane(vtable);
        if let Some(port) = self.shared().ports.get(to.shard as usize)
            && is_shed(port.shedding(), vtable.class)
        {
            self.stats().messages_shed.add(1);
            return Err(SendError::Shed(message));
        }
        if lane == Lane::Bulk && !self.take_credit(to) {
            self.stats().messages_refused_credit.add(1);
            return Err(SendError::Full(message));
        }
        let head = MessageHead {
            vtable,
            index: to.index,
            generation: to.generation,
            reply,
            posted_at: self.stamp_of(reply, deadline_us),
            deadline_us,
            size: size_of_message(&message),
            span: self.sender_span().map(Box::new),
        };
        let sent = self.mesh.send(self, to.shard, lane, head, message);
        if sent.is_err() {
            self.stats().messages_refused_full.add(1);
            if lane == Lane::Bulk {
                self.untake_credit(to);
            }
        }
        sent
    }

    /// The slot that takes a message for `key`, if it has room.
    #[inline(always)]
    pub(super) fn admit(
        &self,
        key: SlotKey,
        vtable: &'static MessageVtable,
        size: u16,
    ) -> Result<&Slot, Refusal> {
        let slot = match self.slots.addressed(key) {
            Some(slot) => slot,
            None => self.admit_checked(key, vtable)?,
        };
        let room = slot.room[lane_of(vtable) - LANE_HIGH].get();
        if room <= 0 || slot.room_bytes.get() < i32::from(size) {
            self.overflow(slot, vtable, size)?;
        }
        Ok(slot)
    }

    /// A key that finds nothing is stale, or was made from parts: then the actor must be of the
    /// type that the message was made for.
    #[cold]
    fn admit_checked(
        &self,
        key: SlotKey,
        vtable: &'static MessageVtable,
    ) -> Result<&Slot, Refusal> {
        if key.index & SlotKey::FROM_PARTS == 0 {
            return Err(Refusal::Closed);
        }
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

    /// A mailbox without room: the actor is ending, or its overflow policy decides.
    #[cold]
    fn overflow(
        &self,
        slot: &Slot,
        vtable: &'static MessageVtable,
        size: u16,
    ) -> Result<(), Refusal> {
        if slot.is_free() {
            return Err(Refusal::Closed);
        }
        let options = self.options.get(slot.options.get());
        let most = units(options.bytes);
        if i32::from(size) > most {
            return Err(Refusal::TooLarge);
        }
        let lane = lane_of(vtable);
        // High messages may fill as much again.
        let floor = if lane == LANE_HIGH { -most } else { 0 };
        let (room, bytes) = (&slot.room[lane - LANE_HIGH], &slot.room_bytes);
        while room.get() <= 0 || bytes.get() - i32::from(size) < floor {
            match options.overflow {
                Overflow::Refuse => return Err(Refusal::Full),
                Overflow::DropNewest => return Err(Refusal::Dropped),
                Overflow::DropOldest => self.drop_oldest(slot, lane)?,
            }
        }
        Ok(())
    }

    /// Gives up the oldest message of a lane; postponed ones are older than those in it.
    fn drop_oldest(&self, slot: &Slot, lane: usize) -> Result<(), Refusal> {
        let postponed = slot.cold().map(|cold| &cold.postponed[lane - LANE_HIGH]);
        let from = postponed
            .filter(|postponed| !postponed.is_empty())
            .unwrap_or(&slot.lanes[lane]);
        let (oldest, envelope) = self.unqueue_from(from, slot, lane).ok_or(Refusal::Full)?;
        if let Some(vtable) = envelope.vtable.get() {
            self.give_up(oldest, vtable, NoAnswer::Dropped);
            self.stats().messages_dropped.add(1);
        }
        Ok(())
    }

    /// Takes the oldest message of the high or the normal lane, and gives its room back.
    #[inline(always)]
    pub(crate) fn unqueue(&self, slot: &Slot, lane: usize) -> Option<(EnvelopeId, &Envelope)> {
        self.unqueue_from(&slot.lanes[lane], slot, lane)
    }

    #[inline(always)]
    fn unqueue_from(
        &self,
        from: &MailboxLane,
        slot: &Slot,
        lane: usize,
    ) -> Option<(EnvelopeId, &Envelope)> {
        let (id, envelope) = from.pop_envelope(&self.envelopes)?;
        let room = &slot.room[lane - LANE_HIGH];
        room.set(room.get() + 1);
        let stamp = envelope.stamp.get();
        slot.room_bytes
            .set(slot.room_bytes.get() + i32::from(stamp.size));
        if stamp.from != self.from && lane == LANE_NORMAL {
            self.owe_credit(stamp.from, slot);
        }
        Some((id, envelope))
    }

    /// Takes the room of a message of `size` units in the high (0) or the normal lane (1), which
    /// there is: it was admitted, or has just left the lane.
    #[inline(always)]
    pub(super) fn take_room(&self, slot: &Slot, lane: usize, size: u16) {
        let (room, bytes) = (&slot.room[lane], &slot.room_bytes);
        room.set(room.get() - 1);
        bytes.set(bytes.get().wrapping_sub(i32::from(size)));
    }

    /// Puts an admitted message, whose stamp is set, into the mailbox and its actor into a run
    /// queue.
    #[inline(always)]
    pub(super) fn enqueue(
        &self,
        slot: &Slot,
        vtable: &'static MessageVtable,
        reply: ReplyTo,
        posted_at: Cycles,
        id: EnvelopeId,
        envelope: &Envelope,
    ) {
        envelope.vtable.set(Some(vtable));
        envelope.reply.set(reply);
        envelope.posted_at.set(posted_at);
        let lane = lane_of(vtable);
        slot.lanes[lane].push_envelope(&self.envelopes, id, envelope);
        self.take_room(slot, lane - LANE_HIGH, envelope.stamp.get().size);
        let class = if lane == LANE_HIGH {
            Class::High
        } else {
            vtable.class.max(slot.class.get())
        };
        self.schedule(slot, class);
    }

    /// Makes `slot` ready in `class`; what is running now notices if that is more urgent.
    #[inline(always)]
    pub(crate) fn schedule(&self, slot: &Slot, class: Class) {
        if std::ptr::eq(slot, self.running.get()) {
            return;
        }
        if slot.has(flag::SUSPENDED) && (class != Class::System || slot.has(flag::ARRIVING)) {
            // What comes before an actor that is on its way waits for it, signals too.
            if slot.has(flag::MOVED) {
                self.forward(slot, usize::from(class != Class::High));
            }
            return;
        }
        self.ready.link(&self.slots, slot, class, self.now.get());
        if class < self.running_class.get() {
            self.resched.set(true);
        }
    }

    /// Wakes a task; a stale key wakes nobody.
    #[inline]
    pub(crate) fn wake(&self, key: SlotKey) {
        if let Some(slot) = self.slots.get(key)
            && !slot.has(flag::WOKEN)
        {
            slot.set(flag::WOKEN);
            #[expect(clippy::cast_possible_truncation, reason = "compared modulo 2^32")]
            slot.woken_at.set((self.now.get() >> WOKEN_UNIT) as u32);
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
        self.answer_remote(to, answer);
    }

    #[inline(never)]
    fn answer_remote<R: Send + 'static>(&self, to: ReplyTo, answer: R) {
        self.mesh.send_answer(self, to, answer);
    }

    /// Tells the asker that no answer will come.
    pub(crate) fn fail_reply(&self, to: ReplyTo, why: NoAnswer) {
        if to.shard == self.id() {
            self.replies.fail(to, why);
        } else {
            self.mesh
                .send_reserved(self, to.shard, Frame::failed(to, why));
        }
    }

    /// Drops a message that will not be handled, and tells who waits for its answer.
    pub(crate) fn give_up(&self, id: EnvelopeId, vtable: &MessageVtable, why: NoAnswer) {
        let envelope = self.envelopes.get(id);
        let reply = envelope.reply.get();
        if envelope.stamp.get().traced {
            drop(self.detach_span(id));
        }
        // SAFETY: the envelope is unlinked and holds an untaken message of the vtable's type.
        unsafe { self.drop_caught(vtable.drop, self.envelopes.payload(id)) };
        self.envelopes.put(id, vtable.used);
        if reply.is_wanted() {
            self.fail_reply(reply, why);
        }
    }

    /// Drops a user's value of which only its drop is known; a panic in there is logged.
    ///
    /// # Safety
    /// `at` holds a value that `drop` drops, and it is used no more.
    pub(super) unsafe fn drop_caught(&self, drop: unsafe fn(*mut u8), at: *mut u8) {
        // SAFETY: the caller's promise.
        self.run_caught("drop of a message", || unsafe { drop(at) });
    }
}

#[inline(always)]
pub(super) fn lane_of(vtable: &MessageVtable) -> usize {
    match vtable.class {
        Class::System => LANE_SYSTEM,
        Class::High => LANE_HIGH,
        Class::Normal | Class::Low => LANE_NORMAL,
    }
}

/// High messages travel on the express lane, others on the bulk lane.
#[inline(always)]
pub(super) fn mesh_lane(vtable: &MessageVtable) -> Lane {
    if vtable.class <= Class::High {
        Lane::Express
    } else {
        Lane::Bulk
    }
}
