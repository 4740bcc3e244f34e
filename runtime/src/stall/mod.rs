//! The stall detector: names the actor, the message type and the stack of a turn that is held too
//! long, while it is still held; and the watch over shards that stand still altogether.
//!
//! # Where it comes from
//! The first half is Seastar's blocked-reactor notifier (`cpu_stall_detector_posix_timer`): a timer
//! for the thread, put off as long as the reactor makes progress, whose signal handler reports what
//! it interrupts. The second is Go's `sysmon`: a thread without a processor of its own that looks
//! at all the others. What is added is the name: a shard says at every turn what it runs.
//!
//! # How it works
//! 1. A shard stores into its `Watch` when a turn begins, what runs in it, and when it ends:
//!    plain stores to one cache line of its own.
//! 2. Its thread has a one-shot timer (`alarm`), put off as long as turns begin. A healthy shard
//!    takes no signal, an idle one at most one after its last turn, and a turn is caught between
//!    one and two thresholds after its begin.
//! 3. The handler (`signal`) copies what the `Watch` says, three registers and the top
//!    [`STALL_STACK_BYTES`](crate::limits::STALL_STACK_BYTES) of the stack into a ring made
//!    beforehand (`ring`, `capture`). It allocates nothing, locks nothing and walks nothing.
//! 4. The `watchdog` thread empties the rings ten times a second, unwinds the copied stacks by the
//!    tables that are there for panics (`unwind`), logs one line for a pair of actor and message in
//!    a while (`log`) and keeps the last reports (`report`).
//! 5. It also looks at every shard's present turn and heartbeat. One that stands still for longer
//!    than [`StallConfig::stuck`] is reported once with its stack, which the watchdog asks for by
//!    the same signal, and once more when it goes on.
//!
//! # What a stack shows
//! Frames are found by `.eh_frame`, so no build has to keep frame pointers, and inlined functions
//! are named where there is debug information. A stack ends early in code without tables (some
//! assembly) and where the copy ends; code that runs on a stack of its own shows its innermost
//! function only.
//!
//! # The signal
//! `SIGRTMIN + `[`STALL_SIGNAL`](crate::limits::STALL_SIGNAL), for the process, while it has a
//! runtime with a detector. A process that handles it itself keeps its handler: the detector then
//! says so and does without signals, and only shards that are stuck are reported, without a stack.
//! A system call of a stalled handler may return `EINTR` where `SA_RESTART` does not apply (sleeps,
//! waits with a time-out); the shard's own waits take that for a spurious return.

mod alarm;
mod capture;
mod log;
mod report;
mod ring;
mod signal;
mod unwind;
mod watch;
mod watchdog;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::limits::{STALL_AFTER, STALL_AFTER_MIN, STUCK_AFTER};

use self::report::Reports;
use self::ring::Ring;
use self::signal::Claim;

pub use self::report::{StallCounts, StallKind, StallReport};
pub(crate) use self::signal::Sentry;
pub(crate) use self::watch::{Name, Watch};
pub(crate) use self::watchdog::Watchdog;

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StallConfig {
    /// A turn held for longer is reported, within twice this time; `None` turns the signal off. No
    /// less than [`STALL_AFTER_MIN`].
    pub threshold: Option<Duration>,
    /// A shard that stands still for longer is reported as stuck; `None` turns that off.
    pub stuck: Option<Duration>,
}

impl Default for StallConfig {
    fn default() -> Self {
        StallConfig {
            threshold: Some(STALL_AFTER),
            stuck: Some(STUCK_AFTER),
        }
    }
}

/// What the shards, the watchdog and those who ask share.
pub(crate) struct Stalls {
    watches: Box<[Arc<Watch>]>,
    /// `None` when the detector is off, the signal is somebody else's, or the runtime has ended: a
    /// handle that outlives it does not keep the signal.
    claim: Mutex<Option<Arc<Claim>>>,
    threshold: Duration,
    stuck: Option<Duration>,
    reports: Reports,
}

impl Stalls {
    /// Makes the watches of `shards` shards and claims the signal. The clock is calibrated by now.
    pub(crate) fn new(config: &StallConfig, shards: usize) -> Arc<Self> {
        let claim = config.threshold.and_then(|_| match signal::STALL.claim() {
            Ok(claim) => Some(Arc::new(claim)),
            Err(error) => {
                tracing::warn!(%error, "no stall detector");
                None
            }
        });
        Arc::new(Stalls {
            watches: (0..shards)
                .map(|_| Arc::new(Watch::new(Ring::new())))
                .collect(),
            claim: Mutex::new(claim),
            threshold: config.threshold.unwrap_or(STALL_AFTER).max(STALL_AFTER_MIN),
            stuck: config.stuck,
            reports: Reports::default(),
        })
    }

    /// The window of one shard.
    pub(crate) fn watch(&self, shard: usize) -> &Arc<Watch> {
        &self.watches[shard]
    }

    fn claim(&self) -> MutexGuard<'_, Option<Arc<Claim>>> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to watch the calling thread, which is that of `shard`.
    pub(crate) fn enter(&self, shard: usize) -> Sentry {
        let watch = self.watch(shard).clone();
        Sentry::enter(watch, self.claim().clone(), self.threshold)
    }

    /// The last [`STALL_REPORTS`](crate::limits::STALL_REPORTS) reports, oldest first.
    pub(crate) fn reports(&self) -> Vec<StallReport> {
        self.reports.kept()
    }

    /// How often it came to that.
    pub(crate) fn counts(&self) -> StallCounts {
        StallCounts {
            reports: self.reports.made.load(Ordering::Relaxed),
            dropped: self.watches.iter().map(|watch| watch.ring.dropped()).sum(),
            suppressed: self.reports.suppressed.load(Ordering::Relaxed),
            stuck_shards: self.reports.stuck.load(Ordering::Relaxed),
        }
    }
}
