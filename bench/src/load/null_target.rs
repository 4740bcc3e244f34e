//! The null target: answers every request with a prepared reply and does nothing else. What the
//! generator reaches against it is the ceiling of the generator on this host.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use serde_json::{Value, json};

use super::spec::LoadError;
use super::wire::{self, Template};
use crate::measure::clock;

const EVENTS: usize = 256;
const READ_BYTES: usize = 64 * 1024;
const LISTENER: u64 = u64::MAX;
const HEADERS_MAX: usize = 32;

/// A bound null target.
#[derive(Debug)]
pub struct NullTarget {
    listener: TcpListener,
}

struct Peer {
    stream: TcpStream,
    input: Box<[u8]>,
    filled: usize,
    out: Vec<u8>,
    prepared: Option<(usize, Template)>,
}

/// A request as far as the null target looks at it.
pub(super) struct Request {
    is_get: bool,
    body_at: usize,
    pub(super) end: usize,
}

impl NullTarget {
    /// Listens on `listen`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(listen: SocketAddr) -> Result<Self, LoadError> {
        let listener = TcpListener::bind(listen).map_err(LoadError::io("bind the null target"))?;
        listener
            .set_nonblocking(true)
            .map_err(LoadError::io("make the null target non-blocking"))?;
        Ok(Self { listener })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn local_addr(&self) -> Result<SocketAddr, LoadError> {
        self.listener
            .local_addr()
            .map_err(LoadError::io("ask for the bound address"))
    }

    /// Serves until the process is killed; with `spin` it never sleeps, so that no request pays
    /// for waking its CPU.
    ///
    /// # Errors
    /// When epoll or accept fails.
    pub fn serve(self, spin: bool) -> Result<(), LoadError> {
        let timeout = spin.then(|| clock::timespec(Duration::ZERO));
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(LoadError::io("create epoll"))?;
        let watch = |stream: &dyn rustix::fd::AsFd, key| {
            epoll::add(&epoll, stream, EventData::new_u64(key), EventFlags::IN)
                .map_err(LoadError::io("watch a socket"))
        };
        watch(&self.listener, LISTENER)?;
        let mut peers: Vec<Option<Peer>> = Vec::new();
        let mut events = [Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; EVENTS];
        loop {
            let ready = match epoll::wait(&epoll, &mut events[..], timeout.as_ref()) {
                Ok(ready) => ready,
                Err(Errno::INTR) => continue,
                Err(e) => return Err(LoadError::io("wait for events")(e)),
            };
            for event in &events[..ready] {
                let key = event.data.u64();
                if key == LISTENER {
                    while let Ok((stream, _)) = self.listener.accept() {
                        let peer = Peer::new(stream).map_err(LoadError::io("set up a peer"))?;
                        watch(&peer.stream, peers.len() as u64)?;
                        peers.push(Some(peer));
                    }
                } else if let Some(slot) =
                    usize::try_from(key).ok().and_then(|key| peers.get_mut(key))
                    && slot.as_mut().is_some_and(|peer| peer.serve().is_err())
                {
                    *slot = None;
                }
            }
        }
    }
}

impl Peer {
    fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let input = vec![0; READ_BYTES].into_boxed_slice();
        Ok(Self {
            stream,
            input,
            filled: 0,
            out: Vec::new(),
            prepared: None,
        })
    }

    /// Reads once, answers every complete request; an error closes the connection.
    fn serve(&mut self) -> Result<(), ()> {
        let room = &mut self.input[self.filled..];
        match rustix::net::recv(&self.stream, room, RecvFlags::empty()) {
            Ok((0, _)) => return Err(()),
            Ok((received, _)) => self.filled += received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(_) => return Err(()),
        }
        let mut at = 0;
        while let Some(request) = frame(&self.input[at..self.filled])? {
            self.answer(at, &request);
            at += request.end;
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        self.write()
    }

    fn answer(&mut self, at: usize, request: &Request) {
        let body = &self.input[at + request.body_at..at + request.end];
        let id = wire::find_id(body);
        match (&self.prepared, id) {
            _ if request.is_get => plain(&mut self.out, "200 OK", "ok"),
            (_, None) => plain(&mut self.out, "202 Accepted", ""),
            (Some((length, template)), Some(id)) if *length == body.len() => {
                template.stamp(id, &mut self.out);
            }
            (_, Some(id)) => {
                let template = prepare(body);
                template.stamp(id, &mut self.out);
                self.prepared = Some((body.len(), template));
            }
        }
    }

    /// Writes everything: replies are small, so a full socket is waited for in a loop.
    fn write(&mut self) -> Result<(), ()> {
        let mut written = 0;
        while written < self.out.len() {
            match rustix::net::send(&self.stream, &self.out[written..], SendFlags::NOSIGNAL) {
                Ok(count) => written += count,
                Err(Errno::AGAIN | Errno::INTR) => std::hint::spin_loop(),
                Err(_) => return Err(()),
            }
        }
        self.out.clear();
        Ok(())
    }
}

/// The first request in `bytes`: `None` while it is incomplete, an error when it is none.
pub(super) fn frame(bytes: &[u8]) -> Result<Option<Request>, ()> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(body_at)) = head.parse(bytes).map_err(|_| ()) else {
        return if bytes.len() == READ_BYTES {
            Err(())
        } else {
            Ok(None)
        };
    };
    let length = head
        .headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let length: usize = length
        .and_then(|h| std::str::from_utf8(h.value).ok()?.trim().parse().ok())
        .unwrap_or(0);
    let end = body_at + length;
    let is_get = head.method == Some("GET");
    Ok((bytes.len() >= end).then_some(Request {
        is_get,
        body_at,
        end,
    }))
}

/// The reply to requests of this shape: the text echoed, or the answer to `initialize`.
fn prepare(body: &[u8]) -> Template {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let initialize = request["method"] == "initialize";
    let result = if initialize {
        json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
               "serverInfo": {"name": "null-target", "version": "0"}})
    } else {
        let text = &request["params"]["arguments"]["text"];
        json!({"resultType": "complete", "content": [{"type": "text", "text": text}]})
    };
    let session = if initialize {
        "Mcp-Session-Id: null\r\n"
    } else {
        ""
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{session}");
    let reply = json!({"jsonrpc": "2.0", "id": wire::ID_BASE, "result": result});
    Template::new(&head, reply.to_string().as_bytes())
}

fn plain(out: &mut Vec<u8>, status: &str, body: &str) {
    let reply = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    out.extend_from_slice(reply.as_bytes());
}
