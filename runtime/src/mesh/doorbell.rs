//! One doorbell a shard: which peers have something for it, and whether it sleeps.
//!
//! # Protocol
//! ```text
//! producer                            consumer, awake         consumer, going to sleep
//! P1 tail := t        (release)       T1 w := swap(word, 0)   S1 sleeping := true
//! P2 fence, unless biased             T2 fence, unless        S2 biased? biased := false;
//! P3 bit in word? else set it (rmw)      biased                  membarrier : fence
//! P4 fence, unless biased             T3 look at the tails    S3 look at word, injected and
//! P5 sleeping? wake                      of w                    the tails of `recheck`
//! ```
//! *Unbiased* it is Dekker's twice over. P1/P3 against T1/T3: a producer that still saw its bit did
//! so before T1, hence its tail is seen in T3. P3/P5 against S1/S3: one of the two sees the other.
//! Each publication costs a fence, which waits for the frame's cache lines to arrive.
//!
//! *Biased*, the producer has no fence at all (Dice, Moir and Scherer, "Quickly reacquirable
//! locks", 2003; Seastar's `systemwide_memory_barrier`). Two things must be made up for:
//! 1. P3 may see a bit that T1 has cleared while T3 misses the tail: a frame without a bit. So
//!    every peer taken from while biased stays in `recheck`, whose tails the consumer looks at
//!    once a tick and while it spins; the frame is late by a tick at most, and not lost.
//! 2. P5 may miss S1. S2 puts a barrier at some point x of every producer's program:
//!    - P1 after x: the producer sees `biased` false, fences, and the unbiased argument holds;
//!    - P1 before x, P5 after x: P5 sees S1 and wakes;
//!    - P5 before x: S3 sees the tail, and it looks there: P3 found no bit and set one, which is
//!      still in the word or has been taken with its tail; or P3 saw a bit that is still in the
//!      word, or was taken while biased and is in `recheck`. It cannot have seen one older than
//!      that: the acquire of `biased` sees every T1 before the bias.
//!
//! After S2 no producer can skip on an old bit, so `recheck` is emptied. A doorbell becomes biased
//! after [`BIAS_TAKES`] takes without sleep: a shard that sleeps often, to which nobody streams,
//! does not interrupt its peers' cores each time, and a busy one pays one barrier for a thousand
//! takes. Without membarrier a doorbell is never biased.
//!
//! Model: tests/loom_mesh.rs; on the machine itself: tests/doorbell.rs.

use std::cell::Cell;
use std::sync::atomic::compiler_fence;

use crate::limits::BIAS_TAKES;
use crate::sync::{AtomicBool, AtomicU64, Ordering, fence};

use super::barrier::{ProcessBarrier, strike};

/// Which lane of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Lane {
    /// High-class messages and replies; looked at after every message.
    Express = 0,
    /// All else; looked at every tick.
    Bulk = 1,
}

impl Lane {
    /// Both lanes, the urgent one first.
    pub const ALL: [Lane; 2] = [Lane::Express, Lane::Bulk];
}

/// The doorbell of one consumer.
#[repr(align(128))]
pub struct Doorbell {
    words: [AtomicU64; 2],
    injected: AtomicBool,
    sleeping: AtomicBool,
    /// Producers need no fences: the consumer pays for them before it sleeps.
    biased: AtomicBool,
    barrier: ProcessBarrier,
}

/// What the consumer keeps to itself about its doorbell.
#[derive(Debug, Default)]
pub struct Recheck {
    /// Peers taken from while biased: each may have published a frame and left no bit.
    peers: [Cell<u64>; 2],
    /// Takes since the consumer last slept.
    takes: Cell<u32>,
}

impl Recheck {
    /// Peers whose tails on `lane` must be looked at once a tick, rung or not.
    #[inline(always)]
    #[must_use]
    pub fn peers(&self, lane: Lane) -> u64 {
        self.peers[lane as usize].get()
    }
}

impl Default for Doorbell {
    fn default() -> Self {
        Self::new()
    }
}

