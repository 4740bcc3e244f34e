//! How the consumer's end of a lane made late reaches its shard: one slot for each ordered pair.

use std::ptr;

use crate::sync::{AtomicPtr, Ordering};

/// Room for one value from every shard to every other, without a lock.
///
/// The producer offers before it publishes its first frame and rings; the consumer takes when it
/// finds the producer's bit, so it always finds the value. Allocated by the producer, freed by
/// the consumer: once in the life of a pair.
#[derive(Debug)]
pub struct Handover<T> {
    shards: usize,
    slots: Box<[AtomicPtr<T>]>,
}

impl<T: Send> Handover<T> {
    /// Empty slots between `shards` shards.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        let slots = (0..shards * shards).map(|_| AtomicPtr::new(ptr::null_mut()));
        Handover {
            shards,
            slots: slots.collect(),
        }
    }

    fn slot(&self, from: usize, to: usize) -> Option<&AtomicPtr<T>> {
        let known = from < self.shards && to < self.shards;
        self.slots.get(from * self.shards + to).filter(|_| known)
    }

    /// Lays `value` out for shard `to`; one that lay there untaken is dropped.
    pub fn offer(&self, from: usize, to: usize, value: T) {
        if let Some(slot) = self.slot(from, to) {
            drop_boxed(slot.swap(Box::into_raw(Box::new(value)), Ordering::AcqRel));
        }
    }

    /// Takes what shard `from` has laid out for shard `to`.
    #[must_use]
    pub fn take(&self, from: usize, to: usize) -> Option<T> {
        let value = self.slot(from, to)?.swap(ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: a pointer in a slot comes from `Box::into_raw`, and the swap made it ours alone.
        // Watched by loom and ASan.
        (!value.is_null()).then(|| unsafe { *Box::from_raw(value) })
    }
}

fn drop_boxed<T>(value: *mut T) {
    if !value.is_null() {
        // SAFETY: as in `Handover::take`; every caller has just swapped the pointer out.
        drop(unsafe { Box::from_raw(value) });
    }
}

impl<T> Drop for Handover<T> {
    fn drop(&mut self) {
        for slot in &self.slots {
            drop_boxed(slot.swap(ptr::null_mut(), Ordering::AcqRel));
        }
    }
}
