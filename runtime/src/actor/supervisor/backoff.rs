//! Back-off: how long a child that keeps failing waits before it is started again.

use std::time::Duration;

/// Waits that grow with each restart in a row. While a child waits, its mailbox gathers messages
/// within its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Restarts in a row that are immediate.
    pub immediate: u32,
    /// The first wait after those.
    pub first: Duration,
    /// What each further wait is multiplied by; less than 1 counts as 1.
    pub factor: f64,
    /// The longest wait. A child that ran for longer than this since its last restart begins anew.
    pub max: Duration,
    /// The part of a wait that is left to chance, 0 to 1, so that children that failed together do
    /// not come back together: 0.2 means between 80 % and 100 % of the wait.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff {
            immediate: 1,
            first: Duration::from_millis(10),
            factor: 2.0,
            max: Duration::from_secs(10),
            jitter: 0.2,
        }
    }
}

impl Backoff {
    /// The wait before restart number `attempt` in a row, from 0; `chance` is in 0..1.
    pub(super) fn delay(&self, attempt: u32, chance: f64) -> Duration {
        let Some(step) = attempt.checked_sub(self.immediate) else {
            return Duration::ZERO;
        };
        let growth = self.factor.max(1.0).powf(f64::from(step));
        let wait = (self.first.as_secs_f64() * growth).min(self.max.as_secs_f64());
        let kept = 1.0 - self.jitter.clamp(0.0, 1.0) * chance;
        // No number of seconds, which a factor of NaN would make, is the longest wait.
        Duration::try_from_secs_f64(wait * kept).unwrap_or(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_maximum_and_jitter_only_shortens_them() {
        let backoff = Backoff {
            immediate: 2,
            first: Duration::from_millis(10),
            factor: 3.0,
            max: Duration::from_millis(100),
            jitter: 0.5,
        };
        let waits: Vec<_> = (0..6).map(|n| backoff.delay(n, 0.0).as_millis()).collect();
        assert_eq!(waits, [0, 0, 10, 30, 90, 100]);
        assert_eq!(backoff.delay(5, 1.0), Duration::from_millis(50));
        assert_eq!(backoff.delay(u32::MAX, 0.0), backoff.max);
    }

    #[test]
    fn odd_numbers_do_no_harm() {
        let odd = Backoff {
            immediate: 0,
            factor: f64::NAN,
            jitter: f64::INFINITY,
            ..Backoff::default()
        };
        assert_eq!(odd.delay(3, 0.0), odd.first);
        let vast = Backoff {
            immediate: 0,
            factor: f64::INFINITY,
            ..Backoff::default()
        };
        assert_eq!(vast.delay(3, 0.0), vast.max);
    }
}
