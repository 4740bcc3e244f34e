//! The I/O driver of a shard: its own io_uring, inside the glommio executor's thread.
//!
//! Accept and receive are multishot with provided buffers, so an idle connection costs its socket
//! entry and nothing else; sends are gathered and submitted once a tick. The shard parks in this
//! ring too, woken by an eventfd: glommio 0.9 polls readiness with one-shot operations on three
//! rings of its own and has no public way to wait until a descriptor that is
//! no socket is ready.

mod buffers;
mod descriptor;
#[cfg(feature = "floor")]
pub mod floor;
mod kernel;
mod op;
mod ring;
mod sim;
mod socket;
mod start;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroI32;
use std::rc::Rc;
use std::task::{Context, Poll};

use buffers::BufferRing;
pub use buffers::RecvBuf;
pub(crate) use descriptor::Descriptor;
use op::{Done, Op};
use ring::Ring;
pub use sim::{SimNet, SimPeer};
pub(crate) use socket::SocketKey;
use socket::{Receive, Socket, Sockets, Unread, os_error};
pub use start::DriverError;

use crate::limits::{
    ACCEPT_QUEUED_MAX, RECV_QUEUED_MAX, SEND_BUFFER_KEEP_BYTES, SEND_POOL_BUFFERS,
};
use crate::stats::ShardStats;
use crate::task::Wakee;

const BUFFER_GROUP: u16 = 0;

/// What a completion is about; the top byte of its user data.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Wake = 1,
    Receive = 2,
    Accept = 3,
    Send = 4,
    Cancel = 5,
}

fn user_data(kind: Kind, key: SocketKey) -> u64 {
    (kind as u64) << 56 | u64::from(key.generation) << 32 | u64::from(key.index)
}

#[inline]
fn key_of(user_data: u64) -> SocketKey {
    SocketKey {
        index: (user_data & 0xffff_ffff) as u32,
        generation: (user_data >> 32 & 0xff_ffff) as u32,
    }
}

/// The driver of one shard.
pub(crate) struct Driver {
    ring: Ring,
    buffers: Rc<BufferRing>,
    sockets: Sockets,
    /// Sockets whose receive waits for a free buffer.
    starved: VecDeque<SocketKey>,
    /// Listeners whose accept waits for descriptors or memory.
    starved_accepts: VecDeque<SocketKey>,
    /// When starved accepts are tried again, in CLOCK_MONOTONIC nanoseconds.
    retry_accept_ns: u64,
    send_pool: Vec<Vec<u8>>,
    wake_fd: i32,
    wake_buffer: Box<u64>,
}

/// Pause after an accept failed for want of descriptors or memory.
const ACCEPT_RETRY_NS: u64 = 100_000_000;

impl Driver {
    fn arm_wake(&mut self) {
        let op = Op::Wake {
            fd: self.wake_fd,
            buffer: &mut *self.wake_buffer,
        };
        // SAFETY: the buffer is boxed and lives as long as the ring (see `Drop`); one read at a
        // time is armed.
        unsafe { self.ring.push(op, (Kind::Wake as u64) << 56) };
    }

    /// Takes over a connected or listening socket.
    pub(crate) fn open(&mut self, fd: Descriptor) -> SocketKey {
        self.sockets.open(fd)
    }

    /// Address of the peer of a connected socket, unless it has none any more.
    pub(crate) fn peer(&mut self, key: SocketKey) -> Option<SocketAddr> {
        self.sockets.get(key)?.fd.as_ref()?.peer()
    }

    /// Listens on `port` of the simulated network.
    ///
    /// # Errors
    /// `Unsupported` on a kernel's ring, EMFILE when the network is full.
    pub(crate) fn listen_simulated(&mut self, port: u16) -> io::Result<SocketKey> {
        let Ring::Simulated(ring) = &self.ring else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let fd = ring.net().listen(port)?;
        Ok(self.open(Descriptor::Simulated(fd)))
    }

