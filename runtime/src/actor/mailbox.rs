//! Mailboxes: three FIFO lanes (system, high, normal) of pooled envelopes.
//!
//! One pool of envelopes a shard, last in first out, so that a steady flow of messages stays in a
//! few cache lines. An actor with nothing to do owns none.

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::mem::MaybeUninit;

use super::message::MessageVtable;
use super::reply::ReplyTo;
use crate::clock::Cycles;
use crate::limits::{INLINE_BYTES, MESSAGES_MAX};
use crate::region::{NIL, Region};

/// One message in a mailbox: a cache line, of which the last 24 bytes are the message's first. A
/// larger message goes on in the line behind, which then belongs to the envelope.
#[repr(C, align(64))]
pub(crate) struct Envelope {
    pub(crate) vtable: Cell<Option<&'static MessageVtable>>,
    pub(crate) posted_at: Cell<Cycles>,
    pub(crate) reply: Cell<ReplyTo>,
    /// The next envelope of the lane, or of the free list.
    next: Cell<u32>,
    pub(crate) stamp: Cell<Stamp>,
    payload: UnsafeCell<MaybeUninit<[u64; SMALL / 8]>>,
}

/// What travels with a message, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub(crate) struct Stamp {
    /// Microseconds after it was posted within which the message is worth handling; zero: always.
    pub(crate) deadline_us: u32,
    /// What the message counts for in its mailbox, in units of [`SIZE_UNIT`] bytes.
    pub(crate) size: u16,
    /// The shard that sent it, whose credit it uses.
    pub(crate) from: u8,
    /// The shard keeps the span that it was sent in.
    pub(crate) traced: bool,
}

/// Bytes of a message that fit the first line.
const SMALL: usize = 24;
/// Where the message begins.
const PAYLOAD_AT: usize = 40;

/// Mailboxes count bytes in units of this many.
pub(crate) const SIZE_UNIT: u32 = 64;

/// A bound of bytes in those units.
pub(crate) fn units(bytes: u32) -> i32 {
    i32::try_from(bytes.div_ceil(SIZE_UNIT)).unwrap_or(i32::MAX)
}

/// The deadline of a message that is always too late.
pub(crate) const VOID: u32 = u32::MAX;

const _: () = assert!(size_of::<Envelope>() == 64);
const _: () = assert!(std::mem::offset_of!(Envelope, payload) == PAYLOAD_AT);
const _: () = assert!(PAYLOAD_AT + INLINE_BYTES <= 2 * size_of::<Envelope>());

