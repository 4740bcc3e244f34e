//! The simulated network: what its descriptors name, and the peers that a simulator scripts.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use fastrand::Rng;
use rustix::net::Shutdown;

use super::super::op::Done;
use super::chances;
use super::connection::{Connection, End, Link};
use crate::limits::{SIM_BACKLOG, SIM_SOCKETS_MAX};

/// What a descriptor names.
enum File {
    Listener {
        port: u16,
        backlog: VecDeque<Link>,
        shut: bool,
    },
    Stream(Link),
}

struct World {
    rng: Rng,
    /// By descriptor; the lowest free number is used again at once, as in a kernel.
    files: Vec<Option<File>>,
    completions: u64,
    trace: u64,
}

/// A network in memory, shared by the simulated drivers of one thread and the peers at its far end.
///
/// Everything that happens in it follows from its seed, the seeds of the drivers and the calls made
/// to it.
#[derive(Clone)]
pub struct SimNet(Rc<RefCell<World>>);

/// FNV-1a, 64 bits: start value and prime.
const FNV: (u64, u64) = (0xcbf2_9ce4_8422_2325, 0x0100_0000_01b3);

impl SimNet {
    /// An empty network that draws what it must from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        SimNet(Rc::new(RefCell::new(World {
            rng: Rng::with_seed(seed),
            files: Vec::new(),
            completions: 0,
            trace: FNV.0,
        })))
    }

    /// Connects to one of the listeners on `port`, which share it as with SO_REUSEPORT. The
    /// connection exists at once and waits to be accepted.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens there or the chosen listener has
    /// [`SIM_BACKLOG`] connections waiting.
    pub fn connect(&self, port: u16) -> io::Result<SimPeer> {
        let mut world = self.0.borrow_mut();
        let World { rng, files, .. } = &mut *world;
        let mut listeners: Vec<&mut VecDeque<Link>> = files
            .iter_mut()
            .flatten()
            .filter_map(|file| match file {
                File::Listener {
                    port: at,
                    backlog,
                    shut: false,
                } if *at == port => Some(backlog),
                _ => None,
            })
            .collect();
        if listeners.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        }
        let chosen = rng.usize(..listeners.len());
        let backlog = &mut listeners[chosen];
        if backlog.len() >= SIM_BACKLOG {
            return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        }
        let link = Connection::new(chances::pipe_bytes(rng));
        backlog.push_back(link.clone());
        Ok(SimPeer(link))
    }

    /// A hash over the completions of all drivers so far, in their order: the same seeds and the
    /// same script give the same.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.0.borrow().trace
    }

    /// Completions of all drivers so far.
    #[must_use]
    pub fn completions(&self) -> u64 {
        self.0.borrow().completions
    }

    /// Descriptors open now, listeners included.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.0.borrow().files.iter().flatten().count()
    }

    pub(super) fn note(&self, done: &Done) {
        let mut world = self.0.borrow_mut();
        world.completions += 1;
        let buffer = done.buffer.map_or(-1, i64::from);
        let words = [
            done.user_data.to_le_bytes(),
            i64::from(done.result).to_le_bytes(),
            buffer.to_le_bytes(),
            u64::from(done.more).to_le_bytes(),
        ];
        for byte in words.as_flattened() {
            world.trace = (world.trace ^ u64::from(*byte)).wrapping_mul(FNV.1);
        }
    }

    /// Listens on `port`, beside others that do.
    pub(in crate::driver) fn listen(&self, port: u16) -> io::Result<SimFd> {
        let listener = File::Listener {
            port,
            backlog: VecDeque::new(),
            shut: false,
        };
        let number = self.0.borrow_mut().add(listener);
        let number = number.ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))?;
        Ok(self.adopt(number))
    }

    pub(super) fn adopt(&self, number: i32) -> SimFd {
        SimFd {
            net: self.clone(),
            number,
        }
    }

    pub(super) fn can_accept(&self, listener: i32) -> bool {
        match self.0.borrow().file(listener) {
            Some(File::Listener { backlog, shut, .. }) => *shut || !backlog.is_empty(),
            _ => true,
        }
    }

    /// The descriptor of the next connection, a negated errno, or `None` without one.
    pub(super) fn accept(&self, listener: i32) -> Option<i32> {
        let mut world = self.0.borrow_mut();
        match world.file_mut(listener) {
            Some(File::Listener { shut: true, .. }) => Some(-libc::EINVAL),
            Some(File::Listener { backlog, .. }) => {
                let link = backlog.pop_front()?;
                let refused = link.clone();
                Some(world.add(File::Stream(link)).unwrap_or_else(|| {
                    refused.borrow_mut().reset();
                    -libc::EMFILE
                }))
            }
            Some(File::Stream(_)) => Some(-libc::EINVAL),
            None => Some(-libc::EBADF),
        }
    }

    /// The connection behind a descriptor.
    pub(super) fn link(&self, stream: i32) -> Option<Link> {
        match self.0.borrow().file(stream) {
            Some(File::Stream(link)) => Some(link.clone()),
            _ => None,
        }
    }

    fn shutdown(&self, number: i32, how: Shutdown) {
        match self.0.borrow_mut().file_mut(number) {
            Some(File::Listener { shut, .. }) => *shut = true,
            Some(File::Stream(link)) => {
                let mut link = link.borrow_mut();
                if how != Shutdown::Write {
                    link.refuse(End::Shard);
                }
                if how != Shutdown::Read {
                    link.finish(End::Shard);
                }
            }
            None => {}
        }
    }

    fn close(&self, number: i32) {
        let file = usize::try_from(number).ok().and_then(|at| {
            let mut world = self.0.borrow_mut();
            world.files.get_mut(at).and_then(Option::take)
        });
        match file {
            Some(File::Listener { backlog, .. }) => {
                backlog.iter().for_each(|link| link.borrow_mut().reset());
            }
            Some(File::Stream(link)) => link.borrow_mut().close(End::Shard),
            None => {}
        }
    }
}

