//! One connection: two pipes of bounded size between a shard's socket and its peer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Read;
use std::rc::Rc;

/// The end of a connection that a shard holds, or its peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Shard,
    Peer,
}

/// Bytes on their way in one direction.
#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// The writer has finished.
    finished: bool,
    /// The reader wants no more: it reads what is here, then the end of the stream.
    refused: bool,
}

pub(super) type Link = Rc<RefCell<Connection>>;

/// What both ends share.
#[derive(Debug)]
pub(super) struct Connection {
    to_shard: Pipe,
    to_peer: Pipe,
    capacity: usize,
    shard_closed: bool,
    peer_closed: bool,
    reset: bool,
}

impl Connection {
    pub(super) fn new(capacity: usize) -> Link {
        Rc::new(RefCell::new(Connection {
            to_shard: Pipe::default(),
            to_peer: Pipe::default(),
            capacity,
            shard_closed: false,
            peer_closed: false,
            reset: false,
        }))
    }

    /// The pipes that `end` reads from and writes to.
    fn pipes(&mut self, end: End) -> (&mut Pipe, &mut Pipe) {
        match end {
            End::Shard => (&mut self.to_shard, &mut self.to_peer),
            End::Peer => (&mut self.to_peer, &mut self.to_shard),
        }
    }

    fn incoming(&self, end: End) -> &Pipe {
        match end {
            End::Shard => &self.to_shard,
            End::Peer => &self.to_peer,
        }
    }

    fn outgoing(&self, end: End) -> &Pipe {
        match end {
            End::Shard => &self.to_peer,
            End::Peer => &self.to_shard,
        }
    }

    fn other_closed(&self, end: End) -> bool {
        match end {
            End::Shard => self.peer_closed,
            End::Peer => self.shard_closed,
        }
    }

    /// Bytes that `end` could read now.
    pub(super) fn readable(&self, end: End) -> usize {
        self.incoming(end).bytes.len()
    }

    /// Whether `end` reads the end of the stream next.
    pub(super) fn is_ended(&self, end: End) -> bool {
        let pipe = self.incoming(end);
        pipe.bytes.is_empty() && (pipe.finished || pipe.refused)
    }

    pub(super) fn is_reset(&self) -> bool {
        self.reset
    }

    /// Whether a read by `end` would not wait.
    pub(super) fn can_read(&self, end: End) -> bool {
        self.reset || self.readable(end) > 0 || self.is_ended(end)
    }

    /// Whether a write by `end` would not wait.
    pub(super) fn can_write(&self, end: End) -> bool {
        let pipe = self.outgoing(end);
        let broken = self.reset || pipe.finished || self.other_closed(end);
        broken || pipe.bytes.len() < self.capacity
    }

    /// Takes up to `into.len()` bytes; `Ok(None)` when there is nothing yet, 0 at the end.
    ///
    /// # Errors
    /// The errno of a connection that was reset.
    pub(super) fn read(&mut self, end: End, into: &mut [u8]) -> Result<Option<usize>, i32> {
        if self.reset {
            return Err(libc::ECONNRESET);
        }
        if self.is_ended(end) {
            return Ok(Some(0));
        }
        let (pipe, _) = self.pipes(end);
        let n = pipe.bytes.len().min(into.len());
        let read = pipe.bytes.read_exact(&mut into[..n]);
        Ok((read.is_ok() && n > 0).then_some(n))
    }

    /// Puts up to `bytes.len()` bytes into the pipe; 0 when it is full.
    ///
    /// # Errors
    /// The errno of a connection that was reset, or finished by this end.
    pub(super) fn write(&mut self, end: End, bytes: &[u8]) -> Result<usize, i32> {
        if self.reset {
            return Err(libc::ECONNRESET);
        }
        if self.outgoing(end).finished {
            return Err(libc::EPIPE);
        }
        if self.other_closed(end) {
            // The first segment to a closed socket is taken, and answered with a reset.
            self.reset();
            return Ok(bytes.len());
        }
        let capacity = self.capacity;
        let (_, pipe) = self.pipes(end);
        let n = bytes.len().min(capacity - pipe.bytes.len());
        pipe.bytes.extend(&bytes[..n]);
        Ok(n)
    }

    /// `end` sends no more.
    pub(super) fn finish(&mut self, end: End) {
        self.pipes(end).1.finished = true;
    }

    /// `end` reads no more than what has arrived.
    pub(super) fn refuse(&mut self, end: End) {
        self.pipes(end).0.refused = true;
    }

    /// Ends the connection at once, in both directions.
    pub(super) fn reset(&mut self) {
        self.reset = true;
        self.to_shard.bytes.clear();
        self.to_peer.bytes.clear();
    }

    /// `end` lets go of its socket; with unread bytes in it, that is a reset (RFC 2525, 2.17).
    pub(super) fn close(&mut self, end: End) {
        if self.readable(end) > 0 {
            self.reset();
        }
        self.finish(end);
        match end {
            End::Shard => self.shard_closed = true,
            End::Peer => self.peer_closed = true,
        }
    }
}
