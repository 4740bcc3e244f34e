//! The submission and completion queues of one io_uring, and nothing else.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::{IoUring, cqueue, squeue, types};

/// One ring, used by one thread.
pub(super) struct Ring {
    ring: IoUring,
    /// Entries that found the submission queue full while the kernel refused to take it.
    backlog: VecDeque<squeue::Entry>,
}

impl Ring {
    pub(super) fn new(ring: IoUring) -> Self {
        Ring {
            ring,
            backlog: VecDeque::new(),
        }
    }

    /// Queues an operation for the next [`Ring::enter`].
    ///
    /// # Safety
    /// What the entry points to stays valid until its completion has been reaped.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        if !self.backlog.is_empty() || self.ring.submission().is_full() {
            self.enter_submit();
        }
        // SAFETY: the caller's promise; a refused entry is kept and pushed later.
        if unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.backlog.push_back(entry);
        }
    }

    fn enter_submit(&mut self) {
        // EBUSY (completions overflow) and EAGAIN (memory) pass: the next turn tries again.
        if let Err(error) = self.ring.submit() {
            tracing::trace!(%error, "io_uring did not take submissions now");
        }
        while let Some(entry) = self.backlog.pop_front() {
            // SAFETY: the promise of `push` holds until the completion, which is yet to come.
            if unsafe { self.ring.submission().push(&entry) }.is_err() {
                self.backlog.push_front(entry);
                return;
            }
        }
    }

    /// Whether there is anything to submit, or the kernel waits to run completions.
    #[inline]
    pub(super) fn must_enter(&mut self) -> bool {
        let sq = self.ring.submission();
        !sq.is_empty() || sq.taskrun() || sq.cq_overflow() || !self.backlog.is_empty()
    }

    /// Whether completions or submissions wait.
    #[inline]
    pub(super) fn has_work(&mut self) -> bool {
        self.must_enter() || !self.ring.completion().is_empty()
    }

    /// Submits, lets the kernel run completions, and with a timeout waits for one.
    pub(super) fn enter(&mut self, timeout_ns: Option<u64>) {
        if !self.backlog.is_empty() {
            self.enter_submit();
        }
        let entered = match timeout_ns {
            None => self.ring.submit(),
            Some(ns) => {
                let spec = types::Timespec::from(Duration::from_nanos(ns));
                let args = types::SubmitArgs::new().timespec(&spec);
                self.ring.submitter().submit_with_args(1, &args)
            }
        };
        match entered {
            Ok(_) => {}
            Err(e) if is_transient(&e) => {}
            Err(error) => tracing::warn!(%error, "io_uring_enter failed"),
        }
    }

    /// The next completion.
    #[inline]
    pub(super) fn next(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }
}

/// Time-outs, signals, and a kernel short of memory or completion slots are no errors of ours.
fn is_transient(error: &io::Error) -> bool {
    [libc::ETIME, libc::EINTR, libc::EBUSY, libc::EAGAIN]
        .iter()
        .any(|&code| error.raw_os_error() == Some(code))
}
