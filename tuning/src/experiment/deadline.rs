//! A bound on time, as a timer of the kernel's: nothing here reads a clock.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_gettime, timerfd_settime,
};

/// A moment that comes.
#[derive(Debug)]
pub struct Deadline {
    timer: OwnedFd,
}

impl Deadline {
    /// The moment `limit` from now.
    ///
    /// # Errors
    /// When the kernel has no timer left for us.
    pub fn after(limit: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let value = Itimerspec {
            it_interval: timespec(Duration::ZERO),
            // Zero would never come.
            it_value: timespec(limit.max(Duration::from_nanos(1))),
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &value)?;
        Ok(Self { timer })
    }

    /// What is left; zero when it has come.
    pub fn left(&self) -> Duration {
        timerfd_gettime(&self.timer).map_or(Duration::ZERO, |at| {
            let seconds = u64::try_from(at.it_value.tv_sec).unwrap_or(0);
            let nanos = u32::try_from(at.it_value.tv_nsec).unwrap_or(0);
            Duration::new(seconds, nanos)
        })
    }

    /// Whether it has come.
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_comes_and_stays() {
        let long = Deadline::after(Duration::from_secs(3_600)).unwrap();
        assert!(!long.is_over() && long.left() <= Duration::from_secs(3_600));
        let now = Deadline::after(Duration::ZERO).unwrap();
        while !now.is_over() {}
        assert_eq!(now.left(), Duration::ZERO);
    }
}
