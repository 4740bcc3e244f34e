//! What the protocol needs from legacy sessions; the node implements it over actors.

use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::auth::Owner;
use crate::context::Level;
use crate::mcp::{Capabilities, Version};
use crate::tool::LocalBoxFuture;

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
    /// What the client is able to do.
    pub capabilities: Capabilities,
    /// Whose session it is; `None` where nobody has to say who they are.
    pub owner: Option<Owner>,
}

/// What a request needs to know about its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// The negotiated version, a legacy one.
    pub version: Version,
    /// Whether `notifications/initialized` has arrived.
    pub initialized: bool,
    /// What the client is able to do.
    pub capabilities: Capabilities,
    /// Least level of log messages that the client wants.
    pub log_level: Level,
    /// Whose session it is: to everybody else there is none of its id.
    pub owner: Option<Owner>,
}

impl SessionView {
    /// A session just opened with `facts`.
    pub fn opened(facts: &SessionFacts) -> Self {
        Self {
            version: facts.version,
            initialized: false,
            capabilities: facts.capabilities,
            log_level: Level::Info,
            owner: facts.owner,
        }
    }
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
    /// The session has its stream already: 409.
    #[error("Conflict: this session has a stream already")]
    Conflict,
    /// The session takes no more subscriptions: an error of the request.
    #[error("Too many subscriptions in this session")]
    Subscriptions,
    /// These sessions have no streams: 405.
    #[error("Sessions have no streams here")]
    NoStreams,
}

/// What a request changes of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `notifications/initialized` has arrived.
    Initialized,
    /// `logging/setLevel`.
    LogLevel(Level),
    /// `resources/subscribe`.
    Subscribe(Box<str>),
    /// `resources/unsubscribe`.
    Unsubscribe(Box<str>),
    /// `notifications/cancelled`: the request with this id, as JSON, is to end.
    Cancel(Box<str>),
}

/// The client's answer to a request of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The result, as JSON.
    Result(String),
    /// An error.
    Error {
        /// JSON-RPC error code.
        code: i64,
        /// What the client said.
        message: String,
    },
}

/// A request of the server that is about to be sent.
pub struct Expected {
    /// Its id: unguessable, routable by its issuer.
    pub id: String,
    /// Resolves to the answer, or to `None` when none comes in time.
    pub reply: LocalBoxFuture<'static, Option<Reply>>,
}

/// One event for a stream of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The id that `Last-Event-ID` names.
    pub id: String,
    /// The message, one line of JSON.
    pub data: String,
}

/// A session's events as they come, for the stream that a GET has opened.
pub trait Feed {
    /// The next event; `None` at the end of the session.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>>;
}

/// The way from a call of a session back to that session. It stays on the shard of the call.
pub trait SessionLink {
    /// Prepares a request to the client; `None` when too many wait already.
    fn expect(&self) -> Option<Expected>;

    /// Names a stream of this session, for the ids of its events.
    fn name_stream(&self) -> String;

    /// Keeps an event of the stream `stream`, so that it can be replayed; passes it on, if the
    /// client has come back for that stream. `last` says that the stream ends with it.
    fn record(&self, stream: &str, event: Event, last: bool);

    /// Tells that the stream `stream` has ended, although no event was its last.
    fn end_stream(&self, stream: &str);

    /// Tells that the request with the id `request`, as JSON, is under way; resolves when the
    /// client cancels it.
    fn begin(&self, request: &str) -> LocalBoxFuture<'static, ()>;
}

/// Access to the legacy sessions of the node. The futures stay on the shard that asked.
pub trait Sessions {
    /// Starts a session.
    fn open(&self, facts: SessionFacts) -> impl Future<Output = Result<SessionId, SessionError>>;

    /// Finds a session and counts this as use of it.
    fn check(&self, id: &str) -> impl Future<Output = Result<SessionView, SessionError>>;

    /// Changes a session, which counts as use of it.
    fn change(
        &self,
        id: &str,
        change: Change,
    ) -> impl Future<Output = Result<SessionView, SessionError>>;

    /// Ends a session.
    fn close(&self, id: &str) -> impl Future<Output = Result<(), SessionError>>;

    /// The way back to the session `id` of `owner` for a call of it; none where calls only answer.
    fn link(&self, id: &str, owner: Option<Owner>) -> Option<Rc<dyn SessionLink>> {
        let _ = (id, owner);
        None
    }

    /// Takes the answer of `owner`, a client, to the request `request` of the session `id`; false
    /// when nobody waits for it.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`] when who waits for it could not be told.
    fn reply(
        &self,
        id: &str,
        owner: Option<Owner>,
        request: &str,
        reply: Reply,
    ) -> impl Future<Output = Result<bool, SessionError>> {
        let _ = (id, owner, request, reply);
        std::future::ready(Ok(false))
    }

    /// Opens the stream of the session `id`, or that of an earlier request after the event
    /// `after`.
    fn attach(
        &self,
        id: &str,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Box<dyn Feed>, SessionError>> {
        let _ = (id, after);
        std::future::ready(Err(SessionError::NoStreams))
    }
}
