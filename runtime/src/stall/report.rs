//! What is told of a stall, and the reports kept for who asks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::limits::STALL_REPORTS;

/// What a report tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StallKind {
    /// A turn was held for longer than the threshold; it may go on.
    Stall,
    /// A turn is held, or the loop stands still, for longer than [`crate::StallConfig::stuck`].
    Stuck,
    /// A shard that was stuck goes on.
    Recovered,
}

/// One stall, as far as it was known when it was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StallReport {
    /// What is told.
    pub kind: StallKind,
    /// Which shard.
    pub shard: usize,
    /// Index of the actor's or the task's slot; `None` outside any turn.
    pub slot: Option<u32>,
    /// Type of the actor or the task; `"-"` outside any turn.
    pub actor: &'static str,
    /// Type of the message under way; `None` for a task.
    pub message: Option<&'static str>,
    /// How long the turn had been held (of a recovered shard: in all, as the watchdog saw it).
    pub held: Duration,
    /// Functions, innermost first, as `name (file:line)`. Empty when the same pair of actor and
    /// message was reported with its stack less than [`crate::limits::STALL_LOG_EVERY`] ago, and
    /// where there is none to be had: recovered, signal taken, not an x86_64.
    pub stack: Vec<String>,
}

/// How often it came to that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StallCounts {
    /// Reports of any kind.
    pub reports: u64,
    /// Stalls that found no room in their shard's ring, which the watchdog empties ten times a
    /// second.
    pub dropped: u64,
    /// Stalls that were not logged because one like them had just been.
    pub suppressed: u64,
    /// Shards that are stuck now.
    pub stuck_shards: u64,
}

/// The reports and counts of one runtime; written by its watchdog.
#[derive(Default)]
pub(super) struct Reports {
    kept: Mutex<VecDeque<StallReport>>,
    pub(super) made: AtomicU64,
    pub(super) suppressed: AtomicU64,
    pub(super) stuck: AtomicU64,
}

impl Reports {
    pub(super) fn keep(&self, report: StallReport) {
        self.made.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= STALL_REPORTS {
            kept.pop_front();
        }
        kept.push_back(report);
    }

    /// The last ones, oldest first.
    pub(super) fn kept(&self) -> Vec<StallReport> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reports_are_kept_and_all_are_counted() {
        let reports = Reports::default();
        for shard in 0..STALL_REPORTS + 5 {
            reports.keep(StallReport {
                kind: StallKind::Stall,
                shard,
                slot: None,
                actor: "-",
                message: None,
                held: Duration::ZERO,
                stack: Vec::new(),
            });
        }
        let kept = reports.kept();
        assert_eq!(kept.len(), STALL_REPORTS);
        assert_eq!(
            (kept[0].shard, kept[kept.len() - 1].shard),
            (5, STALL_REPORTS + 4)
        );
        assert_eq!(
            reports.made.load(Ordering::Relaxed),
            STALL_REPORTS as u64 + 5
        );
    }
}
