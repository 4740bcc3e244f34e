//! What the protocol needs from legacy sessions; the node implements it over actors.

use std::future::Future;

use crate::mcp::Version;

/// The id of a legacy session: visible ASCII, unguessable, routable by its issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(Box<str>);

impl SessionId {
    /// Wraps `id`, or `None` unless it is 1 to 128 bytes of visible ASCII (0x21-0x7E).
    pub fn new(id: impl Into<Box<str>>) -> Option<Self> {
        let id = id.into();
        let visible = id.bytes().all(|byte| byte.is_ascii_graphic());
        (visible && (1..=128).contains(&id.len())).then_some(Self(id))
    }

    /// The id as it goes into `Mcp-Session-Id`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a session remembers from its `initialize`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// The negotiated version, a legacy one.
    pub version: Version,
    /// Name of the client, at most 128 bytes.
    pub client: Box<str>,
}

/// What a request needs to know about its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// The negotiated version, a legacy one.
    pub version: Version,
    /// Whether `notifications/initialized` has arrived.
    pub initialized: bool,
}

/// Why a session could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Never issued, closed or expired: 404.
    #[error("Session not found: initialize again")]
    Unknown,
    /// No room for another session: 503.
    #[error("Too many sessions: try again later")]
    Full,
    /// The owner of the session did not answer in time: 503.
    #[error("Session is busy: try again later")]
    Unavailable,
}

/// Access to the legacy sessions of the node. The futures stay on the shard that asked.
pub trait Sessions {
    /// Starts a session.
    fn open(&self, facts: SessionFacts) -> impl Future<Output = Result<SessionId, SessionError>>;

    /// Finds a session and counts this as use of it.
    fn check(&self, id: &str) -> impl Future<Output = Result<SessionView, SessionError>>;

    /// Records `notifications/initialized`.
    fn initialized(&self, id: &str) -> impl Future<Output = Result<(), SessionError>>;

    /// Ends a session.
    fn close(&self, id: &str) -> impl Future<Output = Result<(), SessionError>>;
}
