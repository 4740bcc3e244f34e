//! One turn: an actor handles messages within its budget, or a task is polled once.

use std::ptr;

use crate::accounts::Entry;
use crate::actor::{EnvelopeId, MessageVtable, NoAnswer, ReplyTo, VOID};
use crate::clock::Cycles;
use crate::limits::TURN_MESSAGES;
use crate::mesh::Lane;
use crate::panics;
use crate::sched::{BodyVtable, Class, LANE_HIGH, LANE_NORMAL, LANE_SYSTEM, Slot, flag};
use crate::stats::Histogram;
use crate::task;

use super::Shard;

/// Messages between two reads of the clock, while they are handled fast.
const CLOCK_EVERY: u32 = 4;
/// The same, while they take a fraction of a microsecond.
const CLOCK_EVERY_BRIEF: u32 = 32;
/// Units of [`Slot::woken_at`], as a shift of cycles.
pub(super) const WOKEN_UNIT: u32 = 6;

impl Shard {
    /// Runs one turn of `slot` in `class`. An entry of a run queue may be stale: its slot then has
    /// nothing to do, or is free.
    pub(super) fn turn(&self, slot: &Slot, class: Class) {
        let Some(vtable) = slot.vtable.get() else {
            return;
        };
        let start = self.now.get();
        self.running.set(slot);
        self.running_class.set(class);
        self.resched.set(false);
        slot.set(flag::RUNNING | flag::ACTIVE);
        let generation = slot.generation.get();
        self.stall_watch.begin(start, slot.index, vtable.name);
        let more = match vtable.poll {
            Some(poll) => self.task_turn(slot, vtable, poll, class),
            None => self.actor_turn(slot, vtable, class, start),
        };
        self.stall_watch.end();
        self.running.set(ptr::null());
        self.running_class.set(Class::System);
        if slot.generation.get() == generation {
            slot.unset(flag::RUNNING);
            if more && let Some(next) = slot.wanted_class() {
                let next = self.rank(slot, next);
                self.ready.link(&self.slots, slot, next, self.now.get());
            }
        }
        if self.now.get() == start {
            self.end_short_turn();
        } else {
            self.end_long_turn(slot, vtable, class, start);
        }
    }

    /// The class that a slot is queued in anew: that of its oldest message, where it is lower than
    /// the actor's own.
    #[inline]
    fn rank(&self, slot: &Slot, wanted: Class) -> Class {
        match slot.lanes[LANE_NORMAL].peek() {
            Some(id) if wanted > Class::High => {
                let vtable = self.envelopes.get(id).vtable.get();
                vtable.map_or(wanted, |vtable| vtable.class.max(wanted))
            }
            _ => wanted,
        }
    }

    /// The end of a turn in which the clock was read.
    fn end_long_turn(&self, slot: &Slot, vtable: &BodyVtable, class: Class, start: Cycles) {
        self.end_lap();
        let used = self.now.get().saturating_sub(start);
        let stats = self.stats();
        stats.turns.add(1);
        stats.turn[class as usize].record(used);
        if used > self.thresholds.stall {
            stats.turns_over_budget.add(1);
            self.log_stall(slot, vtable, used);
        }
    }

    #[cold]
    fn log_stall(&self, slot: &Slot, vtable: &BodyVtable, used: Cycles) {
        let message = self.running_message.get().filter(|_| vtable.poll.is_none());
        tracing::debug!(
            shard = self.id(),
            slot = slot.index,
            body = (vtable.name)(),
            message = message.map_or("-", |m| (m.name)()),
            held_us = self.time.to_ns(used) / 1000,
            "stall: a turn held the shard for too long"
        );
    }