impl Envelope {
    fn free() -> Self {
        Envelope {
            vtable: Cell::new(None),
            posted_at: Cell::new(0),
            reply: Cell::new(ReplyTo::NONE),
            next: Cell::new(NIL),
            stamp: Cell::new(Stamp {
                deadline_us: 0,
                size: 0,
                from: 0,
                traced: false,
            }),
            payload: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }
}

/// Names an envelope of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EnvelopeId(u32);

/// The envelopes of a shard.
pub(crate) struct EnvelopePool {
    all: Region<Envelope>,
    /// Free envelopes of one line, and of two.
    free: [Cell<u32>; 2],
    live: Cell<usize>,
}

/// Memory that an empty pool keeps.
const KEEP_BYTES: usize = 1 << 20;

impl EnvelopePool {
    /// Reserves room for [`MESSAGES_MAX`] messages.
    ///
    /// # Errors
    /// The system's, when the address space is limited.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(EnvelopePool {
            all: Region::reserve(MESSAGES_MAX)?,
            free: [Cell::new(NIL), Cell::new(NIL)],
            live: Cell::new(0),
        })
    }

    /// Takes an envelope for a message of `used` bytes, linked nowhere, whose head the caller sets;
    /// `None` at the limit.
    #[inline(always)]
    pub(crate) fn take(&self, used: usize) -> Option<(EnvelopeId, &Envelope)> {
        let free = &self.free[usize::from(used > SMALL)];
        let index = match free.get() {
            NIL => self.grow(used)?,
            index => index,
        };
        // SAFETY: free lists hold indices of envelopes of this pool, and so does `grow` return one.
        let envelope = unsafe { self.all.at(index) };
        free.set(envelope.next.get());
        self.live.set(self.live.get() + 1);
        Some((EnvelopeId(index), envelope))
    }

    /// The envelope behind an id that is in use.
    #[inline(always)]
    pub(crate) fn get(&self, id: EnvelopeId) -> &Envelope {
        // SAFETY: ids are made by `take` alone.
        unsafe { self.all.at(id.0) }
    }

    /// Sees to it that a message is not handled any more, if it still waits and carries `mark`.
    pub(crate) fn void(&self, id: EnvelopeId, mark: ReplyTo) {
        if let Some(envelope) = self.all.get(id.0)
            && envelope.reply.get() == mark
        {
            envelope.stamp.set(Stamp {
                deadline_us: VOID,
                ..envelope.stamp.get()
            });
        }
    }

    /// Where the message of an envelope begins; as many bytes as it was taken for may be used.
    #[inline(always)]
    pub(crate) fn payload(&self, id: EnvelopeId) -> *mut u8 {
        // SAFETY: the envelope's line, or its two lines, are memory of the region.
        unsafe { self.all.place(id.0).cast::<u8>().add(PAYLOAD_AT) }
    }

    /// Gives back an envelope that was taken for `used` bytes, its message moved out or dropped.
    #[inline(always)]
    pub(crate) fn put(&self, id: EnvelopeId, used: usize) {
        let free = &self.free[usize::from(used > SMALL)];
        self.get(id).next.set(free.get());
        free.set(id.0);
        self.live.set(self.live.get() - 1);
    }

    /// Messages waiting in all mailboxes of the shard.
    #[inline]
    pub(crate) fn live(&self) -> usize {
        self.live.get()
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.all.bytes()
    }

    /// Gives memory back after a burst, when every mailbox is empty. True when there was some.
    pub(crate) fn trim(&self) -> bool {
        if self.live.get() > 0 || self.all.bytes() <= KEEP_BYTES {
            return false;
        }
        self.free.iter().for_each(|free| free.set(NIL));
        // SAFETY: no envelope is in use, so no lane and no turn refers to one, and the free list
        // was emptied above.
        unsafe { self.all.clear(KEEP_BYTES) };
        true
    }

    /// Makes an envelope, as the only one of its free list.
    #[cold]
    fn grow(&self, used: usize) -> Option<u32> {
        self.all.push(|_| Envelope::free())?;
        let index = self.all.len() - 1;
        if used > SMALL {
            // The second line: its own fields are the message's bytes from now on.
            self.all.push(|_| Envelope::free())?;
        }
        Some(index)
    }
}

/// One FIFO lane of a mailbox.
#[derive(Debug)]
pub(crate) struct Lane {
    head: Cell<u32>,
    tail: Cell<u32>,
}

impl Default for Lane {
    fn default() -> Self {
        Lane::new()
    }
}

impl Lane {
    pub(crate) const fn new() -> Self {
        Lane {
            head: Cell::new(NIL),
            tail: Cell::new(NIL),
        }
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.get() == NIL
    }

    /// The oldest message, left in place.
    #[inline(always)]
    pub(crate) fn peek(&self) -> Option<EnvelopeId> {
        (!self.is_empty()).then(|| EnvelopeId(self.head.get()))
    }

    /// The newest message, left in place.
    pub(crate) fn last(&self) -> Option<EnvelopeId> {
        (!self.is_empty()).then(|| EnvelopeId(self.tail.get()))
    }

