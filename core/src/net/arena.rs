//! Arenas of a shard: a request borrows one and gives it back, reset, when it is answered.

use std::cell::{Cell, RefCell};

use bumpalo::Bump;

/// Arenas kept for reuse; more exist only while more requests are in flight at once.
const POOLED: usize = 64;
/// An arena that has grown beyond this is freed, not pooled, so that one large request does not
/// hold its memory for ever.
const KEEP_BYTES: usize = 256 << 10;

/// The arenas of one shard.
#[derive(Default)]
pub(crate) struct Arenas {
    free: RefCell<Vec<Bump>>,
    in_use: Cell<usize>,
}

impl Arenas {
    /// Borrows an empty arena.
    pub(super) fn take(&self) -> Bump {
        self.in_use.set(self.in_use.get() + 1);
        self.free.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives an arena back; everything in it is gone.
    pub(super) fn give(&self, mut arena: Bump) {
        self.in_use.set(self.in_use.get() - 1);
        arena.reset();
        let mut free = self.free.borrow_mut();
        if free.len() < POOLED && arena.allocated_bytes() <= KEEP_BYTES {
            free.push(arena);
        }
    }

    /// Arenas that requests hold now.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use.get()
    }

    /// Bytes in pooled arenas.
    pub(crate) fn pooled_bytes(&self) -> usize {
        self.free.borrow().iter().map(Bump::allocated_bytes).sum()
    }
}
