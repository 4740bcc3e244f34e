//! The expensive half of the asymmetric fence: a barrier on every core that runs this process.
//!
//! `membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)` (Linux 4.14; Seastar's
//! `systemwide_memory_barrier`) makes every running thread of the process execute a full barrier
//! somewhere between call and return, so that the other side needs none in its code. It interrupts
//! those cores: 0.4 us with nobody else running, 9 us beside one busy virtual CPU (measured).

#[cfg(not(ninefold_loom))]
pub use system::ProcessBarrier;

#[cfg(ninefold_loom)]
pub use model::ProcessBarrier;

/// Points in a producer's program where the model lets the barrier strike. The barrier strikes at
/// the chosen one, or at [`strike::END`] when the program did not come by.
pub mod strike {
    /// Before the frame is published.
    pub const START: u8 = 0;
    /// Published, and the doorbell's word not yet read.
    pub const PUBLISHED: u8 = 1;
    /// The word was read and had no bit.
    pub const BIT_MISSING: u8 = 2;
    /// The bit is set, and `sleeping` not yet read.
    pub const RUNG: u8 = 3;
    /// After the look at `sleeping`.
    pub const END: u8 = 4;
}

#[cfg(not(ninefold_loom))]
mod system {
    use std::sync::OnceLock;

    use rustix::thread::{MembarrierCommand, membarrier};

    /// The barrier of this process.
    #[derive(Debug)]
    pub struct ProcessBarrier {
        registered: bool,
    }

    impl ProcessBarrier {
        /// Registers the process with the kernel, once. Where that fails (an old kernel, seccomp)
        /// the barrier is never available, and both sides of a doorbell fence.
        #[must_use]
        pub fn new() -> Self {
            static REGISTERED: OnceLock<bool> = OnceLock::new();
            let register = || membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok();
            ProcessBarrier {
                registered: *REGISTERED.get_or_init(register),
            }
        }

        /// A barrier that is not to be had, as on a kernel without it.
        #[must_use]
        pub const fn unavailable() -> Self {
            ProcessBarrier { registered: false }
        }

        /// Whether [`ProcessBarrier::strike`] can work here.
        #[inline(always)]
        #[must_use]
        pub fn is_available(&self) -> bool {
            self.registered
        }

        /// Makes every thread of the process, this one included, pass a full barrier. False when
        /// the kernel refused.
        #[must_use]
        pub fn strike(&self) -> bool {
            self.registered && membarrier(MembarrierCommand::PrivateExpedited).is_ok()
        }

        /// Where the model may strike; nothing outside of it.
        #[inline(always)]
        pub fn point(&self, _: u8) {}
    }

    impl Default for ProcessBarrier {
        fn default() -> Self {
            Self::new()
        }
    }
}

#[cfg(ninefold_loom)]
mod model {
    use loom::sync::atomic::{Ordering, fence};
    use loom::sync::{Condvar, Mutex};

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum State {
        Armed,
        Requested,
        Passed,
    }

    /// Loom has no membarrier. This one strikes the one producer of a model at a chosen point of
    /// its program: the producer waits there for the request, fences, and lets the sleeper go on.
    /// A model run once for every point has run every execution that the real barrier allows.
    pub struct ProcessBarrier {
        /// `None`: the barrier is not available.
        at: Option<u8>,
        state: Mutex<State>,
        changed: Condvar,
    }

    impl ProcessBarrier {
        /// As on a kernel without membarrier.
        #[must_use]
        pub fn new() -> Self {
            Self::armed(None)
        }

        /// A barrier that strikes the producer at `point`.
        #[must_use]
        pub fn at(point: u8) -> Self {
            Self::armed(Some(point))
        }

        fn armed(at: Option<u8>) -> Self {
            ProcessBarrier {
                at,
                state: Mutex::new(State::Armed),
                changed: Condvar::new(),
            }
        }

        /// Whether the barrier is part of this model.
        #[must_use]
        pub fn is_available(&self) -> bool {
            self.at.is_some()
        }

        /// Waits until the producer has passed the chosen point with a fence.
        #[must_use]
        pub fn strike(&self) -> bool {
            if self.at.is_none() {
                return false;
            }
            fence(Ordering::SeqCst);
            self.request();
            let mut state = self
                .state
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            while *state != State::Passed {
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            }
            drop(state);
            fence(Ordering::SeqCst);
            true
        }

        /// Lets the producer go on: the sleeper is done, and perhaps never struck.
        pub fn request(&self) {
            let mut state = self
                .state
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            if *state == State::Armed {
                *state = State::Requested;
                self.changed.notify_all();
            }
        }

        /// The producer comes by `point`.
        pub fn point(&self, point: u8) {
            let Some(at) = self.at else {
                return;
            };
            if point != at && point != super::strike::END {
                return;
            }
            let mut state = self
                .state
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            while *state == State::Armed {
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            }
            if *state == State::Requested {
                fence(Ordering::SeqCst);
                *state = State::Passed;
                self.changed.notify_all();
            }
        }
    }

    impl Default for ProcessBarrier {
        fn default() -> Self {
            Self::new()
        }
    }
}
