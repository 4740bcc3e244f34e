//! Forwarders: what a slot does whose actor has moved away.
//!
//! A forwarder is a mailbox with the bounds of its actor. It sends on what is in a lane as one
//! batch, and the next batch only when the actor has reached the end of that one: so it holds
//! senders back as the actor itself would. Batches travel by the injection queue, which is always
//! taken from, and never wait in a lane of the mesh: a lane that waits for a forwarder, which waits
//! for a lane, may wait for itself.

use std::time::Duration;

use tracing::Span;

use crate::actor::{
    ActorId, EnvelopeId, ExitReason, Lane, MessageVtable, NoAnswer, Payload, ReplyTo, Signal, Stamp,
};
use crate::clock::Cycles;
use crate::limits::FORWARD_BATCH;
use crate::sched::{Class, LANE_HIGH, Slot, flag};
use crate::timer;

use super::signal::forget_link;
use super::{Job, Shard};

/// Time until a job that found the injection queue of a shard full is sent again.
const RETRY: Duration = Duration::from_millis(1);

/// A message on its way from mailbox to mailbox.
pub(super) struct Parcel {
    vtable: &'static MessageVtable,
    reply: ReplyTo,
    posted_at: Cycles,
    stamp: Stamp,
    span: Option<Span>,
    payload: Payload,
}

// SAFETY: a parcel carries a `Message`, which is `Send`, in a payload that only its holder touches.
unsafe impl Send for Parcel {}

impl Drop for Parcel {
    /// Only parcels that found no mailbox are dropped.
    fn drop(&mut self) {
        // SAFETY: the payload holds an untaken message of the vtable's type: `unwrap` forgets the
        // parcel whose message it moves.
        unsafe { (self.vtable.drop)(self.payload.as_ptr()) };
    }
}

/// Lies behind a batch in the mailbox of its receiver: dropped, it asks for the next one.
pub(super) struct Mark {
    pub(super) forwarder: ActorId,
    pub(super) lane: u8,
}

impl Drop for Mark {
    fn drop(&mut self) {
        let (id, lane) = (self.forwarder, usize::from(self.lane));
        Shard::with(|shard| {
            let next = move |shard: &Shard| {
                if let Some(slot) = shard.slots.get(id.key())
                    && let Some(cold) = slot.cold()
                {
                    cold.in_flight[lane].set(false);
                    shard.forward(slot, lane);
                }
            };
            shard.send_job(id.shard, Box::new(next));
        });
    }
}

const MARK: &MessageVtable = &MessageVtable {
    run: run_mark,
    drop: Payload::drop_in_place::<Mark>,
    used: Payload::used::<Mark>(),
    class: Class::Normal,
    name: std::any::type_name::<Mark>,
    actor: std::any::TypeId::of::<()>,
};

/// # Safety
/// The envelope holds a `Mark` and is linked nowhere.
unsafe fn run_mark(_: *mut (), id: EnvelopeId, slot: &Slot, shard: &Shard) {
    // SAFETY: the caller's promise; read once, and written back when it is to come again.
    let mark: Mark = unsafe { Payload::read(shard.envelopes.payload(id)) };
    let lane = usize::from(mark.lane);
    let postpones = slot
        .cold()
        .is_some_and(|cold| !cold.postponed[lane].is_empty());
    if postpones && slot.room[lane].get() <= 0 {
        // A mailbox full of postponed messages has no room for a next batch.
        // SAFETY: the mark was read above; it moves back whole.
        unsafe { Payload::put(shard.envelopes.payload(id), mark) };
        let class = if lane == 0 {
            Class::High
        } else {
            Class::Normal
        };
        return shard.postpone(slot, id, class);
    }
    shard.envelopes.put(id, MARK.used);
    drop(mark);
}

impl Shard {
    /// Has `job` run on shard `to`, in no order: a full queue is tried again.
    pub(super) fn send_job(&self, to: u16, job: Job) {
        if let Err(job) = self.shared().inject(to, job) {
            timer::start_job(self, RETRY, move || {
                Shard::with(|shard| shard.send_job(to, job));
            });
        }
    }

    /// Sends on what is in a lane (0 is high, 1 normal) of a forwarder, if no batch is under way.
    #[cold]
    pub(super) fn forward(&self, slot: &Slot, lane: usize) {
        let Some(cold) = slot.cold() else { return };
        let Some(to) = cold.moved_to.get() else {
            return;
        };
        if cold.in_flight[lane].get() || slot.lanes[LANE_HIGH + lane].is_empty() {
            return;
        }
        cold.in_flight[lane].set(true);
        let batch: Vec<_> = std::iter::from_fn(|| self.unqueue(slot, LANE_HIGH + lane))
            .take(FORWARD_BATCH)
            .filter_map(|(id, _)| self.wrap(id))
            .collect();
        #[expect(clippy::cast_possible_truncation, reason = "0 or 1")]
        let mark = Mark {
            forwarder: self.id_of(slot),
            lane: lane as u8,
        };
        let job = move |shard: &Shard| shard.take_batch(to, batch, mark);
        self.send_job(to.shard, Box::new(job));
    }

    /// A batch arrives at the actor, or at its next forwarder.
    pub(super) fn take_batch(&self, to: ActorId, batch: Vec<Parcel>, mark: Mark) {
        let Some(slot) = self.slots.get(to.key()) else {
            batch
                .into_iter()
                .for_each(|parcel| self.lose(parcel, NoAnswer::Stopped));
            return;
        };
        let lane = usize::from(mark.lane);
        let queue = &slot.lanes[LANE_HIGH + lane];
        for parcel in batch {
            let size = self.unwrap(parcel, queue);
            count(slot, lane, size);
        }
        if let Some((id, envelope)) = self.envelopes.take(MARK.used) {
            envelope.vtable.set(Some(MARK));
            envelope.reply.set(ReplyTo::NONE);
            envelope.posted_at.set(self.now.get());
            envelope.stamp.set(Stamp {
                deadline_us: 0,
                size: 0,
                from: self.from,
                traced: false,
            });
            // SAFETY: the vtable is that of marks.
            unsafe { Payload::put(self.envelopes.payload(id), mark) };
            queue.push(&self.envelopes, id);
            count(slot, lane, Some(0));
        }
        let class = if lane == 0 {
            Class::High
        } else {
            slot.class.get()
        };
        self.schedule(slot, class);
    }