    /// Whether nothing will complete until a peer or a task does something; never so on a kernel's
    /// ring, where nobody can know.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the simulator of shards"))]
    pub(crate) fn is_quiet(&self) -> bool {
        match &self.ring {
            Ring::Kernel(_) => false,
            Ring::Simulated(ring) => ring.is_quiet(),
        }
    }

    /// Sockets open, closing ones included.
    pub(crate) fn open_count(&self) -> usize {
        self.sockets.count()
    }

    /// Whether a look at the ring would find anything; two loads.
    #[inline]
    pub(crate) fn has_work(&mut self) -> bool {
        self.ring.has_work()
    }

    /// Submits what was gathered and handles what has completed. Woken tasks go to `wakes`, so
    /// that no foreign waker runs while the driver is borrowed.
    pub(crate) fn turn(&mut self, stats: &ShardStats, wakes: &mut Vec<Wakee>) {
        if self.ring.must_enter() {
            self.ring.enter(None);
            stats.ring_enters.add(1);
        }
        self.reap(stats, wakes);
    }

    /// Blocks until something completes or `timeout_ns` has passed.
    pub(crate) fn park(&mut self, stats: &ShardStats, timeout_ns: u64, wakes: &mut Vec<Wakee>) {
        self.ring.enter(Some(timeout_ns));
        stats.ring_enters.add(1);
        self.reap(stats, wakes);
    }

    fn reap(&mut self, stats: &ShardStats, wakes: &mut Vec<Wakee>) {
        while let Some(done) = self.ring.next() {
            let key = key_of(done.user_data);
            match done.user_data >> 56 {
                k if k == Kind::Wake as u64 => self.arm_wake(),
                k if k == Kind::Receive as u64 => self.on_receive(key, done, stats, wakes),
                k if k == Kind::Accept as u64 => self.on_accept(key, done, stats, wakes),
                k if k == Kind::Send as u64 => self.on_send(key, done, stats, wakes),
                _ => self.on_cancelled(key),
            }
        }
    }

    /// Arms again what waited for buffers or descriptors, if there are some now: no more receives
    /// than there are buffers, so that a crowd does not fail again for each buffer that is freed.
    pub(crate) fn retry_starved(&mut self, now_ns: u64) {
        let mut free = self.buffers.free();
        for _ in 0..self.starved.len() {
            let Some(key) = self.starved.pop_front() else {
                break;
            };
            if free > 0 {
                free -= u16::from(self.retry(key, Kind::Receive));
            } else if self.is_starved(key) {
                self.starved.push_back(key);
            }
        }
        if now_ns >= self.retry_accept_ns {
            while let Some(key) = self.starved_accepts.pop_front() {
                self.retry(key, Kind::Accept);
            }
        }
    }

    /// Arms `key` again, unless it was closed meanwhile; whether it did.
    fn retry(&mut self, key: SocketKey, kind: Kind) -> bool {
        let starved = self.is_starved(key);
        if starved {
            self.arm(key, kind);
        }
        starved
    }

    fn is_starved(&mut self, key: SocketKey) -> bool {
        let socket = self.sockets.get(key);
        socket.is_some_and(|s| s.receive == Receive::Starved && !s.closing)
    }

    /// When [`Driver::retry_starved`] has something to do, for the park: at once with a buffer
    /// free, at its time for accepts, and not at all while receives wait for buffers that only the
    /// shard's own tasks can free.
    pub(crate) fn retry_ns(&self) -> Option<u64> {
        let receives = (!self.starved.is_empty() && self.buffers.free() > 0).then_some(0);
        let accepts = (!self.starved_accepts.is_empty()).then_some(self.retry_accept_ns);
        receives.or(accepts)
    }

