//! What a client can hold: ids that route themselves, and the actors behind them.

mod id;
mod session;

pub(crate) use id::IdCodec;
pub(crate) use session::ShardSessions;
