//! A kernel in memory for the sockets of simulated shards, in which a seed decides what happens
//! when. What it does, a Linux kernel may do: short transfers, completions in any order, multishot
//! operations that end by themselves, want of buffers and descriptors, resets.
//!
//! - `net`: listeners, connections, the descriptors that name them, and the peers at the far end.
//! - `connection`: two pipes of bounded size, and how a connection ends.
//! - `ring`: operations under way, and the chooser of what completes now.
//! - `chances`: how likely each thing is under one seed.

mod chances;
mod connection;
mod net;
mod ring;

pub(crate) use net::SimFd;
pub use net::{SimNet, SimPeer};
pub(super) use ring::SimRing;
