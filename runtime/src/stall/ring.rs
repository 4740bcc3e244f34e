//! The records that a signal handler leaves for the watchdog: a ring made before the first signal.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

use super::capture::Registers;
use super::watch::Turn;
use crate::clock::Cycles;
use crate::limits::{STALL_RECORDS, STALL_STACK_BYTES};

const WORDS: usize = STALL_STACK_BYTES / size_of::<u64>();

/// What the handler saw.
pub(super) struct Record {
    /// The turn it interrupted; `None` when the watchdog asked about a shard between turns.
    pub(super) turn: Option<Turn>,
    /// How long that turn had been held.
    pub(super) held: Cycles,
    /// The watchdog asked for it.
    pub(super) asked: bool,
    pub(super) registers: Registers,
    /// Words of `stack` that are filled.
    pub(super) words: usize,
    /// The stack from the stack pointer upwards.
    pub(super) stack: Box<[u64]>,
}

/// Single producer (the handler, on the shard's thread), single consumer (the watchdog).
pub(super) struct Ring {
    records: Box<[UnsafeCell<Record>]>,
    taken: AtomicU64,
    filled: AtomicU64,
    dropped: AtomicU64,
}

// SAFETY: a record is touched by the producer while its number is in `filled..taken + len` and by
// the consumer while it is in `taken..filled`; the two counters, stored with release and loaded
// with acquire, hand it over. `push` and `pop` ask their callers to be the only one of their side.
unsafe impl Sync for Ring {}

impl Ring {
    pub(super) fn new() -> Self {
        let empty = |_| {
            UnsafeCell::new(Record {
                turn: None,
                held: 0,
                asked: false,
                registers: Registers::default(),
                words: 0,
                stack: vec![0; WORDS].into_boxed_slice(),
            })
        };
        Ring {
            records: (0..STALL_RECORDS).map(empty).collect(),
            taken: AtomicU64::new(0),
            filled: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    fn at(&self, number: u64) -> Option<*mut Record> {
        let index = usize::try_from(number).unwrap_or(0) % self.records.len().max(1);
        self.records.get(index).map(UnsafeCell::get)
    }

    /// Fills the next record, or counts one more dropped when the consumer is that far behind.
    /// Neither allocates nor locks nor panics.
    ///
    /// # Safety
    /// One call at a time.
    pub(super) unsafe fn push(&self, fill: impl FnOnce(&mut Record)) {
        let filled = self.filled.load(Ordering::Relaxed);
        let waiting = filled.wrapping_sub(self.taken.load(Ordering::Acquire));
        match self.at(filled) {
            Some(record) if waiting < self.records.len() as u64 => {
                // SAFETY: the number is outside `taken..filled`, so the consumer is not there, and
                // the caller is the only producer.
                fill(unsafe { &mut *record });
                self.filled.store(filled.wrapping_add(1), Ordering::Release);
            }
            _ => {
                let dropped = self.dropped.load(Ordering::Relaxed);
                self.dropped.store(dropped + 1, Ordering::Relaxed);
            }
        }
    }

    /// Hands the oldest record to `read`; `None` when there is none.
    ///
    /// # Safety
    /// One call at a time.
    pub(super) unsafe fn pop<R>(&self, read: impl FnOnce(&Record) -> R) -> Option<R> {
        let taken = self.taken.load(Ordering::Relaxed);
        if taken == self.filled.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: the number is within `taken..filled`, so the producer is not there, and the
        // caller is the only consumer.
        let result = read(unsafe { &*self.at(taken)? });
        self.taken.store(taken.wrapping_add(1), Ordering::Release);
        Some(result)
    }

    /// Records that found no room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn records_come_out_in_order_and_what_finds_no_room_is_counted() {
        let ring = Ring::new();
        let room = STALL_RECORDS as u64;
        for round in 0..3 {
            for n in 0..room + 2 {
                // SAFETY: this thread is producer and consumer.
                unsafe { ring.push(|record| record.held = round * 100 + n) };
            }
            assert_eq!(ring.dropped(), (round + 1) * 2);
            for n in 0..room {
                // SAFETY: as above.
                let held = unsafe { ring.pop(|record| record.held) };
                assert_eq!(held, Some(round * 100 + n));
            }
            // SAFETY: as above.
            assert_eq!(unsafe { ring.pop(|record| record.held) }, None);
        }
    }

    #[test]
    fn a_record_is_never_seen_half_written() {
        const TAKEN: u64 = 1_000;
        let ring = Ring::new();
        let done = AtomicBool::new(false);
        let produce = || {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n += 1;
                // SAFETY: this closure is the only producer.
                unsafe {
                    ring.push(|record| {
                        record.held = n;
                        record.stack[0] = n;
                        record.stack[WORDS - 1] = n;
                    });
                }
            }
            n
        };
        std::thread::scope(|threads| {
            let producer = threads.spawn(produce);
            let (mut last, mut taken) = (0, 0);
            let mut take = || {
                // SAFETY: only this thread takes, and `pop` is not called within `pop`.
                let whole = unsafe {
                    ring.pop(|r| {
                        assert_eq!((r.stack[0], r.stack[WORDS - 1]), (r.held, r.held));
                        r.held
                    })
                };
                let found = whole.is_some();
                if let Some(n) = whole {
                    assert!(n > last, "{n} after {last}");
                    (last, taken) = (n, taken + 1);
                }
                (found, taken)
            };
            while take().1 < TAKEN {}
            done.store(true, Ordering::Relaxed);
            let pushed = producer.join().unwrap();
            while take().0 {}
            assert_eq!(take().1 + ring.dropped(), pushed, "taken or counted");
        });
    }
}
