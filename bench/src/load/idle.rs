//! The idle client: opens many connections from one thread, lets each say what it was told to, and
//! holds them until its standard input closes. A held connection is a descriptor and nothing else.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::conn::{Expected, learn};
use super::reply;
use super::spec::{Answers, LoadError};
use super::wire::{self, Endpoint, ID_BASE, Template, Wire};
use crate::measure::clock;

/// How long one connection may take until it is held.
const WITHIN_NS: u64 = 5_000_000_000;
/// Failures in a row after which the server has clearly had enough.
const FAILURES_MAX: u64 = 100;
/// Connections that are being opened at once.
const OPENING_MAX: usize = 64;
/// Events taken from the kernel at once.
const EVENTS: usize = 256;
/// Bytes of a reply, at most.
const REPLY_BYTES_MAX: usize = 64 * 1024;
/// Longest wait for events while connections open.
const TICK: Duration = Duration::from_millis(100);
/// What each connection asks to echo.
const TEXT: &str = "idle";

/// An order to an idle client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdleSpec {
    /// Server to connect to.
    pub target: SocketAddr,
    /// Path of the endpoint.
    pub path: String,
    /// Connections to hold.
    pub connections: u64,
    /// Addresses to connect from, each for an equal share; one has about 28,000 ports towards one
    /// server. Any address when empty.
    pub sources: Vec<IpAddr>,
    /// What each connection says before it is held.
    pub greeting: Greeting,
}

/// What a connection says before it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Greeting {
    /// Nothing.
    Silent,
    /// One tools/call of 2026-07-28.
    Call,
    /// The handshake of 2025-11-25, which leaves a session.
    Session,
    /// The handshake, then the GET stream of its session, which stays open.
    Stream,
}

/// What an idle client holds: written once when ready and once at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IdleReport {
    /// Connections open now, as far as the server has not closed them.
    pub open: u64,
    /// Connections whose greeting was answered as it should be.
    pub answered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Time from the first attempt to the last connection held, in s.
    pub seconds: f64,
    /// Descriptor limit of the process.
    pub descriptor_limit: u64,
    /// The first failure in words.
    pub first_error: Option<String>,
}

/// Connections held open.
#[derive(Debug)]
pub struct Held {
    pub(super) streams: Vec<TcpStream>,
    pub(super) to: Endpoint,
    /// What later answers look like, learnt from the last greeting.
    pub(super) expected: Option<Expected>,
    report: IdleReport,
}

/// A connection that is not held yet.
struct Opening {
    stream: TcpStream,
    since_ns: u64,
    connected: bool,
    /// Steps of the greeting that are done.
    step: usize,
    session: Option<String>,
    input: Vec<u8>,
}

/// What became of a connection at an event.
enum Next {
    Wait,
    Held(Option<Expected>),
}

/// Opens the connections of an order; failures are counted, and many in a row end the attempt.
///
/// # Errors
/// When epoll refuses its work.
pub fn open(spec: &IdleSpec) -> Result<Held, LoadError> {
    let descriptor_limit = crate::process::raise_descriptor_limit();
    let start_ns = clock::now_ns();
    let mut crowd = Crowd {
        spec,
        epoll: epoll::create(CreateFlags::CLOEXEC).map_err(LoadError::io("create epoll"))?,
        opening: HashMap::new(),
        started: 0,
        failures_in_a_row: 0,
        held: Held {
            streams: Vec::new(),
            to: Endpoint {
                target: spec.target,
                path: spec.path.clone(),
            },
            expected: None,
            report: IdleReport {
                descriptor_limit,
                ..IdleReport::default()
            },
        },
    };
    crowd.gather()?;
    let mut held = crowd.held;
    held.report.seconds = (clock::now_ns() - start_ns) as f64 / 1e9;
    Ok(held)
}

struct Crowd<'a> {
    spec: &'a IdleSpec,
    epoll: OwnedFd,
    opening: HashMap<u64, Opening>,
    started: u64,
    failures_in_a_row: u64,
    held: Held,
}

