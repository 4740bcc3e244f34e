//! The timer of one shard's thread: fires when no turn has begun for too long.
//!
//! It is a one-shot timer of 7/4 of the threshold, put off by the first turn that begins more than
//! 3/4 of the threshold after it was set. So a busy healthy shard makes one system call in that
//! time and takes no signal; when the timer does fire, the turn that it finds has been held for at
//! least the threshold, and a stall is caught well within twice the threshold; and a shard that
//! goes to sleep is woken by it once at most.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{self, Cycles};

/// The timer, and when it has to be put off next. Written by the shard's thread only.
pub(super) struct Alarm {
    /// A turn that begins here or later puts the alarm off; never without a timer.
    due: AtomicU64,
    /// In cycles, and the same in nanoseconds.
    threshold: AtomicU64,
    threshold_ns: AtomicU64,
    timer: AtomicPtr<libc::c_void>,
}

/// Part of the threshold after which the handler looks again when it came a little early, as the
/// two clocks (the kernel's and the counter of cycles) differ by a fraction of a per cent.
const AGAIN: u64 = 8;

/// How long after it was set the alarm is put off, and how much later than the threshold it fires:
/// the one bounds from below, the other from above, for how long a turn is held when it is caught.
fn slack(threshold: u64) -> u64 {
    threshold / 4 * 3
}

impl Alarm {
    pub(super) fn off() -> Self {
        Alarm {
            due: AtomicU64::new(u64::MAX),
            threshold: AtomicU64::new(u64::MAX),
            threshold_ns: AtomicU64::new(0),
            timer: AtomicPtr::new(ptr::null_mut()),
        }
    }

    #[inline(always)]
    pub(super) fn is_due(&self, start: Cycles) -> bool {
        start >= self.due.load(Ordering::Relaxed)
    }

    pub(super) fn threshold(&self) -> Cycles {
        self.threshold.load(Ordering::Relaxed)
    }

    /// Makes the timer, which will send `signal` to the calling thread; it runs from the next turn.
    pub(super) fn turn_on(&self, signal: libc::c_int, threshold: Duration) -> io::Result<()> {
        let mut timer = ptr::null_mut();
        // SAFETY: an all-zero `sigevent` is valid; the fields that the kernel reads are set.
        let made = unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = libc::gettid();
            libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer)
        };
        if made != 0 {
            return Err(io::Error::last_os_error());
        }
        let ns = u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX / 4);
        self.timer.store(timer, Ordering::Relaxed);
        self.threshold_ns.store(ns, Ordering::Relaxed);
        self.threshold
            .store(clock::ns_to_cycles(ns), Ordering::Relaxed);
        self.due.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the timer; a signal of it that is on its way arrives before this returns.
    pub(super) fn turn_off(&self) {
        if self.due.swap(u64::MAX, Ordering::Relaxed) != u64::MAX {
            // SAFETY: `turn_on` made the timer, and no other call sees `due` as it was.
            unsafe { libc::timer_delete(self.timer.load(Ordering::Relaxed)) };
        }
    }

    /// Sets the timer anew, from now, for a turn that began at `start`.
    #[cold]
    pub(super) fn put_off(&self, start: Cycles) {
        let due = start.saturating_add(slack(self.threshold()));
        self.due.store(due.min(u64::MAX - 1), Ordering::Relaxed);
        let ns = self.threshold_ns.load(Ordering::Relaxed);
        self.set(ns.saturating_add(slack(ns)));
    }

    /// The handler came too early: fires again soon. Safe in a signal handler.
    pub(super) fn look_again(&self) {
        self.set(self.threshold_ns.load(Ordering::Relaxed) / AGAIN);
    }

    fn set(&self, ns: u64) {
        if self.due.load(Ordering::Relaxed) == u64::MAX {
            return;
        }
        let part = |n: u64| libc::c_long::try_from(n).unwrap_or(libc::c_long::MAX);
        // SAFETY: an all-zero `itimerspec` is valid and says: no period.
        let mut spec: libc::itimerspec = unsafe { std::mem::zeroed() };
        spec.it_value.tv_sec = part(ns / 1_000_000_000);
        // Zero would disarm it.
        spec.it_value.tv_nsec = part((ns % 1_000_000_000).max(1));
        // SAFETY: `due` says that the timer lives, and only this thread ends it; the call is on
        // POSIX's list for signal handlers. It fails for no timer and time that are valid.
        unsafe {
            libc::timer_settime(
                self.timer.load(Ordering::Relaxed),
                0,
                &raw const spec,
                ptr::null_mut(),
            );
        }
    }
}
