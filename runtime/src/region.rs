//! Growing storage whose elements never move: what a shard's intrusive lists point into.
//!
//! Address space for the most elements there may ever be is reserved at once and costs nothing; it
//! becomes memory step by step, as elements are made. So an element is found by one multiplication,
//! links are 4-byte indices, and nothing is copied to grow.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

/// The index that means "none" in links.
pub(crate) const NIL: u32 = u32::MAX;

/// Least and most bytes that become memory in one step.
const STEP_MIN: usize = 64 << 10;
const STEP_MAX: usize = 4 << 20;

/// At most `max` elements of `T`, only ever appended, freed together.
pub(crate) struct Region<T> {
    base: NonNull<T>,
    made: Cell<u32>,
    /// Bytes that are memory.
    committed: Cell<usize>,
    /// Bytes that are reserved.
    reserved: usize,
    max: u32,
}

impl<T> Region<T> {
    /// Reserves room for `max` elements.
    ///
    /// # Errors
    /// The system's, when the address space of the process is limited (`ulimit -v`).
    pub(crate) fn reserve(max: u32) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let reserved = (max as usize * size_of::<T>()).next_multiple_of(page);
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice aliases nothing.
        let base = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), reserved, ProtFlags::empty(), flags)
        }?;
        Ok(Region {
            base: NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?,
            made: Cell::new(0),
            committed: Cell::new(0),
            reserved,
            max,
        })
    }

    /// Elements made so far.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.made.get()
    }

    /// Bytes of memory in use for elements, made or about to be.
    pub(crate) fn bytes(&self) -> usize {
        self.committed.get()
    }

    /// The element at `index`.
    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        // SAFETY: elements below `made` are initialised and live as long as `self`.
        (index < self.made.get()).then(|| unsafe { self.at(index) })
    }

    /// The element at an index that is known to have been made.
    ///
    /// # Safety
    /// `index` came from this region, that is `index < self.len()`.
    #[inline(always)]
    pub(crate) unsafe fn at(&self, index: u32) -> &T {
        debug_assert!(index < self.made.get());
        // SAFETY: the caller's promise; the region is not `Sync`, and `T` is shared by `&` only.
        unsafe { &*self.base.as_ptr().add(index as usize) }
    }

    /// Where the element at an index is, or will be; derived from the whole storage, so that an
    /// element may use the place of the next.
    #[inline(always)]
    pub(crate) fn place(&self, index: u32) -> *mut T {
        self.base.as_ptr().wrapping_add(index as usize)
    }

    /// Appends what `make` builds for the next index; `None` at the limit or when the system has no
    /// more memory.
    pub(crate) fn push(&self, make: impl FnOnce(u32) -> T) -> Option<&T> {
        let index = self.made.get();
        let end = (index as usize + 1) * size_of::<T>();
        if index >= self.max || (end > self.committed.get() && !self.commit(end)) {
            return None;
        }
        // SAFETY: the place is committed memory behind the last element, written exactly once.
        unsafe { self.base.as_ptr().add(index as usize).write(make(index)) };
        self.made.set(index + 1);
        // SAFETY: made just now.
        Some(unsafe { self.at(index) })
    }

    #[cold]
    fn commit(&self, wanted: usize) -> bool {
        let have = self.committed.get();
        let step = (have / 4).clamp(STEP_MIN, STEP_MAX);
        let to = (have + step)
            .max(wanted)
            .next_multiple_of(STEP_MIN)
            .min(self.reserved);
        let flags = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: the range lies within our own mapping and behind all elements.
        let granted = unsafe {
            let at = self.base.as_ptr().cast::<u8>().add(have);
            rustix::mm::mprotect(at.cast(), to - have, flags)
        };
        if let Err(error) = granted {
            tracing::error!(%error, bytes = to, "no memory for more elements");
            return false;
        }
        self.committed.set(to);
        true
    }

    /// Forgets every element and gives back all memory but `keep` bytes.
    ///
    /// # Safety
    /// No reference to an element is alive and no index is used any more; `T` needs no drop.
    pub(crate) unsafe fn clear(&self, keep: usize) {
        self.made.set(0);
        let keep = keep.next_multiple_of(STEP_MIN);
        let have = self.committed.get();
        if have > keep {
            // SAFETY: the range is ours, and the caller promises that nothing refers to it; it
            // reads as zeros afterwards and is written before it is read again.
            let freed = unsafe {
                let at = self.base.as_ptr().cast::<u8>().add(keep);
                rustix::mm::madvise(at.cast(), have - keep, Advice::LinuxDontNeed)
            };
            // Memory that the kernel does not take back stays in use, which is no fault in release.
            debug_assert!(freed.is_ok());
            self.committed.set(keep);
        }
    }
}

