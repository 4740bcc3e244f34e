//! The submission and completion queues of one io_uring, and nothing else.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::BUFFER_GROUP;
use super::op::{Done, Op};

/// One ring, used by one thread.
pub(super) struct KernelRing {
    ring: IoUring,
    /// Entries that found the submission queue full while the kernel refused to take it.
    backlog: VecDeque<squeue::Entry>,
}

impl KernelRing {
    pub(super) fn new(ring: IoUring) -> Self {
        KernelRing {
            ring,
            backlog: VecDeque::new(),
        }
    }

    /// Queues an operation for the next [`KernelRing::enter`].
    ///
    /// # Safety
    /// What the operation points to stays valid until its completion has been reaped.
    #[inline]
    pub(super) unsafe fn push(&mut self, op: Op, user_data: u64) {
        let entry = entry(op).user_data(user_data);
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
    pub(super) fn next(&mut self) -> Option<Done> {
        let entry = self.ring.completion().next()?;
        Some(Done {
            user_data: entry.user_data(),
            result: entry.result(),
            more: cqueue::more(entry.flags()),
            buffer: cqueue::buffer_select(entry.flags()),
        })
    }
}

/// An operation as the kernel wants it.
#[inline]
fn entry(op: Op) -> squeue::Entry {
    match op {
        Op::Wake { fd, buffer } => opcode::Read::new(types::Fd(fd), buffer.cast(), 8).build(),
        Op::Accept { fd } => opcode::AcceptMulti::new(types::Fd(fd))
            .flags(libc::SOCK_CLOEXEC)
            .build(),
        Op::Receive { fd } => opcode::RecvMulti::new(types::Fd(fd), BUFFER_GROUP).build(),
        Op::Send { fd, bytes, len } => opcode::Send::new(types::Fd(fd), bytes, len)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build(),
        Op::Cancel { target } => opcode::AsyncCancel::new(target).build(),
    }
}

/// Time-outs, signals, and a kernel short of memory or completion slots are no errors of ours.
fn is_transient(error: &io::Error) -> bool {
    [libc::ETIME, libc::EINTR, libc::EBUSY, libc::EAGAIN]
        .iter()
        .any(|&code| error.raw_os_error() == Some(code))
}
