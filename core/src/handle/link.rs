//! From a call back to its session: questions to the client, events for replay, cancellation; and
//! the events of a session, as the stream of a GET takes them.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ninefold_runtime::{Address, Handler, Message, SendError, sleep, spawn_local, timeout};

use super::hub::{Hub, Parcel, Slot};
use super::id::{IdCodec, Secret};
use super::session::{Begin, Detach, End, Record, Session};
use crate::session::{Event, Expected, Feed, Reply, SessionLink};
use crate::tool::LocalBoxFuture;

/// The way back to one session.
pub(super) struct Link {
    pub(super) hub: Rc<Hub>,
    pub(super) codec: Arc<IdCodec>,
    pub(super) session: Address<Session>,
    pub(super) secret: Secret,
    pub(super) answer_within: Duration,
}

impl SessionLink for Link {
    fn expect(&self) -> Option<Expected> {
        let slot = self.hub.slot()?;
        let at = slot.at();
        let within = self.answer_within;
        let reply = async move {
            match timeout(within, slot.receive()).await {
                Ok(Parcel::Reply(reply)) => Some(reply),
                _ => None::<Reply>,
            }
        };
        Some(Expected {
            id: self.codec.encode(at.route, at.secret),
            reply: Box::pin(reply),
        })
    }

    fn name_stream(&self) -> String {
        self.hub.name_stream()
    }

    fn record(&self, stream: &str, event: Event, last: bool) {
        let record = Record {
            secret: self.secret,
            stream: stream.into(),
            event,
            last,
        };
        if last {
            return tell(self.session, record);
        }
        // A session that is gone, or so busy that it has no room, replays less.
        let _ = self.session.cast(record);
    }

    fn begin(&self, request: &str) -> LocalBoxFuture<'static, ()> {
        let Some(slot) = self.hub.slot() else {
            return Box::pin(std::future::pending());
        };
        let begun = Begin {
            secret: self.secret,
            request: request.into(),
            slot: slot.at(),
        };
        if self.session.cast(begun).is_err() {
            return Box::pin(std::future::pending());
        }
        let under_way = UnderWay {
            session: self.session,
            slot,
        };
        Box::pin(async move { while !matches!(under_way.slot.receive().await, Parcel::Cancel) {} })
    }
}

/// Pause before a session that had no room is told again.
const TELL_AGAIN: Duration = Duration::from_millis(10);

/// Tells a session what it must know, or it would wait for ever for what has ended: again and again
/// while it has no room, until it has or is gone.
pub(super) fn tell<M: Message>(session: Address<Session>, message: M)
where
    Session: Handler<M>,
{
    let Err(SendError::Full(mut left) | SendError::Shed(mut left)) = session.cast(message) else {
        return;
    };
    let again = async move {
        loop {
            sleep(TELL_AGAIN).await;
            match session.cast(left) {
                Err(SendError::Full(back) | SendError::Shed(back)) => left = back,
                Ok(()) | Err(_) => return,
            }
        }
    };
    // A shard that stops takes no task, and ends its sessions.
    let _ = spawn_local(again);
}

/// A call that its session knows of, until it ends.
struct UnderWay {
    session: Address<Session>,
    slot: Slot,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        tell(self.session, End(self.slot.at()));
    }
}

/// The events of a session, for one stream.
pub(super) struct SessionFeed {
    pub(super) session: Address<Session>,
    pub(super) slot: Slot,
}

impl Feed for SessionFeed {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            match self.slot.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Parcel::Event(event)) => return Poll::Ready(Some(event)),
                Poll::Ready(Parcel::End) => return Poll::Ready(None),
                Poll::Ready(Parcel::Reply(_) | Parcel::Message(_) | Parcel::Cancel) => {}
            }
        }
    }
}

impl Drop for SessionFeed {
    fn drop(&mut self) {
        tell(self.session, Detach(self.slot.at()));
    }
}
