//! The floor of the benchmark: a server that is nothing but a ring. It counts the bytes of a
//! connection and sends a prepared answer for each request's worth of them, so what it costs is
//! what the kernel costs with the operations that a shard uses, too.

use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};

use rustc_hash::FxHashMap;

use super::DriverError;
use super::buffers::{BufferRing, RecvBuf};
use super::descriptor::Descriptor;
use super::op::{Done, Op};
use super::ring::Ring;
use super::start::ring_and_buffers;
use super::{Kind, SocketKey, user_data};

/// Answers that one send carries at most: prepared in a row, so that none is copied.
const ANSWERS: usize = 64;
/// Longest wait of the ring; nothing depends on it.
const WAIT_NS: u64 = 1_000_000_000;

/// What a floor did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Connections accepted.
    pub connections: u64,
    /// Requests answered.
    pub requests: u64,
}

/// Serves connections of `listener` until `stop` ends or has something to read: the bytes `answer`
/// for every request. Requests of one connection all have the length that `length_of` says of its
/// first bytes; a connection of which it says `None` is closed.
///
/// # Errors
/// When the ring cannot be set up; the error says what to change.
pub fn serve(
    listener: &TcpListener,
    stop: &impl AsFd,
    answer: &[u8],
    length_of: impl Fn(&[u8]) -> Option<usize>,
) -> Result<Served, DriverError> {
    let (ring, buffers) = ring_and_buffers()?;
    let mut floor = Floor {
        ring,
        buffers,
        answers: answer.repeat(ANSWERS),
        answer_len: answer.len(),
        peers: FxHashMap::default(),
        served: Served::default(),
        stopped: Box::new(0),
        listener: listener.as_raw_fd(),
        stop: stop.as_fd().as_raw_fd(),
    };
    floor.watch();
    while floor.turn(&length_of) {}
    Ok(floor.finish())
}

struct Floor {
    ring: Ring,
    buffers: std::rc::Rc<BufferRing>,
    answers: Vec<u8>,
    answer_len: usize,
    peers: FxHashMap<u32, Peer>,
    served: Served,
    stopped: Box<u64>,
    listener: i32,
    stop: i32,
}

struct Peer {
    fd: Descriptor,
    request_len: usize,
    /// Bytes of a request that is not whole yet.
    gathered: usize,
}

impl Floor {
    fn watch(&mut self) {
        let buffer: *mut u64 = &mut *self.stopped;
        let wake = Op::Wake {
            fd: self.stop,
            buffer,
        };
        // SAFETY: the buffer is boxed and `finish` leaks it: the kernel may write to it for ever.
        unsafe { self.ring.push(wake, (Kind::Wake as u64) << 56) };
        self.accept();
    }

    fn accept(&mut self) {
        let accept = Op::Accept { fd: self.listener };
        // SAFETY: an accept without an address refers to no memory.
        unsafe { self.ring.push(accept, (Kind::Accept as u64) << 56) };
    }

    fn receive(&mut self, index: u32) {
        let Some(peer) = self.peers.get(&index) else {
            return;
        };
        let fd = peer.fd.number();
        // SAFETY: a receive refers to the registered buffers alone, and `finish` leaks those.
        unsafe {
            self.ring
                .push(Op::Receive { fd }, tag(Kind::Receive, index));
        }
    }

    /// Submits, waits and handles what has completed; false once it is to end.
    fn turn(&mut self, length_of: &impl Fn(&[u8]) -> Option<usize>) -> bool {
        self.ring.enter(Some(WAIT_NS));
        while let Some(done) = self.ring.next() {
            let index = super::key_of(done.user_data).index;
            match done.user_data >> 56 {
                k if k == Kind::Wake as u64 => return false,
                k if k == Kind::Accept as u64 => self.on_accept(done),
                k if k == Kind::Receive as u64 => self.on_receive(index, done, length_of),
                // A send to a peer that has left: its receive says so, too.
                _ => {}
            }
        }
        true
    }

