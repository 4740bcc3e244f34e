//! How actors start, fail, start again and end.

use std::ptr;
use std::sync::Arc;

use crate::actor::{ExitReason, NoAnswer, Payload, ReplyTo, SIGNAL, Signal, Stamp};
use crate::panics::{self, Caught};
use crate::sched::{BodyVtable, Class, LANE_HIGH, LANE_NORMAL, LANE_SYSTEM, Slot, flag};

use super::quarantine::Quarantined;
use super::{Phase, Shard};

impl Shard {
    /// Calls `started` of a fresh actor; why it ended instead, if it did.
    pub(crate) fn start_actor(&self, slot: &Slot) -> Option<ExitReason> {
        let why = self.call_started(slot).err()?;
        self.end_actor(slot, &why);
        Some(why)
    }

    /// Calls `started` of what is in `slot`; a panic in there counts as any other, and an actor
    /// that stops in there has ended.
    fn call_started(&self, slot: &Slot) -> Result<(), ExitReason> {
        let Some(vtable) = slot.vtable.get() else {
            return Err(ExitReason::NoActor);
        };
        let body = slot.body.get();
        let started = self.apart(|| {
            slot.set(flag::RUNNING);
            // SAFETY: the body is fresh and nobody else refers to it: no turn has run yet.
            let started = panics::catch(|| unsafe { (vtable.started)(body, slot, self) });
            slot.unset(flag::RUNNING);
            started.map_err(|caught| {
                self.record_panic(slot, vtable, "started", caught, "actor did not start")
            })
        });
        started?;
        if slot.has(flag::STOPPING) {
            let why = self.take_reason(slot);
            self.say_goodbye(slot, &why);
            return Err(why);
        }
        Ok(())
    }

    /// Builds or starts an actor, perhaps from within the turn of another: the caller of that one
    /// must not be told of a panic in here, nor its message be taken for the cause.
    fn apart<R>(&self, work: impl FnOnce() -> R) -> R {
        let reply = self.running_reply.replace(ReplyTo::NONE);
        let message = self.stall_watch.take_message();
        let specimen = self.specimen.take();
        let done = work();
        self.running_reply.set(reply);
        self.stall_watch.give_message(message);
        self.specimen.set(specimen);
        done
    }

    #[cold]
    pub(super) fn actor_panicked(&self, slot: &Slot, vtable: &'static BodyVtable, caught: Caught) {
        let reply = self.running_reply.replace(ReplyTo::NONE);
        if reply.is_wanted() {
            self.fail_reply(reply, NoAnswer::Panicked);
        }
        slot.unset(flag::RUNNING);
        let message = self.stall_watch.last_message().map_or("-", |name| name());
        let why = self.record_panic(slot, vtable, message, caught, "actor failed");
        self.settle(slot, &why);
    }

    /// Logs a panic and puts it, with its message, into quarantine.
    fn record_panic(
        &self,
        slot: &Slot,
        vtable: &BodyVtable,
        message: &'static str,
        caught: Caught,
        then: &str,
    ) -> ExitReason {
        self.log_panic(slot, vtable, message, &caught, then);
        let at_ns = self.now_ns();
        let reason = ExitReason::Panicked(Arc::new(caught.clone()));
        self.quarantine.borrow_mut().keep(Quarantined {
            actor: self.id_of(slot),
            actor_type: (vtable.name)(),
            message_type: message,
            incarnation: slot.cold().map_or(0, |cold| cold.incarnation.get()),
            panic: caught,
            at_ns,
            message: self.specimen.take(),
        });
        reason
    }

    /// An actor has failed or wants to stop: its supervisor decides, if it has one.
    fn settle(&self, slot: &Slot, why: &ExitReason) {
        let child = slot
            .cold()
            .and_then(|cold| cold.rebuild.borrow().as_ref().map(|plan| plan.child()));
        match child {
            Some(child) if self.phase() != Phase::Stopping => child.ended(self, slot, why),
            _ => self.end_actor(slot, why),
        }
    }

    /// Ends an actor for good, without a goodbye.
    pub(crate) fn end_actor(&self, slot: &Slot, why: &ExitReason) {
        if let Some(vtable) = slot.vtable.get() {
            self.end_body(slot, vtable, why);
            self.stats().actors_stopped.add(1);
        }
    }

