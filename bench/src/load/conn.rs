//! One keep-alive connection of the load client: its send buffer, what is in flight, its replies.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use serde_json::Value;

use super::reply::{self, Reply};
use super::spec::{Answers, LoadError, LoadSpec};
use super::wire::{self, Endpoint, ID_BASE, Template, Wire};
use crate::measure::clock;

/// Read buffer of a connection; a reply must fit.
const READ_BYTES: usize = 64 * 1024;
/// How long the handshake waits for one reply.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    /// Number of the trial in its schedule.
    pub(crate) index: u64,
    /// Intended start, monotonic ns.
    pub(crate) intended_ns: u64,
    /// Handed to the kernel at, monotonic ns; zero until then.
    pub(crate) sent_ns: u64,
}

/// What every correct reply looks like, learnt from one that was checked in full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    wire: Wire,
    answers: Answers,
    body_bytes: usize,
}

/// How a reply compares with what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Complete and correct.
    Correct,
    /// 429 or 503.
    Shed,
    /// Anything else, in words.
    Wrong(String),
}

/// What is left to do for a connection after a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Everything is with the kernel.
    All,
    /// The socket is full: wait until it is writable.
    Blocked,
}

/// One connection.
pub(crate) struct Conn {
    pub(crate) stream: TcpStream,
    template: Template,
    expected: Expected,
    out: Vec<u8>,
    out_at: usize,
    input: Box<[u8]>,
    filled: usize,
    flights: VecDeque<Flight>,
    stamped: usize,
    pub(crate) open: bool,
    pub(crate) dirty: bool,
    pub(crate) awaits_writable: bool,
}

impl Conn {
    /// Connects, shakes hands where the era wants it, and checks one reply in full.
    pub(crate) fn open(spec: &LoadSpec) -> Result<Self, LoadError> {
        let to = Endpoint {
            target: spec.target,
            path: spec.path.clone(),
        };
        let mut stream = TcpStream::connect_timeout(&spec.target, HANDSHAKE_WITHIN)
            .map_err(LoadError::io("connect to the server under load"))?;
        let setup = || -> io::Result<()> {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(HANDSHAKE_WITHIN))?;
            stream.set_write_timeout(Some(HANDSHAKE_WITHIN))
        };
        setup().map_err(LoadError::io("set socket options"))?;
        let session = match spec.wire {
            Wire::Legacy => shake_hands(&mut stream, &to)?,
            Wire::Modern | Wire::Initialize | Wire::Get => None,
        };
        let text = wire::padding(spec.wire, spec.message_bytes);
        let template = wire::call(spec.wire, &to, &text, session.as_deref());
        let (bytes, reply) = exchange(&mut stream, &to, &template)?;
        let expected = learn(spec.wire, spec.answers, &bytes, reply, &text).map_err(|reason| {
            LoadError::Handshake {
                target: to.target,
                reason,
            }
        })?;
        stream
            .set_nonblocking(true)
            .map_err(LoadError::io("make a socket non-blocking"))?;
        Ok(Self {
            stream,
            out: Vec::with_capacity(template.len() * spec.pipeline),
            template,
            expected,
            out_at: 0,
            input: vec![0; READ_BYTES].into_boxed_slice(),
            filled: 0,
            flights: VecDeque::with_capacity(spec.pipeline),
            stamped: 0,
            open: true,
            dirty: false,
            awaits_writable: false,
        })
    }

    /// Puts one request into the send buffer.
    #[inline]
    pub(crate) fn push(&mut self, index: u64, intended_ns: u64) {
        self.template.stamp(ID_BASE + index, &mut self.out);
        self.flights.push_back(Flight {
            index,
            intended_ns,
            sent_ns: 0,
        });
    }

    /// Requests in flight or waiting to be written.
    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Hands the send buffer to the kernel, stamping every request in it just before.
    pub(crate) fn flush(&mut self) -> Result<Flushed, Errno> {
        if self.stamped < self.flights.len() {
            let now = clock::now_ns();
            self.flights
                .range_mut(self.stamped..)
                .for_each(|flight| flight.sent_ns = now);
            self.stamped = self.flights.len();
        }
        while self.out_at < self.out.len() {
            match rustix::net::send(&self.stream, &self.out[self.out_at..], SendFlags::NOSIGNAL) {
                Ok(written) => self.out_at += written,
                Err(Errno::AGAIN) => return Ok(Flushed::Blocked),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        self.out_at = 0;
        Ok(Flushed::All)
    }

    /// Reads once and hands every complete reply to `done`.
    ///
    /// # Errors
    /// Says why the connection cannot be used any more.
    #[inline]
    pub(crate) fn read(&mut self, mut done: impl FnMut(Flight, Outcome)) -> Result<(), String> {
        let received = match rustix::net::recv(
            &self.stream,
            &mut self.input[self.filled..],
            RecvFlags::empty(),
        ) {
            Ok((0, _)) => return Err("the server closed the connection".into()),
            Ok((received, _)) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(e) => return Err(format!("recv: {e}")),
        };
        self.filled += received;
        let mut at = 0;
        while let Some(reply) = reply::frame(&self.input[at..self.filled])? {
            let Some(flight) = self.flights.pop_front() else {
                return Err("the server sent a reply that nothing asked for".into());
            };
            self.stamped = self.stamped.saturating_sub(1);
            let body = &self.input[at + reply.body_at..at + reply.end];
            done(
                flight,
                self.expected
                    .judge(reply.status, body, ID_BASE + flight.index),
            );
            if reply.closes {
                return Err("the server asked to close the connection".into());
            }
            at += reply.end;
        }
        if at > 0 {
            self.input.copy_within(at..self.filled, 0);
            self.filled -= at;
        }
        if self.filled == self.input.len() {
            return Err(format!(
                "wanted a reply of at most {READ_BYTES} bytes, found a longer one"
            ));
        }
        Ok(())
    }

    /// Gives up the connection and returns what was in flight on it.
    pub(crate) fn abandon(&mut self) -> impl Iterator<Item = Flight> + '_ {
        self.open = false;
        self.stamped = 0;
        self.flights.drain(..)
    }
}