impl Crowd<'_> {
    fn gather(&mut self) -> Result<(), LoadError> {
        let mut events = [Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; EVENTS];
        let tick = clock::timespec(TICK);
        loop {
            let had_enough = self.failures_in_a_row >= FAILURES_MAX;
            while !had_enough
                && self.started < self.spec.connections
                && self.opening.len() < OPENING_MAX
            {
                self.start();
            }
            if self.opening.is_empty() && (had_enough || self.started == self.spec.connections) {
                return Ok(());
            }
            match epoll::wait(&self.epoll, &mut events[..], Some(&tick)) {
                Ok(0) => self.expire(),
                Ok(ready) => events[..ready]
                    .iter()
                    .for_each(|event| self.on_event(event.data.u64())),
                Err(Errno::INTR) => {}
                Err(e) => return Err(LoadError::io("wait for events")(e)),
            }
        }
    }

    fn start(&mut self) {
        let key = self.started;
        self.started += 1;
        let flags = EventFlags::IN | EventFlags::OUT;
        let started = connect(self.spec, key).and_then(|stream| {
            epoll::add(&self.epoll, &stream, EventData::new_u64(key), flags)?;
            Ok(stream)
        });
        match started {
            Ok(stream) => {
                let opening = Opening {
                    stream,
                    since_ns: clock::now_ns(),
                    connected: false,
                    step: 0,
                    session: None,
                    input: Vec::new(),
                };
                self.opening.insert(key, opening);
            }
            Err(e) => self.fail(&format!("connect an idle connection: {e}")),
        }
    }

    fn on_event(&mut self, key: u64) {
        let Some(opening) = self.opening.get_mut(&key) else {
            return;
        };
        match opening.advance(self.spec.greeting, &self.held.to, &self.epoll, key) {
            Ok(Next::Wait) => {}
            Ok(Next::Held(expected)) => {
                self.held.expected = expected.or(self.held.expected);
                self.failures_in_a_row = 0;
                let silent = self.spec.greeting == Greeting::Silent;
                self.held.report.answered += u64::from(!silent);
                if let Some(opening) = self.opening.remove(&key) {
                    // What arrives on a held stream is nobody's business here.
                    let _ = epoll::delete(&self.epoll, &opening.stream);
                    self.held.streams.push(opening.stream);
                }
            }
            Err(why) => {
                self.opening.remove(&key);
                self.fail(&why);
            }
        }
    }

    /// Gives up what has taken too long.
    fn expire(&mut self) {
        let too_old = clock::now_ns().saturating_sub(WITHIN_NS);
        let before = self.opening.len();
        self.opening.retain(|_, opening| opening.since_ns > too_old);
        for _ in self.opening.len()..before {
            self.fail("wanted a connection open and answered within 5 s, found it waiting");
        }
    }

    fn fail(&mut self, why: &str) {
        self.failures_in_a_row += 1;
        self.held.report.failed += 1;
        let first = &mut self.held.report.first_error;
        first.get_or_insert_with(|| format!("{}: {why}", self.spec.target));
    }
}

fn connect(spec: &IdleSpec, key: u64) -> io::Result<TcpStream> {
    let domain = Domain::for_address(spec.target);
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if !spec.sources.is_empty() {
        let share = spec.connections.div_ceil(spec.sources.len() as u64);
        let source = usize::try_from(key / share.max(1)).unwrap_or(0);
        let source = spec.sources[source.min(spec.sources.len() - 1)];
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&spec.target.into()) {
        Err(e) if e.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(e),
        _ => Ok(socket.into()),
    }
}

