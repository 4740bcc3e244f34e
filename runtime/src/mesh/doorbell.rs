//! One doorbell a shard: which peers have something for it, and whether it sleeps.
//!
//! A producer publishes, fences, and looks; the consumer clears, fences, and looks. The fences are
//! Dekker's: at least one side sees the other, so neither a message nor a wake-up is ever missed
//! (model: tests/loom_mesh.rs).

use crate::sync::{AtomicBool, AtomicU64, Ordering, fence};

/// Which lane of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Lane {
    /// High-class messages and replies; looked at after every message.
    Express = 0,
    /// All else; looked at every tick.
    Bulk = 1,
}

/// The doorbell of one consumer.
#[repr(align(128))]
#[derive(Debug)]
pub struct Doorbell {
    words: [AtomicU64; 2],
    injected: AtomicBool,
    sleeping: AtomicBool,
}

impl Default for Doorbell {
    fn default() -> Self {
        Self::new()
    }
}

impl Doorbell {
    /// A silent doorbell of an awake shard.
    #[must_use]
    pub fn new() -> Self {
        Doorbell {
            words: [AtomicU64::new(0), AtomicU64::new(0)],
            injected: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
        }
    }

    /// Producer `from` has published on `lane`. True when the caller must wake the consumer.
    #[inline]
    #[must_use]
    pub fn ring(&self, from: usize, lane: Lane) -> bool {
        let bit = 1_u64 << from;
        fence(Ordering::SeqCst);
        let word = &self.words[lane as usize];
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::AcqRel);
            // Between the bit and the look at `sleeping`; without it loom finds the lost wake-up.
            fence(Ordering::SeqCst);
        }
        self.must_wake()
    }

    /// A thread outside the shards has queued a job. True when the caller must wake the consumer.
    #[must_use]
    pub fn ring_injected(&self) -> bool {
        self.injected.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
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
    pub fn take(&self, lane: Lane) -> u64 {
        let peers = self.words[lane as usize].swap(0, Ordering::AcqRel);
        fence(Ordering::SeqCst);
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
    #[must_use]
    pub fn try_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let quiet =
            !self.is_rung(Lane::Express) && !self.is_rung(Lane::Bulk) && !self.is_injected();
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
