//! Growing storage whose elements never move: what a shard's intrusive lists point into.

use std::cell::UnsafeCell;

/// Elements of one chunk.
pub(crate) const CHUNK: usize = 256;

/// Chunks of [`CHUNK`] elements, only ever appended, freed together.
pub(crate) struct Chunks<T>(UnsafeCell<Vec<Box<[T]>>>);

impl<T> Chunks<T> {
    pub(crate) const fn new() -> Self {
        Chunks(UnsafeCell::new(Vec::new()))
    }

    /// Elements made so far.
    pub(crate) fn len(&self) -> u32 {
        // SAFETY: as in `get`.
        u32::try_from(unsafe { &*self.0.get() }.len() * CHUNK).unwrap_or(u32::MAX)
    }

    /// The element at `index`.
    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        // SAFETY: `Chunks` is not `Sync`, so only this thread is here, and `grow` holds no
        // reference to the vector while it runs foreign code; the element returned lives in a box
        // that is neither moved nor freed before `self`. Watched by ASan over the test suite.
        let chunks = unsafe { &*self.0.get() };
        chunks
            .get(index as usize / CHUNK)?
            .get(index as usize % CHUNK)
    }

    /// Appends a chunk, made element by element, and returns it.
    #[cold]
    pub(crate) fn grow(&self, make: impl FnMut(u32) -> T) -> &[T] {
        let base = self.len();
        let chunk: Box<[T]> = (base..).take(CHUNK).map(make).collect();
        let elements: *const [T] = &*chunk;
        // SAFETY: `make` has returned, so nobody else refers to the vector; pushing moves the box,
        // not what it points to, which lives as long as `self`.
        unsafe {
            (*self.0.get()).push(chunk);
            &*elements
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_place_while_the_storage_grows() {
        let chunks = Chunks::new();
        let first = &chunks.grow(|i| i)[7];
        for _ in 0..100 {
            chunks.grow(|i| i);
        }
        assert!(std::ptr::eq(first, chunks.get(7).unwrap()));
        assert_eq!(
            (*first, chunks.get(25_600).copied(), chunks.len()),
            (7, Some(25_600), 25_856)
        );
        assert_eq!(chunks.get(25_856), None);
    }
}