impl Expected {
    #[inline]
    pub(crate) fn judge(self, status: u16, body: &[u8], id: u64) -> Outcome {
        match status {
            200 if self.wire == Wire::Get => Outcome::Correct,
            200 if self.answers == Answers::Prepared && body.len() == self.body_bytes => {
                Outcome::Correct
            }
            200 => match wire::find_id(body) {
                Some(found) if found == id && body.len() == self.body_bytes => Outcome::Correct,
                found => Outcome::Wrong(format!(
                    "wanted id {id} in {} bytes, found id {found:?} in {} bytes",
                    self.body_bytes,
                    body.len()
                )),
            },
            429 | 503 => Outcome::Shed,
            _ => Outcome::Wrong(format!("wanted status 200, found {status}")),
        }
    }
}

/// Checks one reply in full; all later ones must have its length, because ids do not change
/// theirs.
pub(crate) fn learn(
    wire: Wire,
    answers: Answers,
    bytes: &[u8],
    reply: Reply,
    text: &str,
) -> Result<Expected, String> {
    let body = &bytes[reply.body_at..reply.end];
    if reply.status != 200 {
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]);
        return Err(format!(
            "wanted status 200, found {}: {shown}",
            reply.status
        ));
    }
    if wire != Wire::Get && answers == Answers::Own {
        let message: Value = serde_json::from_slice(body)
            .map_err(|e| format!("wanted one JSON object as the reply, found {e}"))?;
        let result = &message["result"];
        let as_wanted = match wire {
            Wire::Initialize => result["protocolVersion"] == "2025-11-25",
            _ => result["content"][0]["text"] == text,
        };
        if message["id"] != ID_BASE || !as_wanted {
            let mut shown = message.to_string();
            shown.truncate(shown.floor_char_boundary(300));
            return Err(format!(
                "wanted {wire:?} answered under id {ID_BASE}, found {shown}"
            ));
        }
    }
    Ok(Expected {
        wire,
        answers,
        body_bytes: body.len(),
    })
}

/// initialize, then notifications/initialized; the session id if the server gave one.
fn shake_hands(stream: &mut TcpStream, to: &Endpoint) -> Result<Option<String>, LoadError> {
    let fail = |reason: String| LoadError::Handshake {
        target: to.target,
        reason,
    };
    let (bytes, reply) = exchange(stream, to, &wire::initialize(to))?;
    if reply.status != 200 {
        return Err(fail(format!(
            "wanted 200 to initialize, found {}",
            reply.status
        )));
    }
    let session = reply::header(&bytes, "mcp-session-id");
    let (_, reply) = exchange(stream, to, &wire::initialized(to, session.as_deref()))?;
    if reply.status != 202 {
        return Err(fail(format!(
            "wanted 202 to initialized, found {}",
            reply.status
        )));
    }
    Ok(session)
}

/// One blocking request and its reply.
pub(crate) fn exchange(
    stream: &mut TcpStream,
    to: &Endpoint,
    template: &Template,
) -> Result<(Vec<u8>, Reply), LoadError> {
    let mut request = Vec::with_capacity(template.len());
    template.stamp(ID_BASE, &mut request);
    stream
        .write_all(&request)
        .map_err(LoadError::io("send a first request"))?;
    read_reply(stream, to)
}

/// Waits for one reply.
pub(crate) fn read_reply(
    stream: &mut TcpStream,
    to: &Endpoint,
) -> Result<(Vec<u8>, Reply), LoadError> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let framed = reply::frame(&bytes).map_err(|reason| LoadError::Handshake {
            target: to.target,
            reason,
        })?;
        if let Some(reply) = framed {
            return Ok((bytes, reply));
        }
        let received = stream
            .read(&mut chunk)
            .map_err(LoadError::io("wait for a first reply"))?;
        if received == 0 {
            let reason = "wanted a reply, found the connection closed".into();
            return Err(LoadError::Handshake {
                target: to.target,
                reason,
            });
        }
        bytes.extend_from_slice(&chunk[..received]);
    }
}
