//! The log of stalls: one line for a pair of actor and message in a while, and a count of the rest.

use rustc_hash::FxHashMap;

use super::report::StallReport;
use crate::limits::{STALL_LOG_EVERY, STALL_LOG_FRAMES, STALL_LOG_KINDS};

type Kind = (&'static str, Option<&'static str>);

struct Quiet {
    until_ns: u64,
    suppressed: u64,
}

/// Which pairs were logged of late.
#[derive(Default)]
pub(super) struct StallLog(FxHashMap<Kind, Quiet>);

impl StallLog {
    /// Whether a stall of this pair is to be logged now; if not, it is counted with the pair.
    /// Beyond [`STALL_LOG_KINDS`] pairs a new one is logged when an old one has had its time.
    pub(super) fn admits(&mut self, kind: Kind, now_ns: u64) -> bool {
        if let Some(quiet) = self.0.get_mut(&kind) {
            quiet.suppressed += 1;
            return false;
        }
        if self.0.len() >= STALL_LOG_KINDS {
            return false;
        }
        let span = u64::try_from(STALL_LOG_EVERY.as_nanos()).unwrap_or(u64::MAX);
        let quiet = Quiet {
            until_ns: now_ns.saturating_add(span),
            suppressed: 0,
        };
        self.0.insert(kind, quiet);
        true
    }

    /// Ends the silence of pairs whose time has come, and tells `said` of what they kept quiet.
    pub(super) fn expire(&mut self, now_ns: u64, mut said: impl FnMut(Kind, u64)) {
        self.0.retain(|kind, quiet| {
            let stays = now_ns < quiet.until_ns;
            if !stays && quiet.suppressed > 0 {
                said(*kind, quiet.suppressed);
            }
            stays
        });
    }
}

/// The innermost frames as one line.
pub(super) fn line_of(stack: &[String]) -> String {
    let shown = stack.len().min(STALL_LOG_FRAMES);
    let mut line = stack[..shown].join(" < ");
    if stack.len() > shown {
        line.push_str(" < ...");
    }
    line
}

/// Says that a turn was held too long.
pub(super) fn stall(report: &StallReport) {
    tracing::warn!(
        shard = report.shard,
        slot = report.slot,
        actor = report.actor,
        message = report.message.unwrap_or("-"),
        held_us = micros(report),
        stack = line_of(&report.stack),
        "stall: a turn holds its shard for too long"
    );
}

/// Says that a shard stands still.
pub(super) fn stuck(report: &StallReport) {
    tracing::error!(
        shard = report.shard,
        slot = report.slot,
        actor = report.actor,
        message = report.message.unwrap_or("-"),
        held_us = micros(report),
        stack = line_of(&report.stack),
        "stuck: a shard serves nobody"
    );
}

/// Says that it goes on.
pub(super) fn recovered(report: &StallReport) {
    tracing::warn!(
        shard = report.shard,
        actor = report.actor,
        message = report.message.unwrap_or("-"),
        held_us = micros(report),
        "stuck no more: the shard serves again"
    );
}

/// Says how many stalls of a pair were not logged.
pub(super) fn suppressed((actor, message): Kind, count: u64) {
    tracing::warn!(
        actor,
        message = message.unwrap_or("-"),
        count,
        "stall: more of the same were not logged"
    );
}

fn micros(report: &StallReport) -> u64 {
    u64::try_from(report.held.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_logged_once_in_a_while_and_the_rest_is_counted() {
        let mut log = StallLog::default();
        let every = u64::try_from(STALL_LOG_EVERY.as_nanos()).unwrap();
        let (a, b) = (("A", Some("M")), ("A", None));
        assert!(log.admits(a, 0));
        assert!(!log.admits(a, 1));
        assert!(!log.admits(a, 2));
        assert!(log.admits(b, 2), "another message, another pair");
        let mut said = Vec::new();
        log.expire(every - 1, |kind, count| said.push((kind, count)));
        assert_eq!(said, []);
        log.expire(every + 2, |kind, count| said.push((kind, count)));
        assert_eq!(said, [(a, 2)], "nothing was kept quiet of the other");
        assert!(log.admits(a, every + 3));
    }

    #[test]
    fn the_pairs_are_bounded() {
        let mut log = StallLog::default();
        let admitted = (0..STALL_LOG_KINDS + 10)
            .filter(|n| log.admits((format!("A{n}").leak(), None), 0))
            .count();
        assert_eq!(admitted, STALL_LOG_KINDS);
    }

    #[test]
    fn a_long_stack_is_cut_in_the_log() {
        let stack: Vec<_> = (0..STALL_LOG_FRAMES + 1).map(|n| n.to_string()).collect();
        let line = line_of(&stack);
        assert!(line.starts_with("0 < 1 < 2"));
        assert!(line.ends_with("< ..."));
        assert_eq!(line_of(&stack[..1]), "0");
    }
}
