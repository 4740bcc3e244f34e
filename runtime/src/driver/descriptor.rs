//! The descriptor of a socket, in the kernel or in a simulated network.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::Shutdown;

use super::sim::SimFd;

/// Owns an open socket; dropping it closes it.
#[derive(Debug)]
pub(crate) enum Descriptor {
    Kernel(OwnedFd),
    Simulated(SimFd),
}

impl Descriptor {
    /// The number by which its ring knows it.
    #[inline]
    pub(super) fn number(&self) -> i32 {
        match self {
            Descriptor::Kernel(fd) => fd.as_raw_fd(),
            Descriptor::Simulated(fd) => fd.number(),
        }
    }

    /// Address of the connected peer; a simulated network has none.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match self {
            // A peer that has reset the connection has no address any more.
            Descriptor::Kernel(fd) => rustix::net::getpeername(fd).ok()??.try_into().ok(),
            Descriptor::Simulated(_) => None,
        }
    }

    /// Ends one side of the socket or both, at once.
    pub(super) fn shutdown(&self, how: Shutdown) {
        match self {
            // A peer that has reset the connection has shut it down already.
            Descriptor::Kernel(fd) => drop(rustix::net::shutdown(fd, how)),
            Descriptor::Simulated(fd) => fd.shutdown(how),
        }
    }
}

impl From<OwnedFd> for Descriptor {
    fn from(fd: OwnedFd) -> Self {
        Descriptor::Kernel(fd)
    }
}
