//! The node's sockets: one acceptor a shard, one task a connection.

mod acceptor;
mod arena;
mod conn;
mod inbox;
mod peers;
mod seat;

pub(crate) use acceptor::accept;
pub(crate) use seat::{NetStats, ShardSeat};
