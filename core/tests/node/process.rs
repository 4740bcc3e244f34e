//! The node as a process: its output, its signals, its exit code, what the kernel says of it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::ops::Deref;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::target::{Target, eventually};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_ninefold");
/// Free ports, and a line in the log for every refusal.
pub(crate) const ON_FREE_PORTS: [&str; 7] = [
    "serve",
    "--listen",
    "127.0.0.1:0",
    "--admin",
    "127.0.0.1:0",
    "--log",
    "debug",
];

/// A running node; killed when dropped.
pub(crate) struct Process {
    target: Target,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Deref for Process {
    type Target = Target;

    fn deref(&self) -> &Target {
        &self.target
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail for a process that has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub(crate) fn serve(flags: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command.args(ON_FREE_PORTS).args(flags);
        Self::spawn(&mut command)
    }

    /// Starts `command`, which must end up as a serving node.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (stderr, into) = (child.stderr.take().expect("stderr"), log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                into.lock().expect("a log").push(line);
            }
        });
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let mut address = |before: &str, after: &str| -> SocketAddr {
            let line = lines.next().and_then(Result::ok);
            let line = line.unwrap_or_else(|| panic!("no address; log: {:#?}", log.lock()));
            let rest = line
                .strip_prefix(before)
                .and_then(|rest| rest.split_once(after));
            rest.and_then(|(address, _)| address.parse().ok())
                .unwrap_or_else(|| panic!("{line}"))
        };
        let mcp = address("listening on http://", "/mcp");
        let admin = address("admin on http://", " ");
        Self {
            target: Target { mcp, admin },
            child,
            log,
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a running process");
    }

    /// Waits for the end; the exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        let ended = eventually(|| {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        ended.unwrap_or_else(|()| panic!("the node does not end"));
        status.and_then(|status| status.code())
    }

    /// Lines of the log so far that hold all of `words`.
    pub(crate) fn logged(&self, words: &[&str]) -> usize {
        let log = self.log.lock().expect("a log");
        log.iter()
            .filter(|line| words.iter().all(|word| line.contains(word)))
            .count()
    }

    /// Waits until more than `before` lines of the log hold all of `words`.
    pub(crate) fn logs(&self, words: &[&str], before: usize) {
        eventually(|| self.logged(words) > before)
            .unwrap_or_else(|()| panic!("no line with {words:?} in {:#?}", self.log.lock()));
    }

    /// Descriptors that the process holds.
    pub(crate) fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder)
            .expect("a running process")
            .count()
    }
}

/// How a process that should not serve has ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `command` to its end, which must come within ten seconds.
pub(crate) fn run(command: &mut Command) -> Ended {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("a process");
    let until = Instant::now() + Duration::from_secs(10);
    while child.try_wait().expect("a child").is_none() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Without effect on one that has ended; one that serves shows itself by its output.
    let _ = child.kill();
    let code = child.wait().expect("a child").code();
    let text = |mut from: Box<dyn Read>| {
        let mut text = String::new();
        from.read_to_string(&mut text).expect("text");
        text
    };
    let stdout = text(Box::new(child.stdout.take().expect("stdout")));
    let stderr = text(Box::new(child.stderr.take().expect("stderr")));
    Ended {
        code,
        stdout,
        stderr,
    }
}
