//! From a call back to its session: questions to the client, events for replay, cancellation; and
//! the events of a session, as the stream of a GET takes them.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ninefold_runtime::{Address, timeout};

use super::hub::{Hub, Parcel, Slot};
use super::id::{IdCodec, Secret};
use super::session::{
    ANSWER_WITHIN, Begin, Detach, End, ForgetTask, KeepTask, Record, Say, Session, StreamEnd,
    TheTasks,
};
use super::tell::tell;
use crate::auth::Owner;
use crate::session::{Event, Expected, Feed, Reply, SessionLink};
use crate::tool::LocalBoxFuture;

/// The way back to one session.
pub(super) struct Link {
    pub(super) hub: Rc<Hub>,
    pub(super) codec: Arc<IdCodec>,
    pub(super) session: Address<Session>,
    pub(super) secret: Secret,
    /// Whose session it is: nobody else may answer its questions.
    pub(super) owner: Option<Owner>,
    pub(super) answer_within: Duration,
}

impl SessionLink for Link {
    fn expect(&self) -> Option<Expected> {
        let slot = self.hub.slot()?;
        let at = slot.at();
        let (within, owner) = (self.answer_within, self.owner);
        let answer = async move {
            loop {
                match slot.receive().await {
                    // [mcp:elicit-identity]
                    Parcel::Reply(from, reply) if from == owner => break Some(reply),
                    Parcel::Reply(..) => {}
                    _ => break None::<Reply>,
                }
            }
        };
        let reply = async move { timeout(within, answer).await.unwrap_or(None) };
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
            if !tell(self.session, record) {
                // Who comes back for the stream would wait for ever for an event that is not kept.
                self.end_stream(stream);
            }
            return;
        }
        // A session that is gone, or so busy that it has no room, replays less.
        let _ = self.session.cast(record);
    }

    fn end_stream(&self, stream: &str) {
        let ended = StreamEnd {
            secret: self.secret,
            stream: stream.into(),
        };
        tell(self.session, ended);
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

    fn say(&self, message: String) {
        let secret = self.secret;
        // A session that has no room for it is so busy that its client will look anyway.
        let _ = self.session.cast(Say { secret, message });
    }

    fn keep_task(&self, task: &str) -> LocalBoxFuture<'static, bool> {
        let keep = KeepTask {
            secret: self.secret,
            task: task.into(),
        };
        let kept = self.session.call(keep, ANSWER_WITHIN);
        Box::pin(async { kept.await.unwrap_or_default() })
    }

    fn forget_task(&self, task: &str) {
        tell(self.session, ForgetTask(task.into()));
    }

    fn tasks(&self) -> LocalBoxFuture<'static, Option<Vec<Box<str>>>> {
        let tasks = self.session.call(TheTasks(self.secret), ANSWER_WITHIN);
        Box::pin(async { tasks.await.unwrap_or_default() })
    }
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
                Poll::Ready(
                    Parcel::Reply(..) | Parcel::Message(_) | Parcel::Task(_) | Parcel::Cancel,
                ) => {}
            }
        }
    }
}

impl Drop for SessionFeed {
    fn drop(&mut self) {
        tell(self.session, Detach(self.slot.at()));
    }
}
