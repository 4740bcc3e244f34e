//! Who may use a server: the node as an OAuth 2.1 resource server (MCP, "Authorization"), or with
//! static API keys.
//!
//! A request passes the `gate` of its shard, which finds its token (`header`), judges it by the
//! newest keys (`jwt`, `api_keys`) and remembers what was good (`cache`). What it may do is in
//! `scopes`. A thread off the shards (`keeper`) keeps the `keys`. A server without an
//! [`Authorization`] has no gate, and pays one branch.

mod access;
mod api_keys;
mod cache;
mod config;
mod crypto;
mod fetch;
mod gate;
mod header;
mod identity;
mod jwks;
mod jwt;
mod keeper;
mod keys;
mod refusal;
mod scopes;

pub(crate) use access::Access;
pub use config::{AuthError, Authorization};
pub(crate) use gate::{Gate, Judged};
pub use identity::{Identity, Owner};
pub(crate) use keeper::Keeper;
pub(crate) use keys::Looking;
pub(crate) use refusal::Refusal;
pub use scopes::Feature;
pub(crate) use scopes::joined;
