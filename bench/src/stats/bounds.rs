//! How small a miss rate a run has shown: by count (exact, for independent trials) and by time
//! (for misses that come in episodes). A claim may state only the larger of the two.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bisection steps: each halves the logarithm of the bracket, 100 are beyond f64.
const STEPS: u32 = 100;

/// What a run showed about one claim.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Trials of the schedule.
    #[serde(rename = "trials", alias = "n")]
    pub n: u64,
    /// Misses: trials not complete and correct within the deadline.
    #[serde(rename = "misses", alias = "k")]
    pub k: u64,
    /// Episodes: runs of misses separated by more than the gap.
    #[serde(rename = "episodes", alias = "e")]
    pub e: u64,
    /// Observed time, in s.
    #[serde(rename = "duration_s", alias = "seconds")]
    pub seconds: f64,
    /// Stall length per episode, in s: the declared one, or the longest seen if that is longer.
    #[serde(rename = "stall_s", alias = "stall_seconds")]
    pub stall_seconds: f64,
}

/// One-sided upper confidence bound (exact, Clopper-Pearson) of a probability after `k` misses
/// in `n` independent trials.
#[must_use]
pub fn upper(n: u64, k: u64, confidence: f64) -> f64 {
    let alpha = 1.0 - confidence;
    if n == 0 || k >= n {
        return 1.0;
    }
    if k == 0 {
        // 1 - alpha^(1/n), without the cancellation.
        return -(alpha.ln() / n as f64).exp_m1();
    }
    let base = ln_choose(n, k);
    bisect(k as f64 / n as f64, 1.0, |p| {
        ln_lower_tail(n, k, p, base) > alpha.ln()
    })
}

/// One-sided lower confidence bound (exact) of a probability after `k` misses in `n` trials.
#[must_use]
pub fn lower(n: u64, k: u64, confidence: f64) -> f64 {
    if n == 0 || k == 0 {
        return 0.0;
    }
    let ln_alpha = (1.0 - confidence).ln();
    if k >= n {
        return (ln_alpha / n as f64).exp();
    }
    let base = ln_choose(n, k);
    bisect(f64::MIN_POSITIVE, k as f64 / n as f64, |p| {
        ln_upper_tail(n, k, p, base) < ln_alpha
    })
}

/// One-sided upper bound c_e of a Poisson mean after `e` events.
#[must_use]
pub fn poisson_upper(e: u64, confidence: f64) -> f64 {
    let alpha = 1.0 - confidence;
    if e == 0 {
        return -alpha.ln();
    }
    let ln_factorial: f64 = (1..=e).map(|i| (i as f64).ln()).sum();
    let start = e as f64;
    bisect(start, start * 4.0 + 100.0, |mean| {
        let tail = geometric_tail(e, |i| i as f64 / mean);
        e as f64 * mean.ln() - mean - ln_factorial + tail.ln() > alpha.ln()
    })
}

/// Miss share that `e` episodes in `seconds` allow when each spoils arrivals for `stall_seconds`:
/// c_e * s / T, at most 1.
#[must_use]
pub fn time_upper(e: u64, seconds: f64, stall_seconds: f64, confidence: f64) -> f64 {
    if seconds <= 0.0 {
        return 1.0;
    }
    (poisson_upper(e, confidence) * stall_seconds / seconds).min(1.0)
}

/// Nines shown by a miss bound: floor(-log10).
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bound lies in (0, 1], so the value is small and not negative"
)]
pub fn nines(bound: f64) -> u32 {
    if bound <= 0.0 {
        return 0;
    }
    // A hair of slack: -log10(1e-6) must be 6, not 5.999...
    (-bound.log10() + 1e-9).floor().max(0.0) as u32
}

/// Trials without a miss that show a miss rate below `p` at `confidence`.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates at u64::MAX, which reads as `never`"
)]
pub fn trials_needed(p: f64, misses: u64, confidence: f64) -> u64 {
    (poisson_upper(misses, confidence) / p).ceil() as u64
}

impl Evidence {
    /// The count bound.
    #[must_use]
    pub fn count_upper(&self, confidence: f64) -> f64 {
        upper(self.n, self.k, confidence)
    }

    /// The time bound.
    #[must_use]
    pub fn time_upper(&self, confidence: f64) -> f64 {
        time_upper(self.e, self.seconds, self.stall_seconds, confidence)
    }

    /// The only bound that may be stated: the larger of the two.
    #[must_use]
    pub fn bound(&self, confidence: f64) -> f64 {
        self.count_upper(confidence)
            .max(self.time_upper(confidence))
    }
}

/// ln of n over k, summed term by term: no gamma function, so no cancellation at large n.
fn ln_choose(n: u64, k: u64) -> f64 {
    let k = k.min(n - k);
    (0..k).map(|i| ((n - i) as f64 / (i + 1) as f64).ln()).sum()
}

