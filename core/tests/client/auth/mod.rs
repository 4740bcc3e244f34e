//! Access to servers that want a token: how one is got and kept, and who does not get one.

mod command;
mod discovery;
mod flow;
mod hostile;
mod identity;
mod listener;
mod store;
mod tls;
pub(crate) mod world;