    #[inline(never)]
    fn task_turn(
        &self,
        slot: &Slot,
        vtable: &'static BodyVtable,
        poll: unsafe fn(*mut ()) -> bool,
        class: Class,
    ) -> bool {
        if !slot.has(flag::WOKEN) {
            return false;
        }
        slot.unset(flag::WOKEN);
        #[expect(clippy::cast_possible_truncation, reason = "compared modulo 2^32")]
        let now = (self.now.get() >> WOKEN_UNIT) as u32;
        let waited = now.wrapping_sub(slot.woken_at.get());
        let entry = self.kinds.of_poll(slot.kind.get());
        self.reached(class, entry, Cycles::from(waited) << WOKEN_UNIT);
        self.note_run(slot, class, entry, 1);
        let body = slot.body.get();
        // SAFETY: the slot holds a live task, which only this turn polls.
        let finished = unsafe {
            self.polling.set(task::polling(slot));
            panics::catch(|| poll(body))
        };
        self.polling.set(Shard::NOT_POLLING);
        slot.unset(flag::RUNNING);
        match finished {
            Ok(false) if !slot.has(flag::STOPPING) => {}
            Ok(_) => self.end_task(slot, vtable),
            Err(caught) => {
                self.stats().tasks_panicked.add(1);
                self.log_panic(slot, vtable, "-", &caught, "task ended");
                self.end_task(slot, vtable);
            }
        }
        if self.port.doorbell.is_rung(Lane::Express) {
            self.mesh.drain(self, Lane::Express);
        }
        true
    }

    /// True when the actor may have more to do.
    fn actor_turn(
        &self,
        slot: &Slot,
        vtable: &'static BodyVtable,
        class: Class,
        start: Cycles,
    ) -> bool {
        let handled = panics::catch(|| self.handle_messages(slot, class, start));
        match handled {
            Ok(more) if !slot.has(flag::STOPPING) => more,
            Ok(_) => {
                slot.unset(flag::RUNNING);
                self.stop_actor(slot);
                true
            }
            Err(caught) => {
                self.actor_panicked(slot, vtable, caught);
                true
            }
        }
    }

    /// The next message of `slot` for a turn of `class`, most urgent lane first. A turn handles
    /// nothing less urgent than what it was picked for, so that each class pays for its own.
    #[inline(always)]
    fn next_message(&self, slot: &Slot, class: Class) -> Option<EnvelopeId> {
        if !slot.lanes[LANE_SYSTEM].is_empty() {
            return slot.lanes[LANE_SYSTEM].pop(&self.envelopes);
        }
        if slot.has(flag::SUSPENDED) || class == Class::System {
            return None;
        }
        match self.unqueue(slot, LANE_HIGH) {
            None if class > Class::High => self.unqueue(slot, LANE_NORMAL),
            found => found,
        }
    }

    /// Handles messages until there are none, or the turn must end: true then.
    #[inline(never)]
    fn handle_messages(&self, slot: &Slot, class: Class, start: Cycles) -> bool {
        let doorbell = &self.port.doorbell;
        let budget = self.ready.quanta().turn[class as usize];
        let mut until = None;
        let mut more = class <= Class::High;
        let mut run = RunLength::new(self, slot, class);
        while let Some(id) = self.next_message(slot, class) {
            let envelope = self.envelopes.get(id);
            let Some(vtable) = envelope.vtable.get() else {
                continue;
            };
            let posted_at = envelope.posted_at.get();
            let stamp = envelope.stamp.get();
            if stamp.deadline_us != 0 && self.is_late(posted_at, stamp.deadline_us) {
                self.expire(id, vtable);
                continue;
            }
            if !ptr::eq(run.vtable, vtable) {
                run.note();
                run.vtable = vtable;
                run.entry = self.kinds.of_message(slot.kind.get(), vtable);
                if run.handled == 0 {
                    self.reached(class, run.entry, start.saturating_sub(posted_at));
                }
            }
            self.running_message.set(Some(vtable));
            self.stall_watch.message(vtable.name);
            // Before it runs: one that panics is counted too.
            run.handled += 1;
            let body = slot.body.get();
            if stamp.traced {
                self.run_traced(slot, vtable, id);
            } else {
                // SAFETY: the slot holds a live actor of the type the vtable was made for (the
                // typed address or the check on delivery saw to that) or the message is a signal,
                // this turn is its only user, and the envelope has just been unlinked.
                unsafe { (vtable.run)(body, id, slot, self) };
            }
            if doorbell.is_rung(Lane::Express) {
                self.mesh.drain(self, Lane::Express);
            }
            if self.resched.get() || slot.has(flag::STOPPING) || run.handled >= TURN_MESSAGES {
                more = true;
                break;
            }
            if run.handled >= run.read_at && slot.wanted_class().is_some() {
                let since = run.handled - run.noted;
                run.note();
                let now = self.time.cycles();
                let used = self.read_lap(now) / u64::from(since.max(1));
                let slow = used > self.thresholds.slow;
                self.kinds.set_slow(slot.kind.get(), slow);
                run.read_at = run.handled
                    + match used {
                        _ if slow => 1,
                        _ if used > self.thresholds.brief => CLOCK_EVERY,
                        _ => CLOCK_EVERY_BRIEF,
                    };
                // The budget counts from the first look at the clock: what was read before the turn
                // may be a few short turns old.
                if now >= *until.get_or_insert(now + budget) {
                    more = true;
                    break;
                }
            }
        }
        more
    }