    /// Takes a lane's messages out of their envelopes.
    pub(super) fn collect(&self, slot: &Slot, lane: &Lane) -> Vec<Parcel> {
        std::iter::from_fn(|| lane.pop(&self.envelopes))
            .inspect(|id| self.settle_credit(slot, *id))
            .filter_map(|id| self.wrap(id))
            .collect()
    }

    /// The credit of a message that leaves its mailbox by another way than a turn.
    fn settle_credit(&self, slot: &Slot, id: EnvelopeId) {
        let envelope = self.envelopes.get(id);
        let normal = (envelope.vtable.get()).is_some_and(|vtable| vtable.class > Class::High);
        let from = envelope.stamp.get().from;
        if normal && from != self.from {
            self.owe_credit(from, slot);
        }
    }

    fn wrap(&self, id: EnvelopeId) -> Option<Parcel> {
        let envelope = self.envelopes.get(id);
        let vtable = envelope.vtable.get()?;
        let stamp = envelope.stamp.get();
        let span = if stamp.traced {
            self.detach_span(id)
        } else {
            None
        };
        let parcel = Parcel {
            vtable,
            reply: envelope.reply.get(),
            posted_at: envelope.posted_at.get(),
            stamp: Stamp {
                traced: false,
                ..stamp
            },
            span,
            payload: Payload::empty(),
        };
        // SAFETY: the envelope is unlinked and holds a message of its vtable's type, which moves to
        // the parcel; the envelope is free afterwards.
        unsafe { (parcel.payload).copy_from(self.envelopes.payload(id), vtable.used) };
        self.envelopes.put(id, vtable.used);
        Some(parcel)
    }

    /// Moves a message into an envelope of `lane`; what it counts for, or `None` without room.
    pub(super) fn unwrap(&self, parcel: Parcel, lane: &Lane) -> Option<u16> {
        let Some((id, envelope)) = self.envelopes.take(parcel.vtable.used) else {
            self.lose(parcel, NoAnswer::Dropped);
            return None;
        };
        let mut parcel = std::mem::ManuallyDrop::new(parcel);
        envelope.vtable.set(Some(parcel.vtable));
        envelope.reply.set(parcel.reply);
        envelope.posted_at.set(parcel.posted_at);
        // Credit went home, or goes home, where the message was first received.
        envelope.stamp.set(Stamp {
            from: self.from,
            ..parcel.stamp
        });
        // SAFETY: the parcel holds a message of the vtable's type, which moves to the envelope: the
        // parcel is not dropped.
        unsafe {
            std::ptr::copy_nonoverlapping(
                parcel.payload.as_ptr(),
                self.envelopes.payload(id),
                parcel.vtable.used,
            );
        }
        if let Some(span) = parcel.span.take() {
            self.attach_span(id, envelope, span);
        }
        lane.push(&self.envelopes, id);
        Some(parcel.stamp.size)
    }

    /// A message on its way finds no actor, or no memory.
    #[cold]
    fn lose(&self, parcel: Parcel, why: NoAnswer) {
        self.stats().messages_dropped.add(1);
        if parcel.reply.is_wanted() {
            self.fail_reply(parcel.reply, why);
        }
        self.run_caught("drop of a message", || drop(parcel));
    }

    /// What a forwarder does about a signal to the actor that has moved to `to`.
    pub(super) fn forward_signal(&self, slot: &Slot, to: ActorId, signal: Signal) {
        match signal {
            Signal::Link(_) | Signal::Unlink(_) | Signal::Watch(..) | Signal::Unwatch(_) => {
                self.signalled(slot, signal);
            }
            Signal::Ended(why) => self.end_forwarder(slot, &why),
            Signal::Exit(exit) => {
                forget_link(slot, exit.from);
                self.signal(to, Signal::Exit(exit));
            }
            Signal::Ask(_) | Signal::Down(_) | Signal::Kill => self.signal(to, signal),
        }
    }

    /// Everybody who knows an actor by a former address is told of its end there.
    pub(super) fn end_forwarders(&self, former: Vec<ActorId>, why: &ExitReason) {
        for id in former {
            self.signal(id, Signal::Ended(why.clone()));
        }
    }

    fn end_forwarder(&self, slot: &Slot, why: &ExitReason) {
        slot.vtable.set(None);
        self.announce_end(slot, why);
        let dropped = self.empty_mailbox(slot);
        self.stats().messages_dropped.add(dropped);
        drop(slot.take_cold());
        slot.flags.set(0);
        self.slots.put(slot);
    }

    /// Where the actor of `slot` has moved, if it has.
    pub(super) fn moved_to(&self, slot: &Slot) -> Option<ActorId> {
        let moved = slot.has(flag::MOVED).then(|| slot.cold()).flatten();
        moved.and_then(|cold| cold.moved_to.get())
    }
}

/// Counts a message that has come by another way than a send: it needs no room to be let in.
pub(super) fn count(slot: &Slot, lane: usize, size: Option<u16>) {
    if let Some(size) = size {
        slot.room[lane].set(slot.room[lane].get() - 1);
        slot.room_bytes.set(slot.room_bytes.get() - i32::from(size));
    }
}
