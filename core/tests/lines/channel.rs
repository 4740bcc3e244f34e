//! A channel of lines to a server: a child process behind pipes, or a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_ninefold");
/// The longest that any of these tests waits for one thing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing must come for a test to believe that nothing will.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// One end of a channel.
pub(crate) struct Channel<W> {
    pub(crate) write: Option<W>,
    lines: Receiver<String>,
}

impl<W: Write> Channel<W> {
    /// Reads `read` on a thread of its own, as fast as it comes.
    pub(crate) fn new(write: W, read: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(read).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            write: Some(write),
            lines,
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let write = self.write.as_mut().expect("an open channel");
        write.write_all(bytes).expect("room");
        write.flush().expect("room");
    }

    pub(crate) fn say(&mut self, message: &Value) {
        self.write(format!("{message}\n").as_bytes());
    }

    /// The next message. Whatever comes must be JSON, one object or array a line.
    pub(crate) fn hear(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Whether nothing comes for a while; the channel may end meanwhile.
    pub(crate) fn is_silent(&self) -> bool {
        self.lines.recv_timeout(SILENCE).is_err()
    }

    /// Waits for the end of the channel; how many lines came until then.
    pub(crate) fn drain(&self) -> usize {
        let mut lines = 0;
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(_) => lines += 1,
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(RecvTimeoutError::Timeout) => panic!("the channel did not end"),
            }
        }
    }

    /// Asks, and takes the next message for the answer.
    pub(crate) fn ask(&mut self, message: &Value) -> Value {
        self.say(message);
        self.hear()
    }

    /// The handshake of the legacy era.
    pub(crate) fn initialize(&mut self, version: &str, capabilities: &Value) -> Value {
        let answer = self.ask(
            &json!({"jsonrpc": "2.0", "id": "init", "method": "initialize",
            "params": {"protocolVersion": version, "capabilities": capabilities,
                "clientInfo": {"name": "t", "version": "1"}}}),
        );
        self.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        answer
    }
}

/// A request of the legacy era.
pub(crate) fn legacy(id: impl Into<Value>, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params})
}

/// A request of the modern era.
pub(crate) fn modern(id: impl Into<Value>, method: &str, params: Value) -> Value {
    let mut message = legacy(id, method, params);
    message["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    message
}

/// A request of either era.
pub(crate) fn request(is_legacy: bool, id: impl Into<Value>, method: &str, params: Value) -> Value {
    if is_legacy {
        legacy(id, method, params)
    } else {
        modern(id, method, params)
    }
}

pub(crate) fn echo(text: &str) -> Value {
    json!({"name": "echo", "arguments": {"text": text}})
}

pub(crate) fn sleep(ms: u64) -> Value {
    json!({"name": "sleep", "arguments": {"ms": ms}})
}

/// `ninefold serve --stdio`; killed when dropped.
pub(crate) struct Process {
    pub(crate) channel: Channel<ChildStdin>,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail for a process that has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let (mut child, log) = spawn(flags);
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let channel = Channel::new(input.expect("stdin"), output.expect("stdout"));
        Self {
            channel,
            child,
            log,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            let log = &self.log;
            assert!(start.elapsed() < PATIENCE, "it did not end; log: {log:?}");
            std::thread::sleep(Duration::from_millis(5));
        };
        let log = self.log.lock().expect("a log").clone();
        (status, log)
    }
}

/// Starts the server, and gathers its log.
pub(crate) fn spawn(flags: &[&str]) -> (Child, Arc<Mutex<String>>) {
    let mut child = Command::new(BINARY)
        .args(["serve", "--stdio", "--log", "debug"])
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let log = Arc::<Mutex<String>>::default();
    let (errors, into) = (child.stderr.take().expect("stderr"), log.clone());
    std::thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            let mut log = into.lock().expect("a log");
            log.push_str(&line);
            log.push('\n');
        }
    });
    (child, log)
}
