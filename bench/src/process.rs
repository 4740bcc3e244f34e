//! Child processes: pinned before they start, waited for with a bound, dead when dropped.

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::process::{
    Pid, PidfdFlags, Resource, Signal, getrlimit, kill_process, pidfd_open,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::de::DeserializeOwned;

use crate::interrupt;
use crate::measure::clock;

/// How long a wait goes on before it looks whether the run is to end.
const LOOK_UP: Duration = Duration::from_millis(200);

/// What went wrong with a child process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("start {name}: {source}")]
    Start {
        /// Child.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It could not be read or waited for.
    #[error("{name}: {action}: {source}")]
    Io {
        /// Child.
        name: String,
        /// What was attempted.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It said nothing in time.
    #[error("{name}: wanted a line within {within:?}, found none")]
    Silent {
        /// Child.
        name: String,
        /// The bound.
        within: Duration,
    },
    /// The run was asked to end meanwhile.
    #[error("{name}: not waited for, the run was interrupted")]
    Interrupted {
        /// Child.
        name: String,
    },
    /// It ended instead of answering.
    #[error("{name}: wanted a line, found its output closed ({status}); see its message above")]
    Ended {
        /// Child.
        name: String,
        /// How it ended, if that is known.
        status: String,
    },
    /// It said something else.
    #[error("{name}: wanted its JSON answer, found {line:?} ({reason})")]
    Garbled {
        /// Child.
        name: String,
        /// What it said, cut.
        line: String,
        /// Why that is no answer.
        reason: String,
    },
}

/// A running child whose standard output is read line by line.
#[derive(Debug)]
pub struct Child {
    name: String,
    inner: std::process::Child,
    buffered: Vec<u8>,
}

impl Child {
    /// Starts `command` on `cpus` (all allowed ones when empty), with pipes for its standard
    /// input and output.
    ///
    /// # Errors
    /// When the program cannot be started or the CPUs are not allowed.
    pub fn spawn(name: &str, mut command: Command, cpus: &[usize]) -> Result<Self, ProcessError> {
        // A group of its own: Ctrl-C is for the coordinator, which ends its children itself.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let start = |source| ProcessError::Start {
            name: name.into(),
            source,
        };
        // A child inherits the mask of the thread that starts it: pinned from its first
        // instruction, its later threads with it.
        let inner = with_affinity(cpus, || command.spawn())
            .map_err(start)?
            .map_err(start)?;
        Ok(Self {
            name: name.into(),
            inner,
            buffered: Vec::new(),
        })
    }

    /// Starts `exe`, this program itself, with `args` for one of its hidden subcommands.
    ///
    /// # Errors
    /// As [`Child::spawn`].
    pub fn spawn_own(exe: &Path, args: &[&str], cpus: &[usize]) -> Result<Self, ProcessError> {
        let mut command = Command::new(exe);
        command.args(args);
        Self::spawn(args.first().copied().unwrap_or("child"), command, cpus)
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.inner.id()
    }

    /// The next line of its output, without the newline.
    ///
    /// # Errors
    /// When there is none within the bound, or the child has ended.
    pub fn read_line(&mut self, within: Duration) -> Result<String, ProcessError> {
        let deadline = clock::now_ns().saturating_add(nanos(within));
        loop {
            if let Some(end) = self.buffered.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffered.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if interrupt::asked() {
                return Err(ProcessError::Interrupted {
                    name: self.name.clone(),
                });
            }
            let left = deadline.saturating_sub(clock::now_ns());
            if left == 0 {
                return Err(ProcessError::Silent {
                    name: self.name.clone(),
                    within,
                });
            }
            self.fill(Duration::from_nanos(left).min(LOOK_UP))?;
        }
    }

    /// The next line of its output, as JSON.
    ///
    /// # Errors
    /// As [`Child::read_line`], and when the line is something else.
    pub fn read_json<T: DeserializeOwned>(&mut self, within: Duration) -> Result<T, ProcessError> {
        let mut line = self.read_line(within)?;
        serde_json::from_str(&line).map_err(|e| {
            line.truncate(line.floor_char_boundary(200));
            ProcessError::Garbled {
                name: self.name.clone(),
                line,
                reason: e.to_string(),
            }
        })
    }

    /// Writes `line` and a newline to its standard input.
    ///
    /// # Errors
    /// When it does not read any more.
    pub fn say(&mut self, line: &str) -> Result<(), ProcessError> {
        let told = match self.inner.stdin.as_mut() {
            Some(stdin) => stdin.write_all(format!("{line}\n").as_bytes()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        told.map_err(|source| self.io("tell it something", source))
    }

    /// Closes its standard input: the sign for our own children to end.
    pub fn close_stdin(&mut self) {
        drop(self.inner.stdin.take());
    }

    /// Asks it to end (SIGTERM) and waits; beyond the bound it is killed.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn terminate(mut self, within: Duration) -> Result<ExitStatus, ProcessError> {
        let _ = kill_process(self.rustix_pid(), Signal::TERM);
        self.wait(within)
    }

    /// Waits for its end; beyond the bound it is killed.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus, ProcessError> {
        if !self.ends_within(within) {
            let _ = self.inner.kill();
        }
        self.inner
            .wait()
            .map_err(|source| self.io("wait for its end", source))
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.inner.try_wait(), Ok(None))
    }

    fn ends_within(&self, within: Duration) -> bool {
        let Ok(pidfd) = pidfd_open(self.rustix_pid(), PidfdFlags::empty()) else {
            return true;
        };
        let timeout = clock::timespec(within);
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&timeout)), Ok(ready) if ready > 0)
    }

    fn rustix_pid(&self) -> Pid {
        Pid::from_child(&self.inner)
    }

    /// Reads what is there, waiting for it at most `within`.
    fn fill(&mut self, within: Duration) -> Result<(), ProcessError> {
        let Some(stdout) = self.inner.stdout.as_mut() else {
            return Err(self.ended());
        };
        let timeout = clock::timespec(within);
        let fd = stdout.as_fd();
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(e) => return Err(self.io("wait for its output", e.into())),
        }
        let mut chunk = [0; 16 * 1024];
        match stdout.read(&mut chunk) {
            Ok(0) => Err(self.ended()),
            Ok(read) => {
                self.buffered.extend_from_slice(&chunk[..read]);
                Ok(())
            }
            Err(e) => Err(self.io("read its output", e)),
        }
    }

    fn ended(&mut self) -> ProcessError {
        // A closed output means an end within moments; give it those.
        self.ends_within(Duration::from_millis(500));
        let status = match self.inner.try_wait() {
            Ok(Some(status)) => status.to_string(),
            _ => "still running".into(),
        };
        ProcessError::Ended {
            name: self.name.clone(),
            status,
        }
    }

    fn io(&self, action: &'static str, source: io::Error) -> ProcessError {
        ProcessError::Io {
            name: self.name.clone(),
            action,
            source,
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.inner.kill();
            let _ = self.inner.wait();
        }
    }
}

