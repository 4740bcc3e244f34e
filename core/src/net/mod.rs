//! The node's sockets: acceptors of each shard, one task a connection.

mod acceptor;
mod arena;
mod conn;
mod inbox;
mod lines;
mod pair;
mod peers;
mod seat;

pub(crate) use acceptor::{Speech, accept, tend};
pub(crate) use lines::{Far, Lines};
pub(crate) use pair::Pair;
pub(crate) use seat::{Counted as AnswerUnderWay, NetStats, ShardSeat};
