//! The ring beneath a driver: the kernel's, or one in memory that a seed drives. The driver above
//! is the same code for both, which is what makes a simulated run worth something (FoundationDB's
//! Net2 and Sim2 are exchanged at the same place).

use super::descriptor::Descriptor;
use super::kernel::KernelRing;
use super::op::{Done, Op};
use super::sim::SimRing;

/// One ring, used by one thread.
pub(super) enum Ring {
    Kernel(KernelRing),
    Simulated(SimRing),
}

impl Ring {
    /// Queues an operation for the next [`Ring::enter`].
    ///
    /// # Safety
    /// What the operation points to stays valid until its completion has been reaped, or the ring
    /// is gone.
    #[inline]
    pub(super) unsafe fn push(&mut self, op: Op, user_data: u64) {
        match self {
            // SAFETY: the caller's promise.
            Ring::Kernel(ring) => unsafe { ring.push(op, user_data) },
            // SAFETY: the caller's promise.
            Ring::Simulated(ring) => unsafe { ring.push(op, user_data) },
        }
    }

    /// Whether there is anything to submit, or completions wait to be run.
    #[inline]
    pub(super) fn must_enter(&mut self) -> bool {
        match self {
            Ring::Kernel(ring) => ring.must_enter(),
            Ring::Simulated(ring) => ring.must_enter(),
        }
    }

    /// Whether completions or submissions wait.
    #[inline]
    pub(super) fn has_work(&mut self) -> bool {
        match self {
            Ring::Kernel(ring) => ring.has_work(),
            Ring::Simulated(ring) => ring.has_work(),
        }
    }

    /// Submits, lets completions run, and with a timeout waits for one; a simulated ring completes
    /// what its chooser says, if anything, and never waits.
    #[inline]
    pub(super) fn enter(&mut self, timeout_ns: Option<u64>) {
        match self {
            Ring::Kernel(ring) => ring.enter(timeout_ns),
            Ring::Simulated(ring) => ring.enter(),
        }
    }

    /// The next completion.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Done> {
        match self {
            Ring::Kernel(ring) => ring.next(),
            Ring::Simulated(ring) => ring.next(),
        }
    }

    /// Takes over the descriptor that an accept has returned.
    ///
    /// # Safety
    /// `number` is the result of a successful accept of this ring, taken over once.
    #[inline]
    pub(super) unsafe fn adopt(&self, number: i32) -> Descriptor {
        match self {
            // SAFETY: a successful accept returns a fresh descriptor that nobody else owns.
            Ring::Kernel(_) => Descriptor::Kernel(unsafe {
                <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(number)
            }),
            Ring::Simulated(ring) => Descriptor::Simulated(ring.adopt(number)),
        }
    }
}
