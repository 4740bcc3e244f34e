//! One turn: an actor handles messages within its budget, or a task is polled once.

use std::ptr;

use crate::actor::{self, NoAnswer, ReplyTo};
use crate::clock::{self, Cycles};
use crate::limits::TURN_MESSAGES;
use crate::mesh::Lane;
use crate::panics::{self, Caught};
use crate::sched::{BodyVtable, Class, LANE_HIGH, LANE_NORMAL, Slot, SlotKey};
use crate::task;

use super::Shard;

/// A handler that takes longer than this has its time read after every message.
const SLOW_HANDLER_NS: u64 = 2_000;
/// Messages between two reads of the clock otherwise.
const CLOCK_EVERY: u32 = 4;
/// A turn longer than this is counted as a stall.
const STALL_NS: u64 = 1_000_000;

impl Shard {
    /// Runs one turn of `slot` in `class`.
    pub(super) fn turn(&self, slot: &Slot, class: Class) {
        let Some(vtable) = slot.vtable.get() else {
            return;
        };
        if slot.wanted_class().is_none() {
            return;
        }
        let start = self.now.get();
        self.running.set(slot);
        self.running_class.set(class);
        self.resched.set(false);
        match vtable.poll {
            Some(poll) => self.task_turn(slot, vtable, poll),
            None => self.actor_turn(slot, vtable, class, start),
        }
        self.running.set(ptr::null());
        self.running_class.set(Class::High);
        if let Some(next) = slot.wanted_class()
            && !slot.is_free()
        {
            self.ready.link(slot, next);
        }
        let end = clock::cycles();
        let used = end.saturating_sub(start);
        self.now.set(end);
        self.ready
            .charge(class, i64::try_from(used).unwrap_or(i64::MAX));
        let stats = self.stats();
        stats.turns.add(1);
        stats.turn[class as usize].record(used);
        if used > self.stall {
            stats.turns_over_budget.add(1);
            self.report_stall(slot, vtable, used);
        }
    }

    pub(super) fn stall_cycles() -> Cycles {
        clock::ns_to_cycles(STALL_NS)
    }

    pub(super) fn slow_cycles() -> Cycles {
        clock::ns_to_cycles(SLOW_HANDLER_NS)
    }

    #[cold]
    fn report_stall(&self, slot: &Slot, vtable: &'static BodyVtable, used: Cycles) {
        let message = self.running_message.get().filter(|_| vtable.poll.is_none());
        tracing::debug!(
            shard = self.id(),
            slot = slot.index,
            body = (vtable.name)(),
            message = message.map_or("-", |m| (m.name)()),
            held_us = clock::cycles_to_ns(used) / 1000,
            "stall: a turn held the shard for too long"
        );
    }

    fn task_turn(
        &self,
        slot: &Slot,
        vtable: &'static BodyVtable,
        poll: unsafe fn(*mut ()) -> bool,
    ) {
        slot.woken.set(false);
        let waited = self.now.get().saturating_sub(slot.woken_at.get());
        self.stats().queue_delay[self.running_class.get() as usize].record(waited);
        let body = slot.body.get();
        // SAFETY: the slot holds a live task, which only this turn polls.
        let finished = unsafe {
            self.polling.set(task::polling(slot));
            panics::catch(|| poll(body))
        };
        self.polling.set((
            ptr::null(),
            SlotKey {
                index: 0,
                generation: 0,
            },
        ));
        match finished {
            Ok(false) => {}
            Ok(true) => self.end_body(slot, vtable),
            Err(caught) => {
                self.stats().tasks_panicked.add(1);
                self.log_panic(slot, vtable, "-", &caught, "task ended");
                self.end_body(slot, vtable);
            }
        }
    }

    fn actor_turn(&self, slot: &Slot, vtable: &'static BodyVtable, class: Class, start: Cycles) {
        let until = start + self.ready.quanta().turn[class as usize];
        let handled = panics::catch(|| self.handle_messages(slot, start, until));
        if let Err(caught) = handled {
            self.actor_panicked(slot, vtable, &caught);
        } else if slot.stopping.get() {
            self.stop_actor(slot, vtable);
        }
    }

    fn handle_messages(&self, slot: &Slot, start: Cycles, until: Cycles) {
        let body = slot.body.get();
        let doorbell = &self.port.doorbell;
        let mut handled = 0;
        let (mut checked, mut clock_every) = (start, 1);
        while let Some(node) = slot.lanes[LANE_HIGH]
            .pop()
            .or_else(|| slot.lanes[LANE_NORMAL].pop())
        {
            let Some(vtable) = node.vtable.get() else {
                continue;
            };
            if handled == 0 {
                let waited = start.saturating_sub(node.posted_at.get());
                self.stats().queue_delay[self.running_class.get() as usize].record(waited);
            }
            self.running_message.set(Some(vtable));
            // SAFETY: the slot holds a live actor of the type the vtable was made for (the typed
            // address or the check on delivery saw to that), this turn is its only user, and the
            // node has just been unlinked.
            unsafe { (vtable.run)(body, node, slot, self) };
            handled += 1;
            if doorbell.is_rung(Lane::Express) {
                self.mesh.drain(self, Lane::Express);
            }
            if self.resched.get() || slot.stopping.get() || handled >= TURN_MESSAGES {
                break;
            }
            if handled % clock_every == 0 && slot.wanted_class().is_some() {
                let now = clock::cycles();
                if now >= until {
                    break;
                }
                let slow = now.saturating_sub(checked) > self.slow * u64::from(clock_every);
                clock_every = if slow { 1 } else { CLOCK_EVERY };
                checked = now;
            }
        }
        self.stats().messages.add(u64::from(handled));
    }