    /// Stops an actor in good order, or for the reason that it gave.
    pub(super) fn stop_actor(&self, slot: &Slot) {
        let why = self.take_reason(slot);
        self.say_goodbye(slot, &why);
        self.settle(slot, &why);
    }

    fn take_reason(&self, slot: &Slot) -> ExitReason {
        slot.unset(flag::STOPPING);
        slot.cold()
            .and_then(|cold| cold.ending.take())
            .unwrap_or(ExitReason::Normal)
    }

    /// Calls `stopped` of an actor that stops in good order.
    pub(crate) fn say_goodbye(&self, slot: &Slot, why: &ExitReason) {
        let body = slot.body.get();
        let Some(vtable) = slot.vtable.get() else {
            return;
        };
        if body.is_null() || *why == ExitReason::Killed {
            return;
        }
        slot.set(flag::RUNNING);
        if self.phase() == Phase::Stopping {
            self.stall_watch
                .begin(self.time.cycles(), slot.index, &vtable.name);
        }
        // SAFETY: the actor is live and nothing else refers to it between turns.
        if let Err(caught) = panics::catch(|| unsafe { (vtable.stopped)(body, why) }) {
            self.log_panic(slot, vtable, "stopped", &caught, "actor stopped");
        }
        slot.unset(flag::RUNNING);
    }

    /// Marks an actor to end for `why` at the end of its turn, or ends it now when it has none.
    pub(crate) fn fail_running(&self, slot: &Slot, why: ExitReason) {
        *slot.cold_or_new().ending.borrow_mut() = Some(why);
        slot.set(flag::STOPPING);
        if !self.is_running(slot) {
            self.stop_actor(slot);
        }
    }

    /// Ends an actor at its supervisor's word: goodbye, then the end, without asking anybody.
    pub(crate) fn shut_down(&self, slot: &Slot, why: &ExitReason) {
        if self.is_running(slot) {
            return self.fail_running(slot, why.clone());
        }
        self.say_goodbye(slot, why);
        self.end_actor(slot, why);
    }

    /// Empties a slot whose actor will be built again: address, mailbox, links stay.
    pub(crate) fn vacate(&self, slot: &Slot) {
        let Some(vtable) = slot.vtable.get() else {
            return;
        };
        self.end_tasks_of(slot);
        slot.set(flag::SUSPENDED);
        slot.unset(flag::STOPPING);
        self.forget_watched(slot);
        self.transition(slot);
        let cold = slot.cold_or_new();
        cold.incarnation.set(cold.incarnation.get().wrapping_add(1));
        cold.ending.take();
        self.destroy_body(slot, vtable);
    }

    /// Builds and starts the next incarnation in a vacated slot.
    ///
    /// # Errors
    /// Why it did not start; the slot is vacant then.
    pub(crate) fn revive(&self, slot: &Slot) -> Result<(), ExitReason> {
        if let Err(why) = self.build_actor(slot) {
            self.vacate(slot);
            return Err(why);
        }
        self.stats().actors_restarted.add(1);
        self.kinds.restarted(slot.kind.get());
        if let Some(class) = slot.wanted_class() {
            self.schedule(slot, class);
        }
        Ok(())
    }

    /// Builds and starts an actor in its vacant slot, by its plan.
    ///
    /// # Errors
    /// Why it did not start; its body may be there all the same.
    pub(crate) fn build_actor(&self, slot: &Slot) -> Result<(), ExitReason> {
        let plan = slot.cold().and_then(|cold| cold.rebuild.take());
        let (Some(mut plan), Some(vtable)) = (plan, slot.vtable.get()) else {
            return Err(ExitReason::NoActor);
        };
        let built = self.apart(|| {
            let built = panics::catch(|| plan.rebuild(slot));
            built.map_err(|caught| self.record_panic(slot, vtable, "make", caught, "not built"))
        });
        *slot.cold_or_new().rebuild.borrow_mut() = Some(plan);
        built?.map_err(|why| ExitReason::Failed(why.into()))?;
        slot.unset(flag::SUSPENDED);
        self.call_started(slot)
    }

    fn destroy_body(&self, slot: &Slot, vtable: &BodyVtable) {
        let body = slot.body.replace(ptr::null_mut());
        if body.is_null() {
            return;
        }
        // SAFETY: the body is live, was taken out of the slot above, and is used no more.
        if let Err(caught) = panics::catch(|| unsafe { (vtable.destroy)(body) }) {
            self.log_panic(slot, vtable, "drop", &caught, "gone");
        }
    }

