//! One queue for all: what a class is worth is measured against this.

use super::class::Class;
use super::policy::Order;
use super::queue::Queue;
use super::slot::{Slot, Slots};
use crate::clock::Cycles;

#[derive(Default)]
pub(super) struct Fifo(Queue);

impl Order for Fifo {
    fn link(&self, slots: &Slots, slot: &Slot, class: Class, _: Cycles) {
        // A slot waits once, by its normal link, whatever its messages are.
        if class != Class::Normal {
            slot.linked.set(slot.linked.get() & !class.bit());
            if slot.linked.get() & Class::Normal.bit() != 0 {
                return;
            }
            slot.linked.set(slot.linked.get() | Class::Normal.bit());
        }
        self.0.push(slots, slot, Class::Normal);
    }

    fn pick<'a>(&self, slots: &'a Slots) -> Option<(&'a Slot, Class)> {
        self.0
            .pop(slots, Class::Normal)
            .map(|slot| (slot, Class::Normal))
    }

    fn charge(&self, _: Class, _: u8, _: i64) {}

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn high_has_credit(&self) -> bool {
        true
    }
}
