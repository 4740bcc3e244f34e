//! Shedding by queue delay: controlled delay, as in Nichols and Jacobson's CoDel (2012).
//!
//! A queue that is long for a moment is a burst and does its work; one whose delay stays over its
//! target for a whole interval is standing, and only refusing helps. Then new messages of the low
//! class are refused at their senders, after another interval those of the normal class too; each
//! interval in which the delay fell below its target takes one step back. System messages, high
//! ones and answers are never refused.

use std::cell::Cell;
use std::time::Duration;

use crate::clock::{Cycles, Time};
use crate::sched::{CLASSES, Class};

/// Queue delays that a shard tolerates for an interval before it sheds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shedding {
    /// Target delay of each class; `None` never sheds on its account.
    pub high: Option<Duration>,
    /// See `high`.
    pub normal: Option<Duration>,
    /// See `high`; delay of low messages sheds low messages only.
    pub low: Option<Duration>,
    /// How long a delay must stay over its target.
    pub interval: Duration,
}

impl Default for Shedding {
    /// 25, 100 and 50 ms over 100 ms: well past anything but overload.
    fn default() -> Self {
        Shedding {
            high: Some(Duration::from_millis(25)),
            normal: Some(Duration::from_millis(100)),
            low: Some(Duration::from_millis(50)),
            interval: Duration::from_millis(100),
        }
    }
}

impl Shedding {
    /// Never shed.
    pub const OFF: Shedding = Shedding {
        high: None,
        normal: None,
        low: None,
        interval: Duration::from_millis(100),
    };
}

/// What is refused: nothing, low messages, normal ones too.
pub(crate) const SHED_NOTHING: u8 = 0;
const SHED_LOW: u8 = 1;
const SHED_NORMAL: u8 = 2;

/// Whether a shard at `level` refuses messages of `class`.
#[inline(always)]
pub(crate) fn is_shed(level: u8, class: Class) -> bool {
    level != SHED_NOTHING
        && match class {
            Class::System | Class::High => false,
            Class::Normal => level >= SHED_NORMAL,
            Class::Low => level >= SHED_LOW,
        }
}

/// The controller of one shard.
pub(super) struct Codel {
    targets: [Cycles; CLASSES],
    interval: Cycles,
    /// When the delay of a class first stayed over its target; zero while it is below.
    above_since: [Cell<Cycles>; CLASSES],
    /// When it last was.
    above_at: [Cell<Cycles>; CLASSES],
    changed_at: Cell<Cycles>,
    level: Cell<u8>,
}