    /// Destroys what is in the slot, tells who is tied to it, refuses what waits in its mailbox,
    /// and frees the slot.
    pub(crate) fn end_body(&self, slot: &Slot, vtable: &'static BodyVtable, why: &ExitReason) {
        // The key dies first: whatever the destructor sends here is refused.
        slot.vtable.set(None);
        let room = [slot.room[0].replace(0), slot.room[1].replace(0)];
        self.destroy_body(slot, vtable);
        self.end_tasks_of(slot);
        self.announce_end(slot, why);
        self.transition(slot);
        slot.room[0].set(room[0]);
        slot.room[1].set(room[1]);
        let dropped = self.empty_mailbox(slot);
        self.stats().messages_dropped.add(dropped);
        // What it owns may run code of the user's when dropped.
        let cold = slot.take_cold();
        self.run_caught("drop of an ended actor's plan", || drop(cold));
        self.kinds.ended(slot.kind.get());
        slot.flags.set(0);
        self.slots.put(slot);
    }

    pub(super) fn end_task(&self, slot: &Slot, vtable: &'static BodyVtable) {
        self.stats().tasks_ended.add(1);
        self.end_body(slot, vtable, &ExitReason::Normal);
    }

    /// Ends the asynchronous handlers of an actor; one that runs right now ends after its poll.
    fn end_tasks_of(&self, slot: &Slot) {
        let Some(cold) = slot.cold() else { return };
        for key in cold.tasks.take() {
            let Some(task) = self.slots.get(key) else {
                continue;
            };
            if self.is_running(task) {
                task.set(flag::STOPPING);
            } else if let Some(vtable) = task.vtable.get() {
                self.end_task(task, vtable);
            }
        }
    }

    /// An asynchronous handler of incarnation `incarnation` is done.
    pub(crate) fn async_handler_ended(&self, slot: &Slot, incarnation: u32) {
        let now = slot.cold().map_or(0, |cold| cold.incarnation.get());
        if now == incarnation && !slot.body.get().is_null() {
            slot.unset(flag::SUSPENDED);
            if let Some(class) = slot.wanted_class() {
                self.schedule(slot, class);
            }
        }
    }

    /// Drops every message of a mailbox, telling those who wait for an answer.
    pub(super) fn empty_mailbox(&self, slot: &Slot) -> u64 {
        let mut dropped = 0;
        while let Some(id) = slot.lanes[LANE_SYSTEM].pop(&self.envelopes) {
            // SAFETY: the system lane holds signals only; it is read once and its envelope freed.
            let signal: Signal = unsafe { Payload::read(self.envelopes.payload(id)) };
            self.envelopes.put(id, SIGNAL.used);
            self.bounce_local(slot.key(), signal);
        }
        for lane in [LANE_HIGH, LANE_NORMAL] {
            while let Some((id, envelope)) = self.unqueue(slot, lane) {
                let vtable = envelope.vtable.get().unwrap_or(SIGNAL);
                self.give_up(id, vtable, NoAnswer::Stopped);
                dropped += 1;
            }
        }
        dropped
    }

    /// Sets a message aside until the actor's state changes.
    pub(crate) fn postpone(&self, slot: &Slot, id: crate::actor::EnvelopeId, class: Class) {
        let lane = usize::from(class != Class::High);
        slot.cold_or_new().postponed[lane].push(&self.envelopes, id);
        let stamp = &self.envelopes.get(id).stamp;
        // Its credit went home when it left the lane.
        stamp.set(Stamp {
            from: self.from,
            ..stamp.get()
        });
        self.take_room(slot, lane, stamp.get().size);
        self.stats().messages_postponed.add(1);
        self.lap.count(-1);
    }

    /// The actor's state has changed: what was set aside comes again, first.
    pub(crate) fn transition(&self, slot: &Slot) {
        self.forget_state_timeout(slot);
        let Some(cold) = slot.cold() else { return };
        for (lane, postponed) in [LANE_HIGH, LANE_NORMAL].into_iter().zip(&cold.postponed) {
            slot.lanes[lane].prepend(&self.envelopes, postponed);
        }
    }

    pub(super) fn log_panic(
        &self,
        slot: &Slot,
        vtable: &BodyVtable,
        message: &str,
        caught: &Caught,
        then: &str,
    ) {
        self.stats().panics.add(1);
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
}