    /// The first message of a turn, or the task, has waited so long. Looked at only when the clock
    /// has just been read: a sample of short turns, and every longer one.
    #[inline(always)]
    fn reached(&self, class: Class, entry: Entry, waited: Cycles) {
        if self.lap.is_fresh() {
            self.sample_delay(class, entry, waited);
        }
    }

    fn sample_delay(&self, class: Class, entry: Entry, waited: Cycles) {
        let bucket = Histogram::bucket(waited);
        self.stats().queue_delay[class as usize].record_in(bucket, waited);
        if let Some(account) = self.kinds.account(entry) {
            account.queue_delay.record_in(bucket, waited);
        }
        if self.codel.reached(class, waited, self.now.get()) {
            self.publish_shedding();
        }
    }

    #[inline]
    fn is_late(&self, posted_at: Cycles, deadline_us: u32) -> bool {
        let waited = self.now.get().saturating_sub(posted_at);
        deadline_us == VOID || waited > u64::from(deadline_us) * self.thresholds.microsecond
    }

    /// Drops a message whose deadline has passed. Who called with it is told by the call's own
    /// timer, which is never early; the stamp of a message may be a few turns older than the call.
    #[cold]
    fn expire(&self, id: EnvelopeId, vtable: &'static MessageVtable) {
        let envelope = self.envelopes.get(id);
        let void = envelope.stamp.get().deadline_us == VOID;
        envelope.reply.set(ReplyTo::NONE);
        self.give_up(id, vtable, NoAnswer::TimedOut);
        let stats = self.stats();
        let counter = if void {
            &stats.state_timeouts_void
        } else {
            &stats.messages_expired
        };
        counter.add(1);
    }
}

/// Messages of one type in a row, and when to look at the clock.
struct RunLength<'a> {
    shard: &'a Shard,
    slot: &'a Slot,
    class: Class,
    vtable: *const MessageVtable,
    entry: Entry,
    /// Messages of this turn.
    handled: u32,
    /// How many of them were set aside.
    postponed: u32,
    /// How many of them the lap knows of.
    noted: u32,
    /// How many there are to be when the clock is read next.
    read_at: u32,
}

impl<'a> RunLength<'a> {
    #[inline(always)]
    fn new(shard: &'a Shard, slot: &'a Slot, class: Class) -> Self {
        let slow = shard.kinds.is_slow(slot.kind.get()) || shard.lap.fine.get();
        RunLength {
            shard,
            slot,
            class,
            vtable: ptr::null(),
            entry: Entry::NONE,
            handled: 0,
            postponed: 0,
            noted: 0,
            read_at: if slow { 1 } else { CLOCK_EVERY },
        }
    }

    /// Notes the messages of one type in a row; those set aside do not count as handled.
    #[inline(always)]
    fn note(&mut self) {
        if self.handled > self.noted {
            let postponed = self.shard.set_aside.replace(0);
            self.postponed += postponed;
            let length = (self.handled - self.noted).saturating_sub(postponed);
            self.shard
                .note_run(self.slot, self.class, self.entry, length);
            self.noted = self.handled;
        }
    }
}

impl Drop for RunLength<'_> {
    /// The end of the turn, by a panic too.
    #[inline(always)]
    fn drop(&mut self) {
        self.note();
        let handled = self.handled.saturating_sub(self.postponed);
        self.shard.stats().messages.add(u64::from(handled));
    }
}
