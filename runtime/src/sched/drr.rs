//! Deficit round robin in time between classes; inside a class, virtual time by shares between
//! scheduling groups.
//!
//! The groups are Seastar's: each has shares; the one that has used the least time for its shares
//! runs next; a group that slept may not hoard what it did not use, so its virtual time is lifted
//! to that of the last one picked when it wakes.

use std::cell::Cell;

use super::class::{CLASSES, Class, Quanta};
use super::policy::Order;
use super::queue::Queue;
use super::slot::{Slot, Slots};
use crate::clock::Cycles;
use crate::limits::GROUPS_MAX;

const SERVED: [Class; 3] = [Class::High, Class::Normal, Class::Low];

/// The run queues of one class.
#[derive(Default)]
struct ClassQueues {
    groups: [Queue; GROUPS_MAX],
    /// Bit per group with something ready.
    active: Cell<u32>,
    deficit: Cell<i64>,
}

/// One scheduling group.
#[derive(Default)]
struct Group {
    vruntime: Cell<u64>,
    /// What is less than a virtual cycle, as a fraction of 2^[`RATE_BITS`].
    rest: Cell<u64>,
    /// Virtual cycles for 2^[`RATE_BITS`] cycles of time: inverse to its shares.
    rate: Cell<u64>,
}

pub(super) struct Drr {
    classes: [ClassQueues; CLASSES],
    groups: [Group; GROUPS_MAX],
    /// Virtual time of the group picked last.
    last: Cell<u64>,
    /// Groups there are. With one there is nothing to choose, and no virtual time to keep.
    group_count: usize,
    /// Bit per class with something ready.
    ready: Cell<u8>,
    round: [i64; CLASSES],
}

/// Shares that a group has by default, as in Seastar.
const SHARES: u64 = 100;
/// Fine enough that the most shares there may be still have their weight.
const RATE_BITS: u32 = 20;

fn rate_of(shares: u32) -> u64 {
    ((SHARES << RATE_BITS) / u64::from(shares.max(1))).max(1)
}

impl Drr {
    /// `shares` of the groups, the default group first.
    pub(super) fn new(quanta: &Quanta, shares: &[u32]) -> Self {
        let classes: [ClassQueues; CLASSES] = Default::default();
        for (queues, round) in classes.iter().zip(quanta.round) {
            queues.deficit.set(round);
        }
        let groups: [Group; GROUPS_MAX] = Default::default();
        for (group, shares) in groups.iter().zip(shares) {
            group.rate.set(rate_of(*shares));
        }
        Drr {
            classes,
            groups,
            last: Cell::new(0),
            group_count: shares.len(),
            ready: Cell::new(0),
            round: quanta.round,
        }
    }

    /// Changes the shares of a group.
    pub(super) fn set_shares(&self, group: usize, shares: u32) {
        if let Some(group) = self.groups.get(group) {
            group.rate.set(rate_of(shares));
        }
    }

    #[inline(always)]
    fn one_group(&self) -> bool {
        self.group_count <= 1
    }

    fn is_active(&self, group: usize) -> bool {
        self.classes
            .iter()
            .any(|queues| queues.active.get() & 1 << group != 0)
    }

    /// The group of `active` that has used the least for its shares.
    fn choose(&self, active: u32) -> usize {
        let mut left = active;
        let mut best = active.trailing_zeros() as usize;
        while left != 0 {
            let group = left.trailing_zeros() as usize;
            left &= left - 1;
            if self.groups[group].vruntime.get() < self.groups[best].vruntime.get() {
                best = group;
            }
        }
        self.last.set(self.groups[best].vruntime.get());
        best
    }

    /// Takes the next slot of a class that has one.
    #[inline(always)]
    fn pop<'a>(&self, slots: &'a Slots, class: Class) -> Option<&'a Slot> {
        let queues = &self.classes[class as usize];
        let active = queues.active.get();
        let group = if self.one_group() {
            0
        } else {
            self.choose(active) % GROUPS_MAX
        };
        let queue = &queues.groups[group];
        let slot = queue.pop(slots, class);
        if queue.is_empty() {
            let active = active & !(1 << group);
            queues.active.set(active);
            if active == 0 {
                self.ready.set(self.ready.get() & !class.bit());
            }
        }
        slot
    }

    /// Every class gets its quantum; credit is not hoarded, debt is at most one quantum.
    #[cold]
    fn next_round(&self) {
        for (queues, quantum) in self.classes.iter().zip(self.round) {
            queues
                .deficit
                .set((queues.deficit.get() + quantum).min(quantum));
        }
    }
}

impl Order for Drr {
    #[inline(always)]
    fn link(&self, slots: &Slots, slot: &Slot, class: Class, _: Cycles) {
        let group = slot.group.get() as usize % GROUPS_MAX;
        if !self.one_group() && !self.is_active(group) {
            let vruntime = &self.groups[group].vruntime;
            vruntime.set(vruntime.get().max(self.last.get()));
        }
        let queues = &self.classes[class as usize];
        queues.groups[group].push(slots, slot, class);
        queues.active.set(queues.active.get() | 1 << group);
        self.ready.set(self.ready.get() | class.bit());
    }

