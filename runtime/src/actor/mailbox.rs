//! Mailboxes: two FIFO lanes of pooled nodes.
//!
//! One pool of nodes a shard, last in first out, so that a steady flow of messages stays in a few
//! cache lines. An actor with nothing to do owns no node.

use std::cell::Cell;
use std::ptr;

use super::message::MessageVtable;
use super::{Payload, reply::ReplyTo};
use crate::chunks::Chunks;
use crate::clock::Cycles;

/// One message in a mailbox.
pub(crate) struct Node {
    next: Cell<*const Node>,
    pub(crate) vtable: Cell<Option<&'static MessageVtable>>,
    pub(crate) posted_at: Cell<Cycles>,
    pub(crate) reply: Cell<ReplyTo>,
    pub(crate) payload: Payload,
}

impl Node {
    fn free() -> Self {
        Node {
            next: Cell::new(ptr::null()),
            vtable: Cell::new(None),
            posted_at: Cell::new(0),
            reply: Cell::new(ReplyTo::NONE),
            payload: Payload::empty(),
        }
    }
}

/// The nodes of a shard.
pub(crate) struct NodePool {
    all: Chunks<Node>,
    free: Cell<*const Node>,
    live: Cell<usize>,
}

impl NodePool {
    pub(crate) fn new() -> Self {
        NodePool {
            all: Chunks::new(),
            free: Cell::new(ptr::null()),
            live: Cell::new(0),
        }
    }

    /// Takes a node that is linked nowhere.
    #[inline(always)]
    pub(crate) fn take(&self) -> &Node {
        let mut head = self.free.get();
        if head.is_null() {
            head = self.grow();
        }
        // SAFETY: every non-null pointer of the free list points into `all`, whose
        // elements never move and live as long as the pool.
        let node = unsafe { &*head };
        self.free.set(node.next.get());
        self.live.set(self.live.get() + 1);
        node
    }

    /// Gives back a node whose payload has been moved out or dropped.
    #[inline(always)]
    pub(crate) fn put(&self, node: &Node) {
        node.next.set(self.free.get());
        self.free.set(node);
        self.live.set(self.live.get() - 1);
    }

    /// Messages waiting in all mailboxes of the shard.
    pub(crate) fn live(&self) -> usize {
        self.live.get()
    }

    #[cold]
    fn grow(&self) -> *const Node {
        let fresh = self.all.grow(|_| Node::free());
        for pair in fresh.windows(2) {
            pair[0].next.set(&pair[1]);
        }
        &fresh[0]
    }
}

/// One FIFO lane of a mailbox.
pub(crate) struct Lane {
    head: Cell<*const Node>,
    tail: Cell<*const Node>,
    len: Cell<u32>,
}

impl Lane {
    pub(crate) const fn new() -> Self {
        Lane {
            head: Cell::new(ptr::null()),
            tail: Cell::new(ptr::null()),
            len: Cell::new(0),
        }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.len.get()
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.get().is_null()
    }

    /// The oldest message, left in place.
    #[inline(always)]
    pub(crate) fn peek(&self) -> Option<&Node> {
        // SAFETY: a lane holds pointers to pool nodes only, and the pool outlives every lane.
        unsafe { self.head.get().as_ref() }
    }

    #[inline(always)]
    pub(crate) fn push(&self, node: &Node) {
        node.next.set(ptr::null());
        // SAFETY: as in `peek`.
        match unsafe { self.tail.get().as_ref() } {
            Some(last) => last.next.set(node),
            None => self.head.set(node),
        }
        self.tail.set(node);
        self.len.set(self.len.get() + 1);
    }

    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<&Node> {
        let node = self.peek()?;
        let next = node.next.get();
        self.head.set(next);
        if next.is_null() {
            self.tail.set(ptr::null());
        }
        self.len.set(self.len.get() - 1);
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn a_lane_is_a_queue(ops in prop::collection::vec(prop::option::of(any::<u64>()), 0..600)) {
            let (pool, lane, mut model) = (NodePool::new(), Lane::new(), VecDeque::new());
            for op in ops {
                if let Some(value) = op {
                    let node = pool.take();
                    node.posted_at.set(value);
                    lane.push(node);
                    model.push_back(value);
                } else {
                    let got = lane.pop().map(|n| { pool.put(n); n.posted_at.get() });
                    prop_assert_eq!(got, model.pop_front());
                }
                prop_assert_eq!(lane.len() as usize, model.len());
                prop_assert_eq!(pool.live(), model.len());
                prop_assert_eq!(lane.is_empty(), model.is_empty());
            }
        }
    }
}
