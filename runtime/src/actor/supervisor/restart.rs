//! What a supervisor does about a child that has failed: take down, wait, start again, escalate.
//!
//! Nothing in here runs while code of a child runs, and all of it may run code of children; so no
//! borrow outlives a statement, and children are named by keys that die with them.

use std::rc::{Rc, Weak};
use std::time::Duration;

use super::members::{ChildKey, Member};
use super::{Child, Intensity, Restart, State, Status, Strategy, Supervisor};
use crate::actor::ExitReason;
use crate::clock::Cycles;
use crate::limits::RESTART_RETRY;
use crate::sched::Slot;
use crate::shard::Shard;
use crate::timer;

/// Whether a child does not run because it waits to be started again.
pub(super) fn is_down(shard: &Shard, member: &Member) -> bool {
    match member {
        Member::Actor(key) => match shard.slots.get(*key) {
            Some(slot) => slot.body.get().is_null(),
            None => false,
        },
        Member::Supervisor(state) => state
            .upgrade()
            .is_some_and(|state| state.status.get() == Status::Down),
    }
}

impl Child {
    /// The child, an actor in `slot`, has ended for `why`; its body is still there.
    pub(crate) fn ended(&self, shard: &Shard, slot: &Slot, why: &ExitReason) {
        let supervisor = &self.supervisor;
        // An exit signal reached a child that waits to be restarted: there is nobody to end.
        if slot.body.get().is_null() {
            return;
        }
        let _working = supervisor.work();
        if supervisor.0.status.get() == Status::Up {
            supervisor.child_failed(shard, self.key, why, Duration::ZERO);
        } else {
            shard.end_actor(slot, why);
        }
    }
}

impl Supervisor {
    /// Restarts by the strategy after `key` has ended for `why`, at the earliest after `least`.
    fn child_failed(&self, shard: &Shard, key: ChildKey, why: &ExitReason, least: Duration) {
        let entry = self.0.members.borrow().get(key).map(|entry| entry.restart);
        let Some(restart) = entry else { return };
        if !restart.after(why) {
            return self.end_child(shard, key, Some(why));
        }
        if !self.grant(shard) {
            return self.escalate(shard, key, why);
        }
        let delay = self.next_delay(shard, key).max(least);
        match self.0.strategy {
            Strategy::OneForOne => self.take_down(shard, key, Some(key)),
            Strategy::OneForAll => self.take_down_from(shard, None, Some(key)),
            Strategy::RestForOne => self.take_down_from(shard, Some(key), Some(key)),
        }
        if delay.is_zero() {
            self.bring_up(shard, key);
        } else {
            self.bring_up_after(shard, key, delay, shard.time.cycles());
        }
    }

    /// Grants one restart, or not.
    fn grant(&self, shard: &Shard) -> bool {
        let (now, window, limit) = self.window(shard);
        let mut grants = self.0.window.borrow_mut();
        grants.grant(now, window, limit)
    }

    /// Whether a restart that was granted before may happen now.
    fn happens(&self, shard: &Shard, granted: Cycles) -> bool {
        let (now, window, limit) = self.window(shard);
        let mut grants = self.0.window.borrow_mut();
        grants.happens(granted, now, window, limit)
    }

    /// Now, the length of the window of intensity, and what it holds.
    fn window(&self, shard: &Shard) -> (Cycles, Cycles, u32) {
        let intensity = &self.0.intensity;
        let within = u64::try_from(intensity.within.as_nanos()).unwrap_or(u64::MAX / 8);
        let window = shard.time.to_cycles(within);
        (shard.time.cycles(), window, intensity.restarts)
    }

