//! Received bytes of one connection, in order, until a request is complete.
//!
//! A request that arrives whole is parsed where the kernel put it; only one that arrives in pieces
//! is gathered on the heap, and an idle connection holds neither.

use ninefold_runtime::net::RecvBuf;

#[derive(Default)]
pub(super) struct Inbox {
    held: Option<RecvBuf>,
    gathered: Vec<u8>,
    /// Where the current request begins.
    start: usize,
}

impl Inbox {
    /// The bytes from the start of the current request on.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        let all: &mut [u8] = match &mut self.held {
            Some(buffer) => buffer,
            None => &mut self.gathered,
        };
        all.get_mut(self.start..).unwrap_or_default()
    }

    /// Bytes on the heap.
    pub(super) fn gathered_bytes(&self) -> usize {
        self.gathered.capacity()
    }

    /// Adds what was received.
    pub(super) fn push(&mut self, buffer: RecvBuf) {
        if self.held.is_none() && self.gathered.is_empty() {
            self.held = Some(buffer);
            return;
        }
        if let Some(held) = self.held.take() {
            self.gathered
                .extend_from_slice(held.get(self.start..).unwrap_or_default());
        } else if self.start > 0 {
            self.gathered.drain(..self.start);
        }
        self.start = 0;
        self.gathered.extend_from_slice(&buffer);
    }

    /// Lets go of the kernel's buffer: what waits for more bytes, or behind an answer that goes on,
    /// must not keep one of the few that the shard receives into.
    pub(super) fn settle(&mut self) {
        if let Some(held) = self.held.take() {
            self.gathered = held.get(self.start..).unwrap_or_default().to_vec();
            self.start = 0;
        }
    }

    /// Ends the line that is not whole, because no more will come.
    pub(super) fn end_line(&mut self) {
        self.settle();
        self.gathered.push(b'\n');
    }

    /// Drops `n` bytes from the front, and every buffer once nothing is left.
    pub(super) fn consume(&mut self, n: usize) {
        self.start += n;
        if self.bytes().is_empty() {
            *self = Self::default();
        }
    }
}
