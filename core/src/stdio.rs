//! A server as somebody's child process: messages are lines of standard input and output.
//!
//! Only sockets can be on a shard, so two threads carry bytes between the pipes and a pair of
//! sockets whose other end is a connection like any other. They block, and that is the
//! backpressure: what the parent does not read fills its pipe, then the pair, then stops the
//! connection from reading.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use ninefold_runtime::net::TcpStream;
use ninefold_runtime::thread::spawn_on_set;
use ninefold_runtime::{Config, Placement, Plan, Runtime, ShutdownReport};
use ninefold_tuning::facts::cpu::Topology;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::admin::ShardStatus;
use crate::guard::Guard;
use crate::handle::{Hubs, IdCodec};
use crate::net::{Far, Lines};
use crate::node::{NodeError, ShardParts};
use crate::server::Server;

/// Bytes carried at once.
const CARRIED_BYTES: usize = 64 << 10;
/// How long the last bytes may take to leave, when the server has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How a server on standard input and output is to be run.
#[derive(Clone, Debug)]
pub struct StdioConfig {
    /// Placement and blocking threads; there is one shard, since there is one connection.
    pub runtime: Config,
    /// How long a stop waits for calls under way.
    pub drain: Duration,
}

impl Default for StdioConfig {
    fn default() -> Self {
        Self {
            runtime: Config::default(),
            drain: Duration::from_secs(10),
        }
    }
}

/// Asks a [`Stdio`] to stop, from any thread.
#[derive(Clone, Debug)]
pub struct Stopper(SyncSender<()>);

impl Stopper {
    /// Ends the wait of [`Stdio::wait`], which then drains.
    pub fn stop(&self) {
        // A wish that is there already is enough.
        let _ = self.0.try_send(());
    }
}

/// A server that speaks with the process that started this one.
pub struct Stdio {
    runtime: Runtime,
    drain: Duration,
    stopper: Stopper,
    /// A wish to stop, or that the output has come to its end.
    ended: Receiver<()>,
    /// That the output has come to its end.
    written: Receiver<()>,
}

impl Stdio {
    /// Serves `server` on standard input and output. Nothing else may write to standard output
    /// from now on.
    ///
    /// # Errors
    /// [`NodeError`], which says what was wanted, what was found and what to do.
    pub fn start(server: Server, config: &StdioConfig) -> Result<Self, NodeError> {
        if server.access().is_some() {
            return Err(NodeError::NoTokens { flag: "--stdio" });
        }
        let codec = Arc::new(IdCodec::fresh().map_err(NodeError::Random)?);
        let mut shape = config.runtime.clone();
        shape.shards = Some(1);
        shape.own_control_cpu = false;
        if shape.placement == Placement::default() {
            shape.placement = anywhere().unwrap_or_default();
        }
        let runtime = Runtime::start(&shape)?;
        let (ours, theirs) = UnixStream::pair().map_err(NodeError::Pipes)?;
        let parts = ShardParts {
            server,
            guard: Guard::default(),
            pairs: false,
            status: ShardStatus::default(),
            codec,
            hubs: Arc::new(Hubs::new(1)),
            looking: None,
        };
        let served = runtime.handle().spawn_on(0, move || async move {
            let Some(seat) = parts.assemble() else {
                return;
            };
            match TcpStream::from_std(theirs) {
                Ok(stream) => {
                    let bucket = seat.service.bucket(None);
                    let lines = Lines::new(stream, seat, bucket, Far::Parent);
                    lines.serve().await;
                }
                Err(error) => tracing::error!(%error, "the shard could not take its pipes over"),
            }
        });
        served.map_err(|error| NodeError::Pipes(io::Error::other(error)))?;
        let (stop, ended) = sync_channel(1);
        let written = carry(ours, runtime.plan().blocking.clone(), stop.clone());
        Ok(Self {
            runtime,
            drain: config.drain,
            stopper: Stopper(stop),
            ended,
            written: written.map_err(NodeError::Pipes)?,
        })
    }

