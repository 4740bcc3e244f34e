//! The only place in this crate that reads a clock or sleeps.
//!
//! Every timestamp is nanoseconds of `CLOCK_MONOTONIC`, shared by all processes of a run, so an
//! intended start computed in one process can be compared with a completion seen in another.

use std::time::Duration;

use rustix::thread::{NanosleepRelativeResult, nanosleep};
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Reads `CLOCK_MONOTONIC`, in ns.
#[must_use]
#[inline]
pub fn now_ns() -> u64 {
    read_ns(ClockId::Monotonic)
}

/// Reads `CLOCK_REALTIME`, in ns since the epoch: for labels, never for durations.
#[must_use]
pub fn wall_ns() -> u64 {
    read_ns(ClockId::Realtime)
}

/// CPU time that this process has used so far, user and system, in ns.
#[must_use]
pub fn process_cpu_ns() -> u64 {
    read_ns(ClockId::ProcessCPUTime)
}

/// Reads the processor's counter: a third of the cost of [`now_ns`], for spans of some ns.
#[must_use]
#[inline]
pub fn ticks() -> u64 {
    ninefold_runtime::clock::cycles()
}

/// The ns between two readings of [`ticks`].
#[must_use]
#[inline]
pub fn ticks_to_ns(span: u64) -> u64 {
    ninefold_runtime::clock::cycles_to_ns(span)
}

/// Keeps this CPU busy for `ns`, as a handler of that length does.
#[inline]
pub fn spin_for(ns: u64) {
    let (start, span) = (ticks(), ninefold_runtime::clock::ns_to_cycles(ns));
    while ticks().wrapping_sub(start) < span {
        std::hint::spin_loop();
    }
}

/// Sleeps for at least `duration`, however many signals arrive.
pub fn sleep(duration: Duration) {
    let mut left = timespec(duration);
    while let NanosleepRelativeResult::Interrupted(remaining) = nanosleep(&left) {
        left = remaining;
    }
}

/// Converts a duration for a system call.
#[must_use]
pub fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// Whole nanoseconds in `seconds`; zero for a negative or undefined value.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is what a duration out of range wants"
)]
pub fn ns(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

#[inline]
fn read_ns(clock: ClockId) -> u64 {
    to_ns(clock_gettime(clock))
}

#[inline]
fn to_ns(time: Timespec) -> u64 {
    // The kernel never returns a negative time for these clocks.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// What reading the clock costs and how finely it ticks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Calibration {
    /// Median cost of one read, in ns.
    pub cost_ns: f64,
    /// Smallest step ever seen between two reads that differ, in ns.
    pub resolution_ns: u64,
    /// What the kernel says its resolution is, in ns.
    pub kernel_resolution_ns: u64,
    /// Reads made.
    pub reads: u64,
}

/// Measures the clock itself: 64 batches of 4,096 reads.
#[must_use]
pub fn calibrate() -> Calibration {
    const BATCHES: usize = 64;
    const READS: u32 = 4096;
    let mut costs = Vec::with_capacity(BATCHES);
    let mut resolution_ns = u64::MAX;
    for _ in 0..BATCHES {
        let start = now_ns();
        let mut last = start;
        for _ in 0..READS {
            let now = now_ns();
            if now > last {
                resolution_ns = resolution_ns.min(now - last);
            }
            last = now;
        }
        costs.push((last - start) as f64 / f64::from(READS));
    }
    Calibration {
        cost_ns: crate::stats::median(&costs),
        resolution_ns,
        kernel_resolution_ns: to_ns(clock_getres(ClockId::Monotonic)),
        reads: BATCHES as u64 * u64::from(READS),
    }
}

/// What the clocks did between the start and the end of a run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// Length of the run on the monotonic clock, in ns.
    pub elapsed_ns: u64,
    /// How far the wall clock jumped or slewed against the monotonic clock, in ns.
    pub wall_step_ns: i64,
    /// Time the machine was suspended, in ns.
    pub suspended_ns: i64,
    /// Rate of the disciplined clock against the raw one, in parts per million.
    pub slew_ppm: f64,
}

impl Drift {
    /// Whether durations measured in this run can be trusted: no wall step over 10 ms, no
    /// suspension over 1 ms, a slew below 1,000 ppm.
    #[must_use]
    pub fn sound(&self) -> bool {
        self.wall_step_ns.abs() < 10_000_000
            && self.suspended_ns.abs() < 1_000_000
            && self.slew_ppm.abs() < 1_000.0
    }
}

/// Watches the four clocks over a run.
#[derive(Clone, Copy, Debug)]
pub struct DriftWatch {
    monotonic: u64,
    wall: u64,
    boot: u64,
    raw: u64,
}

impl DriftWatch {
    /// Reads all four clocks now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            monotonic: now_ns(),
            wall: wall_ns(),
            boot: read_ns(ClockId::Boottime),
            raw: read_ns(ClockId::MonotonicRaw),
        }
    }

    /// Compares the clocks with what they read at the start.
    #[must_use]
    pub fn finish(&self) -> Drift {
        let end = Self::start();
        let elapsed_ns = end.monotonic - self.monotonic;
        let raw_ns = (end.raw - self.raw).max(1);
        let excess = |now: u64, then: u64| now.wrapping_sub(then).wrapping_sub(elapsed_ns) as i64;
        Drift {
            elapsed_ns,
            wall_step_ns: excess(end.wall, self.wall),
            suspended_ns: excess(end.boot, self.boot),
            slew_ppm: (elapsed_ns as f64 / raw_ns as f64 - 1.0) * 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_moves_and_its_cost_is_plausible() {
        let calibration = calibrate();
        assert!(
            calibration.cost_ns > 0.5 && calibration.cost_ns < 100_000.0,
            "{calibration:?}"
        );
        assert!(calibration.resolution_ns > 0 && calibration.resolution_ns < 1_000_000);
    }

    #[test]
    fn a_quiet_run_has_no_step() {
        let watch = DriftWatch::start();
        sleep(Duration::from_millis(20));
        let drift = watch.finish();
        assert!(drift.elapsed_ns >= 20_000_000);
        assert!(drift.wall_step_ns.abs() < 10_000_000, "{drift:?}");
    }

    #[test]
    fn a_stepped_clock_is_not_sound() {
        let stepped = Drift {
            elapsed_ns: 1,
            wall_step_ns: -20_000_000,
            suspended_ns: 0,
            slew_ppm: 0.0,
        };
        assert!(!stepped.sound());
    }
}