    #[cold]
    fn actor_panicked(&self, slot: &Slot, vtable: &'static BodyVtable, caught: &Caught) {
        let reply = self.running_reply.replace(ReplyTo::NONE);
        if reply.is_wanted() {
            self.fail_reply(reply, NoAnswer::Panicked);
        }
        self.stats().messages.add(1);
        let message = self.running_message.get().map_or("started", |m| (m.name)());
        let body = slot.body.get();
        // SAFETY: the slot's actor is live and in its own turn; `restart` leaves it whole.
        let restarted = panics::catch(|| unsafe { (vtable.restart)(body) });
        // A panic in the old actor's `drop` comes after the fresh one is in place.
        if restarted == Ok(true) && !slot.stopping.get() {
            self.log_panic(slot, vtable, message, caught, "actor restarted in place");
            slot.incarnation.set(slot.incarnation.get().wrapping_add(1));
            self.stats().actors_restarted.add(1);
            self.start_actor(slot);
        } else {
            self.log_panic(slot, vtable, message, caught, "actor stopped for good");
            self.end_body(slot, vtable);
            self.stats().actors_stopped.add(1);
        }
    }

    /// Calls `started` of a fresh incarnation; a panic in there counts as any other.
    pub(crate) fn start_actor(&self, slot: &Slot) {
        let Some(vtable) = slot.vtable.get() else {
            return;
        };
        let body = slot.body.get();
        // An actor may be started from within the turn of another, whose caller must not be told
        // of a panic in here.
        let outer = (
            self.running_reply.replace(ReplyTo::NONE),
            self.running_message.take(),
        );
        // SAFETY: the body is fresh and nobody else refers to it: no turn has run yet.
        let started = panics::catch(|| unsafe { (vtable.started)(body, slot, self) });
        if let Err(caught) = started {
            self.actor_panicked(slot, vtable, &caught);
        } else if slot.stopping.get() {
            self.stop_actor(slot, vtable);
        }
        self.running_reply.set(outer.0);
        self.running_message.set(outer.1);
    }

    pub(super) fn stop_actor(&self, slot: &Slot, vtable: &'static BodyVtable) {
        let body = slot.body.get();
        // SAFETY: the actor is live and nothing else refers to it between turns.
        if let Err(caught) = panics::catch(|| unsafe { (vtable.stopped)(body) }) {
            self.log_panic(slot, vtable, "stopped", &caught, "actor stopped");
        }
        self.end_body(slot, vtable);
        self.stats().actors_stopped.add(1);
    }

    /// Destroys what is in the slot, refuses what waits in its mailbox, and frees the slot.
    pub(super) fn end_body(&self, slot: &Slot, vtable: &'static BodyVtable) {
        let body = slot.body.replace(ptr::null_mut());
        // The key dies first: whatever the destructor sends here is refused.
        slot.vtable.set(None);
        // SAFETY: the body is live, was taken out of the slot above, and is used no more.
        if let Err(caught) = panics::catch(|| unsafe { (vtable.destroy)(body) }) {
            self.log_panic(slot, vtable, "drop", &caught, "gone");
        }
        if vtable.poll.is_some() {
            self.stats().tasks_ended.add(1);
        }
        let dropped = actor::drain(self, slot);
        self.stats().messages_dropped.add(dropped);
        slot.stopping.set(false);
        slot.woken.set(false);
        self.slots.put(slot);
    }

    fn log_panic(
        &self,
        slot: &Slot,
        vtable: &'static BodyVtable,
        message: &str,
        caught: &Caught,
        then: &str,
    ) {
        tracing::error!(
            shard = self.id(),
            slot = slot.index,
            body = (vtable.name)(),
            message,
            panic = caught.message,
            place = caught.place,
            "panic: {then}"
        );
    }

    /// Runs a piece of work that is nobody's turn (a timer, an injected job).
    pub(crate) fn run_caught(&self, what: &'static str, work: impl FnOnce()) {
        if let Err(caught) = panics::catch(work) {
            self.stats().tasks_panicked.add(1);
            tracing::error!(
                shard = self.id(),
                panic = caught.message,
                place = caught.place,
                "panic in {what}"
            );
        }
    }
}
