//! A bounded single-producer single-consumer ring with batched publication.
//!
//! Lamport's queue ("Proving the correctness of multiprocess programs", 1977) with indices cached
//! on both sides (Lee, Bu and Chandranmenon, "MCRingBuffer", 2009): each side touches the other's
//! cache line only when its cached view says full or empty. Values are built and consumed in place.

use std::mem::MaybeUninit;
use std::ptr;

use crate::sync::{Arc, AtomicUsize, Ordering, UnsafeCell};

/// Two cache lines: x86 prefetches lines in pairs.
#[repr(align(128))]
struct Padded<T>(T);

struct Shared<T> {
    /// Next slot the consumer will read; written by the consumer.
    head: Padded<AtomicUsize>,
    /// Next slot the producer will write; written by the producer.
    tail: Padded<AtomicUsize>,
    mask: usize,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: slots in [head, tail) belong to the consumer, all others to the producer, and the
// release/acquire pairs on `tail` and `head` hand them over. Checked by tests/loom_mesh.rs.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above; there is one producer and one consumer, neither is Clone.
unsafe impl<T: Send> Sync for Shared<T> {}

/// The writing end.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// Own index, ahead of the published `tail` by the pending batch.
    tail: usize,
    published: usize,
    head_seen: usize,
}

/// The reading end.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    tail_seen: usize,
}

/// A ring of `capacity` slots, rounded up to a power of two.
#[must_use]
pub fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let capacity = capacity.next_power_of_two();
    let shared = Arc::new(Shared {
        head: Padded(AtomicUsize::new(0)),
        tail: Padded(AtomicUsize::new(0)),
        mask: capacity - 1,
        slots: (0..capacity)
            .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
            .collect(),
    });
    let producer = Producer {
        shared: shared.clone(),
        tail: 0,
        published: 0,
        head_seen: 0,
    };
    (
        producer,
        Consumer {
            shared,
            head: 0,
            tail_seen: 0,
        },
    )
}

impl<T> Producer<T> {
    /// Whether another value fits.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        if self.tail.wrapping_sub(self.head_seen) <= self.shared.mask {
            return true;
        }
        self.head_seen = self.shared.head.0.load(Ordering::Acquire);
        self.tail.wrapping_sub(self.head_seen) <= self.shared.mask
    }

    /// Builds a value in the next slot, unpublished. False, and `build` not called, when full.
    ///
    /// # Safety
    /// `build` leaves an initialised `T` behind the pointer it gets.
    #[inline]
    pub unsafe fn push_with(&mut self, build: impl FnOnce(*mut T)) -> bool {
        if !self.has_room() {
            return false;
        }
        let slot = &self.shared.slots[self.tail & self.shared.mask];
        slot.with_mut(|p| build(p.cast::<T>()));
        self.tail = self.tail.wrapping_add(1);
        true
    }

    /// Moves `value` into the ring, or gives it back when the ring is full.
    ///
    /// # Errors
    /// The value itself, when no slot is free.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        // SAFETY: the closure writes the value into the slot.
        let pushed = unsafe {
            self.push_with(|slot| {
                if let Some(v) = value.take() {
                    slot.write(v);
                }
            })
        };
        if pushed {
            Ok(())
        } else {
            value.map_or(Ok(()), Err)
        }
    }

    /// Values written and not yet taken, the unpublished ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        let head = self.shared.head.0.load(Ordering::Acquire);
        self.tail.wrapping_sub(head)
    }

    /// Whether everything written was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values written but not yet visible to the consumer.
    #[inline]
    #[must_use]
    pub fn pending(&self) -> usize {
        self.tail.wrapping_sub(self.published)
    }

    /// Makes all written values visible. False when there was nothing to publish.
    #[inline]
    pub fn publish(&mut self) -> bool {
        if self.tail == self.published {
            return false;
        }
        self.shared.tail.0.store(self.tail, Ordering::Release);
        self.published = self.tail;
        true
    }
}

impl<T> Consumer<T> {
    /// The oldest published value, left in place.
    #[inline]
    pub fn peek(&mut self) -> Option<*mut T> {
        if self.head == self.tail_seen {
            self.tail_seen = self.shared.tail.0.load(Ordering::Acquire);
            if self.head == self.tail_seen {
                return None;
            }
        }
        Some(self.shared.slots[self.head & self.shared.mask].with_mut(<*mut _>::cast))
    }

    /// Asks the cache for the line at which the value `ahead` of the peeked one begins, if that is
    /// known to be published: a line that the producer still writes is better left with it.
    #[inline(always)]
    pub fn prefetch(&self, ahead: usize) {
        if self.tail_seen.wrapping_sub(self.head) > ahead {
            let slot = &self.shared.slots[self.head.wrapping_add(ahead) & self.shared.mask];
            prefetch_line(ptr::from_ref(slot).cast());
        }
    }

    /// Steps past the peeked value without dropping it; [`Consumer::release`] then gives the slot
    /// back.
    ///
    /// # Safety
    /// The last call was a `peek` that returned a value, and the caller has moved it out.
    #[inline]
    pub unsafe fn advance(&mut self) {
        self.head = self.head.wrapping_add(1);
    }

    /// Gives all slots stepped past back to the producer; in batches, because each time the
    /// producer's view of the line is lost.
    #[inline]
    pub fn release(&mut self) {
        self.shared.head.0.store(self.head, Ordering::Release);
    }

    /// Takes the oldest published value.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        let at = self.peek()?;
        // SAFETY: `peek` returned a published value, which this side owns until `advance`.
        unsafe {
            let value = at.read();
            self.advance();
            self.release();
            Some(value)
        }
    }
}

#[inline(always)]
fn prefetch_line(at: *const i8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program sees and faults on no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}
