//! Time: the one module of the runtime that reads a clock.
//!
//! The hot path counts in cycles of the invariant time stamp counter (TSC), because a read costs a
//! few nanoseconds and no system call; everything that people see is in nanoseconds.
#![expect(
    clippy::cast_possible_truncation,
    reason = "spans fit 64 bits for 584 years"
)]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

/// Cycles of the time stamp counter since an arbitrary start, the same for all cores.
pub type Cycles = u64;

/// Reads the time stamp counter; not serialising, which is what a budget check wants.
#[inline(always)]
#[must_use]
pub fn cycles() -> Cycles {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: `rdtsc` has no preconditions in user mode on the x86_64 Linux targets we build
        // for (CR4.TSD is clear); it only reads a register. Covered by `clock::tests`.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        monotonic_ns()
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0)
}

/// The wall clock, for what people read (tool `time`, log lines); never for an interval.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the clock module is where clocks are read"
)]
pub fn wall_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// Both directions of the conversion as fixed-point factors with 32 fractional bits: a multiply
/// and a shift, where a division of floats would cost ten times that on the hot path.
struct Rate {
    ns_per_cycle: u64,
    cycles_per_ns: u64,
}

/// The rate of the counter, measured once against `CLOCK_MONOTONIC`.
#[inline]
fn rate() -> &'static Rate {
    static RATE: OnceLock<Rate> = OnceLock::new();
    RATE.get_or_init(measure_rate)
}

fn measure_rate() -> Rate {
    const CALIBRATION_NS: u64 = 5_000_000;
    const ONE: f64 = (1_u64 << 32) as f64;
    let (ns0, cy0) = (monotonic_ns(), cycles());
    loop {
        let (ns, cy) = (monotonic_ns(), cycles());
        if ns - ns0 >= CALIBRATION_NS {
            let cycles_per_ns = (cy - cy0) as f64 / (ns - ns0) as f64;
            return Rate {
                ns_per_cycle: (ONE / cycles_per_ns) as u64,
                cycles_per_ns: (ONE * cycles_per_ns) as u64,
            };
        }
        std::hint::spin_loop();
    }
}

#[inline]
fn scale(span: u64, factor: u64) -> u64 {
    ((u128::from(span) * u128::from(factor)) >> 32) as u64
}

/// Measures the rate of the counter now, so that no request pays the 5 ms for it later.
pub fn calibrate() {
    rate();
}

/// A span of nanoseconds in cycles.
#[inline]
#[must_use]
pub fn ns_to_cycles(ns: u64) -> Cycles {
    scale(ns, rate().cycles_per_ns)
}

/// A span of cycles in nanoseconds.
#[inline]
#[must_use]
pub fn cycles_to_ns(span: Cycles) -> u64 {
    scale(span, rate().ns_per_cycle)
}

/// A [`Duration`] in cycles; durations beyond 584 years saturate.
#[must_use]
pub fn duration_to_cycles(d: Duration) -> Cycles {
    ns_to_cycles(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX / 8))
}

/// Where a shard has its time from: the counter of its CPU, or a simulator's.
#[derive(Clone, Debug)]
pub(crate) enum Time {
    /// The time stamp counter, and `CLOCK_MONOTONIC`.
    Tsc,
    /// Nanoseconds that a simulator advances; a cycle is a nanosecond.
    Simulated(Rc<Cell<u64>>),
}

impl Time {
    /// Now, in cycles.
    #[inline(always)]
    pub(crate) fn cycles(&self) -> Cycles {
        match self {
            Time::Tsc => cycles(),
            Time::Simulated(now) => now.get(),
        }
    }

    /// Now, in nanoseconds of the monotonic clock.
    pub(crate) fn monotonic_ns(&self) -> u64 {
        match self {
            Time::Tsc => monotonic_ns(),
            Time::Simulated(now) => now.get(),
        }
    }

    /// A span of nanoseconds in cycles.
    #[inline]
    pub(crate) fn to_cycles(&self, ns: u64) -> Cycles {
        match self {
            Time::Tsc => ns_to_cycles(ns),
            Time::Simulated(_) => ns,
        }
    }

    /// A span of cycles in nanoseconds.
    #[inline]
    pub(crate) fn to_ns(&self, span: Cycles) -> u64 {
        match self {
            Time::Tsc => cycles_to_ns(span),
            Time::Simulated(_) => span,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_agree_with_the_monotonic_clock() {
        let (ns0, cy0) = (monotonic_ns(), cycles());
        while monotonic_ns() - ns0 < 2_000_000 {}
        let (ns, cy) = (monotonic_ns() - ns0, cycles_to_ns(cycles() - cy0));
        let ratio = cy as f64 / ns as f64;
        assert!(
            (0.9..1.1).contains(&ratio),
            "{cy} ns by TSC, {ns} ns by CLOCK_MONOTONIC"
        );
    }
}
