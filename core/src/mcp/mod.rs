//! The Model Context Protocol, both eras: which version a message speaks and what answers it.
//!
//! Nothing here knows HTTP beyond the three headers of the modern era, which reach it as plain
//! bytes, so that other transports use the same code without them.

pub(crate) mod call;
pub(crate) mod headers;
mod stamp;
pub(crate) mod v2025_11_25;
pub(crate) mod v2026_07_28;
mod version;

pub(crate) use stamp::Stamp;
pub use version::{Era, LEGACY, MODERN, Version};

/// Key of the protocol version in a modern request's `_meta`.
pub(crate) const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Key of the client's capabilities in a modern request's `_meta`.
pub(crate) const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
