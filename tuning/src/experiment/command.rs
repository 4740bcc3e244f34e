//! One run of a program: its words, a bound on its time and on what it says, and nothing of it left
//! running afterwards.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

use super::Deadline;

/// Longest answer that is read: ten times the largest report of the bench.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How much of a program's complaints is shown.
const COMPLAINT_BYTES_MAX: usize = 600;
/// How long a wait goes on before it looks whether all is to end.
const LOOK_UP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// How long to wait between two looks at what nothing tells of.
pub(super) const PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// A program, and how long it may take.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program and its arguments; never empty.
    words: Vec<String>,
    /// What is added to its environment.
    pub environment: BTreeMap<String, String>,
    /// How long one run may take.
    pub limit: Duration,
    /// Exit codes with which its answer counts.
    pub accepted: Vec<i32>,
}

/// Why a run gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No words.
    #[error("wanted a command, found {found:?} (unbalanced quotes, or nothing); correct it")]
    Words {
        /// What was given.
        found: String,
    },
    /// It could not be started.
    #[error("could not start `{program}`: {source}; give the path of a program")]
    Start {
        /// Program.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// It could not be waited for.
    #[error("waiting for `{program}`: {source}")]
    Wait {
        /// Program.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// It failed.
    #[error("`{program}` failed ({status}): {said}; run it by hand until it ends well")]
    Failed {
        /// Program.
        program: String,
        /// How it ended.
        status: String,
        /// The end of its standard error, else of its standard output.
        said: String,
    },
    /// It took too long.
    #[error("wanted `{program}` to end within {limit:?}, ended it; give it longer, or less to do")]
    TooLong {
        /// Program.
        program: String,
        /// The bound.
        limit: Duration,
    },
    /// It said too much.
    #[error("wanted at most {ANSWER_BYTES_MAX} bytes from `{program}`, found more")]
    TooMuch {
        /// Program.
        program: String,
    },
    /// We are to end.
    #[error("interrupted")]
    Interrupted,
}

/// The words of a command line, as a shell splits them.
///
/// # Errors
/// When there is none, or a quote is not closed.
pub fn words(line: &str) -> Result<Vec<String>, CommandError> {
    match shlex::split(line) {
        Some(words) if !words.is_empty() => Ok(words),
        _ => Err(CommandError::Words {
            found: line.to_owned(),
        }),
    }
}

impl Program {
    /// A program from the words of a command line.
    ///
    /// # Errors
    /// Those of [`words`].
    pub fn new(line: &str, limit: Duration) -> Result<Self, CommandError> {
        Ok(Self::of(words(line)?, limit))
    }

    /// A program whose words are known; without any there is nothing to start.
    pub fn of(words: Vec<String>, limit: Duration) -> Self {
        Self {
            words,
            environment: BTreeMap::new(),
            limit,
            accepted: vec![0],
        }
    }

    /// The program and its arguments.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    fn name(&self) -> String {
        self.words.first().cloned().unwrap_or_default()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.name());
        command.args(self.words.iter().skip(1));
        command.envs(&self.environment);
        // A group of its own: Ctrl-C is for us, and all that it started ends with it.
        command.process_group(0).stdin(Stdio::null());
        command
    }

    /// Starts it to go on in the background; it ends when this is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn background(&self) -> Result<Running, CommandError> {
        let mut command = self.command();
        // What it complains of is for whoever looks.
        command.stdout(Stdio::null());
        self.start(command)
    }

    fn start(&self, mut command: Command) -> Result<Running, CommandError> {
        let child = command.spawn().map_err(|source| CommandError::Start {
            program: self.name(),
            source,
        })?;
        Ok(Running { child })
    }

    /// Runs it and answers with its standard output; ends it when `stop` is set.
    ///
    /// # Errors
    /// [`CommandError`]; nothing of its process group is left running.
    pub fn run(&self, stop: &AtomicBool) -> Result<String, CommandError> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = self.start(command)?;
        let (status, answer, complaint) = self.follow(&mut running, stop)?;
        match status.code() {
            Some(code) if self.accepted.contains(&code) => Ok(answer),
            _ => Err(CommandError::Failed {
                program: self.name(),
                status: status.to_string(),
                said: match (complaint.trim(), last(&answer).trim()) {
                    ("", "") => "it said nothing".to_owned(),
                    ("", said) | (said, _) => said.to_owned(),
                },
            }),
        }
    }

    fn follow(
        &self,
        running: &mut Running,
        stop: &AtomicBool,
    ) -> Result<(ExitStatus, String, String), CommandError> {
        let failed = |source: io::Error| CommandError::Wait {
            program: self.name(),
            source,
        };
        let deadline = Deadline::after(self.limit).map_err(failed)?;
        let child = &mut running.child;
        let pid = pidfd_open(Pid::from_child(child), PidfdFlags::empty());
        let pid = pid.map_err(|error| failed(error.into()))?;
        let mut answer = Pipe::new(child.stdout.take()).map_err(failed)?;
        let mut complaint = Pipe::new(child.stderr.take()).map_err(failed)?;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(CommandError::Interrupted);
            }
            if deadline.is_over() {
                return Err(CommandError::TooLong {
                    program: self.name(),
                    limit: self.limit,
                });
            }
            let ended = wait(&pid, [&answer, &complaint]).map_err(failed)?;
            answer.drain().map_err(failed)?;
            complaint.drain().map_err(failed)?;
            complaint.keep_last(COMPLAINT_BYTES_MAX);
            if answer.held.len() > ANSWER_BYTES_MAX {
                return Err(CommandError::TooMuch {
                    program: self.name(),
                });
            }
            if ended {
                let status = child.wait().map_err(failed)?;
                return Ok((status, answer.text(), complaint.text()));
            }
        }
    }
}

