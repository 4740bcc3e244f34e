//! Restart intensity: how many restarts there may be within a sliding window (OTP's `MaxR` in
//! `MaxT`).

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Cycles;
use crate::limits::RESTARTS_REMEMBERED;

/// How many restarts a supervisor grants its children within a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// Restarts granted.
    pub restarts: u32,
    /// Length of the window.
    pub within: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Intensity {
            restarts: 10,
            within: Duration::from_secs(1),
        }
    }
}

/// Restarts close to each other.
#[derive(Clone, Copy)]
struct Burst {
    first: Cycles,
    last: Cycles,
    count: u32,
}

/// The restarts of the present window, in bounded memory.
///
/// Up to [`RESTARTS_REMEMBERED`] granted restarts are remembered one by one, and the window is
/// exact. Of a larger intensity, restarts within that part of the window are remembered together
/// and forgotten with the last of them: there are never more than granted, and at most a
/// [`RESTARTS_REMEMBERED`]th of the window too few.
#[derive(Default)]
pub(super) struct Window {
    bursts: VecDeque<Burst>,
    count: u64,
}

impl Window {
    /// Grants one restart at `now`, unless `limit` were granted within `window` before.
    pub(super) fn grant(&mut self, now: Cycles, window: Cycles, limit: u32) -> bool {
        while let Some(oldest) = self.bursts.front()
            && now.saturating_sub(oldest.last) > window
        {
            self.count -= u64::from(oldest.count);
            self.bursts.pop_front();
        }
        if self.count >= u64::from(limit) {
            return false;
        }
        self.count += 1;
        let together = if limit > RESTARTS_REMEMBERED {
            window / u64::from(RESTARTS_REMEMBERED)
        } else {
            0
        };
        match self.bursts.back_mut() {
            Some(burst) if now.saturating_sub(burst.first) <= together => {
                burst.last = now;
                burst.count += 1;
            }
            _ => self.bursts.push_back(Burst {
                first: now,
                last: now,
                count: 1,
            }),
        }
        true
    }

    /// A restart that was granted at `granted` happens only at `now`, after a wait, and counts from
    /// now. False when it must wait longer: its grant has left the window, and others fill it.
    pub(super) fn happens(
        &mut self,
        granted: Cycles,
        now: Cycles,
        window: Cycles,
        limit: u32,
    ) -> bool {
        if now.saturating_sub(granted) > window {
            return self.grant(now, window, limit);
        }
        // Its grant is in the window still; the oldest one leaves in its place, so that the window
        // is no wider than it should be.
        if let Some(oldest) = self.bursts.front_mut() {
            oldest.count -= 1;
            if oldest.count == 0 {
                self.bursts.pop_front();
            }
            self.bursts.push_back(Burst {
                first: now,
                last: now,
                count: 1,
            });
        }
        true
    }

    /// Forgets all: the supervisor itself was restarted.
    pub(super) fn clear(&mut self) {
        *self = Window::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All that was granted, for ever.
    #[derive(Default)]
    struct Model(Vec<Cycles>);

    impl Model {
        fn within(&self, now: Cycles, window: Cycles) -> usize {
            self.0
                .iter()
                .rev()
                .take_while(|t| now - **t <= window)
                .count()
        }
    }

    proptest! {
        #[test]
        fn a_small_intensity_is_exact(
            gaps in prop::collection::vec(0_u64..40, 1..200),
            limit in 0_u32..12,
            window in 1_u64..200,
        ) {
            let (mut tested, mut model, mut now) = (Window::default(), Model::default(), 1_000);
            for gap in gaps {
                now += gap;
                let wanted = model.within(now, window) < limit as usize;
                prop_assert_eq!(tested.grant(now, window, limit), wanted);
                if wanted {
                    model.0.push(now);
                }
            }
        }

        #[test]
        fn a_large_intensity_is_never_exceeded_and_nearly_reached_in_bounded_memory(
            gaps in prop::collection::vec(0_u64..60, 1..3_000),
            limit in RESTARTS_REMEMBERED + 1..RESTARTS_REMEMBERED * 4,
            window in 640_u64..20_000,
        ) {
            let (mut tested, mut model, mut now) = (Window::default(), Model::default(), 1_000);
            let coarse = window + window / u64::from(RESTARTS_REMEMBERED);
            for gap in gaps {
                now += gap;
                let granted = tested.grant(now, window, limit);
                if granted {
                    prop_assert!(model.within(now, window) < limit as usize);
                    model.0.push(now);
                } else {
                    prop_assert!(model.within(now, coarse) >= limit as usize);
                }
                prop_assert!(tested.bursts.len() <= RESTARTS_REMEMBERED as usize + 2);
            }
        }
    }

    #[test]
    fn a_storm_fits_into_bounded_memory() {
        let mut window = Window::default();
        assert!((0..1_000_000).all(|now| window.grant(now, 500_000, u32::MAX)));
        assert!(window.bursts.len() <= RESTARTS_REMEMBERED as usize + 2);
    }
}
