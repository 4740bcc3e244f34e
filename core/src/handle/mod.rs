//! What a client can hold: ids that route themselves, and the actors behind them.

mod hub;
mod id;
mod link;
mod session;
mod streams;
mod task;
mod tell;

pub(crate) use hub::{Hub, Hubs, Parcel, Slot};
pub(crate) use id::IdCodec;
pub(crate) use session::ShardSessions;
pub(crate) use task::ShardTasks;
