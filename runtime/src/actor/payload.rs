//! A type-erased value: inline up to [`INLINE_BYTES`], boxed beyond.
//!
//! One representation serves the mailbox node, the mesh frame and the reply cell, so that a message
//! moves between them by copying only the bytes that its type uses.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

use crate::limits::INLINE_BYTES;

const WORDS: usize = INLINE_BYTES / 8;

/// Room for one value of a type that only the surrounding vtable knows.
#[repr(transparent)]
pub(crate) struct Payload(UnsafeCell<MaybeUninit<[u64; WORDS]>>);

impl Payload {
    pub(crate) const fn empty() -> Self {
        Payload(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// Whether a `T` travels inline; otherwise it is boxed.
    pub(crate) const fn is_inline<T>() -> bool {
        size_of::<T>() <= INLINE_BYTES && align_of::<T>() <= align_of::<u64>()
    }

    /// Bytes of the payload that a `T` uses: its own size, or one pointer when it is boxed.
    pub(crate) const fn used<T>() -> usize {
        if Self::is_inline::<T>() {
            size_of::<T>()
        } else {
            size_of::<*mut T>()
        }
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.0.get().cast()
    }

    /// Stores `value`; whatever was there is forgotten.
    ///
    /// # Safety
    /// No reference into the payload may be alive, and the caller records the type in a vtable.
    #[inline(always)]
    pub(crate) unsafe fn write<T>(&self, value: T) {
        // SAFETY: the payload has INLINE_BYTES bytes aligned to 8, and the caller grants exclusive
        // access.
        unsafe { Self::put(self.as_ptr(), value) };
    }

    /// As [`Payload::write`], at a place that is as good as a payload.
    ///
    /// # Safety
    /// `at` is aligned to 8 and has room for [`Payload::used`] bytes; nobody refers to them.
    #[inline(always)]
    pub(crate) unsafe fn put<T>(at: *mut u8, value: T) {
        // SAFETY: a T that is inline fits `used` bytes, otherwise only a thin pointer is stored.
        unsafe {
            if Self::is_inline::<T>() {
                at.cast::<T>().write(value);
            } else {
                at.cast::<*mut T>().write(Box::into_raw(Box::new(value)));
            }
        }
    }

    /// Takes the value out; the payload is then as good as uninitialised.
    ///
    /// # Safety
    /// `at` points to a payload that holds a `T` written by [`Payload::write`], not taken since.
    #[inline(always)]
    pub(crate) unsafe fn read<T>(at: *mut u8) -> T {
        // SAFETY: the caller promises an initialised T (or its box) at `at`, and forgets it after.
        unsafe {
            if Self::is_inline::<T>() {
                at.cast::<T>().read()
            } else {
                *Box::from_raw(at.cast::<*mut T>().read())
            }
        }
    }

    /// Drops the value in place.
    ///
    /// # Safety
    /// As [`Payload::read`].
    pub(crate) unsafe fn drop_in_place<T>(at: *mut u8) {
        // SAFETY: forwarded to `read`, whose contract is ours.
        drop(unsafe { Self::read::<T>(at) });
    }

    /// Copies the first `used` bytes from `from`, which is then as good as uninitialised.
    ///
    /// # Safety
    /// `from` points to a payload of which `used` bytes are in use; ownership of the value moves.
    #[inline(always)]
    pub(crate) unsafe fn copy_from(&self, from: *const u8, used: usize) {
        debug_assert!(used <= INLINE_BYTES);
        // SAFETY: both sides have INLINE_BYTES bytes, `used` is at most that, and two payloads
        // never overlap.
        unsafe { std::ptr::copy_nonoverlapping(from, self.as_ptr(), used) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: PartialEq + std::fmt::Debug + Clone>(value: T) {
        let (a, b) = (Payload::empty(), Payload::empty());
        // SAFETY: written once, moved once, read once, all as T.
        let out = unsafe {
            a.write(value.clone());
            b.copy_from(a.as_ptr(), Payload::used::<T>());
            Payload::read::<T>(b.as_ptr())
        };
        assert_eq!(out, value);
    }

    #[test]
    fn values_of_every_size_survive_the_move() {
        round_trip(());
        round_trip(7_u8);
        round_trip([3_u64; 8]);
        round_trip([3_u64; 9]);
        round_trip(vec![1, 2, 3]);
        round_trip(1_u128);
        round_trip(String::from("boxed or not, it is the same value"));
    }

    #[test]
    fn dropping_in_place_frees_the_value() {
        let shared = std::rc::Rc::new(());
        let payload = Payload::empty();
        // SAFETY: written and dropped once, as the same type.
        unsafe {
            payload.write((shared.clone(), [0_u64; 12]));
            Payload::drop_in_place::<(std::rc::Rc<()>, [u64; 12])>(payload.as_ptr());
        }
        assert_eq!(std::rc::Rc::strong_count(&shared), 1);
    }
}
