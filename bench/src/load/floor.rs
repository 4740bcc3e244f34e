//! The floor of HTTP: a server that counts the bytes of its requests and answers each with the same
//! prepared bytes. What a call costs there is what the kernel costs, and no server is below it.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use ninefold_runtime::floor;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::SendFlags;
use serde::{Deserialize, Serialize};

use super::null_target::frame;
use super::spec::LoadError;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;
/// Bytes received at once.
const READ_BYTES: usize = 64 * 1024;
/// The keys of what is no connection.
const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;

/// What a floor is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FloorSpec {
    /// The mechanism.
    pub by: Mechanism,
    /// What every request is answered with, head and body.
    pub answer: String,
}

/// How a floor hears of its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mechanism {
    /// Readiness, a call to receive and one to send.
    Epoll,
    /// The operations of a shard's ring, and nothing above them.
    Ring,
}

/// What a floor did in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloorReport {
    /// Connections accepted.
    pub connections: u64,
    /// Requests answered.
    pub requests: u64,
}

/// Serves on a loopback port that `ready` is told, until `stop` ends or has something to read.
///
/// # Errors
/// When a socket, epoll or the ring cannot be set up, or waiting for events fails.
pub fn serve(
    spec: &FloorSpec,
    stop: &impl AsFd,
    ready: impl FnOnce(SocketAddr),
) -> Result<FloorReport, LoadError> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .map_err(LoadError::io("bind the floor"))?;
    // A second listen only lengthens the queue: a thousand connections come at once.
    rustix::net::listen(&listener, 4096).map_err(LoadError::io("listen"))?;
    // Accepted sockets inherit it.
    rustix::net::sockopt::set_tcp_nodelay(&listener, true)
        .map_err(LoadError::io("set TCP_NODELAY"))?;
    let address = listener
        .local_addr()
        .map_err(LoadError::io("ask for the bound address"))?;
    match spec.by {
        Mechanism::Ring => {
            ready(address);
            let served = floor::serve(&listener, stop, spec.answer.as_bytes(), request_len);
            let served = served.map_err(|e| LoadError::Spec(e.to_string()))?;
            Ok(FloorReport {
                connections: served.connections,
                requests: served.requests,
            })
        }
        Mechanism::Epoll => {
            let mut floor = Floor::new(listener, stop, spec.answer.as_bytes())?;
            ready(address);
            floor.serve()
        }
    }
}

/// The length of the first request in `bytes`; all that follow have the same.
fn request_len(bytes: &[u8]) -> Option<usize> {
    frame(bytes).ok()?.map(|request| request.end)
}

struct Floor {
    epoll: OwnedFd,
    listener: TcpListener,
    answer: Vec<u8>,
    peers: Vec<Option<Peer>>,
    input: Box<[u8]>,
    report: FloorReport,
}

struct Peer {
    stream: TcpStream,
    request_len: usize,
    /// Bytes of a request that is not whole yet.
    gathered: usize,
}

impl Floor {
    fn new(listener: TcpListener, stop: &impl AsFd, answer: &[u8]) -> Result<Self, LoadError> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(LoadError::io("create epoll"))?;
        listener
            .set_nonblocking(true)
            .map_err(LoadError::io("make the floor non-blocking"))?;
        let watch = |fd: &dyn AsFd, key| {
            epoll::add(&epoll, fd, EventData::new_u64(key), EventFlags::IN)
                .map_err(LoadError::io("watch a socket"))
        };
        watch(&listener, LISTENER)?;
        watch(stop, STOP)?;
        Ok(Self {
            epoll,
            listener,
            answer: answer.to_vec(),
            peers: Vec::new(),
            input: vec![0; READ_BYTES].into_boxed_slice(),
            report: FloorReport::default(),
        })
    }

    fn serve(&mut self) -> Result<FloorReport, LoadError> {
        let mut events = [Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; EVENTS];
        loop {
            let ready = match epoll::wait(&self.epoll, &mut events[..], None) {
                Ok(ready) => ready,
                Err(Errno::INTR) => continue,
                Err(e) => return Err(LoadError::io("wait for events")(e)),
            };
            for event in &events[..ready] {
                match event.data.u64() {
                    STOP => return Ok(self.report),
                    LISTENER => self.accept()?,
                    key => self.on_readable(usize::try_from(key).unwrap_or(usize::MAX)),
                }
            }
        }
    }

    fn accept(&mut self) -> Result<(), LoadError> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream
                .set_nonblocking(true)
                .map_err(LoadError::io("make a socket non-blocking"))?;
            let key = EventData::new_u64(self.peers.len() as u64);
            epoll::add(&self.epoll, &stream, key, EventFlags::IN)
                .map_err(LoadError::io("watch a connection"))?;
            self.report.connections += 1;
            self.peers.push(Some(Peer {
                stream,
                request_len: 0,
                gathered: 0,
            }));
        }
        Ok(())
    }

    fn on_readable(&mut self, key: usize) {
        let Some(slot) = self.peers.get_mut(key) else {
            return;
        };
        let answered = match slot {
            Some(peer) => peer.answer(&mut self.input, &self.answer),
            None => return,
        };
        match answered {
            Ok(requests) => self.report.requests += requests,
            Err(()) => *slot = None,
        }
    }
}

impl Peer {
    /// Receives once and answers what is whole now; the number of requests, or the end.
    fn answer(&mut self, input: &mut [u8], answer: &[u8]) -> Result<u64, ()> {
        let received = match (&self.stream).read(input) {
            Ok(0) => return Err(()),
            Ok(received) => received,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(0),
            Err(_) => return Err(()),
        };
        if self.request_len == 0 {
            self.request_len = request_len(&input[..received]).ok_or(())?;
        }
        self.gathered += received;
        let whole = self.gathered / self.request_len;
        self.gathered %= self.request_len;
        if whole == 1 {
            self.send(answer)?;
        } else if whole > 1 {
            self.send(&answer.repeat(whole))?;
        }
        Ok(whole as u64)
    }

    /// Sends everything: answers are small, so a full socket is waited for in a loop.
    fn send(&self, bytes: &[u8]) -> Result<(), ()> {
        let mut sent = 0;
        while sent < bytes.len() {
            match rustix::net::send(&self.stream, &bytes[sent..], SendFlags::NOSIGNAL) {
                Ok(count) => sent += count,
                Err(Errno::AGAIN | Errno::INTR) => std::hint::spin_loop(),
                Err(_) => return Err(()),
            }
        }
        Ok(())
    }
}
