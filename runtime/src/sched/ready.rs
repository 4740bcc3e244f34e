//! The run queues of a shard: one FIFO a class, served by deficit round robin in time.
//!
//! A slot may be linked in several queues at once: a high message links its receiver into the high
//! queue at once and leaves the older, lower entry where it is. Whichever entry comes up first does
//! the work; an entry that finds nothing to do costs one pop. So promotion is O(1) and no queue is
//! ever searched.

use std::cell::Cell;
use std::ptr;

use super::class::{CLASSES, Class, Quanta};
use super::slot::Slot;

struct Queue {
    head: Cell<*const Slot>,
    tail: Cell<*const Slot>,
    deficit: Cell<i64>,
}

/// The run queues.
pub(crate) struct Ready {
    queues: [Queue; CLASSES],
    quanta: Quanta,
}

impl Ready {
    pub(crate) fn new(quanta: Quanta) -> Self {
        let queue = |class: usize| Queue {
            head: Cell::new(ptr::null()),
            tail: Cell::new(ptr::null()),
            deficit: Cell::new(quanta.round[class]),
        };
        Ready {
            queues: [queue(0), queue(1), queue(2)],
            quanta,
        }
    }

    pub(crate) fn quanta(&self) -> &Quanta {
        &self.quanta
    }

    /// Queues `slot` in `class` unless it is there already.
    #[inline(always)]
    pub(crate) fn link(&self, slot: &Slot, class: Class) {
        let bit = 1_u8 << class as u8;
        if slot.linked.get() & bit != 0 {
            return;
        }
        slot.linked.set(slot.linked.get() | bit);
        let queue = &self.queues[class as usize];
        slot.next[class as usize].set(ptr::null());
        // SAFETY: run queues hold pointers to slots, which live in chunks as long as the shard.
        match unsafe { queue.tail.get().as_ref() } {
            Some(last) => last.next[class as usize].set(slot),
            None => queue.head.set(slot),
        }
        queue.tail.set(slot);
    }

    #[inline(always)]
    fn pop(&self, class: Class) -> Option<&Slot> {
        let queue = &self.queues[class as usize];
        // SAFETY: as in `link`.
        let slot = unsafe { queue.head.get().as_ref() }?;
        let next = slot.next[class as usize].get();
        queue.head.set(next);
        if next.is_null() {
            queue.tail.set(ptr::null());
        }
        slot.linked.set(slot.linked.get() & !(1 << class as u8));
        Some(slot)
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.iter().all(|q| q.head.get().is_null())
    }

    /// The next slot to run and the class it runs for.
    #[inline]
    pub(crate) fn pick(&self) -> Option<(&Slot, Class)> {
        while !self.is_empty() {
            for class in Class::ALL {
                if self.queues[class as usize].deficit.get() > 0
                    && let Some(slot) = self.pop(class)
                {
                    return Some((slot, class));
                }
            }
            self.next_round();
        }
        None
    }

    /// Every class gets its quantum; credit is not hoarded, debt is at most one quantum.
    #[cold]
    fn next_round(&self) {
        for (queue, quantum) in self.queues.iter().zip(self.quanta.round) {
            queue
                .deficit
                .set((queue.deficit.get() + quantum).min(quantum));
        }
    }

    /// Charges a turn to its class.
    #[inline(always)]
    pub(crate) fn charge(&self, class: Class, used: i64) {
        let queue = &self.queues[class as usize];
        let debt_max = -self.quanta.round[class as usize];
        queue
            .deficit
            .set((queue.deficit.get() - used).max(debt_max));
    }
}