impl Codel {
    pub(super) fn new(shedding: &Shedding, time: &Time) -> Self {
        let cycles = |span: Option<Duration>| {
            span.map_or(Cycles::MAX, |span| {
                time.to_cycles(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 8))
            })
        };
        let Shedding {
            high, normal, low, ..
        } = *shedding;
        Codel {
            targets: [Cycles::MAX, cycles(high), cycles(normal), cycles(low)],
            interval: cycles(Some(shedding.interval)).max(1),
            above_since: [const { Cell::new(0) }; CLASSES],
            above_at: [const { Cell::new(0) }; CLASSES],
            changed_at: Cell::new(0),
            level: Cell::new(SHED_NOTHING),
        }
    }

    pub(super) fn level(&self) -> u8 {
        self.level.get()
    }

    /// Notes how long a message of `class` has waited when it is reached at `now`. True when the
    /// level has changed.
    #[inline(always)]
    pub(super) fn reached(&self, class: Class, waited: Cycles, now: Cycles) -> bool {
        let above = &self.above_since[class as usize];
        if waited < self.targets[class as usize] {
            if above.get() == 0 && self.level.get() == SHED_NOTHING {
                return false;
            }
            above.set(0);
            return self.step_back(now);
        }
        self.over_target(class, now)
    }

    #[cold]
    fn over_target(&self, class: Class, now: Cycles) -> bool {
        let above = &self.above_since[class as usize];
        self.above_at[class as usize].set(now);
        if above.get() == 0 {
            above.set(now.max(1));
            return false;
        }
        let most = if class == Class::Low {
            SHED_LOW
        } else {
            SHED_NORMAL
        };
        let since = above.get().max(self.changed_at.get());
        if now.saturating_sub(since) < self.interval || self.level.get() >= most {
            return false;
        }
        self.change(self.level.get() + 1, now)
    }

    /// A delay is below its target: one step back, if no class is over its own. A class whose
    /// messages are all refused is not heard of any more: after an interval it counts as calm.
    #[cold]
    fn step_back(&self, now: Cycles) -> bool {
        for (since, at) in self.above_since.iter().zip(&self.above_at) {
            if now.saturating_sub(at.get()) >= self.interval {
                since.set(0);
            }
        }
        let calm = self.above_since.iter().all(|above| above.get() == 0);
        if self.level.get() == SHED_NOTHING
            || !calm
            || now.saturating_sub(self.changed_at.get()) < self.interval
        {
            return false;
        }
        self.change(self.level.get() - 1, now)
    }

    /// Nothing waits any more. True when the level has changed.
    pub(super) fn idle(&self, now: Cycles) -> bool {
        self.above_since.iter().for_each(|above| above.set(0));
        self.level.get() != SHED_NOTHING && self.change(SHED_NOTHING, now)
    }

    fn change(&self, level: u8, now: Cycles) -> bool {
        self.level.set(level);
        self.changed_at.set(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn codel() -> Codel {
        let time = Time::Simulated(Rc::default());
        let shedding = Shedding {
            normal: Some(Duration::from_millis(25)),
            ..Shedding::default()
        };
        Codel::new(&shedding, &time)
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn a_burst_is_served_and_a_standing_queue_is_shed_low_first() {
        let codel = codel();
        assert!(!codel.reached(Class::Normal, 30 * MS, MS));
        assert!(!codel.reached(Class::Normal, 30 * MS, 90 * MS));
        assert!(
            !codel.reached(Class::Normal, MS, 95 * MS),
            "the burst has passed"
        );
        for at in [100, 150, 199] {
            assert!(!codel.reached(Class::Normal, 30 * MS, at * MS));
        }
        assert!(codel.reached(Class::Normal, 30 * MS, 201 * MS));
        assert!(is_shed(codel.level(), Class::Low) && !is_shed(codel.level(), Class::Normal));
        assert!(codel.reached(Class::Normal, 30 * MS, 302 * MS));
        assert!(is_shed(codel.level(), Class::Normal) && !is_shed(codel.level(), Class::High));
        assert!(
            !codel.reached(Class::Normal, 30 * MS, 900 * MS),
            "there is no more to shed"
        );
    }

    #[test]
    fn it_steps_back_when_the_delay_is_gone() {
        let codel = codel();
        for at in [1, 102, 203] {
            codel.reached(Class::Normal, 30 * MS, at * MS);
        }
        assert_eq!(codel.level(), SHED_NORMAL);
        assert!(
            !codel.reached(Class::Normal, MS, 204 * MS),
            "not within the interval"
        );
        assert!(codel.reached(Class::Normal, MS, 304 * MS));
        assert_eq!(codel.level(), SHED_LOW);
        assert!(codel.idle(305 * MS));
        assert_eq!(codel.level(), SHED_NOTHING);
    }

    #[test]
    fn what_is_refused_altogether_is_let_in_again_while_others_keep_the_shard_busy() {
        let codel = codel();
        for at in [1, 102, 203] {
            codel.reached(Class::Normal, 30 * MS, at * MS);
        }
        assert_eq!(codel.level(), SHED_NORMAL);
        let steps = (204..600).filter(|at| codel.reached(Class::High, MS, at * MS));
        assert_eq!(steps.collect::<Vec<_>>(), [303, 403]);
        assert_eq!(codel.level(), SHED_NOTHING);
    }

    #[test]
    fn low_messages_shed_only_low_ones_and_off_is_off() {
        let codel = codel();
        for at in [1, 102, 203, 304] {
            codel.reached(Class::Low, 60 * MS, at * MS);
        }
        assert_eq!(codel.level(), SHED_LOW);
        let off = Codel::new(&Shedding::OFF, &Time::Simulated(Rc::default()));
        assert!((1..900).all(|at| !off.reached(Class::Normal, 1000 * MS, at * MS)));
    }
}
