//! A server as a child process: one line a message.

use std::process::Stdio as Pipe;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::error::ClientError;
use super::message::read;
use super::peer::Peer;

pub(crate) struct Stdio {
    input: Mutex<Option<ChildStdin>>,
    child: Mutex<Child>,
    goodbye: Duration,
}

impl Stdio {
    /// Starts the program; its messages go to the peer from now on.
    pub(crate) fn start(
        command: &[String],
        peer: &Arc<Peer>,
    ) -> Result<(Arc<Self>, Option<JoinHandle<()>>), ClientError> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(ClientError::Target(String::new()));
        };
        let started = Command::new(program)
            .args(arguments)
            .stdin(Pipe::piped())
            .stdout(Pipe::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child =
            started.map_err(|error| ClientError::Unreachable(format!("`{program}`: {error}")))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let stdio = Arc::new(Self {
            input: Mutex::new(input),
            child: Mutex::new(child),
            goodbye: Duration::from_millis(peer.options.limits.goodbye_ms),
        });
        let reader = output.map(|output| tokio::spawn(listen(output, peer.clone(), stdio.clone())));
        Ok((stdio, reader))
    }

    // [mcp:stdio-lines] [mcp:stdio-client-clean]
    pub(crate) async fn write(&self, mut message: Vec<u8>) -> Result<(), ClientError> {
        message.push(b'\n');
        let mut input = self.input.lock().await;
        let Some(pipe) = input.as_mut() else {
            return Err(ClientError::Closed);
        };
        let written = pipe.write_all(&message).await;
        written.map_err(|_| ClientError::Closed)
    }

    /// Closes the child's input and waits; then asks it to end, then makes it end.
    pub(crate) async fn close(&self) {
        // Whoever is stuck in a write to a child that does not read is not waited for.
        if let Ok(mut input) = timeout(self.goodbye, self.input.lock()).await {
            input.take();
        }
        let mut child = self.child.lock().await;
        if timeout(self.goodbye, child.wait()).await.is_ok() {
            return;
        }
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // A child that has ended meanwhile needs no signal.
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(self.goodbye, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }
}

/// Reads the child's lines until it ends or breaks the rules; then every request fails.
async fn listen(output: ChildStdout, peer: Arc<Peer>, stdio: Arc<Stdio>) {
    let mut output = BufReader::new(output);
    let mut strays = 0;
    // They end with this function, and so does what they write.
    let mut answers = JoinSet::new();
    let answers_max = 4 * peer.options.limits.questions_count;
    let end = 'read: loop {
        match line(&mut output, peer.options.limits.message_bytes).await {
            Ok(Some(line)) if line.trim_ascii().is_empty() => {}
            Ok(Some(line)) => match read(&line) {
                Ok(messages) => {
                    strays = 0;
                    for question in messages.into_iter().filter_map(|it| peer.take(it)) {
                        // A question may take long; the lines after it do not wait.
                        while answers.try_join_next().is_some() {}
                        if answers.len() >= answers_max {
                            break 'read ClientError::TooMuch("questions_count");
                        }
                        let (peer, stdio) = (peer.clone(), stdio.clone());
                        answers.spawn(async move {
                            let answer = peer.answer(question).await;
                            // A child that is gone is noticed by the reader.
                            let _ = stdio.write(answer).await;
                        });
                    }
                }
                Err(error) => {
                    // Some servers print a greeting.
                    strays += 1;
                    if strays > peer.options.limits.stray_line_count {
                        break error;
                    }
                }
            },
            Ok(None) => break ClientError::Closed,
            Err(error) => break error,
        }
    };
    peer.end(&end);
}

/// The next line without its end; `None` when the output is at its end.
async fn line(
    output: &mut (impl AsyncBufRead + Unpin),
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, ClientError> {
    let mut line = Vec::new();
    loop {
        let Ok(bytes) = output.fill_buf().await else {
            return Err(ClientError::Closed);
        };
        if bytes.is_empty() {
            return Ok((!line.is_empty()).then_some(line));
        }
        let end = memchr::memchr(b'\n', bytes);
        line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
        let used = end.map_or(bytes.len(), |end| end + 1);
        output.consume(used);
        if line.len() > bytes_max {
            return Err(ClientError::TooMuch("message_bytes"));
        }
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_the_last_needs_no_end() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut output = &b"one\n\ntwo"[..];
            assert_eq!(line(&mut output, 8).await, Ok(Some(b"one".to_vec())));
            assert_eq!(line(&mut output, 8).await, Ok(Some(Vec::new())));
            assert_eq!(line(&mut output, 8).await, Ok(Some(b"two".to_vec())));
            assert_eq!(line(&mut output, 8).await, Ok(None));
            let mut output = &b"too long\n"[..];
            let found = line(&mut output, 7).await;
            assert_eq!(found, Err(ClientError::TooMuch("message_bytes")));
        });
    }
}
