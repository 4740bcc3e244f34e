//! Sockets of a shard, for tasks: listeners that share a port between shards, and streams. A socket
//! of the Unix domain goes the same way once it is open.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::driver::{Descriptor, Driver, SocketKey};
use crate::shard::Shard;

pub use crate::driver::{RecvBuf, SimNet, SimPeer};

/// Connections the kernel completes before they are accepted; the kernel caps it at `somaxconn`.
const BACKLOG: i32 = 4096;

/// Opens a listening socket on `address`. With `shared`, others of this process may listen on the
/// same port and the kernel spreads connections over them (SO_REUSEPORT).
///
/// # Errors
/// The system's error; `AddrInUse` when the port is taken.
pub fn listen(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, shared)?;
    // Accepted sockets inherit it.
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn with_driver<R>(f: impl FnOnce(&mut Driver) -> io::Result<R>) -> io::Result<R> {
    let off_shard = || io::Error::other("sockets are used on the shard that owns them");
    Shard::with(|shard| {
        let mut driver = shard.driver.borrow_mut();
        match driver.as_mut() {
            Some(driver) => f(driver),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    })
    .unwrap_or_else(|| Err(off_shard()))
}

fn poll_driver<R>(f: impl FnOnce(&mut Driver) -> Poll<io::Result<R>>) -> Poll<io::Result<R>> {
    let mut poll = None;
    let used = with_driver(|driver| {
        poll = Some(f(driver));
        Ok(())
    });
    match (used, poll) {
        (Err(e), _) => Poll::Ready(Err(e)),
        (Ok(()), Some(poll)) => poll,
        (Ok(()), None) => Poll::Pending,
    }
}

/// Closes its socket on the owning shard when dropped.
#[derive(Debug)]
struct Owned {
    key: SocketKey,
    shard_local: std::marker::PhantomData<*const ()>,
}

impl Owned {
    fn new(open: impl FnOnce(&mut Driver) -> io::Result<SocketKey>) -> io::Result<Self> {
        with_driver(open).map(|key| Owned {
            key,
            shard_local: std::marker::PhantomData,
        })
    }

    fn open(fd: Descriptor) -> io::Result<Self> {
        Self::new(|driver| Ok(driver.open(fd)))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Without a driver the shard has closed all its sockets already.
        let _ = with_driver(|driver| {
            driver.close(self.key);
            Ok(())
        });
    }
}

/// A listening socket of this shard.
#[derive(Debug)]
pub struct TcpListener(Owned);

impl TcpListener {
    /// Takes over a socket of [`listen`], or another that listens for streams (a Unix socket).
    ///
    /// # Errors
    /// When this thread is no shard, or the shard has closed its sockets.
    pub fn from_std(listener: impl Into<OwnedFd>) -> io::Result<Self> {
        Owned::open(listener.into().into()).map(TcpListener)
    }

    /// Listens on `port` of the simulated network that this shard's driver is on; others of the
    /// network may listen there too, and connections spread over them.
    ///
    /// # Errors
    /// `Unsupported` on a shard with sockets of the kernel, EMFILE when the network is full; when
    /// this thread is no shard, or the shard has closed its sockets.
    pub fn simulated(port: u16) -> io::Result<Self> {
        Owned::new(|driver| driver.listen_simulated(port)).map(TcpListener)
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// The system's error, for instance EMFILE; accepting goes on by itself after a pause, so the
    /// caller counts, logs and accepts again.
    pub async fn accept(&mut self) -> io::Result<TcpStream> {
        let key = self.0.key;
        let fd = poll_fn(|cx| poll_driver(|driver| driver.poll_accept(key, cx))).await?;
        Owned::open(fd).map(TcpStream)
    }
}

/// A connected socket of this shard. Dropping it closes it at once.
#[derive(Debug)]
pub struct TcpStream(Owned);

impl TcpStream {
    /// Takes over a connected stream socket, such as one end of a pair of Unix sockets.
    ///
    /// # Errors
    /// When this thread is no shard, or the shard has closed its sockets.
    pub fn from_std(stream: impl Into<OwnedFd>) -> io::Result<Self> {
        Owned::open(stream.into().into()).map(TcpStream)
    }

    /// Address of the peer; `None` when it has gone already, and on a simulated network.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        with_driver(|driver| Ok(driver.peer(self.0.key)))
            .ok()
            .flatten()
    }

    /// Waits for the next bytes; `None` at the end of the peer's stream.
    ///
    /// # Errors
    /// The error that ended the connection.
    pub fn receive(&mut self) -> impl Future<Output = io::Result<Option<RecvBuf>>> + Unpin {
        poll_fn(|cx| self.poll_receive(cx))
    }

    /// As [`TcpStream::receive`], for who implements a poll of their own: the task that polled last
    /// is woken.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<RecvBuf>>> {
        poll_driver(|driver| driver.poll_receive(self.0.key, cx))
    }

    /// What has been received although nobody reads; never the end of the stream. Once there was
    /// something, nothing more is received until [`TcpStream::poll_receive`] asks again. Who does
    /// not read polls this, for the buffers that wait here are the shard's, and there are few. The
    /// task that polled last is woken.
    ///
    /// # Errors
    /// When the socket is closed.
    pub fn poll_paused(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<RecvBuf>>> {
        poll_driver(|driver| driver.poll_paused(self.0.key, cx))
    }

    /// Starts to send `buffer`, which returns to the shard's pool when it has gone.
    ///
    /// # Errors
    /// `WouldBlock` while the previous buffer is in flight (await [`TcpStream::flushed`] first), or
    /// the error that ended the connection.
    pub fn send(&mut self, buffer: Vec<u8>) -> io::Result<()> {
        with_driver(|driver| driver.send(self.0.key, buffer))
    }

    /// Waits until the kernel has taken all that was sent.
    ///
    /// # Errors
    /// The error that ended the connection.
    pub fn flushed(&mut self) -> impl Future<Output = io::Result<()>> + Unpin {
        poll_fn(|cx| self.poll_flushed(cx))
    }

    /// As [`TcpStream::flushed`], for who implements a poll of their own: the task that polled last
    /// is woken.
    pub fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_driver(|driver| driver.poll_flushed(self.0.key, cx))
    }

    /// Ends the sending side: the peer reads what was sent, then the end of the stream.
    pub fn shutdown_write(&mut self) {
        let _ = with_driver(|driver| {
            driver.shutdown_write(self.0.key);
            Ok(())
        });
    }
}

/// An empty buffer from the pool of the current shard, to be filled and sent.
#[must_use]
pub fn send_buffer() -> Vec<u8> {
    with_driver(|driver| Ok(driver.send_buffer())).unwrap_or_default()
}

/// Gives a buffer that was not sent back to the pool of the current shard.
pub fn recycle_buffer(buffer: Vec<u8>) {
    let _ = with_driver(|driver| {
        driver.recycle(buffer);
        Ok(())
    });
}
