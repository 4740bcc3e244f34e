//! Access to servers that want a token: how one is got and kept, and who does not get one.

mod command;
mod flow;
mod hostile;
mod listener;
mod store;
mod tls;
pub(crate) mod world;