/// Runs `work` with this thread on `cpus`, then puts the old mask back.
fn with_affinity<T>(cpus: &[usize], work: impl FnOnce() -> T) -> io::Result<T> {
    if cpus.is_empty() {
        return Ok(work());
    }
    let before = sched_getaffinity(None)?;
    let mut wanted = CpuSet::new();
    for &cpu in cpus {
        if cpu < CpuSet::MAX_CPU {
            wanted.set(cpu);
        }
    }
    sched_setaffinity(None, &wanted)?;
    let result = work();
    sched_setaffinity(None, &before)?;
    Ok(result)
}

/// Pins this thread to `cpu`; says whether the host let it.
#[must_use]
pub fn pin_to(cpu: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
}

/// Makes this process end when the one that started it does, however that ends.
pub fn die_with_parent() {
    // Without it a killed coordinator leaves spinning children behind; nothing else depends on it.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// Raises the soft descriptor limit to the hard one and returns it.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, cpus: &[usize]) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Child::spawn("sh", command, cpus).unwrap()
    }

    #[test]
    fn lines_are_read_one_by_one_and_waits_are_bounded() {
        let mut child = shell("echo one; echo two; read _; echo three", &[]);
        let second = Duration::from_secs(5);
        assert_eq!(child.read_line(second).unwrap(), "one");
        assert_eq!(child.read_line(second).unwrap(), "two");
        let silent = child.read_line(Duration::from_millis(30)).unwrap_err();
        assert!(matches!(silent, ProcessError::Silent { .. }), "{silent}");
        child.close_stdin();
        assert_eq!(child.read_line(second).unwrap(), "three");
        assert!(child.wait(second).unwrap().success());
    }

    #[test]
    fn a_child_that_ends_early_is_named_with_its_status() {
        let mut child = shell("exit 7", &[]);
        let error = child
            .read_line(Duration::from_secs(5))
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 7"), "{error}");
    }

    #[test]
    fn a_stubborn_child_is_killed_at_the_bound() {
        let child = shell("trap '' TERM; echo up; while :; do sleep 1; done", &[]);
        let mut child = child;
        child.read_line(Duration::from_secs(5)).unwrap();
        let status = child.terminate(Duration::from_millis(100)).unwrap();
        assert!(!status.success());
    }

    #[test]
    fn a_child_starts_on_its_cpu_and_the_parent_keeps_its_own_mask() {
        let before = sched_getaffinity(None).unwrap();
        let cpu = (0..CpuSet::MAX_CPU)
            .find(|&cpu| before.is_set(cpu))
            .unwrap();
        let mut child = shell("nproc", &[cpu]);
        assert_eq!(child.read_line(Duration::from_secs(5)).unwrap(), "1");
        assert!(before == sched_getaffinity(None).unwrap());
    }
}
