//! The sockets of a shard: what is known of each between two completions.

use std::collections::VecDeque;
use std::io;
use std::num::{NonZeroI32, NonZeroU32};

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

/// Received buffers that nobody has read yet. Nearly always there are none or one, so only a second
/// one takes memory beside the socket's entry.
#[derive(Default)]
#[expect(
    clippy::box_collection,
    reason = "a pointer in each of a million sockets is all that the second buffer may cost"
)]
pub(super) struct Unread {
    first: Option<RecvBuf>,
    more: Option<Box<VecDeque<RecvBuf>>>,
}

impl Unread {
    pub(super) fn push(&mut self, buffer: RecvBuf) {
        if self.first.is_none() {
            self.first = Some(buffer);
        } else {
            self.more.get_or_insert_default().push_back(buffer);
        }
    }

    pub(super) fn pop(&mut self) -> Option<RecvBuf> {
        let next = self.more.as_mut().and_then(|more| more.pop_front());
        if next.is_none() {
            self.more = None;
        }
        std::mem::replace(&mut self.first, next)
    }

    pub(super) fn len(&self) -> usize {
        let more = self.more.as_ref().map_or(0, |more| more.len());
        usize::from(self.first.is_some()) + more
    }
}

#[expect(
    clippy::box_collection,
    reason = "only a listener has what it points to"
)]
pub(super) struct Socket {
    pub(super) generation: u32,
    pub(super) fd: Option<Descriptor>,
    pub(super) receive: Receive,
    pub(super) closing: bool,
    /// The sending side ends as soon as the send in flight has gone.
    pub(super) finishing: bool,
    /// Operations in the kernel that name this socket.
    pub(super) pending: u8,
    pub(super) error: Option<NonZeroI32>,
    pub(super) received: Unread,
    /// Accepted connections that wait for the acceptor; only a listener has any.
    pub(super) accepted: Option<Box<VecDeque<Descriptor>>>,
    /// Index of the send in flight.
    sending: Option<NonZeroU32>,
    pub(super) reader: Wakee,
}

/// A send in flight, apart from its socket: most sockets have none most of the time.
pub(super) struct Sending {
    pub(super) buffer: Vec<u8>,
    /// Bytes of it that have gone.
    pub(super) sent: usize,
    /// Who waits until all of it has.
    pub(super) writer: Wakee,
}

impl Sending {
    /// What has not gone yet.
    pub(super) fn rest(&self) -> &[u8] {
        self.buffer.get(self.sent..).unwrap_or_default()
    }
}

impl Socket {
    /// The error that ended the socket, for its owner.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.error.map(os_error)
    }

    /// Whether a send is in flight.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Accepted connections that wait for the acceptor.
    pub(super) fn accepted_count(&self) -> usize {
        self.accepted.as_ref().map_or(0, |accepted| accepted.len())
    }
}

// What every idle connection costs the driver.
const _: () = assert!(size_of::<Socket>() <= 96);

/// The error behind `errno`.
pub(super) fn os_error(errno: NonZeroI32) -> io::Error {
    io::Error::from_raw_os_error(errno.get())
}

/// The sockets, by index; freed entries are used again under the next generation.
#[derive(Default)]
pub(super) struct Sockets {
    entries: Vec<Socket>,
    free: Vec<u32>,
    open: usize,
    /// Sends in flight; the index in a socket is one more than the place here.
    sends: Vec<Option<Sending>>,
    free_sends: Vec<NonZeroU32>,
}

fn place(index: NonZeroU32) -> usize {
    index.get() as usize - 1
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
            received: Unread::default(),
            accepted: None,
            sending: None,
            reader: Wakee::None,
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

    /// Notes that `buffer` is being sent on `key`, which sends nothing else.
    pub(super) fn start_sending(&mut self, key: SocketKey, buffer: Vec<u8>) {
        let index = self.free_sends.pop().or_else(|| {
            self.sends.push(None);
            u32::try_from(self.sends.len())
                .ok()
                .and_then(NonZeroU32::new)
        });
        if let (Some(index), Some(socket)) = (index, self.get(key)) {
            socket.sending = Some(index);
            self.sends[place(index)] = Some(Sending {
                buffer,
                sent: 0,
                writer: Wakee::None,
            });
        }
    }

    /// The send in flight on `key`.
    #[inline]
    pub(super) fn sending(&mut self, key: SocketKey) -> Option<&mut Sending> {
        let index = self.get(key)?.sending?;
        self.sends[place(index)].as_mut()
    }

    /// Takes the send of `key` out: it is over.
    pub(super) fn end_sending(&mut self, key: SocketKey) -> Option<Sending> {
        let index = self.get(key)?.sending.take()?;
        self.free_sends.push(index);
        self.sends[place(index)].take()
    }

    /// Leaves the buffers of all sends in flight to the kernel for good.
    pub(super) fn leak_sends(&mut self) {
        for send in self.sends.drain(..).flatten() {
            std::mem::forget(send.buffer);
        }
    }

    /// Forgets a socket with nothing pending; dropping its descriptor closes it.
    pub(super) fn close(&mut self, key: SocketKey) {
        let Some(entry) = self.get(key) else { return };
        debug_assert!(entry.pending == 0 && !entry.is_sending());
        entry.generation = (entry.generation + 1) % GENERATIONS;
        entry.fd = None;
        entry.receive = Receive::Idle;
        entry.closing = false;
        entry.finishing = false;
        entry.error = None;
        entry.received = Unread::default();
        entry.accepted = None;
        entry.reader = Wakee::None;
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
