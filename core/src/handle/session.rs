//! Legacy sessions: one actor each, on the shard where it was opened, found from every shard.
//!
//! A request crosses the mesh once to ask whether its session lives; its body stays where it is.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ninefold_runtime::clock;
use ninefold_runtime::{
    Actor, Address, CallError, Context, Handler, Message, SpawnOptions, spawn_actor,
};

use super::id::{IdCodec, Route, Secret};
use crate::limits::Limits;
use crate::mcp::Version;
use crate::session::{SessionError, SessionFacts, SessionId, SessionView, Sessions};

/// Messages that may wait for one session; a client with more in flight is told to wait.
const MAILBOX: u32 = 256;
/// How long a session may take to answer before its request is refused with 503.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What a request wants of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Check,
    Initialized,
    Close,
}

struct Ask {
    secret: Secret,
    want: Want,
}

impl Message for Ask {
    /// `None` to whoever does not know the secret.
    type Reply = Option<SessionView>;
}

/// The idle clock of a session.
struct Reap;

impl Message for Reap {
    type Reply = ();
}

struct Session {
    secret: Secret,
    version: Version,
    initialized: bool,
    used_ns: u64,
    idle_ns: u64,
    _seat: Seat,
}

/// Counts a session as open while it exists, however it ends.
struct Seat(Rc<Cell<usize>>);

impl Seat {
    fn take(open: &Rc<Cell<usize>>, limit: usize) -> Option<Self> {
        (open.get() < limit).then(|| {
            open.set(open.get() + 1);
            Seat(open.clone())
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Actor for Session {
    fn started(&mut self, context: &mut Context<'_, Self>) {
        context.send_after(Duration::from_nanos(self.idle_ns), Reap);
    }
}

impl Handler<Ask> for Session {
    fn handle(&mut self, ask: Ask, context: &mut Context<'_, Self>) -> Option<SessionView> {
        if !self.secret.matches(ask.secret) {
            return None;
        }
        self.used_ns = clock::monotonic_ns();
        match ask.want {
            Want::Check => {}
            Want::Initialized => self.initialized = true,
            Want::Close => context.stop(),
        }
        Some(SessionView {
            version: self.version,
            initialized: self.initialized,
        })
    }
}

impl Handler<Reap> for Session {
    fn handle(&mut self, _: Reap, context: &mut Context<'_, Self>) {
        let unused_ns = clock::monotonic_ns().saturating_sub(self.used_ns);
        if unused_ns >= self.idle_ns {
            tracing::debug!(
                unused_s = unused_ns / 1_000_000_000,
                "a session ended unused"
            );
            context.stop();
        } else {
            context.send_after(Duration::from_nanos(self.idle_ns - unused_ns), Reap);
        }
    }
}

/// The sessions as one shard sees them: opens its own, finds everybody's.
pub(crate) struct ShardSessions {
    codec: Arc<IdCodec>,
    open: Rc<Cell<usize>>,
    limit: usize,
    idle: Duration,
}

impl ShardSessions {
    pub(crate) fn new(codec: Arc<IdCodec>, limits: &Limits) -> Self {
        Self {
            codec,
            open: Rc::default(),
            limit: limits.sessions_per_shard,
            idle: Duration::from_millis(limits.session_idle_ms),
        }
    }

    /// Sessions open on this shard.
    pub(crate) fn open_count(&self) -> usize {
        self.open.get()
    }

    async fn ask(&self, id: &str, want: Want) -> Result<SessionView, SessionError> {
        let (route, secret) = self.codec.decode(id).ok_or(SessionError::Unknown)?;
        let Route {
            shard,
            index,
            generation,
        } = route;
        let session = Address::<Session>::from_parts(shard, index, generation)
            .ok_or(SessionError::Unavailable)?;
        match session.call(Ask { secret, want }, ANSWER_WITHIN).await {
            Ok(Some(view)) => Ok(view),
            Ok(None) | Err(CallError::Closed(_) | CallError::Stopped) => Err(SessionError::Unknown),
            Err(_) => Err(SessionError::Unavailable),
        }
    }
}

impl Sessions for ShardSessions {
    async fn open(&self, facts: SessionFacts) -> Result<SessionId, SessionError> {
        let seat = Seat::take(&self.open, self.limit).ok_or(SessionError::Full)?;
        let secret = Secret::fresh().map_err(|_| SessionError::Unavailable)?;
        let session = Session {
            secret,
            version: facts.version,
            initialized: false,
            used_ns: clock::monotonic_ns(),
            idle_ns: u64::try_from(self.idle.as_nanos()).unwrap_or(u64::MAX),
            _seat: seat,
        };
        let options = SpawnOptions {
            capacity: MAILBOX,
            ..SpawnOptions::default()
        };
        let address = spawn_actor(options, session).map_err(|_| SessionError::Full)?;
        let (shard, index, generation) = address.id().to_parts();
        tracing::debug!(client = %facts.client, version = facts.version.as_str(), "session opened");
        let id = self.codec.encode(
            Route {
                shard,
                index,
                generation,
            },
            secret,
        );
        SessionId::new(id).ok_or(SessionError::Unavailable)
    }

    async fn check(&self, id: &str) -> Result<SessionView, SessionError> {
        self.ask(id, Want::Check).await
    }

    async fn initialized(&self, id: &str) -> Result<(), SessionError> {
        self.ask(id, Want::Initialized).await.map(drop)
    }

    async fn close(&self, id: &str) -> Result<(), SessionError> {
        self.ask(id, Want::Close).await.map(drop)
    }
}
