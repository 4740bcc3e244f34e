//! The run queues of a shard: system messages, then what the policy says.
//!
//! A slot may be linked in several queues at once: a high message links its receiver into the high
//! queue at once and leaves the older, lower entry where it is. Whichever entry comes up first does
//! the work; an entry that finds nothing to do costs one pop. So promotion is O(1) and no queue is
//! ever searched.
//!
//! System messages are strictly first while their token bucket lasts, a tenth of the time; a storm
//! of exits beyond that is served as high, so that it cannot starve the shard.

use std::cell::Cell;

use super::class::{Class, Quanta};
use super::policy::{Order, Policies, Policy};
use super::queue::Queue;
use super::slot::{Slot, Slots};
use crate::clock::{Cycles, Time};

/// The run queues.
pub(crate) struct Ready {
    system: Queue,
    /// Time that system messages may still take first in this window.
    tokens: Cell<i64>,
    window_ends: Cell<Cycles>,
    order: Policies,
    quanta: Quanta,
}

impl Ready {
    /// Empty queues under `policy`; `shares` of the scheduling groups, the default one first.
    pub(crate) fn new(policy: Policy, quanta: Quanta, shares: &[u32], time: &Time) -> Self {
        let edf = [100_000, 5_000_000, 50_000_000].map(|ns| time.to_cycles(ns));
        Ready {
            system: Queue::default(),
            tokens: Cell::new(quanta.system.0),
            window_ends: Cell::new(0),
            order: Policies::new(policy, &quanta, shares, edf),
            quanta,
        }
    }

    #[inline(always)]
    pub(crate) fn quanta(&self) -> &Quanta {
        &self.quanta
    }

    /// Changes the shares of a scheduling group, where the policy knows groups.
    pub(crate) fn set_shares(&self, group: usize, shares: u32) {
        if let Policies::Drr(drr) = &self.order {
            drr.set_shares(group, shares);
        }
    }

    /// Queues `slot` in `class` unless it is there already.
    #[inline(always)]
    pub(crate) fn link(&self, slots: &Slots, slot: &Slot, class: Class, now: Cycles) {
        if slot.linked.get() & class.bit() != 0 {
            return;
        }
        slot.linked.set(slot.linked.get() | class.bit());
        if class == Class::System {
            self.system.push(slots, slot, class);
        } else {
            self.order.link(slots, slot, class, now);
        }
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty() && self.system.is_empty()
    }

    /// The next slot to run and the class it runs for.
    #[inline]
    pub(crate) fn pick<'a>(&self, slots: &'a Slots) -> Option<(&'a Slot, Class)> {
        if !self.system.is_empty() {
            let first = self.tokens.get() > 0 || self.order.high_has_credit();
            if first || self.order.is_empty() {
                let slot = self.system.pop(slots, Class::System)?;
                return Some((slot, Class::System));
            }
        }
        self.order.pick(slots)
    }

    /// Charges a turn to its class and group.
    #[inline(always)]
    pub(crate) fn charge(&self, class: Class, group: u8, used: i64) {
        if class != Class::System {
            return self.order.charge(class, group, used);
        }
        let left = self.tokens.get() - used;
        self.tokens.set(left);
        if left <= 0 {
            self.order.charge(Class::High, group, used);
        }
    }

    /// Whether credits and debts of the classes are within their bounds.
    pub(crate) fn is_in_bounds(&self) -> bool {
        self.order.is_in_bounds()
    }

    /// Refills the bucket of the system class when its window has passed.
    #[inline]
    pub(crate) fn refill(&self, now: Cycles) {
        if now >= self.window_ends.get() {
            let (tokens, window) = self.quanta.system;
            self.tokens.set(tokens);
            self.window_ends.set(now + window);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(policy: Policy) -> (Slots, Ready) {
        let quanta = Quanta::standard(&Time::Tsc, 1.0);
        let ready = Ready::new(policy, quanta, &[100], &Time::Tsc);
        (Slots::new().unwrap(), ready)
    }

    #[test]
    fn a_storm_of_system_messages_leaves_time_for_the_others() {
        let (slots, ready) = ready(Policy::Drr);
        let [system, normal] = [0; 2].map(|_| slots.take().unwrap());
        ready.refill(1);
        let cost = ready.quanta().system.0 / 20;
        let mut turns = [0, 0];
        for _ in 0..1000 {
            ready.link(&slots, system, Class::System, 0);
            ready.link(&slots, normal, Class::Normal, 0);
            let (_, class) = ready.pick(&slots).unwrap();
            turns[usize::from(class == Class::Normal)] += 1;
            ready.charge(class, 0, cost);
        }
        // High is worth twice normal; the bucket gave 20 turns more.
        assert!(turns[1] > 280, "{turns:?}");
        assert!(turns[0] > 600, "{turns:?}");
    }

    #[test]
    fn under_every_policy_each_slot_linked_is_picked_once_and_system_comes_first() {
        for policy in Policy::ALL {
            let (slots, ready) = ready(policy);
            ready.refill(1);
            let classes = [Class::Low, Class::Normal, Class::High, Class::System];
            for class in classes {
                let slot = slots.take().unwrap();
                ready.link(&slots, slot, class, 0);
                ready.link(&slots, slot, class, 0);
            }
            let mut seen: Vec<u32> = std::iter::from_fn(|| ready.pick(&slots))
                .map(|(slot, _)| slot.index)
                .collect();
            assert_eq!(seen[0], 3, "{policy}");
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3], "{policy}");
            assert!(ready.is_empty(), "{policy}");
        }
    }
}
