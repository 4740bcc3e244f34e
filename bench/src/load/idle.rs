//! The idle client: opens many connections, completes one request on each if told to, and holds
//! them until its standard input closes.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::conn::exchange;
use super::spec::LoadError;
use super::wire::{self, Endpoint, Wire};

/// How long one connect or one reply may take.
const WITHIN: Duration = Duration::from_secs(5);
/// Failures in a row after which the server has clearly had enough.
const FAILURES_MAX: u64 = 100;

/// An order to an idle client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdleSpec {
    /// Server to connect to.
    pub target: SocketAddr,
    /// Connections to hold.
    pub connections: u64,
    /// Address to connect from; one address has about 28,000 ports towards one server.
    pub source: Option<IpAddr>,
    /// Request to complete on each connection before holding it.
    pub request: Option<IdleRequest>,
}

/// A request that each idle connection completes once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdleRequest {
    /// What is sent; `Legacy` sends `initialize`, so each connection leaves a session.
    pub wire: Wire,
    /// Path of the endpoint.
    pub path: String,
}

/// What an idle client holds: written once when ready and once at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdleReport {
    /// Connections open now, as far as the server has not closed them.
    pub open: u64,
    /// Connections whose request was answered with 200.
    pub answered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Descriptor limit of the process.
    pub descriptor_limit: u64,
    /// The first failure in words.
    pub first_error: Option<String>,
}

/// Connections held open.
#[derive(Debug)]
pub struct Held {
    streams: Vec<TcpStream>,
    report: IdleReport,
}

/// Opens the connections of an order; failures are counted, and many in a row end the attempt.
#[must_use]
pub fn open(spec: &IdleSpec) -> Held {
    let descriptor_limit = crate::process::raise_descriptor_limit();
    let mut held = Held {
        streams: Vec::new(),
        report: IdleReport {
            descriptor_limit,
            ..IdleReport::default()
        },
    };
    let mut failures_in_a_row = 0;
    for _ in 0..spec.connections {
        match open_one(spec) {
            Ok(stream) => {
                failures_in_a_row = 0;
                held.report.answered += u64::from(spec.request.is_some());
                held.streams.push(stream);
            }
            Err(e) => {
                failures_in_a_row += 1;
                held.report.failed += 1;
                held.report.first_error.get_or_insert_with(|| e.to_string());
                if failures_in_a_row == FAILURES_MAX {
                    break;
                }
            }
        }
    }
    held
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

    /// Waits until standard input closes.
    ///
    /// # Errors
    /// When standard input cannot be read.
    pub fn wait_for_release(&self) -> Result<(), LoadError> {
        let mut rest = [0; 64];
        loop {
            match std::io::stdin().read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(e) => return Err(LoadError::io("wait for the end of standard input")(e)),
            }
        }
    }
}

fn open_one(spec: &IdleSpec) -> Result<TcpStream, LoadError> {
    let domain = Domain::for_address(spec.target);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))
        .map_err(LoadError::io("create a socket"))?;
    if let Some(source) = spec.source {
        socket
            .bind(&SocketAddr::new(source, 0).into())
            .map_err(LoadError::io("bind to the source address"))?;
    }
    socket
        .connect_timeout(&spec.target.into(), WITHIN)
        .map_err(LoadError::io("connect an idle connection"))?;
    let mut stream = TcpStream::from(socket);
    if let Some(request) = &spec.request {
        complete(&mut stream, spec.target, request)?;
    }
    Ok(stream)
}

fn complete(
    stream: &mut TcpStream,
    target: SocketAddr,
    request: &IdleRequest,
) -> Result<(), LoadError> {
    stream
        .set_read_timeout(Some(WITHIN))
        .map_err(LoadError::io("set a read timeout"))?;
    let to = Endpoint {
        target,
        path: request.path.clone(),
    };
    let template = match request.wire {
        Wire::Legacy => wire::initialize(&to),
        Wire::Modern | Wire::Initialize | Wire::Get => wire::call(request.wire, &to, "idle", None),
    };
    let (_, reply) = exchange(stream, &to, &template)?;
    if reply.status == 200 {
        return Ok(());
    }
    let reason = format!("wanted status 200, found {}", reply.status);
    Err(LoadError::Handshake { target, reason })
}

fn is_open(stream: &TcpStream) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    match rustix::net::recv(stream, &mut [0_u8; 1], flags) {
        Ok((read, _)) => read > 0,
        Err(e) => e == Errno::AGAIN,
    }
}
