//! The atomics and cells of the lock-free parts, exchanged for loom's under `--cfg ninefold_loom`
//! and for shuttle's by the feature `shuttle`, so that the model checkers explore the real ring and
//! the real doorbell.

#[cfg(ninefold_loom)]
pub(crate) use loom::sync::{
    Arc,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(ninefold_loom)]
pub(crate) use loom::cell::UnsafeCell;

#[cfg(all(feature = "shuttle", not(ninefold_loom)))]
pub(crate) use shuttle::sync::{
    Arc,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(not(any(feature = "shuttle", ninefold_loom)))]
pub(crate) use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};

/// `std`'s cell behind loom's interface.
#[cfg(not(ninefold_loom))]
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(ninefold_loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}
