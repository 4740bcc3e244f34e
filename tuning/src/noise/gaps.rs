//! Gaps, counted in buckets whose width is a sixteenth of their size.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Buckets per doubling; a bucket's bound is at most a sixteenth above what it counts.
const SUB_BITS: u32 = 4;

/// Every gap of a probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gaps {
    /// How many there were.
    pub count: u64,
    /// Over 10 us.
    pub over_10_us: u64,
    /// Over 100 us.
    pub over_100_us: u64,
    /// Over 1 ms.
    pub over_1_ms: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
    /// The share of the time lost in gaps, in percent.
    pub lost_percent: f64,
    /// How many of which length; the shortest first, empty ones left out.
    pub histogram: Vec<Bucket>,
}

/// Gaps of about one length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The longest that is counted here, in nanoseconds.
    pub at_most_ns: u64,
    /// How many there were.
    pub count: u64,
}

/// Counts gaps while a probe runs.
#[derive(Debug, Default)]
pub(super) struct Tally {
    gaps: Gaps,
    lost_ns: u64,
    buckets: BTreeMap<u64, u64>,
}

impl Tally {
    pub(super) fn add(&mut self, gap_ns: u64) {
        let gaps = &mut self.gaps;
        gaps.count += 1;
        gaps.over_10_us += u64::from(gap_ns > 10_000);
        gaps.over_100_us += u64::from(gap_ns > 100_000);
        gaps.over_1_ms += u64::from(gap_ns > 1_000_000);
        gaps.max_ns = gaps.max_ns.max(gap_ns);
        self.lost_ns = self.lost_ns.saturating_add(gap_ns);
        *self.buckets.entry(at_most(gap_ns)).or_insert(0) += 1;
    }

    pub(super) fn finish(self, window_ns: u64) -> Gaps {
        let buckets = self.buckets.into_iter();
        Gaps {
            lost_percent: 100.0 * self.lost_ns as f64 / window_ns.max(1) as f64,
            histogram: buckets
                .map(|(at_most_ns, count)| Bucket { at_most_ns, count })
                .collect(),
            ..self.gaps
        }
    }
}

/// The upper bound of the bucket of `ns`.
fn at_most(ns: u64) -> u64 {
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(SUB_BITS + 1);
    ns | ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_no_more_than_a_sixteenth_too_high() {
        assert_eq!(at_most(0), 0);
        assert_eq!(at_most(31), 31);
        assert_eq!(at_most(32), 33);
        assert_eq!(at_most(u64::MAX), u64::MAX);
        for ns in [1_000, 1_023, 1_024, 77_777, 3_000_000_000] {
            let bound = at_most(ns);
            assert!(bound >= ns && (bound - ns) * 16 <= ns, "{ns} {bound}");
            assert_eq!(at_most(bound), bound);
        }
    }

    #[test]
    fn counts_and_loss_add_up() {
        let mut tally = Tally::default();
        for ns in [1_000, 1_000, 20_000, 300_000, 2_000_000] {
            tally.add(ns);
        }
        let gaps = tally.finish(100_000_000);
        assert_eq!(
            (
                gaps.count,
                gaps.over_10_us,
                gaps.over_100_us,
                gaps.over_1_ms
            ),
            (5, 3, 2, 1)
        );
        assert_eq!(gaps.max_ns, 2_000_000);
        assert!(
            (gaps.lost_percent - 2.322).abs() < 1e-9,
            "{}",
            gaps.lost_percent
        );
        assert_eq!(gaps.histogram[0].count, 2);
    }
}
