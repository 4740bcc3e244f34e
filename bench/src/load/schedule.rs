//! Arrival schedules: fixed by seed before the run, so that a slow server cannot slow the plan.

use serde::{Deserialize, Serialize};

/// How arrivals are spaced; the mean rate is the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// One every 1/rate.
    Constant,
    /// Exponential gaps, as independent users make them.
    Poisson,
    /// Groups of this many at one instant.
    Burst(u32),
}

/// An endless schedule of arrival times in ns from its own zero; cloning replays it.
#[derive(Clone, Debug)]
pub struct Schedule {
    arrival: Arrival,
    gap_ns: f64,
    index: u64,
    at_ns: f64,
    rng: fastrand::Rng,
}

/// One arrival of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Number of the arrival, from zero.
    pub index: u64,
    /// Intended start, in ns from the schedule's zero.
    pub at_ns: u64,
}

impl Schedule {
    /// A schedule of `rate` arrivals a second; the rate is positive.
    #[must_use]
    pub fn new(arrival: Arrival, rate: f64, seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self {
            arrival,
            gap_ns: 1e9 / rate,
            index: 0,
            at_ns: 0.0,
            rng,
        }
    }

    /// The arrival that is next, without taking it.
    #[must_use]
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times are not negative and far below 2^53 ns (104 days)"
    )]
    pub fn peek(&self) -> Slot {
        Slot {
            index: self.index,
            at_ns: self.at_ns as u64,
        }
    }

    /// Takes the next arrival.
    #[inline]
    pub fn take_next(&mut self) -> Slot {
        let slot = self.peek();
        self.index += 1;
        match self.arrival {
            // A product, not a sum: a sum of rounded gaps drifts.
            Arrival::Constant => self.at_ns = self.index as f64 * self.gap_ns,
            Arrival::Poisson => self.at_ns -= (1.0 - self.rng.f64()).ln() * self.gap_ns,
            Arrival::Burst(size) => {
                let size = u64::from(size.max(1));
                self.at_ns = (self.index / size * size) as f64 * self.gap_ns;
            }
        }
        slot
    }

    /// Arrivals of a window of monotonic ns that this cursor has not reached; its zero is at
    /// `start_ns`, and `plan` is the schedule from there.
    pub(super) fn unreached(&self, start_ns: u64, window_ns: (u64, u64), plan: Self) -> u64 {
        let mut cursor = if self.peek().at_ns + start_ns < window_ns.0 {
            plan
        } else {
            self.clone()
        };
        let mut count = 0;
        loop {
            let at = start_ns + cursor.take_next().at_ns;
            if at >= window_ns.1 {
                return count;
            }
            count += u64::from(at >= window_ns.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(arrival: Arrival, rate: f64, seed: u64, count: usize) -> Vec<u64> {
        let mut schedule = Schedule::new(arrival, rate, seed);
        (0..count).map(|_| schedule.take_next().at_ns).collect()
    }

    #[test]
    fn constant_does_not_drift() {
        let last = *times(Arrival::Constant, 30_000.0, 0, 30_001)
            .last()
            .unwrap();
        assert_eq!(last, 1_000_000_000);
    }

    #[test]
    fn poisson_keeps_its_rate_and_its_seed() {
        let count = 100_000;
        let first = times(Arrival::Poisson, 100_000.0, 9, count);
        assert_eq!(first, times(Arrival::Poisson, 100_000.0, 9, count));
        assert_ne!(first, times(Arrival::Poisson, 100_000.0, 10, count));
        let seconds = *first.last().unwrap() as f64 / 1e9;
        assert!((seconds - 1.0).abs() < 0.02, "{seconds}");
        // Exponential gaps: the share longer than the mean is 1/e.
        let long = first.windows(2).filter(|w| w[1] - w[0] > 10_000).count();
        let share = long as f64 / count as f64;
        assert!((share - (-1.0_f64).exp()).abs() < 0.01, "{share}");
    }

    #[test]
    fn bursts_arrive_together() {
        let times = times(Arrival::Burst(4), 4_000.0, 0, 9);
        assert_eq!(
            times,
            [
                0, 0, 0, 0, 1_000_000, 1_000_000, 1_000_000, 1_000_000, 2_000_000
            ]
        );
    }
}