    #[inline(always)]
    fn pick<'a>(&self, slots: &'a Slots) -> Option<(&'a Slot, Class)> {
        loop {
            let ready = self.ready.get();
            if ready == 0 {
                return None;
            }
            // One branch a class, which the processor predicts; to compute the class would let the
            // queue wait for the result.
            for class in SERVED {
                if ready & class.bit() != 0
                    && self.classes[class as usize].deficit.get() > 0
                    && let Some(slot) = self.pop(slots, class)
                {
                    return Some((slot, class));
                }
            }
            self.next_round();
        }
    }

    #[inline(always)]
    fn charge(&self, class: Class, group: u8, used: i64) {
        let debt_max = -self.round[class as usize];
        let deficit = &self.classes[class as usize].deficit;
        deficit.set((deficit.get() - used).max(debt_max));
        if !self.one_group()
            && let Some(group) = self.groups.get(group as usize)
        {
            let used = used.unsigned_abs().saturating_mul(group.rate.get());
            let used = used.saturating_add(group.rest.get());
            group.rest.set(used & ((1 << RATE_BITS) - 1));
            let vruntime = group.vruntime.get();
            group
                .vruntime
                .set(vruntime.saturating_add(used >> RATE_BITS));
        }
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.ready.get() == 0
    }

    #[inline(always)]
    fn high_has_credit(&self) -> bool {
        self.classes[Class::High as usize].deficit.get() > 0
    }

    fn is_in_bounds(&self) -> bool {
        let bounded =
            |(queues, round): (&ClassQueues, i64)| (-round..=round).contains(&queues.deficit.get());
        self.classes.iter().zip(self.round).all(bounded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use proptest::prelude::*;

    /// Runs `turns` turns of `cost` cycles over slots that are always ready again; time used by
    /// each `(class, group)`.
    fn shared_out(ready: &[(Class, u8)], shares: &[u32], cost: i64, turns: u32) -> Vec<i64> {
        let slots = Slots::new().unwrap();
        let drr = Drr::new(&Quanta::standard(&Time::Tsc, 1.0), shares);
        for (class, group) in ready {
            let slot = slots.take().unwrap();
            slot.class.set(*class);
            slot.group.set(*group);
            drr.link(&slots, slot, *class, 0);
        }
        let mut used = vec![0; ready.len()];
        for _ in 0..turns {
            let (slot, class) = drr.pick(&slots).unwrap();
            drr.charge(class, slot.group.get(), cost);
            used[slot.index as usize] += cost;
            drr.link(&slots, slot, class, 0);
        }
        used
    }

    proptest! {
        /// Whatever a turn costs, within a quantum: time goes 8 : 4 : 1 by class.
        #[test]
        fn classes_share_time_by_weight(cost in 300_i64..60_000) {
            let ready = [(Class::High, 0), (Class::Normal, 0), (Class::Low, 0)];
            let used = shared_out(&ready, &[100], cost, 40_000);
            let total: i64 = used.iter().sum();
            for (used, weight) in used.iter().zip([8.0, 4.0, 1.0]) {
                let share = *used as f64 / total as f64;
                prop_assert!((share - weight / 13.0).abs() < 0.02, "{share} of {weight}/13");
            }
        }

        /// Inside a class, time goes by shares.
        #[test]
        fn groups_share_time_by_shares(
            shares in prop::collection::vec(10_u32..1000, 2..6),
            scale in prop::sample::select(vec![1_u32, 30, 1000]),
            cost in 300_i64..60_000,
        ) {
            let shares: Vec<u32> = shares.iter().map(|shares| shares * scale).collect();
            let ready: Vec<_> = (0_u8..).take(shares.len()).map(|g| (Class::Normal, g)).collect();
            let used = shared_out(&ready, &shares, cost, 20_000);
            let (total, all): (i64, u32) = (used.iter().sum(), shares.iter().sum());
            for (used, shares) in used.iter().zip(&shares) {
                let (is, want) = (*used as f64 / total as f64, f64::from(*shares) / f64::from(all));
                prop_assert!((is - want).abs() < 0.02, "{is} for {want}");
            }
        }
    }

    #[test]
    fn a_group_that_slept_gets_no_credit_for_it() {
        let slots = Slots::new().unwrap();
        let drr = Drr::new(&Quanta::standard(&Time::Tsc, 1.0), &[100, 100]);
        let [busy, sleeper] = [0, 1].map(|group| {
            let slot = slots.take().unwrap();
            slot.group.set(group);
            slot
        });
        drr.link(&slots, busy, Class::Normal, 0);
        for _ in 0..1000 {
            let (slot, class) = drr.pick(&slots).unwrap();
            drr.charge(class, 0, 1000);
            drr.link(&slots, slot, class, 0);
        }
        drr.link(&slots, sleeper, Class::Normal, 0);
        let mut turns_of_sleeper = 0;
        for _ in 0..100 {
            let (slot, class) = drr.pick(&slots).unwrap();
            turns_of_sleeper += i32::from(slot.group.get() == 1);
            drr.charge(class, slot.group.get(), 1000);
            drr.link(&slots, slot, class, 0);
        }
        assert!((48..=52).contains(&turns_of_sleeper), "{turns_of_sleeper}");
    }
}