impl Opening {
    /// Takes the greeting as far as it goes now.
    fn advance(
        &mut self,
        greeting: Greeting,
        to: &Endpoint,
        epoll: &OwnedFd,
        key: u64,
    ) -> Result<Next, String> {
        if !self.connected {
            let failed = self.stream.take_error();
            if let Some(e) = failed.map_err(|e| e.to_string())? {
                return Err(format!("connect an idle connection: {e}"));
            }
            self.connected = true;
            if greeting == Greeting::Silent {
                return Ok(Next::Held(None));
            }
            epoll::modify(epoll, &self.stream, EventData::new_u64(key), EventFlags::IN)
                .map_err(|e| format!("epoll_ctl: {e}"))?;
            self.say(greeting, to)?;
            return Ok(Next::Wait);
        }
        if !self.receive()? {
            return Ok(Next::Wait);
        }
        let Some(expected) = self.hear(greeting)? else {
            return Ok(Next::Wait);
        };
        self.step += 1;
        if self.step == greeting.steps() {
            return Ok(Next::Held(expected));
        }
        self.input.clear();
        self.say(greeting, to)?;
        Ok(Next::Wait)
    }

    /// Sends the request of the current step: an empty socket takes it whole.
    fn say(&mut self, greeting: Greeting, to: &Endpoint) -> Result<(), String> {
        let template = greeting.request(self.step, to, self.session.as_deref());
        let mut request = Vec::with_capacity(template.len());
        template.stamp(ID_BASE, &mut request);
        self.stream
            .write_all(&request)
            .map_err(|e| format!("send a first request: {e}"))
    }

    /// Whether anything new has come.
    fn receive(&mut self) -> Result<bool, String> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err("wanted a reply, found the connection closed".into()),
            Ok(_) if self.input.len() > REPLY_BYTES_MAX => Err(format!(
                "wanted a reply of at most {REPLY_BYTES_MAX} bytes, found a longer one"
            )),
            Ok(read) => {
                self.input.extend_from_slice(&chunk[..read]);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(format!("wait for a first reply: {e}")),
        }
    }

    /// Judges the reply of the current step: `None` while it is incomplete.
    fn hear(&mut self, greeting: Greeting) -> Result<Option<Option<Expected>>, String> {
        let wanted = if self.step == 1 { 202 } else { 200 };
        if greeting == Greeting::Stream && self.step == 2 {
            // A stream has no length; its head says that it is there.
            return match reply::status(&self.input)? {
                Some(found) if found != wanted => {
                    Err(format!("wanted status {wanted}, found {found}"))
                }
                found => Ok(found.map(|_| None)),
            };
        }
        let Some(reply) = reply::frame(&self.input)? else {
            return Ok(None);
        };
        if greeting == Greeting::Call {
            let expected = learn(Wire::Modern, Answers::Own, &self.input, reply, TEXT)?;
            return Ok(Some(Some(expected)));
        }
        if reply.status != wanted {
            return Err(format!("wanted status {wanted}, found {}", reply.status));
        }
        if self.step == 0 {
            self.session = reply::header(&self.input, "mcp-session-id");
        }
        Ok(Some(None))
    }
}

impl Greeting {
    /// Requests that it takes.
    fn steps(self) -> usize {
        match self {
            Self::Silent => 0,
            Self::Call => 1,
            Self::Session => 2,
            Self::Stream => 3,
        }
    }

    fn request(self, step: usize, to: &Endpoint, session: Option<&str>) -> Template {
        match (self, step) {
            (Self::Call | Self::Silent, _) => call(to),
            (_, 0) => wire::initialize(to),
            (_, 1) => wire::initialized(to, session),
            _ => wire::stream(to, session),
        }
    }
}

/// The call that connections make.
pub(super) fn call(to: &Endpoint) -> Template {
    wire::call(Wire::Modern, to, TEXT, None)
}

impl Held {
    /// Counts what is still open, by a look into each socket.
    #[must_use]
    pub fn report(&self) -> IdleReport {
        let open = self.streams.iter().filter(|stream| is_open(stream)).count() as u64;
        IdleReport {
            open,
            ..self.report.clone()
        }
    }
}

fn is_open(stream: &TcpStream) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    match rustix::net::recv(stream, &mut [0_u8; 1], flags) {
        Ok((read, _)) => read > 0,
        Err(e) => e == Errno::AGAIN,
    }
}