    fn on_accept(&mut self, done: Done) {
        if let Ok(index) = u32::try_from(done.result) {
            // SAFETY: the result of a successful accept, taken over here alone.
            let fd = unsafe { self.ring.adopt(done.result) };
            let peer = Peer {
                fd,
                request_len: 0,
                gathered: 0,
            };
            self.peers.insert(index, peer);
            self.served.connections += 1;
            self.receive(index);
        }
        if !done.more {
            self.accept();
        }
    }

    fn on_receive(&mut self, index: u32, done: Done, length_of: &impl Fn(&[u8]) -> Option<usize>) {
        let buffer = done.buffer.map(|id| {
            self.buffers.picked();
            let len = u32::try_from(done.result).unwrap_or(0);
            // SAFETY: the completion says that the kernel handed out buffer `id` with `len` bytes.
            unsafe { RecvBuf::new(self.buffers.clone(), id, len) }
        });
        let Some(peer) = self.peers.get_mut(&index) else {
            return;
        };
        let starved = done.result == -libc::ENOBUFS;
        let Some(buffer) = buffer.filter(|_| done.result > 0) else {
            if starved {
                self.receive(index);
            } else {
                self.peers.remove(&index);
            }
            return;
        };
        if peer.request_len == 0 {
            let Some(length) = length_of(&buffer).filter(|length| *length > 0) else {
                // The armed receive holds the socket; it ends by this, and then the peer goes.
                peer.fd.shutdown(rustix::net::Shutdown::Both);
                if !done.more {
                    self.peers.remove(&index);
                }
                return;
            };
            peer.request_len = length;
        }
        peer.gathered += buffer.len();
        let whole = peer.gathered / peer.request_len;
        peer.gathered %= peer.request_len;
        drop(buffer);
        self.answer(index, whole);
        if !done.more {
            self.receive(index);
        }
    }

    fn answer(&mut self, index: u32, mut whole: usize) {
        let Some(fd) = self.peers.get(&index).map(|peer| peer.fd.number()) else {
            return;
        };
        self.served.requests += whole as u64;
        while whole > 0 {
            let now = whole.min(ANSWERS);
            whole -= now;
            let op = Op::Send {
                fd,
                bytes: self.answers.as_ptr(),
                len: u32::try_from(now * self.answer_len).unwrap_or(u32::MAX),
            };
            // SAFETY: the prepared answers never change, and `finish` leaks them.
            unsafe { self.ring.push(op, tag(Kind::Send, index)) };
        }
    }

    /// Leaves to the kernel what it may still read or write: a floor ends with its process.
    fn finish(self) -> Served {
        self.buffers.leak();
        std::mem::forget(self.answers);
        std::mem::forget(self.stopped);
        self.served
    }
}

fn tag(kind: Kind, index: u32) -> u64 {
    let key = SocketKey {
        index,
        generation: 0,
    };
    user_data(kind, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the client is a thread")]
    fn every_request_s_worth_of_bytes_is_answered_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = std::os::unix::net::UnixStream::pair().unwrap();
        let client = std::thread::spawn(move || {
            let mut reply = [0; 4];
            let mut first = TcpStream::connect(address).unwrap();
            first.write_all(b"abcdef").unwrap();
            first.read_exact(&mut reply).unwrap();
            assert_eq!(&reply, b"okok");
            // A request in two pieces is one request.
            first.write_all(b"a").unwrap();
            first.write_all(b"bc").unwrap();
            first.read_exact(&mut reply[..2]).unwrap();
            // More than one send carries.
            first.write_all(&[b'a'; 3 * 150]).unwrap();
            first.read_exact(&mut [0; 2 * 150]).unwrap();
            let mut refused = TcpStream::connect(address).unwrap();
            refused.write_all(b"xyz").unwrap();
            assert_eq!(refused.read(&mut reply).unwrap(), 0);
            drop(stop);
        });
        let length_of = |bytes: &[u8]| bytes.starts_with(b"a").then_some(3);
        let served = serve(&listener, &stopped, b"ok", length_of).unwrap();
        client.join().unwrap();
        let wanted = Served {
            connections: 2,
            requests: 2 + 1 + 150,
        };
        assert_eq!(served, wanted);
    }
}