/// ln P(X <= k) for p above k/n, relative to its largest term, the last.
fn ln_lower_tail(n: u64, k: u64, p: f64, ln_choose: f64) -> f64 {
    let odds = (1.0 - p) / p;
    let sum = geometric_tail(k, |i| i as f64 / (n - i + 1) as f64 * odds);
    ln_term(n, k, p, ln_choose) + sum.ln()
}

/// ln P(X >= k) for p below k/n, relative to its largest term, the first.
fn ln_upper_tail(n: u64, k: u64, p: f64, ln_choose: f64) -> f64 {
    let odds = p / (1.0 - p);
    let sum = geometric_tail(n - k, |left| left as f64 / (n - left + 1) as f64 * odds);
    ln_term(n, k, p, ln_choose) + sum.ln()
}

fn ln_term(n: u64, k: u64, p: f64, ln_choose: f64) -> f64 {
    ln_choose + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p()
}

/// 1 + r(m) + r(m) r(m-1) + ... + r(m)...r(1), until a term no longer counts.
fn geometric_tail(m: u64, ratio: impl Fn(u64) -> f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for i in (1..=m).rev() {
        term *= ratio(i);
        sum += term;
        if term < sum * f64::EPSILON {
            break;
        }
    }
    sum
}

/// The point in `[low, high]` where `too_low` turns false, halving the logarithm.
fn bisect(mut low: f64, mut high: f64, too_low: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..STEPS {
        let middle = (0.5 * (low.ln() + high.ln())).exp();
        if too_low(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, wanted: f64, relative: f64) {
        assert!(
            (found / wanted - 1.0).abs() < relative,
            "wanted {wanted}, found {found}"
        );
    }

    /// The published table: c_0..c_5 at 95 % and c_0..c_3 at 99 %.
    #[test]
    fn poisson_bounds_match_the_table() {
        for (e, c) in [2.996, 4.744, 6.296, 7.754, 9.154, 10.513]
            .into_iter()
            .enumerate()
        {
            close(poisson_upper(e as u64, 0.95), c, 1e-4);
        }
        for (e, c) in [4.605, 6.638, 8.406, 10.045].into_iter().enumerate() {
            close(poisson_upper(e as u64, 0.99), c, 1.1e-4);
        }
    }

    #[test]
    fn the_count_bound_approaches_the_poisson_one() {
        for k in 0..6 {
            let n = 3_000_000_000;
            close(upper(n, k, 0.95) * n as f64, poisson_upper(k, 0.95), 1e-6);
        }
    }

    /// Textbook values of the Clopper-Pearson interval (two-sided 95 % = one-sided 97.5 %).
    #[test]
    fn the_count_bound_is_exact_for_small_samples() {
        close(upper(10, 1, 0.975), 0.44502, 1e-4);
        close(lower(10, 1, 0.975), 0.002_528_6, 1e-4);
        close(upper(20, 5, 0.975), 0.49105, 1e-4);
        close(lower(20, 5, 0.975), 0.08657, 1e-4);
        close(lower(10, 10, 0.975), 0.69150, 1e-4);
        close(upper(10, 0, 0.975), 0.30850, 1e-4);
    }

    #[test]
    fn bounds_bracket_the_rate_and_hold_at_the_edges() {
        for (n, k) in [(100_u64, 50), (1_000_000, 999), (6_000_000, 3_000_000)] {
            let rate = k as f64 / n as f64;
            assert!(
                lower(n, k, 0.95) < rate && rate < upper(n, k, 0.95),
                "{n} {k}"
            );
        }
        assert_eq!(upper(0, 0, 0.95).to_bits(), 1.0_f64.to_bits());
        assert_eq!(upper(5, 5, 0.95).to_bits(), 1.0_f64.to_bits());
        assert_eq!(lower(5, 0, 0.95).to_bits(), 0.0_f64.to_bits());
    }

    /// 8.3 h at 100 k/s without a miss: nine nines by count, six by time at 10 ms stalls.
    #[test]
    fn the_worked_example_shows_six_nines_not_nine() {
        let night = Evidence {
            n: 3_000_000_000,
            k: 0,
            e: 0,
            seconds: 3e4,
            stall_seconds: 0.01,
        };
        close(night.count_upper(0.95), 1e-9, 2e-3);
        close(night.time_upper(0.95), 1e-6, 2e-3);
        assert_eq!(nines(night.bound(0.95)), 6);
    }

    #[test]
    fn nines_are_rounded_down() {
        assert_eq!(nines(1e-6), 6);
        assert_eq!(nines(1.01e-6), 5);
        assert_eq!(nines(1.0), 0);
        assert_eq!(trials_needed(1e-5, 0, 0.95), 299_574);
    }
}