    fn arm(&mut self, key: SocketKey, kind: Kind) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        let Some(fd) = &socket.fd else { return };
        let fd = fd.number();
        let op = match kind {
            Kind::Accept => Op::Accept { fd },
            _ => Op::Receive { fd },
        };
        socket.receive = Receive::Armed;
        socket.pending += 1;
        // SAFETY: neither operation refers to memory of ours but the registered buffer ring, and
        // the descriptor stays open while `pending` counts the operation.
        unsafe { self.ring.push(op, user_data(kind, key)) };
    }

    /// Ends a multishot operation whose reader is behind; it is armed again when that has read.
    fn pause(&mut self, key: SocketKey, kind: Kind) {
        let op = Op::Cancel {
            target: user_data(kind, key),
        };
        if let Some(socket) = self.sockets.get(key) {
            socket.receive = Receive::Pausing;
            socket.pending += 1;
        }
        // SAFETY: a cancellation refers to no memory.
        unsafe { self.ring.push(op, user_data(Kind::Cancel, key)) };
    }

    fn on_cancelled(&mut self, key: SocketKey) {
        if let Some(socket) = self.sockets.get(key) {
            socket.pending -= 1;
        }
        self.close_if_idle(key);
    }

    fn on_receive(
        &mut self,
        key: SocketKey,
        done: Done,
        stats: &ShardStats,
        wakes: &mut Vec<Wakee>,
    ) {
        let buffer = done.buffer.map(|id| {
            self.buffers.picked();
            let len = u32::try_from(done.result).unwrap_or(0);
            // SAFETY: the completion says that the kernel handed out buffer `id` with `len` bytes.
            unsafe { RecvBuf::new(self.buffers.clone(), id, len) }
        });
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if !done.more {
            socket.pending -= 1;
            if socket.receive != Receive::Ended {
                socket.receive = Receive::Idle;
            }
        }
        match (done.result, buffer) {
            (1.., Some(buffer)) if !socket.closing => {
                stats.recv_bytes.add(buffer.len() as u64);
                socket.received.push(buffer);
            }
            (0, _) => socket.receive = Receive::Ended,
            (e, _) if e == -libc::ENOBUFS && !socket.closing => {
                stats.recv_starved.add(1);
                socket.receive = Receive::Starved;
                self.starved.push_back(key);
                return;
            }
            (e, _) if e < 0 && e != -libc::ECANCELED => {
                socket.error = NonZeroI32::new(-e);
                socket.receive = Receive::Ended;
            }
            _ => {}
        }
        wakes.push(std::mem::take(&mut socket.reader));
        let behind = socket.received.len() >= RECV_QUEUED_MAX;
        if behind && socket.receive == Receive::Armed {
            self.pause(key, Kind::Receive);
        } else {
            self.close_if_idle(key);
        }
    }

    fn on_accept(
        &mut self,
        key: SocketKey,
        done: Done,
        stats: &ShardStats,
        wakes: &mut Vec<Wakee>,
    ) {
        let accepted = (done.result >= 0).then(|| {
            // SAFETY: this is the one place that takes descriptors over from completions.
            unsafe { self.ring.adopt(done.result) }
        });
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if !done.more {
            socket.pending -= 1;
            socket.receive = Receive::Idle;
        }
        match accepted {
            // What the kernel accepts until it hears of the pause is queued as well.
            Some(fd) if !socket.closing => {
                stats.sockets_accepted.add(1);
                socket.accepted.get_or_insert_default().push_back(fd);
            }
            // The listener is going: the descriptor drops here.
            Some(_) => {}
            None if done.result == -libc::ECANCELED => {}
            None => {
                stats.accept_errors.add(1);
                socket.error = NonZeroI32::new(-done.result);
            }
        }
        let wait = accept_must_wait(done.result) && !socket.closing;
        if wait && socket.receive == Receive::Idle {
            socket.receive = Receive::Starved;
            self.starved_accepts.push_back(key);
            self.retry_accept_ns = crate::clock::monotonic_ns() + ACCEPT_RETRY_NS;
        }
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        wakes.push(std::mem::take(&mut socket.reader));
        let behind = socket.accepted_count() >= ACCEPT_QUEUED_MAX;
        match socket.receive {
            Receive::Armed if behind && !socket.closing => self.pause(key, Kind::Accept),
            Receive::Idle if !behind && !socket.closing => self.arm(key, Kind::Accept),
            _ => {}
        }
        self.close_if_idle(key);
    }

    fn on_send(&mut self, key: SocketKey, done: Done, stats: &ShardStats, wakes: &mut Vec<Wakee>) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        socket.pending -= 1;
        let gone = usize::try_from(done.result);
        if gone.is_err() {
            socket.error = NonZeroI32::new(-done.result);
        }
        let over = socket.error.is_some() || socket.closing;
        if let (Ok(gone), Some(sending)) = (gone, self.sockets.sending(key)) {
            stats.sent_bytes.add(gone as u64);
            sending.sent += gone;
            if !sending.rest().is_empty() && !over {
                return self.push_send(key);
            }
        }
        let sent = self.sockets.end_sending(key);
        if let Some(Socket {
            finishing: true, ..
        }) = self.sockets.get(key)
        {
            self.shutdown(key, rustix::net::Shutdown::Write);
        }
        if let Some(sent) = sent {
            wakes.push(sent.writer);
            self.recycle(sent.buffer);
        }
        self.close_if_idle(key);
    }

    fn push_send(&mut self, key: SocketKey) {
        let Some(rest) = self.sockets.sending(key).map(|sending| sending.rest()) else {
            return;
        };
        let (bytes, len) = (rest.as_ptr(), u32::try_from(rest.len()).unwrap_or(u32::MAX));
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        let Some(fd) = &socket.fd else { return };
        let op = Op::Send {
            fd: fd.number(),
            bytes,
            len,
        };
        socket.pending += 1;
        // SAFETY: the buffer stays in the sends in flight, unmoved on the heap and unchanged, until
        // the completion; `pending` keeps the descriptor open as long.
        unsafe { self.ring.push(op, user_data(Kind::Send, key)) };
    }

    /// An empty buffer from the pool.
    pub(crate) fn send_buffer(&mut self) -> Vec<u8> {
        self.send_pool.pop().unwrap_or_default()
    }

    /// Takes a buffer back into the pool, if it is worth keeping.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.send_pool.len() < SEND_POOL_BUFFERS && buffer.capacity() <= SEND_BUFFER_KEEP_BYTES {
            buffer.clear();
            self.send_pool.push(buffer);
        }
    }

    /// Starts to send `buffer`.
    ///
    /// # Errors
    /// The error that ended the socket; `WouldBlock` while another send is in flight.
    pub(crate) fn send(&mut self, key: SocketKey, buffer: Vec<u8>) -> io::Result<()> {
        let socket = self.sockets.get(key).ok_or(io::ErrorKind::NotConnected)?;
        if let Some(failure) = socket.failure() {
            return Err(failure);
        }
        if socket.is_sending() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.sockets.start_sending(key, buffer);
        self.push_send(key);
        Ok(())
    }

    /// Ready when no send is in flight.
    pub(crate) fn poll_flushed(
        &mut self,
        key: SocketKey,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(socket) = self.sockets.get(key) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if let Some(failure) = socket.failure() {
            return Poll::Ready(Err(failure));
        }
        match self.sockets.sending(key) {
            None => Poll::Ready(Ok(())),
            Some(sending) => {
                sending.writer.note(cx);
                Poll::Pending
            }
        }
    }

    /// The next received bytes; `None` at the peer's end of stream.
    pub(crate) fn poll_receive(
        &mut self,
        key: SocketKey,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<RecvBuf>>> {
        let Some(socket) = self.sockets.get(key) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if let Some(buffer) = socket.received.pop() {
            return Poll::Ready(Ok(Some(buffer)));
        }
        if let Some(failure) = socket.failure() {
            return Poll::Ready(Err(failure));
        }
        if socket.receive == Receive::Ended {
            return Poll::Ready(Ok(None));
        }
        socket.reader.note(cx);
        if socket.receive == Receive::Idle {
            self.arm(key, Kind::Receive);
        }
        Poll::Pending
    }

    /// What has been received although nobody reads. Once there was something, nothing more is
    /// received until [`Driver::poll_receive`] asks again.
    pub(crate) fn poll_paused(
        &mut self,
        key: SocketKey,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<RecvBuf>>> {
        let Some(socket) = self.sockets.get(key) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let Some(buffer) = socket.received.pop() else {
            socket.reader.note(cx);
            return Poll::Pending;
        };
        if socket.receive == Receive::Armed {
            self.pause(key, Kind::Receive);
        }
        Poll::Ready(Ok(Some(buffer)))
    }

    /// The next accepted connection.
    pub(crate) fn poll_accept(
        &mut self,
        key: SocketKey,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Descriptor>> {
        let Some(socket) = self.sockets.get(key) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if let Some(fd) = socket.accepted.as_mut().and_then(|it| it.pop_front()) {
            return Poll::Ready(Ok(fd));
        }
        if let Some(failure) = socket.error.take() {
            return Poll::Ready(Err(os_error(failure)));
        }
        socket.reader.note(cx);
        if socket.receive == Receive::Idle {
            self.arm(key, Kind::Accept);
        }
        Poll::Pending
    }

    /// Ends the sending side, once the send in flight has gone; the peer sees end of stream after
    /// what was sent.
    pub(crate) fn shutdown_write(&mut self, key: SocketKey) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if socket.is_sending() {
            socket.finishing = true;
            return;
        }
        self.shutdown(key, rustix::net::Shutdown::Write);
    }

    fn shutdown(&mut self, key: SocketKey, how: rustix::net::Shutdown) {
        if let Some(Socket { fd: Some(fd), .. }) = self.sockets.get(key) {
            fd.shutdown(how);
        }
    }

    /// Closes a socket: at once, or when the kernel has let go of it.
    pub(crate) fn close(&mut self, key: SocketKey) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        socket.closing = true;
        socket.received = Unread::default();
        socket.accepted = None;
        if socket.pending > 0 {
            self.shutdown(key, rustix::net::Shutdown::Both);
        }
        self.close_if_idle(key);
    }

    fn close_if_idle(&mut self, key: SocketKey) {
        if self
            .sockets
            .get(key)
            .is_some_and(|s| s.closing && s.pending == 0)
        {
            self.sockets.close(key);
        }
    }

    /// Closes every socket and waits, at most `for_ns`, until the kernel has let go of them.
    pub(crate) fn close_all(&mut self, stats: &ShardStats, for_ns: u64) {
        let until = crate::clock::monotonic_ns() + for_ns;
        // A simulated park takes no time: it counts as if it had taken all of what it may.
        let mut parks = match &self.ring {
            Ring::Kernel(_) => u64::MAX,
            Ring::Simulated(_) => for_ns / CLOSE_PARK_NS,
        };
        let mut wakes = Vec::new();
        for key in self.sockets.keys() {
            self.close(key);
        }
        while self.sockets.count() > 0 && parks > 0 && crate::clock::monotonic_ns() < until {
            self.park(stats, CLOSE_PARK_NS, &mut wakes);
            parks -= 1;
        }
    }
}

/// One wait for the kernel to let go of sockets.
const CLOSE_PARK_NS: u64 = 1_000_000;

fn accept_must_wait(result: i32) -> bool {
    [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS].contains(&-result)
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Ring::Simulated(_) = self.ring {
            return;
        }
        // The kernel may still write into the wake buffer and into provided buffers until the ring
        // is gone, and it takes the ring down in its own time: what it may touch is left to it.
        self.buffers.leak();
        Box::leak(std::mem::take(&mut self.wake_buffer));
        self.sockets.leak_sends();
    }
}