    /// How long `key` waits before its next restart.
    fn next_delay(&self, shard: &Shard, key: ChildKey) -> Duration {
        let Some(backoff) = &self.0.backoff else {
            return Duration::ZERO;
        };
        let chance = shard.rng.borrow_mut().f64();
        let mut members = self.0.members.borrow_mut();
        let Some(entry) = members.get_mut(key) else {
            return Duration::ZERO;
        };
        let cycles = |span: Duration| {
            let ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 8);
            shard.time.to_cycles(ns)
        };
        let now = shard.time.cycles();
        if now.saturating_sub(entry.restarted_at) > cycles(backoff.max) {
            entry.attempts = 0;
        }
        let delay = backoff.delay(entry.attempts, chance);
        entry.attempts = entry.attempts.saturating_add(1);
        entry.restarted_at = now.saturating_add(cycles(delay));
        delay
    }

    /// Takes down the children from `from` on, or all, newest first.
    fn take_down_from(&self, shard: &Shard, from: Option<ChildKey>, failed: Option<ChildKey>) {
        if let Some(timer) = self.0.group_timer.take() {
            timer::cancel(shard, timer);
        }
        let keys = self.0.members.borrow().keys(from);
        for key in keys.into_iter().rev() {
            self.take_down(shard, key, failed);
        }
    }

    /// Stops a child so that it can be started again in place; a temporary sibling of the one that
    /// `failed` ends.
    fn take_down(&self, shard: &Shard, key: ChildKey, failed: Option<ChildKey>) {
        let (member, restart, timer) = {
            let mut members = self.0.members.borrow_mut();
            let Some(entry) = members.get_mut(key) else {
                return;
            };
            (entry.member.clone(), entry.restart, entry.timer.take())
        };
        if let Some(timer) = timer {
            timer::cancel(shard, timer);
        }
        if restart == Restart::Temporary {
            return self.end_child(shard, key, None);
        }
        match member {
            Member::Actor(actor) => {
                if let Some(slot) = shard.slots.get(actor)
                    && !slot.body.get().is_null()
                {
                    if failed != Some(key) {
                        shard.say_goodbye(slot, &ExitReason::Shutdown);
                    }
                    shard.vacate(slot);
                }
            }
            Member::Supervisor(state) => {
                if let Some(child) = upgrade(&state)
                    && child.0.status.get() == Status::Up
                {
                    child.take_down_from(shard, None, None);
                    child.change(Status::Up, Status::Down);
                }
            }
        }
    }

    /// Starts what [`Supervisor::take_down`] took down: the child `key`, or the group, in start
    /// order. A start that fails counts as a failure of the child, and is tried again later.
    fn bring_up(&self, shard: &Shard, key: ChildKey) {
        if self.0.strategy == Strategy::OneForOne {
            if let Err(why) = self.start_again(shard, key) {
                self.child_failed(shard, key, &why, RESTART_RETRY);
            }
        } else if let Err((key, why)) = self.start_all_again(shard) {
            self.child_failed(shard, key, &why, RESTART_RETRY);
        }
    }

    fn bring_up_after(&self, shard: &Shard, key: ChildKey, delay: Duration, granted: Cycles) {
        let supervisor = Rc::downgrade(&self.0);
        let timer = timer::start_job(shard, delay, move || {
            if let Some(supervisor) = upgrade(&supervisor) {
                Shard::with(|shard| supervisor.wait_over(shard, key, granted));
            }
        });
        if self.0.strategy != Strategy::OneForOne {
            self.0.group_timer.set(Some(timer));
        } else if let Some(entry) = self.0.members.borrow_mut().get_mut(key) {
            entry.timer = Some(timer);
        }
    }

    /// The back-off of `key`, or of the group that it took down, is over.
    fn wait_over(&self, shard: &Shard, key: ChildKey, granted: Cycles) {
        if self.0.strategy != Strategy::OneForOne {
            self.0.group_timer.set(None);
        } else if let Some(entry) = self.0.members.borrow_mut().get_mut(key) {
            entry.timer = None;
        }
        if self.0.status.get() == Status::Up {
            if !self.happens(shard, granted) {
                return self.bring_up_after(shard, key, RESTART_RETRY, granted);
            }
            let _working = self.work();
            self.bring_up(shard, key);
        }
    }

    /// Starts all children that are down, in start order, up to the first that fails to.
    fn start_all_again(&self, shard: &Shard) -> Result<(), (ChildKey, ExitReason)> {
        let keys = self.0.members.borrow().keys(None);
        for key in keys {
            self.start_again(shard, key).map_err(|why| (key, why))?;
        }
        Ok(())
    }

    /// Starts a child again if it is down.
    fn start_again(&self, shard: &Shard, key: ChildKey) -> Result<(), ExitReason> {
        let member = match self.0.members.borrow_mut().get_mut(key) {
            Some(entry) if is_down(shard, &entry.member) => {
                entry.restarts = entry.restarts.saturating_add(1);
                entry.failure = None;
                entry.member.clone()
            }
            _ => return Ok(()),
        };
        match member {
            Member::Actor(actor) => match shard.slots.get(actor) {
                Some(slot) => shard.revive(slot),
                None => Ok(()),
            },
            Member::Supervisor(state) => match upgrade(&state) {
                Some(child) => child.start_as_a_unit(shard),
                None => Ok(()),
            },
        }
    }

    /// Starts a supervisor that was down, with a clean record. When one of its children fails to
    /// start, all are taken down again and it is the supervisor that has failed to start.
    fn start_as_a_unit(&self, shard: &Shard) -> Result<(), ExitReason> {
        self.change(Status::Down, Status::Up);
        self.0.window.borrow_mut().clear();
        self.0.gave_up.take();
        self.start_all_again(shard).map_err(|(key, why)| {
            self.take_down_from(shard, None, Some(key));
            self.change(Status::Up, Status::Down);
            why
        })
    }

    /// The intensity is exceeded: all children are stopped, and the supervisor has failed.
    fn escalate(&self, shard: &Shard, key: ChildKey, why: &ExitReason) {
        let Intensity { restarts, within } = self.0.intensity;
        let name = self.0.name;
        tracing::error!(
            supervisor = name,
            restarts,
            ?within,
            child = %why,
            "restart intensity exceeded: the supervisor stops its children and fails"
        );
        if let Some(entry) = self.0.members.borrow_mut().get_mut(key) {
            entry.failure = Some(why.clone());
        }
        self.take_down_from(shard, None, Some(key));
        self.change(Status::Up, Status::Down);
        let text = format!("supervisor {name}: more than {restarts} restarts in {within:?}: {why}");
        let why = ExitReason::Failed(text.into());
        *self.0.gave_up.borrow_mut() = Some(why.clone());
        match &self.0.parent {
            // A parent that is to stop will end this one, too.
            Some(Child { supervisor, key }) => {
                if supervisor.0.status.get() == Status::Up {
                    supervisor.child_failed(shard, *key, &why, Duration::ZERO);
                }
            }
            None => self.end_children(shard),
        }
    }

    fn change(&self, from: Status, to: Status) {
        if self.0.status.get() == from {
            self.0.status.set(to);
        }
    }
}

pub(super) fn upgrade(state: &Weak<State>) -> Option<Supervisor> {
    state.upgrade().map(Supervisor)
}