impl World {
    fn file(&self, number: i32) -> Option<&File> {
        self.files.get(usize::try_from(number).ok()?)?.as_ref()
    }

    fn file_mut(&mut self, number: i32) -> Option<&mut File> {
        self.files.get_mut(usize::try_from(number).ok()?)?.as_mut()
    }

    /// A descriptor for `file`; `None` when [`SIM_SOCKETS_MAX`] are open.
    fn add(&mut self, file: File) -> Option<i32> {
        let free = self.files.iter().position(Option::is_none);
        let at = free.unwrap_or(self.files.len());
        if at >= SIM_SOCKETS_MAX {
            return None;
        }
        if free.is_none() {
            self.files.push(None);
        }
        self.files[at] = Some(file);
        i32::try_from(at).ok()
    }
}

impl std::fmt::Debug for SimNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimNet")
            .field("open", &self.open_count())
            .field("completions", &self.completions())
            .finish_non_exhaustive()
    }
}

/// An open socket of a [`SimNet`]; dropping it closes it.
#[derive(Debug)]
pub(crate) struct SimFd {
    net: SimNet,
    number: i32,
}

impl SimFd {
    pub(in crate::driver) fn number(&self) -> i32 {
        self.number
    }

    pub(in crate::driver) fn shutdown(&self, how: Shutdown) {
        self.net.shutdown(self.number, how);
    }
}

impl Drop for SimFd {
    fn drop(&mut self) {
        self.net.close(self.number);
    }
}

/// The far end of a connection, played by the simulator. Nothing here waits: what cannot be done
/// now is not done. Dropping it closes the socket.
#[derive(Debug)]
pub struct SimPeer(Link);

impl SimPeer {
    /// Writes as many of `bytes` as there is room for: their number, 0 when the pipe is full.
    ///
    /// # Errors
    /// `ConnectionReset`, or `BrokenPipe` after [`SimPeer::finish`].
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.borrow_mut().write(End::Peer, bytes);
        written.map_err(io::Error::from_raw_os_error)
    }

    /// Reads what has arrived, up to `into.len()` bytes: their number, or `None` when nothing has
    /// arrived yet; 0 at the end of the shard's stream.
    ///
    /// # Errors
    /// `ConnectionReset`.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let read = self.0.borrow_mut().read(End::Peer, into);
        read.map_err(io::Error::from_raw_os_error)
    }

    /// Writes no more: the shard reads what was written, then the end of the stream.
    pub fn finish(&mut self) {
        self.0.borrow_mut().finish(End::Peer);
    }

    /// Resets the connection: what is on its way in either direction is lost.
    pub fn reset(self) {
        self.0.borrow_mut().reset();
    }

    /// Whether the connection was reset, by either end.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.0.borrow().is_reset()
    }
}

impl Drop for SimPeer {
    fn drop(&mut self) {
        self.0.borrow_mut().close(End::Peer);
    }
}
