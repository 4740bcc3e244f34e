//! Earliest deadline first: each ready slot is due a while after it became ready, by class.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::class::Class;
use super::policy::Order;
use super::slot::{Slot, Slots};
use crate::clock::Cycles;

/// Deadline, then order of arrival, then whom and for what class.
type Entry = (Cycles, u64, u32, Class);

pub(super) struct Edf {
    heap: RefCell<BinaryHeap<Reverse<Entry>>>,
    arrivals: Cell<u64>,
    /// Time to serve high, normal and low.
    within: [Cycles; 3],
}

impl Edf {
    /// `within`: time to serve high, normal and low, in cycles.
    pub(super) fn new(within: [Cycles; 3]) -> Self {
        Edf {
            heap: RefCell::default(),
            arrivals: Cell::new(0),
            within,
        }
    }
}

impl Order for Edf {
    fn link(&self, _: &Slots, slot: &Slot, class: Class, now: Cycles) {
        let arrival = self.arrivals.get();
        self.arrivals.set(arrival + 1);
        let within = self.within[(class as usize).saturating_sub(1)];
        let entry = (now + within, arrival, slot.index, class);
        self.heap.borrow_mut().push(Reverse(entry));
    }

    fn pick<'a>(&self, slots: &'a Slots) -> Option<(&'a Slot, Class)> {
        let Reverse((_, _, index, class)) = self.heap.borrow_mut().pop()?;
        let slot = slots.at(index)?;
        slot.linked.set(slot.linked.get() & !class.bit());
        Some((slot, class))
    }

    fn charge(&self, _: Class, _: u8, _: i64) {}

    fn is_empty(&self) -> bool {
        self.heap.borrow().is_empty()
    }

    fn high_has_credit(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_deadline_runs_first() {
        let slots = Slots::new().unwrap();
        let edf = Edf::new([10, 100, 1000]);
        let all = [
            (Class::Low, 0),
            (Class::Normal, 5),
            (Class::High, 40),
            (Class::Normal, 4),
        ];
        for (class, at) in all {
            edf.link(&slots, slots.take().unwrap(), class, at);
        }
        let order: Vec<u32> = std::iter::from_fn(|| edf.pick(&slots))
            .map(|(slot, _)| slot.index)
            .collect();
        assert_eq!(order, [2, 3, 1, 0]);
        assert!(edf.is_empty());
    }
}