/// The end of what a program said, which tells why it ended.
fn last(text: &str) -> &str {
    let from = text.len().saturating_sub(COMPLAINT_BYTES_MAX);
    let from = (from..text.len()).find(|at| text.is_char_boundary(*at));
    from.map_or("", |from| &text[from..])
}

/// Waits a little for words or for the end, and answers whether it is the end.
fn wait(pid: &impl AsFd, pipes: [&Pipe; 2]) -> io::Result<bool> {
    let mut fds = vec![PollFd::new(pid, PollFlags::IN)];
    let open = pipes.into_iter().filter_map(|pipe| pipe.source.as_ref());
    fds.extend(open.map(|source| PollFd::new(source, PollFlags::IN)));
    match poll(&mut fds, Some(&LOOK_UP)) {
        // A signal: the caller looks what it was.
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(!fds[0].revents().is_empty()),
        Err(error) => Err(error.into()),
    }
}

/// A running program; dropping it ends its whole process group.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end, and waits until it has or `limit` has passed.
    ///
    /// A node that is killed leaves its port to a ring that the kernel takes down later.
    pub fn end(mut self, limit: Duration) {
        let pid = Pid::from_child(&self.child);
        let asked = kill_process(pid, Signal::TERM);
        if let (Ok(()), Ok(deadline)) = (asked, Deadline::after(limit)) {
            while self.ended().is_none() && !deadline.is_over() {
                // Nothing to poll: a sleep that a signal ends.
                poll(&mut [], Some(&PAUSE)).ok();
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already, or what it left behind.
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
        self.child.wait().ok();
    }
}

/// What a child says, read without waiting for it.
struct Pipe {
    source: Option<Box<dyn ReadFd>>,
    held: Vec<u8>,
}

trait ReadFd: Read + AsFd {}

impl<T: Read + AsFd> ReadFd for T {}

impl Pipe {
    fn new(source: Option<impl ReadFd + 'static>) -> io::Result<Self> {
        if let Some(source) = &source {
            fcntl_setfl(source, fcntl_getfl(source)? | OFlags::NONBLOCK)?;
        }
        Ok(Self {
            source: source.map(|source| Box::new(source) as Box<dyn ReadFd>),
            held: Vec::new(),
        })
    }

    /// Takes what is there, up to the bound of an answer.
    fn drain(&mut self) -> io::Result<()> {
        let mut some = [0; 16 << 10];
        while let Some(source) = &mut self.source
            && self.held.len() <= ANSWER_BYTES_MAX
        {
            match source.read(&mut some) {
                Ok(0) => self.source = None,
                Ok(count) => self.held.extend_from_slice(&some[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn keep_last(&mut self, count: usize) {
        let beyond = self.held.len().saturating_sub(count);
        self.held.drain(..beyond);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.held).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str, limit: Duration) -> Result<String, CommandError> {
        Program::new(line, limit)?.run(&AtomicBool::new(false))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn an_answer_is_what_it_said_and_a_failure_what_it_complained_of() {
        assert_eq!(run("sh -c 'echo 7; echo no >&2'", LONG).unwrap(), "7\n");
        let error = run("sh -c 'echo 7; echo why >&2; exit 9'", LONG).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("why") && error.contains('9'), "{error}");
        assert!(matches!(
            run("/no/such/program", LONG),
            Err(CommandError::Start { .. })
        ));
        for line in ["", "sh 'open"] {
            assert!(matches!(run(line, LONG), Err(CommandError::Words { .. })));
        }
    }

    #[test]
    fn neither_a_slow_nor_an_endless_nor_an_interrupted_one_holds_us() {
        let slow = run("sleep 600", Duration::from_millis(50));
        assert!(matches!(slow, Err(CommandError::TooLong { .. })));
        assert!(matches!(
            run("yes", LONG),
            Err(CommandError::TooMuch { .. })
        ));
        let program = Program::new("sleep 600", LONG).unwrap();
        let stopped = program.run(&AtomicBool::new(true));
        assert!(matches!(stopped, Err(CommandError::Interrupted)));
        // What it leaves behind holds its output open; we do not wait for that.
        assert_eq!(run("sh -c 'sleep 600 & echo 1'", LONG).unwrap(), "1\n");
    }
}
