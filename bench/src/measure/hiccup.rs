//! The host's own floor: a pinned loop that does nothing but read the clock. Whatever it misses
//! (the hypervisor, interrupts, other tasks) no program on that CPU could have used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clock;
use super::hist::{DecodeError, Dump, Latency};

/// Gaps shorter than this are the loop itself, in ns.
const GAP_MIN_NS: u64 = 1_000;

/// What one probe saw on one CPU.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Hiccups {
    /// CPU the probe was pinned to; `None` when the host refused the pin.
    pub cpu: Option<usize>,
    /// How long it looked, in s.
    pub seconds: f64,
    /// Clock reads made.
    pub reads: u64,
    /// Gaps over 10 us.
    pub over_10_us: u64,
    /// Gaps over 50 us.
    pub over_50_us: u64,
    /// Gaps over 100 us.
    pub over_100_us: u64,
    /// Gaps over 1 ms.
    pub over_1_ms: u64,
    /// Longest gap, in ns.
    pub max_ns: u64,
    /// Share of the time lost in gaps over 1 us, 0 to 1.
    pub lost_share: f64,
    /// Every gap over 1 us.
    pub gaps: Dump,
}

/// The delay that hiccups alone put on requests that arrive at random times.
#[derive(Clone, Debug)]
pub struct Floor {
    gaps: Vec<(u64, u64)>,
    window_ns: f64,
}

/// Reads the clock in a loop for `seconds` and records the gaps; the caller has pinned the thread.
#[must_use]
pub fn probe(cpu: Option<usize>, seconds: f64) -> Hiccups {
    let mut gaps = Latency::new();
    let start = clock::now_ns();
    let end = start + clock::ns(seconds);
    let (mut last, mut reads, mut lost_ns) = (start, 0_u64, 0_u64);
    while last < end {
        let now = clock::now_ns();
        let gap = now - last;
        if gap >= GAP_MIN_NS {
            gaps.record(gap);
            lost_ns += gap;
        }
        last = now;
        reads += 1;
    }
    let over = |limit: u64| {
        gaps.recorded()
            .filter(|&(gap, _)| gap > limit)
            .map(|(_, count)| count)
            .sum()
    };
    Hiccups {
        cpu,
        seconds: (last - start) as f64 / 1e9,
        reads,
        over_10_us: over(10_000),
        over_50_us: over(50_000),
        over_100_us: over(100_000),
        over_1_ms: over(1_000_000),
        max_ns: gaps.max(),
        lost_share: lost_ns as f64 / (last - start).max(1) as f64,
        gaps: gaps.dump(),
    }
}

impl Hiccups {
    /// The floor curve of this probe.
    ///
    /// # Errors
    /// When the stored gaps cannot be read back.
    pub fn floor(&self) -> Result<Floor, DecodeError> {
        let gaps = Latency::from_dump(&self.gaps)?.recorded().collect();
        Ok(Floor {
            gaps,
            window_ns: self.seconds * 1e9,
        })
    }
}

impl Floor {
    /// The floor of the CPU that lost most; `None` when none was probed.
    #[must_use]
    pub fn slowest(hiccups: &[Hiccups]) -> Option<Self> {
        let worst = hiccups
            .iter()
            .max_by(|a, b| a.lost_share.total_cmp(&b.lost_share))?;
        worst.floor().ok()
    }

    /// Share of random arrivals that a gap delays by more than `ns`.
    ///
    /// A request that arrives inside a gap waits for what is left of it, so a gap of length g
    /// delays arrivals in its first g - x by more than x.
    #[must_use]
    pub fn share_beyond(&self, ns: u64) -> f64 {
        let delayed: u64 = self
            .gaps
            .iter()
            .map(|&(gap, count)| gap.saturating_sub(ns) * count)
            .sum();
        delayed as f64 / self.window_ns
    }

    /// The delay at quantile `q` in ns that the host alone causes.
    #[must_use]
    pub fn at(&self, q: f64) -> u64 {
        let (mut low, mut high) = (0, self.gaps.last().map_or(0, |&(gap, _)| gap));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.share_beyond(middle) > 1.0 - q {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_of_one_long_gap_is_its_uniform_residue() {
        // One gap of 100 ms in 10 s: 1 % of arrivals fall into it, half of them wait over 50 ms.
        let floor = Floor {
            gaps: vec![(100_000_000, 1)],
            window_ns: 1e10,
        };
        assert!((floor.share_beyond(50_000_000) - 0.005).abs() < 1e-12);
        assert_eq!(floor.at(0.98), 0);
        let p995 = floor.at(0.995);
        assert!((49_999_000..=50_001_000).contains(&p995), "{p995}");
    }

    #[test]
    fn the_probe_counts_only_real_time() {
        let seen = probe(None, 0.05);
        assert!(seen.seconds >= 0.05 && seen.reads > 1_000, "{seen:?}");
        assert!(seen.over_1_ms <= seen.over_100_us && seen.over_100_us <= seen.over_10_us);
        assert!(seen.floor().unwrap().at(0.5) <= seen.max_ns.max(1));
    }
}
