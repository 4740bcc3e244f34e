//! The CPU's counter of instructions (perf_event_open(2)), which many virtual machines do not have.

use std::io;

use ninefold_tuning::facts::process;
use perf_event::events::Hardware;
use perf_event::{Builder, Counter};

/// Instructions that the threads of a process execute in user mode.
pub struct Instructions(Vec<Counter>);

impl Instructions {
    /// Counts the threads that `pid` has now.
    ///
    /// # Errors
    /// When the kernel refuses (`kernel.perf_event_paranoid`, seccomp) or the CPU has no counter.
    pub fn of(pid: u32) -> io::Result<Self> {
        let counters = process::threads(pid).into_iter().map(|thread| {
            let tid = i32::try_from(thread.tid).map_err(io::Error::other)?;
            let mut counter = Builder::new()
                .kind(Hardware::INSTRUCTIONS)
                .observe_pid(tid)
                .build()?;
            counter.enable()?;
            Ok(counter)
        });
        let counters = counters.collect::<io::Result<Vec<_>>>()?;
        if counters.is_empty() {
            return Err(io::Error::other(format!(
                "wanted threads of process {pid}, found none"
            )));
        }
        Ok(Self(counters))
    }

    /// Instructions counted so far, of all threads.
    ///
    /// # Errors
    /// When a counter cannot be read.
    pub fn read(&mut self) -> io::Result<u64> {
        self.0.iter_mut().map(Counter::read).sum()
    }
}