/// Memory from this size on is worth huge pages: what is looked up in it at random misses the TLB
/// as often as the cache.
const HUGE_FROM: usize = 4 << 20;

/// Asks the kernel for huge pages behind large memory that is still unused; where it has none
/// (`transparent_hugepage/enabled` is `never`) nothing changes.
pub(crate) fn prefer_huge_pages<T>(memory: &mut [MaybeUninit<T>]) {
    let page = rustix::param::page_size();
    let from = memory.as_mut_ptr().cast::<u8>();
    let skipped = from.align_offset(page);
    let bytes = size_of_val(memory).saturating_sub(skipped) / page * page;
    if bytes < HUGE_FROM {
        return;
    }
    // SAFETY: whole pages of memory that the caller borrows; the advice changes how they are mapped
    // and not what is in them.
    let advised = unsafe {
        let at = from.add(skipped).cast();
        rustix::mm::madvise(at, bytes, Advice::LinuxHugepage)
    };
    if let Err(error) = advised {
        tracing::debug!(%error, bytes, "no huge pages");
    }
}

impl<T> Drop for Region<T> {
    fn drop(&mut self) {
        // SAFETY: the first `made` elements are initialised; nobody refers to them any more.
        unsafe {
            if std::mem::needs_drop::<T>() {
                let all =
                    ptr::slice_from_raw_parts_mut(self.base.as_ptr(), self.made.get() as usize);
                ptr::drop_in_place(all);
            }
            let unmapped = rustix::mm::munmap(self.base.as_ptr().cast(), self.reserved);
            debug_assert!(unmapped.is_ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_place_while_the_storage_grows() {
        let region = Region::reserve(1 << 20).unwrap();
        let first: *const u64 = region.push(u64::from).unwrap();
        for _ in 0..100_000 {
            region.push(u64::from).unwrap();
        }
        assert!(ptr::eq(first, region.get(0).unwrap()));
        assert_eq!((region.get(25_600), region.len()), (Some(&25_600), 100_001));
        assert_eq!(region.get(100_001), None);
    }

    #[test]
    fn the_limit_is_kept_and_memory_is_given_back() {
        let region = Region::<[u64; 512]>::reserve(64).unwrap();
        for _ in 0..64 {
            assert!(region.push(|i| [u64::from(i); 512]).is_some());
        }
        assert!(region.push(|_| [0; 512]).is_none());
        // SAFETY: no element is referred to.
        unsafe { region.clear(0) };
        assert_eq!(region.len(), 0);
        assert_eq!(region.push(|_| [7; 512]).unwrap()[9], 7);
    }

    #[test]
    fn advice_on_memory_of_any_size_and_place_leaves_it_as_it_is() {
        for size in [0, 1, 4096, HUGE_FROM + 12_345] {
            let mut memory = vec![MaybeUninit::new(7_u8); size + 1];
            prefer_huge_pages(&mut memory[1..]);
            // SAFETY: initialised above.
            assert!(memory.iter().all(|byte| unsafe { byte.assume_init() } == 7));
        }
    }

    #[test]
    fn elements_are_dropped_once() {
        let shared = std::rc::Rc::new(());
        let region = Region::reserve(8).unwrap();
        for _ in 0..5 {
            region.push(|_| shared.clone()).unwrap();
        }
        assert_eq!(std::rc::Rc::strong_count(&shared), 6);
        drop(region);
        assert_eq!(std::rc::Rc::strong_count(&shared), 1);
    }
}
