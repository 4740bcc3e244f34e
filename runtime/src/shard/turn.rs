//! One turn: an actor handles messages within its budget, or a task is polled once.

use std::cell::Cell;
use std::ptr;

use crate::accounts::Entry;
use crate::actor::{Envelope, EnvelopeId, MessageVtable, NoAnswer, ReplyTo, VOID};
use crate::clock::Cycles;
use crate::limits::TURN_MESSAGES;
use crate::mesh::Lane;
use crate::panics::{self, Caught};
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
    /// Runs the turns of one tick. One landing place for the panics of them all: a turn is short,
    /// and to prepare for a panic costs a part of it.
    pub(super) fn run_turns(&self) {
        let left = Cell::new(self.turns_a_tick.get());
        while let Err(caught) = panics::catch(|| self.turns(&left)) {
            self.turn_panicked(caught);
        }
    }

    #[inline(always)]
    fn turns(&self, left: &Cell<u32>) {
        while left.get() > 0 {
            left.set(left.get() - 1);
            let Some((slot, class)) = self.ready.pick(&self.slots) else {
                return;
            };
            self.turn(slot, class);
        }
    }

    /// Runs one turn of `slot` in `class`. An entry of a run queue may be stale: its slot then has
    /// nothing to do, or is free.
    #[inline(always)]
    fn turn(&self, slot: &Slot, class: Class) {
        let Some(vtable) = slot.vtable.get() else {
            return;
        };
        let start = self.now.get();
        self.running.set(slot);
        self.running_class.set(class);
        self.resched.set(false);
        slot.set(flag::RUNNING | flag::ACTIVE);
        self.stall_watch.begin(start, slot.index, &vtable.name);
        let more = match vtable.poll {
            None => {
                let more = self.handle_messages(slot, class, start);
                self.lap.close_run();
                more
            }
            Some(poll) => self.task_turn(slot, poll, class),
        };
        if slot.has(flag::STOPPING) {
            return self.last_turn(slot, vtable, class, start);
        }
        self.leave(slot);
        if more && let Some(next) = slot.wanted_class() {
            self.link_again(slot, next);
        }
        self.account_for(slot, vtable, class, start);
    }

    #[inline(always)]
    fn account_for(&self, slot: &Slot, vtable: &BodyVtable, class: Class, start: Cycles) {
        if self.now.get() == start {
            self.end_short_turn();
        } else {
            self.end_long_turn(slot, vtable, class, start);
        }
    }

    /// The turn of `slot` is over.
    #[inline(always)]
    fn leave(&self, slot: &Slot) {
        self.stall_watch.end();
        self.running.set(ptr::null());
        slot.unset(flag::RUNNING);
    }

    fn link_again(&self, slot: &Slot, wanted: Class) {
        let next = self.rank(slot, wanted);
        self.ready.link(&self.slots, slot, next, self.now.get());
    }

    /// The end of a turn after which the actor stops, or the task has finished.
    #[cold]
    fn last_turn(&self, slot: &Slot, vtable: &'static BodyVtable, class: Class, start: Cycles) {
        self.end_running(slot, || {
            if vtable.poll.is_some() {
                self.end_task(slot, vtable);
            } else {
                self.stop_actor(slot);
            }
        });
        self.account_for(slot, vtable, class, start);
    }

    /// Ends what runs in `slot`, as part of its turn; a supervisor may restart it in place.
    fn end_running(&self, slot: &Slot, end: impl FnOnce()) {
        slot.unset(flag::RUNNING);
        end();
        self.stall_watch.end();
        self.running.set(ptr::null());
        // A restarted actor, or what has begun in the freed slot meanwhile: until now it was taken
        // for running, so that nothing has queued it.
        if let Some(next) = slot.wanted_class() {
            self.link_again(slot, next);
        }
    }

    /// What ran has panicked: an actor's supervisor decides, a task ends.
    #[cold]
    fn turn_panicked(&self, caught: Caught) {
        // SAFETY: `running` is null or points to a slot of this shard, and slots stay where they
        // are.
        let running = unsafe { self.running.get().as_ref() };
        let Some((slot, vtable)) = running.and_then(|slot| Some((slot, slot.vtable.get()?))) else {
            panic!(
                "the loop of a shard, at {}: {}",
                caught.place, caught.message
            );
        };
        let class = self.running_class.get();
        self.end_running(slot, || {
            if vtable.poll.is_some() {
                self.polling.set(Shard::NOT_POLLING);
                self.stats().tasks_panicked.add(1);
                self.log_panic(slot, vtable, "-", &caught, "task ended");
                self.end_task(slot, vtable);
            } else {
                self.lap.close_run();
                self.actor_panicked(slot, vtable, caught);
            }
        });
        self.end_long_turn(slot, vtable, class, self.now.get());
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
        let message = self.stall_watch.last_message();
        tracing::debug!(
            shard = self.id(),
            slot = slot.index,
            body = (vtable.name)(),
            message = message.map_or("-", |name| name()),
            held_us = self.time.to_ns(used) / 1000,
            "stall: a turn held the shard for too long"
        );
    }

    /// Polls a task once; true when it may want another turn.
    #[inline(never)]
    fn task_turn(&self, slot: &Slot, poll: unsafe fn(*mut ()) -> bool, class: Class) -> bool {
        if !slot.has(flag::WOKEN) {
            return false;
        }
        slot.unset(flag::WOKEN);
        #[expect(clippy::cast_possible_truncation, reason = "compared modulo 2^32")]
        let now = (self.now.get() >> WOKEN_UNIT) as u32;
        let waited = now.wrapping_sub(slot.woken_at.get());
        let entry = self.kinds.of_poll(slot.kind.get());
        self.reached(class, entry, Cycles::from(waited) << WOKEN_UNIT);
        // Before it is polled: one that panics is charged too.
        self.note_poll(slot, class, entry);
        // SAFETY: the slot holds a live task, which only this turn polls.
        let finished = unsafe {
            self.polling.set(task::polling(slot));
            poll(slot.body.get())
        };
        self.polling.set(Shard::NOT_POLLING);
        if finished {
            slot.set(flag::STOPPING);
        }
        if self.port.doorbell.is_rung(Lane::Express) {
            self.mesh.drain(self, Lane::Express);
        }
        true
    }

    /// The next message of `slot` for a turn of `class`, most urgent lane first. A turn handles
    /// nothing less urgent than what it was picked for, so that each class pays for its own.
    #[inline(always)]
    fn next_message(&self, slot: &Slot, class: Class) -> Option<(EnvelopeId, &Envelope)> {
        if !slot.lanes[LANE_SYSTEM].is_empty() {
            return slot.lanes[LANE_SYSTEM].pop_envelope(&self.envelopes);
        }
        if slot.has(flag::SUSPENDED) || class == Class::System {
            return None;
        }
        match self.unqueue(slot, LANE_HIGH) {
            None if class > Class::High => self.unqueue(slot, LANE_NORMAL),
            found => found,
        }
    }

    /// Handles messages until there are none, or the turn must end: true when there may be more.
    ///
    /// Most turns find one message. It takes a short way of its own; whatever else there is to do
    /// is for [`Shard::handle_more`].
    #[inline(always)]
    fn handle_messages(&self, slot: &Slot, class: Class, start: Cycles) -> bool {
        let Some((id, envelope)) = self.next_message(slot, class) else {
            // What it was picked for is done; less urgent messages may wait.
            return class <= Class::High;
        };
        let Some(vtable) = self.timely(id, envelope) else {
            return self.handle_more(slot, class, start, None);
        };
        let kind = slot.kind.get();
        let entry = self.kinds.of_message(kind, vtable);
        self.reached(class, entry, start.saturating_sub(envelope.posted_at.get()));
        self.open_run(slot, class, entry);
        if self.handle_one(slot, vtable, id, envelope) {
            return true;
        }
        if slot.is_without_messages() {
            return false;
        }
        self.handle_more(slot, class, start, Some(vtable))
    }

    /// Handles what is left: further messages, of several types perhaps, under the clock. The turn
    /// may have handled `one` already.
    #[inline(never)]
    fn handle_more(
        &self,
        slot: &Slot,
        class: Class,
        start: Cycles,
        one: Option<&'static MessageVtable>,
    ) -> bool {
        let kind = slot.kind.get();
        let mut pace = Pace::new(self.is_watched(slot), one);
        if pace.handled >= pace.look_at && pace.is_over(self, slot, class) {
            return true;
        }
        while let Some((id, envelope)) = self.next_message(slot, class) {
            let Some(vtable) = self.timely(id, envelope) else {
                continue;
            };
            if !ptr::eq(pace.last, vtable) {
                let entry = self.kinds.of_message(kind, vtable);
                if pace.last.is_null() {
                    let waited = start.saturating_sub(envelope.posted_at.get());
                    self.reached(class, entry, waited);
                } else {
                    self.lap.close_run();
                }
                pace.last = vtable;
                self.open_run(slot, class, entry);
            }
            pace.handled += 1;
            if self.handle_one(slot, vtable, id, envelope) {
                return true;
            }
            if pace.handled >= pace.look_at && pace.is_over(self, slot, class) {
                return true;
            }
        }
        class <= Class::High
    }

    /// Whether the clock is read after each message of this actor.
    #[inline(always)]
    fn is_watched(&self, slot: &Slot) -> bool {
        self.lap.fine.get() || self.kinds.is_slow(slot.kind.get())
    }

    /// The vtable of a message that is worth handling; one that comes too late is given up.
    #[inline(always)]
    fn timely(&self, id: EnvelopeId, envelope: &Envelope) -> Option<&'static MessageVtable> {
        let vtable = envelope.vtable.get()?;
        let deadline_us = envelope.stamp.get().deadline_us;
        if deadline_us != 0 && self.is_late(envelope.posted_at.get(), deadline_us) {
            self.expire(id, vtable);
            return None;
        }
        Some(vtable)
    }

    /// Handles one message of the open run; whether the turn must end with it.
    #[inline(always)]
    fn handle_one(
        &self,
        slot: &Slot,
        vtable: &'static MessageVtable,
        id: EnvelopeId,
        envelope: &Envelope,
    ) -> bool {
        self.stall_watch.message(&vtable.name);
        // Before it runs: one that panics is counted too.
        self.lap.count(1);
        if envelope.stamp.get().traced {
            self.run_traced(slot, vtable, id);
        } else {
            // SAFETY: the slot holds a live actor of the type the vtable was made for (the typed
            // address or the check on delivery saw to that) or the message is a signal, this turn
            // is its only user, and the envelope has just been unlinked.
            unsafe { (vtable.run)(slot.body.get(), id, slot, self) };
        }
        if self.port.doorbell.is_rung(Lane::Express) {
            self.mesh.drain(self, Lane::Express);
        }
        self.resched.get() || slot.has(flag::STOPPING)
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

/// How far a turn is, when it looks at the clock, and how long it may go on.
struct Pace {
    /// The type of the messages of the open run; null when there is none.
    last: *const MessageVtable,
    /// Messages handled.
    handled: u32,
    /// How many there are to be when the clock is looked at next.
    look_at: u32,
    /// How many there were when it was read last.
    read_at: u32,
    until: Option<Cycles>,
}

impl Pace {
    /// Of a turn that has handled `one` message, or none yet.
    fn new(watched: bool, one: Option<&'static MessageVtable>) -> Self {
        Pace {
            last: one.map_or(ptr::null(), ptr::from_ref),
            handled: u32::from(one.is_some()),
            look_at: if watched { 1 } else { CLOCK_EVERY },
            read_at: 0,
            until: None,
        }
    }

    /// Whether the turn must end here; reads the clock if there are more messages.
    #[inline(never)]
    fn is_over(&mut self, shard: &Shard, slot: &Slot, class: Class) -> bool {
        if self.handled >= TURN_MESSAGES {
            return true;
        }
        if slot.wanted_class().is_none() {
            return false;
        }
        let since = (self.handled - self.read_at).max(1);
        self.read_at = self.handled;
        let entry = shard.lap.close_run();
        let now = shard.time.cycles();
        let used = shard.read_lap(now) / u64::from(since);
        shard.open_run(slot, class, entry);
        let slow = used > shard.thresholds.slow;
        shard.kinds.set_slow(slot.kind.get(), slow);
        let next = self.handled
            + match used {
                _ if slow => 1,
                _ if used > shard.thresholds.brief => CLOCK_EVERY,
                _ => CLOCK_EVERY_BRIEF,
            };
        self.look_at = next.min(TURN_MESSAGES);
        // The budget counts from the first look at the clock: what was read before the turn may be
        // a few short turns old.
        let budget = shard.ready.quanta().turn[class as usize];
        now >= *self.until.get_or_insert(now + budget)
    }
}