impl Doorbell {
    /// A silent doorbell of an awake shard, not biased yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_barrier(ProcessBarrier::new())
    }

    /// As [`Doorbell::new`], with a barrier of the caller's choice.
    #[must_use]
    pub fn with_barrier(barrier: ProcessBarrier) -> Self {
        Doorbell {
            words: [AtomicU64::new(0), AtomicU64::new(0)],
            injected: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            biased: AtomicBool::new(false),
            barrier,
        }
    }

    /// The barrier that the consumer strikes before it sleeps.
    #[must_use]
    pub fn barrier(&self) -> &ProcessBarrier {
        &self.barrier
    }

    /// Whether producers go without fences at present.
    #[inline(always)]
    #[must_use]
    pub fn is_biased(&self) -> bool {
        self.biased.load(Ordering::Acquire)
    }

    /// Spares producers their fences from here on, if the barrier that this takes is to be had.
    /// Consumer only.
    pub fn bias(&self) {
        self.biased
            .store(self.barrier.is_available(), Ordering::Release);
    }

    /// The producer's fence: none in the machine's code while the doorbell is biased.
    #[inline(always)]
    fn producer_fence(&self) {
        compiler_fence(Ordering::SeqCst);
        if !self.is_biased() {
            fence(Ordering::SeqCst);
        }
    }

    /// Producer `from` has published on `lane`. True when the caller must wake the consumer.
    #[inline]
    #[must_use]
    pub fn ring(&self, from: usize, lane: Lane) -> bool {
        let bit = 1_u64 << from;
        self.barrier.point(strike::PUBLISHED);
        self.producer_fence();
        let word = &self.words[lane as usize];
        if word.load(Ordering::Relaxed) & bit == 0 {
            self.barrier.point(strike::BIT_MISSING);
            word.fetch_or(bit, Ordering::AcqRel);
            self.barrier.point(strike::RUNG);
            // Between the bit and the look at `sleeping`; without it loom finds the lost wake-up.
            self.producer_fence();
        }
        self.must_wake()
    }

    /// A thread outside the shards has queued a job. True when the caller must wake the consumer.
    #[must_use]
    pub fn ring_injected(&self) -> bool {
        self.injected.store(true, Ordering::Release);
        self.barrier.point(strike::RUNG);
        self.producer_fence();
        self.must_wake()
    }

    fn must_wake(&self) -> bool {
        self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel)
    }

    /// Whether anybody rang on `lane`; one load.
    #[inline(always)]
    #[must_use]
    pub fn is_rung(&self, lane: Lane) -> bool {
        self.words[lane as usize].load(Ordering::Relaxed) != 0
    }

    /// Takes and clears the peers that rang on `lane`. The caller must then drain their rings, or
    /// [`Doorbell::put_back`] the bits of those that it did not drain to the end.
    #[inline]
    #[must_use]
    pub fn take(&self, lane: Lane, recheck: &Recheck) -> u64 {
        let takes = recheck.takes.get().wrapping_add(1);
        recheck.takes.set(takes);
        if takes == BIAS_TAKES {
            self.bias();
        }
        let peers = self.words[lane as usize].swap(0, Ordering::AcqRel);
        if self.is_biased() {
            let cell = &recheck.peers[lane as usize];
            cell.set(cell.get() | peers);
        } else {
            fence(Ordering::SeqCst);
        }
        peers
    }

    /// Marks peers as still having something.
    pub fn put_back(&self, lane: Lane, peers: u64) {
        if peers != 0 {
            self.words[lane as usize].fetch_or(peers, Ordering::AcqRel);
        }
    }

    /// Whether jobs were injected; one load.
    #[inline(always)]
    #[must_use]
    pub fn is_injected(&self) -> bool {
        self.injected.load(Ordering::Relaxed)
    }

    /// Takes the flag that jobs were injected.
    #[inline]
    #[must_use]
    pub fn take_injected(&self) -> bool {
        if !self.is_injected() {
            return false;
        }
        let was = self.injected.swap(false, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        was
    }

    /// Declares the shard asleep. False, and awake again, when something came in meanwhile.
    ///
    /// `has_frames` says whether the ring of a peer has published frames; it is asked for the
    /// peers to recheck, and those that have get their bit back.
    #[must_use]
    pub fn try_sleep(
        &self,
        recheck: &Recheck,
        mut has_frames: impl FnMut(usize, Lane) -> bool,
    ) -> bool {
        self.sleeping.store(true, Ordering::Relaxed);
        let fenced = if self.is_biased() {
            self.biased.store(false, Ordering::Relaxed);
            self.barrier.strike()
        } else {
            fence(Ordering::SeqCst);
            true
        };
        for lane in Lane::ALL {
            // A barrier that the kernel refused proves nothing: then the peers stay.
            let mut peers = recheck.peers(lane);
            if fenced {
                recheck.peers[lane as usize].set(0);
            }
            while peers != 0 {
                let from = peers.trailing_zeros();
                peers &= peers - 1;
                if has_frames(from as usize, lane) {
                    self.put_back(lane, 1 << from);
                }
            }
        }
        recheck.takes.set(0);
        let rung = Lane::ALL.iter().any(|&lane| self.is_rung(lane));
        let quiet = fenced && !rung && !self.is_injected();
        if !quiet {
            self.awake();
        }
        quiet
    }

    /// Declares the shard awake; from here on nobody pays for waking it.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }
}
