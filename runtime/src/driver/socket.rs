//! The sockets of a shard: what is known of each between two completions.

use std::collections::VecDeque;
use std::io;

use super::buffers::RecvBuf;
use super::descriptor::Descriptor;
use crate::task::Wakee;

/// Names a socket of a shard while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// How far the receiving (or accepting) side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    /// Nothing armed.
    Idle,
    /// A multishot operation is armed.
    Armed,
    /// Its cancellation is under way, because the reader is behind.
    Pausing,
    /// Waits for a free buffer, or for descriptors.
    Starved,
    /// The peer has finished sending.
    Ended,
}

pub(super) struct Socket {
    pub(super) generation: u32,
    pub(super) fd: Option<Descriptor>,
    pub(super) receive: Receive,
    pub(super) closing: bool,
    /// The sending side ends as soon as the send in flight has gone.
    pub(super) finishing: bool,
    /// Operations in the kernel that name this socket.
    pub(super) pending: u8,
    pub(super) error: Option<i32>,
    pub(super) received: VecDeque<RecvBuf>,
    pub(super) accepted: VecDeque<Descriptor>,
    /// The buffer of the send in flight, and how much of it has gone.
    pub(super) sending: Option<Vec<u8>>,
    pub(super) sent: usize,
    pub(super) reader: Wakee,
    pub(super) writer: Wakee,
}

impl Socket {
    /// The error that ended the socket, for its owner.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.error.map(io::Error::from_raw_os_error)
    }
}

/// The sockets, by index; freed entries are used again under the next generation.
#[derive(Default)]
pub(super) struct Sockets {
    entries: Vec<Socket>,
    free: Vec<u32>,
    open: usize,
}

/// Generations travel in 24 bits of the completion's user data.
const GENERATIONS: u32 = 1 << 24;

impl Sockets {
    pub(super) fn open(&mut self, fd: Descriptor) -> SocketKey {
        self.open += 1;
        if let Some(index) = self.free.pop() {
            let entry = &mut self.entries[index as usize];
            entry.fd = Some(fd);
            return SocketKey {
                index,
                generation: entry.generation,
            };
        }
        let index = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(Socket {
            generation: 0,
            fd: Some(fd),
            receive: Receive::Idle,
            closing: false,
            finishing: false,
            pending: 0,
            error: None,
            received: VecDeque::new(),
            accepted: VecDeque::new(),
            sending: None,
            sent: 0,
            reader: Wakee::None,
            writer: Wakee::None,
        });
        SocketKey {
            index,
            generation: 0,
        }
    }

    #[inline]
    pub(super) fn get(&mut self, key: SocketKey) -> Option<&mut Socket> {
        self.entries
            .get_mut(key.index as usize)
            .filter(|s| s.generation == key.generation)
    }

    /// Forgets a socket with nothing pending; dropping its descriptor closes it.
    pub(super) fn close(&mut self, key: SocketKey) {
        let Some(entry) = self.get(key) else { return };
        debug_assert_eq!(entry.pending, 0);
        entry.generation = (entry.generation + 1) % GENERATIONS;
        entry.fd = None;
        entry.receive = Receive::Idle;
        entry.closing = false;
        entry.finishing = false;
        entry.error = None;
        entry.received = VecDeque::new();
        entry.accepted = VecDeque::new();
        entry.sending = None;
        entry.sent = 0;
        entry.reader = Wakee::None;
        entry.writer = Wakee::None;
        self.free.push(key.index);
        self.open -= 1;
    }

    /// Sockets open, closing ones included.
    pub(super) fn count(&self) -> usize {
        self.open
    }

    /// Keys of all open sockets.
    pub(super) fn keys(&self) -> Vec<SocketKey> {
        let open = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, s)| s.fd.is_some());
        open.filter_map(|(i, s)| {
            Some(SocketKey {
                index: u32::try_from(i).ok()?,
                generation: s.generation,
            })
        })
        .collect()
    }
}
