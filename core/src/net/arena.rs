//! Arenas of a shard: a request borrows one and gives it back, reset, when it is answered.

use std::cell::{Cell, RefCell};
use std::ops::Deref;

use bumpalo::Bump;

use crate::limits::{ARENA_KEPT_BYTES, ARENAS_KEPT};

/// The arenas of one shard.
#[derive(Default)]
pub(crate) struct Arenas {
    free: RefCell<Vec<Bump>>,
    in_use: Cell<usize>,
}

impl Arenas {
    /// Borrows an empty arena, which comes back when it is dropped, be it by a request that ends
    /// early.
    pub(super) fn take(&self) -> Lent<'_> {
        self.in_use.set(self.in_use.get() + 1);
        Lent {
            arenas: self,
            arena: self.free.borrow_mut().pop().unwrap_or_default(),
        }
    }

    fn take_back(&self, mut arena: Bump) {
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

/// An arena of a shard in use; when it is dropped, everything in it is gone.
pub(super) struct Lent<'a> {
    arenas: &'a Arenas,
    arena: Bump,
}

impl Deref for Lent<'_> {
    type Target = Bump;

    fn deref(&self) -> &Bump {
        &self.arena
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // An empty arena holds no memory.
        self.arenas.take_back(std::mem::take(&mut self.arena));
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;

    #[test]
    fn an_arena_comes_back_with_the_future_that_held_it() {
        let arenas = Arenas::default();
        let mut answering = Box::pin(async {
            let arena = arenas.take();
            arena.alloc(7_u64);
            std::future::pending::<()>().await;
        });
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(answering.as_mut().poll(&mut cx).is_pending());
        assert_eq!(arenas.in_use(), 1);
        drop(answering);
        assert_eq!(arenas.in_use(), 0);
        assert!(arenas.pooled_bytes() > 0);
    }
}