    /// Who runs where.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        self.runtime.plan()
    }

    /// The way to stop it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits until the input is at its end and what was asked is answered, or until it is asked to
    /// stop; then ends, within [`StdioConfig::drain`].
    pub fn wait(self) -> ShutdownReport {
        // Its sender lives as long as `self`.
        let _ = self.ended.recv();
        let report = self.runtime.shutdown(self.drain);
        if let Err(RecvTimeoutError::Timeout) = self.written.recv_timeout(LAST_WORDS) {
            tracing::warn!("the last answers were not read");
        }
        report
    }
}

/// One CPU of those allowed, another one for each process: a host may run many such servers, and
/// the first CPU is not to carry them all.
fn anywhere() -> Option<Placement> {
    let topology = Topology::host();
    let cpus: Vec<u32> = topology.allowed_cpus().map(|cpu| cpu.id).collect();
    let nth = usize::try_from(std::process::id()).ok()?;
    let cpu = cpus.get(nth % cpus.len().max(1))?;
    Some(Placement::Explicit(vec![*cpu]))
}

/// Starts the two threads; what is received tells that the output has come to its end.
fn carry(ours: UnixStream, cpus: Vec<u32>, stop: SyncSender<()>) -> io::Result<Receiver<()>> {
    let (done, written) = sync_channel(1);
    let inwards = ours.try_clone()?;
    spawn_on_set("ninefold-stdin".into(), cpus.clone(), move || {
        let carried = read_input(&inwards);
        if let Err(error) = carried {
            tracing::debug!(%error, "standard input has ended");
        }
        // The connection reads what is there, then the end.
        let _ = inwards.shutdown(Shutdown::Write);
    })?;
    spawn_on_set("ninefold-stdout".into(), cpus, move || {
        let carried = write_output(&ours);
        if let Err(error) = carried {
            tracing::warn!(%error, "standard output has ended");
        }
        // Nobody would read a further answer.
        let _ = ours.shutdown(Shutdown::Both);
        let _ = (done.try_send(()), stop.try_send(()));
    })?;
    Ok(written)
}

/// Carries standard input to the connection until either ends.
fn read_input(to: &UnixStream) -> io::Result<()> {
    let input = io::stdin();
    let mut buffer = vec![0; CARRIED_BYTES];
    loop {
        // The connection may end while the parent is silent.
        let mut both = [
            PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(to.as_fd(), PollFlags::empty()),
        ];
        retry(|| poll(&mut both, None))?;
        if both[1]
            .revents()
            .intersects(PollFlags::HUP | PollFlags::ERR)
        {
            return Ok(());
        }
        match retry(|| rustix::io::read(input.as_fd(), buffer.as_mut_slice())) {
            Ok(0) => return Ok(()),
            Ok(n) => write_all(to.as_fd(), buffer.get(..n).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Carries what the connection says to standard output until either ends.
// [mcp:stdio-server]
fn write_output(from: &UnixStream) -> io::Result<()> {
    let output = io::stdout();
    let mut buffer = vec![0; CARRIED_BYTES];
    loop {
        match retry(|| rustix::io::read(from.as_fd(), buffer.as_mut_slice()))? {
            0 => return Ok(()),
            n => write_all(output.as_fd(), buffer.get(..n).unwrap_or_default())?,
        }
    }
}

/// Writes all of `bytes`, to a pipe that may have been made non-blocking by the other side.
fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match retry(|| rustix::io::write(to, bytes)) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut room = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                retry(|| poll(&mut room, None))?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Calls `f` again when a signal has come in between.
fn retry<T>(mut f: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match f() {
            Err(Errno::INTR) => {}
            done => return done.map_err(io::Error::from),
        }
    }
}

impl Server {
    /// Serves this server on standard input and output until the input is at its end, for
    /// programs that are started by their client. Nothing else may write to standard output.
    ///
    /// # Errors
    /// [`NodeError`], which says what was wanted, what was found and what to do.
    pub fn serve_stdio(self) -> Result<ShutdownReport, NodeError> {
        Stdio::start(self, &StdioConfig::default()).map(Stdio::wait)
    }
}
