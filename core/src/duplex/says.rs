//! What comes by itself on a channel: the messages and the end of a call, the changes of a
//! subscription, the notifications of a session. Each is a stream of whole messages.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::stream::Stream;
use serde_json::json;

use super::batch::Batch;
use super::under_way::{Count, Counted, UnderWay};
use crate::mcp::listen::Listening;
use crate::mcp::work::Work;
use crate::net::{AnswerUnderWay, ShardSeat};
use crate::service::OpenStream;
use crate::session::{Event, Feed, SessionError, SessionId, Sessions};
use crate::tool::LocalBoxFuture;

/// One who says something now and then.
pub(super) struct Says {
    seat: Rc<ShardSeat>,
    what: What,
    /// Messages that are to be said before anything else.
    ready: VecDeque<Vec<u8>>,
    _counted: (Option<Counted>, AnswerUnderWay),
}

enum What {
    Call(Box<Work>, Option<Rc<Batch>>),
    Listening(Box<Subscription>),
    Feed(Box<Following>),
    Ended,
}

struct Subscription {
    listening: Listening,
    id: String,
    cancelled: LocalBoxFuture<'static, ()>,
    under_way: Rc<UnderWay>,
    _open: OpenStream,
}

type Attached = Result<Box<dyn Feed>, SessionError>;

/// The notifications of a session.
struct Following {
    session: SessionId,
    feed: Box<dyn Feed>,
    /// The event that was heard last.
    last: String,
    /// On the way back to a feed that had run ahead by more than is kept for its reader.
    again: Option<LocalBoxFuture<'static, Attached>>,
    _open: OpenStream,
}

impl Says {
    /// A call under way, of `batch` if it is of one.
    pub(super) fn call(
        seat: &Rc<ShardSeat>,
        under_way: &Rc<UnderWay>,
        work: Box<Work>,
        batch: Option<Rc<Batch>>,
    ) -> Self {
        if let Some(batch) = &batch {
            batch.enter();
        }
        let counted = under_way.count(Count::Call);
        Self::new(seat, What::Call(work, batch), Some(counted))
    }

    /// A subscription of the modern era.
    pub(super) fn listening(
        seat: &Rc<ShardSeat>,
        under_way: &Rc<UnderWay>,
        listening: Listening,
        open: OpenStream,
    ) -> Self {
        let id = listening.id();
        let subscription = Subscription {
            cancelled: under_way.begin(&id),
            id,
            under_way: under_way.clone(),
            listening,
            _open: open,
        };
        let counted = under_way.count(Count::Subscription);
        Self::new(seat, What::Listening(Box::new(subscription)), Some(counted))
    }

    /// The notifications of a legacy session.
    pub(super) fn feed(
        seat: &Rc<ShardSeat>,
        session: SessionId,
        feed: Box<dyn Feed>,
        open: OpenStream,
    ) -> Self {
        let following = Following {
            session,
            feed,
            last: String::new(),
            again: None,
            _open: open,
        };
        Self::new(seat, What::Feed(Box::new(following)), None)
    }

    fn new(seat: &Rc<ShardSeat>, what: What, counted: Option<Counted>) -> Self {
        Self {
            _counted: (counted, seat.answer_under_way()),
            seat: seat.clone(),
            what,
            ready: VecDeque::new(),
        }
    }

    fn end(&mut self) {
        self.what = What::Ended;
    }

    fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let What::Call(work, batch) = &mut self.what else {
            return Poll::Ready(());
        };
        let finished = work.poll(&self.seat.service, cx);
        let cancelled = matches!(&finished, Poll::Ready(it) if it.message.is_none());
        while let Some(message) = work.talk().take_message() {
            // After a cancellation there is no word more about the request.
            if !cancelled {
                self.ready.push_back(message.into_bytes());
            }
        }
        // A stream that is to end early has an end of its own on HTTP only.
        work.talk().takes_stream_end();
        let Poll::Ready(finished) = finished else {
            return if self.ready.is_empty() {
                Poll::Pending
            } else {
                Poll::Ready(())
            };
        };
        let last = match batch {
            Some(batch) => {
                batch.add(&finished.message.unwrap_or_default());
                batch.close()
            }
            None => finished.message,
        };
        self.ready.extend(last);
        self.end();
        Poll::Ready(())
    }

    fn poll_listening(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let What::Listening(subscription) = &mut self.what else {
            return Poll::Ready(());
        };
        let Subscription {
            listening,
            id,
            cancelled,
            under_way,
            ..
        } = &mut **subscription;
        if cancelled.as_mut().poll(cx).is_ready() {
            self.end();
        } else if under_way.poll_drain(id, cx).is_ready() {
            // Both ends of the specification's mind: the notice, then the result.
            let id: serde_json::Value = serde_json::from_str(id).unwrap_or_default();
            let notice = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
                "params": {"requestId": id, "reason": "the server ends"}});
            let result = listening.end(&self.seat.service);
            self.ready.push_back(notice.to_string().into_bytes());
            self.ready.push_back(result.into_bytes());
            self.end();
        } else if let Some(message) = listening.next(cx) {
            self.ready.push_back(message.into_bytes());
        } else {
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let What::Feed(following) = &mut self.what else {
            return Poll::Ready(());
        };
        let Following {
            session,
            feed,
            last,
            again,
            ..
        } = &mut **following;
        if let Some(attached) = again {
            match std::task::ready!(attached.as_mut().poll(cx)) {
                Ok(attached) => {
                    *feed = attached;
                    *again = None;
                }
                // The session has gone, and with it whoever would have been told.
                Err(_) => {
                    self.end();
                    return Poll::Ready(());
                }
            }
        }
        match std::task::ready!(feed.poll_event(cx)) {
            Some(Event { id, data }) => {
                *last = id;
                if !data.is_empty() {
                    self.ready.push_back(data.into_bytes());
                }
            }
            None => {
                let (seat, session, after) = (self.seat.clone(), session.clone(), last.clone());
                *again = Some(Box::pin(async move {
                    let after = Some(after.as_str()).filter(|it| !it.is_empty());
                    seat.sessions.attach(session.as_str(), after).await
                }));
            }
        }
        Poll::Ready(())
    }
}

impl Stream for Says {
    type Item = Vec<u8>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Poll::Ready(Some(message));
            }
            std::task::ready!(match &self.what {
                What::Call(..) => self.poll_call(cx),
                What::Listening(..) => self.poll_listening(cx),
                What::Feed(..) => self.poll_feed(cx),
                What::Ended => return Poll::Ready(None),
            });
        }
    }
}
