//! Arenas of a shard: a request borrows one and gives it back, reset, when it is answered.

use std::cell::{Cell, RefCell};

use bumpalo::Bump;

use crate::limits::{ARENA_KEPT_BYTES, ARENAS_KEPT};

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
        if free.len() < ARENAS_KEPT && arena.allocated_bytes() <= ARENA_KEPT_BYTES {
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
