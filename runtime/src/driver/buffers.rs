//! The receive buffers of a shard: one ring of provided buffers that the kernel picks from, so that
//! an idle connection pins none (io_uring_register_buf_ring(3), kernel 5.19).

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::limits::{RECV_BUFFER_BYTES, RECV_BUFFERS};

const PAGE: usize = 4096;
const COUNT: usize = RECV_BUFFERS as usize;
#[expect(clippy::cast_possible_truncation, reason = "a few pages")]
const BUFFER_LEN: u32 = RECV_BUFFER_BYTES as u32;

/// The table the kernel reads; its address must be page aligned.
#[repr(C, align(4096))]
struct Table([UnsafeCell<[u8; size_of::<BufRingEntry>()]>; COUNT]);

#[repr(C, align(4096))]
struct Page(UnsafeCell<[u8; PAGE]>);

/// How free buffers are offered to the ring.
enum Offer {
    Kernel { table: Box<Table>, tail: Cell<u16> },
    Simulated(RefCell<VecDeque<u16>>),
}

/// The buffers and the offer of them; lives until the last buffer of it is dropped.
pub(super) struct BufferRing {
    offer: Offer,
    memory: Box<[Page]>,
    free: Cell<u16>,
}

impl BufferRing {
    pub(super) fn new() -> Rc<Self> {
        const { assert!(COUNT.is_power_of_two() && RECV_BUFFER_BYTES.is_multiple_of(PAGE)) };
        let entry = || UnsafeCell::new([0; size_of::<BufRingEntry>()]);
        let table = Box::new(Table(std::array::from_fn(|_| entry())));
        let tail = Cell::new(0);
        Self::filled(Offer::Kernel { table, tail }, RECV_BUFFERS)
    }

    /// `count` buffers, at most [`RECV_BUFFERS`], for a simulated ring.
    pub(super) fn simulated(count: u16) -> Rc<Self> {
        let count = count.min(RECV_BUFFERS);
        let offer = RefCell::new(VecDeque::with_capacity(count.into()));
        Self::filled(Offer::Simulated(offer), count)
    }

    fn filled(offer: Offer, count: u16) -> Rc<Self> {
        let pages = usize::from(count) * RECV_BUFFER_BYTES / PAGE;
        let memory = (0..pages)
            .map(|_| Page(UnsafeCell::new([0; PAGE])))
            .collect();
        let free = Cell::new(0);
        let ring = Rc::new(BufferRing {
            offer,
            memory,
            free,
        });
        for id in 0..count {
            ring.give(id);
        }
        ring
    }

    /// Address of the table, for registration; 0 where there is none.
    pub(super) fn address(&self) -> u64 {
        match &self.offer {
            Offer::Kernel { table, .. } => table.0[0].get() as u64,
            Offer::Simulated(_) => 0,
        }
    }

    fn memory_of(&self, id: u16) -> *mut u8 {
        let page = id as usize * (RECV_BUFFER_BYTES / PAGE);
        self.memory[page].0.get().cast()
    }

    /// Leaves the memory to the kernel for good: one reference more than is ever dropped.
    pub(super) fn leak(self: &Rc<Self>) {
        std::mem::forget(self.clone());
    }

    /// Buffers that the kernel may still pick.
    pub(super) fn free(&self) -> u16 {
        self.free.get()
    }

    /// The kernel has picked one.
    pub(super) fn picked(&self) {
        self.free.set(self.free.get().saturating_sub(1));
    }

    /// Gives buffer `id` (back) to the ring.
    fn give(&self, id: u16) {
        match &self.offer {
            Offer::Kernel { table, tail } => self.publish(table, tail, id),
            Offer::Simulated(free) => free.borrow_mut().push_back(id),
        }
        self.free.set(self.free.get() + 1);
    }

    #[inline]
    fn publish(&self, table: &Table, tail: &Cell<u16>, id: u16) {
        let base: *mut BufRingEntry = table.0[0].get().cast();
        let at = (tail.get() & (RECV_BUFFERS - 1)) as usize;
        // SAFETY: `at` is below the table's length, the entry at `tail` belongs to user space until
        // the tail is published, and the table is page aligned as `BufRingEntry::tail` asks. The
        // kernel reads the tail with acquire semantics. Exercised by every socket test under ASan.
        unsafe {
            let entry = &mut *base.add(at);
            entry.set_addr(self.memory_of(id) as u64);
            entry.set_len(BUFFER_LEN);
            entry.set_bid(id);
            tail.set(tail.get().wrapping_add(1));
            let tail_there = BufRingEntry::tail(base).cast::<AtomicU16>();
            (*tail_there).store(tail.get(), Ordering::Release);
        }
    }

    /// Picks the next free buffer, as the kernel would, and lets `fill` write into it: the buffer
    /// and how much `fill` says it wrote. `None`, and `fill` is not called, without a free buffer.
    pub(super) fn pick(&self, fill: impl FnOnce(&mut [u8]) -> usize) -> Option<(u16, usize)> {
        let Offer::Simulated(free) = &self.offer else {
            return None;
        };
        let id = free.borrow_mut().pop_front()?;
        // SAFETY: a free buffer belongs to the ring alone, which is us, until it is handed out; its
        // memory is initialised. Exercised by every test of the simulated driver.
        let memory =
            unsafe { std::slice::from_raw_parts_mut(self.memory_of(id), RECV_BUFFER_BYTES) };
        Some((id, fill(memory)))
    }
}

/// Received bytes, in a buffer of the shard's pool; dropping it gives the buffer back.
pub struct RecvBuf {
    ring: Rc<BufferRing>,
    id: u16,
    len: u32,
}

impl RecvBuf {
    /// # Safety
    /// The ring has just handed out buffer `id` of `ring` with `len` bytes in it, once.
    pub(super) unsafe fn new(ring: Rc<BufferRing>, id: u16, len: u32) -> Self {
        RecvBuf {
            ring,
            id,
            len: len.min(BUFFER_LEN),
        }
    }
}

impl Deref for RecvBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: between hand-out and `give`, buffer `id` belongs to this value alone, and its
        // memory is initialised (zeroed at start, then written by the kernel).
        unsafe { std::slice::from_raw_parts(self.ring.memory_of(self.id), self.len as usize) }
    }
}

impl DerefMut for RecvBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes this the only borrow.
        unsafe { std::slice::from_raw_parts_mut(self.ring.memory_of(self.id), self.len as usize) }
    }
}

impl Drop for RecvBuf {
    fn drop(&mut self) {
        self.ring.give(self.id);
    }
}
