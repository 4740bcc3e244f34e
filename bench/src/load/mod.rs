//! Load generation. Every generator runs in a process of its own, pinned to one CPU, and talks to
//! the coordinator in JSON lines on its standard streams.

pub mod client;
pub(crate) mod conn;
pub mod flood;
pub mod floor;
pub mod idle;
pub mod null_target;
pub mod remote;
pub(crate) mod reply;
pub mod rolling;
pub mod schedule;
pub mod spec;
pub(crate) mod tally;
pub mod wire;