    /// What waits here, oldest first.
    pub(crate) fn ids<'a>(&self, pool: &'a EnvelopePool) -> impl Iterator<Item = EnvelopeId> + 'a {
        std::iter::successors(self.peek(), |id| {
            let next = pool.get(*id).next.get();
            (next != NIL).then_some(EnvelopeId(next))
        })
    }

    /// Appends the envelope `id`.
    #[inline(always)]
    pub(crate) fn push(&self, pool: &EnvelopePool, id: EnvelopeId) {
        self.push_envelope(pool, id, pool.get(id));
    }

    /// As [`Lane::push`], by who has the envelope at hand.
    #[inline(always)]
    pub(crate) fn push_envelope(&self, pool: &EnvelopePool, id: EnvelopeId, envelope: &Envelope) {
        envelope.next.set(NIL);
        match self.tail.get() {
            NIL => self.head.set(id.0),
            last => pool.get(EnvelopeId(last)).next.set(id.0),
        }
        self.tail.set(id.0);
    }

    #[inline(always)]
    pub(crate) fn pop(&self, pool: &EnvelopePool) -> Option<EnvelopeId> {
        self.pop_envelope(pool).map(|(id, _)| id)
    }

    /// As [`Lane::pop`], with the envelope.
    #[inline(always)]
    pub(crate) fn pop_envelope<'a>(
        &self,
        pool: &'a EnvelopePool,
    ) -> Option<(EnvelopeId, &'a Envelope)> {
        let id = self.peek()?;
        let envelope = pool.get(id);
        let next = envelope.next.get();
        self.head.set(next);
        if next == NIL {
            self.tail.set(NIL);
        }
        Some((id, envelope))
    }

    /// Puts all of `earlier` before what is here; `earlier` is empty afterwards.
    pub(crate) fn prepend(&self, pool: &EnvelopePool, earlier: &Lane) {
        let (Some(_), last) = (earlier.peek(), earlier.tail.get()) else {
            return;
        };
        pool.get(EnvelopeId(last)).next.set(self.head.get());
        if self.is_empty() {
            self.tail.set(last);
        }
        self.head.set(earlier.head.replace(NIL));
        earlier.tail.set(NIL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Clone, Debug)]
    enum Step {
        Push(u64),
        Pop,
        /// Moves the oldest to the postponed ones, as a state machine does.
        Postpone,
        Resume,
        Trim,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => any::<u64>().prop_map(Step::Push),
            3 => Just(Step::Pop),
            1 => Just(Step::Postpone),
            1 => Just(Step::Resume),
            1 => Just(Step::Trim),
        ]
    }

    proptest! {
        #[test]
        fn a_lane_is_a_queue(steps in prop::collection::vec(step(), 0..600)) {
            let pool = EnvelopePool::new().unwrap();
            let (lane, aside) = (Lane::new(), Lane::new());
            let (mut model, mut postponed) = (VecDeque::new(), VecDeque::new());
            for step in steps {
                match step {
                    Step::Push(value) => {
                        let used = if value.is_multiple_of(3) { 64 } else { 8 };
                        let (id, envelope) = pool.take(used).unwrap();
                        envelope.posted_at.set(value);
                        lane.push(&pool, id);
                        model.push_back(value);
                    }
                    Step::Pop => {
                        let got = lane.pop(&pool).map(|id| {
                            let value = pool.get(id).posted_at.get();
                            pool.put(id, if value.is_multiple_of(3) { 64 } else { 8 });
                            value
                        });
                        prop_assert_eq!(got, model.pop_front());
                    }
                    Step::Postpone => {
                        if let Some(id) = lane.pop(&pool) {
                            aside.push(&pool, id);
                        }
                        postponed.extend(model.pop_front());
                    }
                    Step::Resume => {
                        lane.prepend(&pool, &aside);
                        for value in postponed.drain(..).rev() {
                            model.push_front(value);
                        }
                    }
                    Step::Trim => {
                        pool.trim();
                    }
                }
                prop_assert_eq!(pool.live(), model.len() + postponed.len());
                prop_assert_eq!(lane.is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn memory_of_a_burst_is_given_back() {
        let pool = EnvelopePool::new().unwrap();
        let ids: Vec<_> = (0..100_000)
            .map(|n| (pool.take(n % 65).unwrap().0, n % 65))
            .collect();
        let held = pool.bytes();
        assert!(!pool.trim(), "envelopes are in use");
        ids.into_iter().for_each(|(id, used)| pool.put(id, used));
        assert!(pool.trim());
        assert_eq!((pool.live(), pool.all.len()), (0, 0));
        assert!(pool.take(1).is_some() && pool.bytes() <= held);
    }
}
