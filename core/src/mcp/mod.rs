//! The Model Context Protocol, both eras: which version a message speaks and what answers it.
//!
//! Nothing here knows HTTP beyond the three headers of the modern era, which reach it as plain
//! bytes, so that other transports use the same code without them.

pub(crate) mod call;
mod capabilities;
pub(crate) mod complete;
pub(crate) mod dispatch;
pub(crate) mod headers;
pub(crate) mod listen;
pub(crate) mod prompts;
pub(crate) mod resources;
pub(crate) mod rounds;
mod stamp;
mod tasks;
pub(crate) mod v2025_11_25;
pub(crate) mod v2026_07_28;
mod version;
pub(crate) mod work;

pub use capabilities::Capabilities;
pub(crate) use stamp::{COMPLETE, Stamp};
pub use version::{Era, LEGACY, MODERN, Version};

/// Key of the protocol version in a modern request's `_meta`.
pub(crate) const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Key of the client's capabilities in a modern request's `_meta`.
pub(crate) const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Key of the least level of log messages in a modern request's `_meta`.
pub(crate) const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Key of the request id in messages of a modern subscription.
pub(crate) const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// Key of the server's name and version in a modern result's `_meta`.
pub(crate) const META_SERVER: &str = "io.modelcontextprotocol/serverInfo";
