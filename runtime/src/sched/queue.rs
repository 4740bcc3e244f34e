//! One run queue: a FIFO of slots, linked through the slots themselves.

use std::cell::Cell;

use super::class::Class;
use super::slot::{Slot, Slots};
use crate::region::NIL;

/// First in, first out; O(1), no allocation.
pub(super) struct Queue {
    head: Cell<u32>,
    tail: Cell<u32>,
}

impl Default for Queue {
    fn default() -> Self {
        Queue {
            head: Cell::new(NIL),
            tail: Cell::new(NIL),
        }
    }
}

impl Queue {
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.head.get() == NIL
    }

    /// Appends `slot` by its link of `class`.
    #[inline(always)]
    pub(super) fn push(&self, slots: &Slots, slot: &Slot, class: Class) {
        slot.next[class as usize].set(NIL);
        match self.tail.get() {
            NIL => self.head.set(slot.index),
            // SAFETY: run queues hold indices of slots of this shard only.
            last => unsafe { slots.linked(last) }.next[class as usize].set(slot.index),
        }
        self.tail.set(slot.index);
    }

    /// Takes the first slot; its bit of `class` is cleared.
    #[inline(always)]
    pub(super) fn pop<'a>(&self, slots: &'a Slots, class: Class) -> Option<&'a Slot> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: as in `push`.
        let slot = unsafe { slots.linked(self.head.get()) };
        let next = slot.next[class as usize].get();
        self.head.set(next);
        if next == NIL {
            self.tail.set(NIL);
        }
        slot.linked.set(slot.linked.get() & !class.bit());
        Some(slot)
    }
}
