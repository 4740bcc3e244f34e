//! Ends for good: of one child, of all in order, of what is under way within a deadline.

use std::time::Duration;

use super::members::{ChildKey, Member};
use super::restart::upgrade;
use super::{NotAChild, Restart, State, Status, Supervisor};
use crate::actor::{ActorId, ExitReason};
use crate::limits::STOP_LOOK;
use crate::sched::{Slot, SlotKey};
use crate::shard::Shard;
use crate::timer::{self, sleep};

impl Supervisor {
    /// Stops one child for good: it ends for [`ExitReason::Shutdown`], its siblings go on. A child
    /// that runs right now (it called this) ends after its present message.
    ///
    /// # Errors
    /// [`NotAChild`].
    pub fn stop_child(&self, id: ActorId) -> Result<(), NotAChild> {
        self.with_child(id, |shard, slot, key| {
            if self.is_busy() {
                self.later(shard, move |supervisor, _| {
                    // It may have ended meanwhile, which was what was wanted.
                    let _ = supervisor.stop_child(id);
                });
            } else if shard.is_running(slot) {
                if let Some(entry) = self.0.members.borrow_mut().get_mut(key) {
                    entry.restart = Restart::Temporary;
                }
                shard.fail_running(slot, ExitReason::Shutdown);
            } else {
                shard.shut_down(slot, &ExitReason::Shutdown);
            }
        })
    }

    /// Stops all children for good, newest first, child supervisors with all of theirs: each is
    /// told by [`Actor::stopped`] with [`ExitReason::Shutdown`]. From now on nothing is started or
    /// restarted here.
    ///
    /// The children have ended when this returns, unless it was called from within one of them, or
    /// while the supervisor starts or stops one: then they end within the next tick of the timers.
    /// What waits in their mailboxes is refused; [`Supervisor::stop_within`] lets them finish.
    pub fn stop(&self) {
        Shard::with(|shard| {
            if !self.is_at_home(shard) {
                return;
            }
            self.0.close();
            if self.is_busy() || self.0.is_running(shard) {
                self.later(shard, Supervisor::end_children);
            } else {
                self.end_children(shard);
            }
        });
    }

    /// Stops as [`Supervisor::stop`] does, but lets the children finish what they have before:
    /// newest first, each goes on until its mailbox is empty and its asynchronous handlers have
    /// ended. What is not done `within` that time from now is dropped. Returns how many children
    /// had not finished.
    ///
    /// Those who send to the children should have stopped by then: their messages are still taken.
    /// A child that fails meanwhile ends. Dropping the future stops all at once.
    pub async fn stop_within(&self, within: Duration) -> usize {
        let rest = StopOnDrop(self);
        let begun = Shard::with(|shard| {
            let mut actors = Vec::new();
            if self.is_at_home(shard) {
                self.0.close();
                self.0.collect_actors(&mut actors);
            }
            let within = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX);
            (actors, shard.now_ns().saturating_add(within))
        });
        let (actors, until_ns) = begun.unwrap_or_default();
        let mut unfinished = 0;
        for actor in actors.into_iter().rev() {
            let late = || Shard::with(|shard| shard.now_ns() >= until_ns) != Some(false);
            while !is_done(actor) && !late() {
                sleep(STOP_LOOK).await;
            }
            unfinished += usize::from(!is_done(actor));
            Shard::with(|shard| {
                if let Some(slot) = shard.slots.get(actor) {
                    shard.shut_down(slot, &ExitReason::Shutdown);
                }
            });
        }
        drop(rest);
        unfinished
    }

    /// Ends all children for good, newest first.
    pub(super) fn end_children(&self, shard: &Shard) {
        let _working = self.work();
        self.0.status.set(Status::Stopped);
        if let Some(timer) = self.0.group_timer.take() {
            timer::cancel(shard, timer);
        }
        let keys = self.0.members.borrow().keys(None);
        for key in keys.into_iter().rev() {
            self.end_child(shard, key, None);
        }
        if let Some(parent) = &self.0.parent {
            parent.supervisor.forget(parent.key);
        }
        let gave_up = self.0.gave_up.borrow().clone();
        let callback = self.0.on_give_up.take();
        if let Some((why, callback)) = gave_up.zip(callback) {
            shard.run_caught("on_give_up", || callback(&why));
        }
    }

    /// Ends a child for good: for `why` when it has ended by itself already, else with a goodbye.
    pub(super) fn end_child(&self, shard: &Shard, key: ChildKey, why: Option<&ExitReason>) {
        let (member, failure) = {
            let mut members = self.0.members.borrow_mut();
            let Some(entry) = members.get_mut(key) else {
                return;
            };
            (entry.member.clone(), entry.failure.take())
        };
        match member {
            Member::Actor(actor) => {
                if let Some(slot) = shard.slots.get(actor) {
                    match why.or(failure.as_ref()) {
                        Some(why) => shard.end_actor(slot, why),
                        None => shard.shut_down(slot, &ExitReason::Shutdown),
                    }
                }
            }
            Member::Supervisor(state) => match upgrade(&state) {
                Some(child) => child.end_children(shard),
                None => self.forget(key),
            },
        }
    }
}

impl State {
    /// From now on nothing is started or restarted here or below.
    fn close(&self) {
        self.status.set(Status::Stopped);
        let keys = self.members.borrow().keys(None);
        for key in keys {
            if let Some(Member::Supervisor(child)) = self.member(key)
                && let Some(child) = upgrade(&child)
            {
                child.0.close();
            }
        }
    }

    /// All actors of the tree in start order.
    fn collect_actors(&self, actors: &mut Vec<SlotKey>) {
        let keys = self.members.borrow().keys(None);
        for key in keys {
            match self.member(key) {
                Some(Member::Actor(actor)) => actors.push(actor),
                Some(Member::Supervisor(child)) => {
                    if let Some(child) = upgrade(&child) {
                        child.0.collect_actors(actors);
                    }
                }
                None => {}
            }
        }
    }
}

/// Stops what is left when its future ends, however that comes.
struct StopOnDrop<'a>(&'a Supervisor);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Whether an actor has nothing to do any more.
fn is_done(actor: SlotKey) -> bool {
    let idle = |shard: &Shard, slot: &Slot| {
        let empty = shard.queued(slot) == 0;
        let waits = slot.cold().is_some_and(|cold| {
            let tasks = cold.tasks.borrow();
            tasks.iter().any(|task| shard.slots.get(*task).is_some())
        });
        slot.body.get().is_null() || (empty && !waits)
    };
    Shard::with(|shard| shard.slots.get(actor).is_none_or(|slot| idle(shard, slot))) != Some(false)
}
