//! The requests of a channel that are under way, the peer's and ours: how the peer cancels its own,
//! and how it is told that one of ours is not waited for any more.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use serde_json::json;

use super::json;
use crate::rpc::Id;
use crate::session::{Event, Expected, SessionLink};
use crate::tool::LocalBoxFuture;

/// What a channel waits for.
#[derive(Default)]
pub(super) struct UnderWay {
    /// Requests of the peer, by id as JSON.
    requests: RefCell<BTreeMap<Box<str>, Rc<Wish>>>,
    calls: Cell<usize>,
    subscriptions: Cell<usize>,
    /// Whether the node drains.
    drains: Cell<bool>,
    /// The subscriptions that are to be woken when it does, by id.
    listeners: RefCell<BTreeMap<Box<str>, Waker>>,
    /// Questions to the peer that wait for its answer.
    questions: RefCell<BTreeSet<String>>,
    /// Whether the peer says no more, so that no question has an answer.
    deaf: Cell<bool>,
    /// Messages about questions that are not waited for any more.
    notices: RefCell<Vec<String>>,
}

/// The peer's wish that a request ends.
#[derive(Default)]
struct Wish {
    uttered: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// What is counted of a channel while it lives.
pub(super) enum Count {
    Call,
    Subscription,
}

/// One call or subscription under way.
pub(super) struct Counted {
    under_way: Rc<UnderWay>,
    what: Count,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let count = self.under_way.count_of(&self.what);
        count.set(count.get() - 1);
    }
}

impl UnderWay {
    fn count_of(&self, what: &Count) -> &Cell<usize> {
        match what {
            Count::Call => &self.calls,
            Count::Subscription => &self.subscriptions,
        }
    }

    pub(super) fn count(self: &Rc<Self>, what: Count) -> Counted {
        let count = self.count_of(&what);
        count.set(count.get() + 1);
        Counted {
            under_way: self.clone(),
            what,
        }
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.get()
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions.get()
    }

    /// Whether a question waits for the peer.
    pub(super) fn asks(&self) -> bool {
        !self.questions.borrow().is_empty()
    }

    /// Whether a request of this id is under way.
    pub(super) fn holds(&self, id: Id<'_>) -> bool {
        let requests = self.requests.borrow();
        !requests.is_empty() && requests.contains_key(json(id).as_str())
    }

    /// A request of the peer begins; resolves when the peer cancels it, and forgets it when
    /// dropped.
    pub(super) fn begin(self: &Rc<Self>, id: &str) -> LocalBoxFuture<'static, ()> {
        let wish = Rc::new(Wish::default());
        self.requests.borrow_mut().insert(id.into(), wish.clone());
        let begun = Begun {
            under_way: self.clone(),
            id: id.into(),
            wish,
        };
        Box::pin(async move {
            let wish = &begun.wish;
            poll_fn(|cx| {
                if wish.uttered.get() {
                    return Poll::Ready(());
                }
                *wish.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
        })
    }

    /// The peer cancels its request `id`, whose id is free from now on; one that has been answered
    /// meanwhile is left alone.
    pub(super) fn cancel(&self, id: &str) {
        let wish = self.requests.borrow_mut().remove(id);
        if let Some(wish) = wish {
            wish.uttered.set(true);
            if let Some(waker) = wish.waker.take() {
                waker.wake();
            }
        }
    }

    /// The node drains: subscriptions end. The runtime wakes tasks then, but not what polls under a
    /// waker of its own, as subscriptions do.
    pub(super) fn drain(&self) {
        self.drains.set(true);
        for waker in self.listeners.take().into_values() {
            waker.wake();
        }
    }

    /// Ready when the subscription `id` is to end because the node drains.
    pub(super) fn poll_drain(&self, id: &str, cx: &Context<'_>) -> Poll<()> {
        if self.drains.get() {
            return Poll::Ready(());
        }
        let mut listeners = self.listeners.borrow_mut();
        listeners.insert(id.into(), cx.waker().clone());
        Poll::Pending
    }

    /// The way back to this channel for a call whose session `session` leads to.
    pub(super) fn link(self: &Rc<Self>, session: Rc<dyn SessionLink>) -> Rc<dyn SessionLink> {
        Rc::new(Link {
            under_way: self.clone(),
            session,
        })
    }

    /// Questions that wait for the peer.
    pub(super) fn questions(&self) -> BTreeSet<String> {
        self.questions.borrow().clone()
    }

    /// Questions from now on have no answer.
    pub(super) fn hears_no_more(&self) {
        self.deaf.set(true);
    }

    pub(super) fn take_notices(&self) -> Vec<String> {
        self.notices.take()
    }
}

struct Begun {
    under_way: Rc<UnderWay>,
    id: Box<str>,
    wish: Rc<Wish>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.under_way.listeners.borrow_mut().remove(&self.id);
        let mut requests = self.under_way.requests.borrow_mut();
        // Once it was cancelled, the id may name another request.
        if requests
            .get(&self.id)
            .is_some_and(|it| Rc::ptr_eq(it, &self.wish))
        {
            requests.remove(&self.id);
        }
    }
}

/// From a call of a session back to its channel: requests are cancelled here and not in the
/// session, and events go out at once and are not kept.
struct Link {
    under_way: Rc<UnderWay>,
    session: Rc<dyn SessionLink>,
}

impl SessionLink for Link {
    fn expect(&self) -> Option<Expected> {
        let Expected { id, reply } = self.session.expect()?;
        let question = Question {
            under_way: self.under_way.clone(),
            id: id.clone(),
            answered: false,
        };
        let reply = async move {
            let mut question = question;
            if question.under_way.deaf.get() {
                return None;
            }
            question
                .under_way
                .questions
                .borrow_mut()
                .insert(question.id.clone());
            let reply = reply.await;
            question.answered = reply.is_some();
            reply
        };
        Some(Expected {
            id,
            reply: Box::pin(reply),
        })
    }

    fn name_stream(&self) -> String {
        self.session.name_stream()
    }

    fn record(&self, stream: &str, event: Event, last: bool) {
        self.session.record(stream, event, last);
    }

    fn end_stream(&self, stream: &str) {
        self.session.end_stream(stream);
    }

    fn begin(&self, request: &str) -> LocalBoxFuture<'static, ()> {
        self.under_way.begin(request)
    }

    fn say(&self, message: String) {
        self.session.say(message);
    }

    fn keep_task(&self, task: &str) -> LocalBoxFuture<'static, bool> {
        self.session.keep_task(task)
    }

    fn forget_task(&self, task: &str) {
        self.session.forget_task(task);
    }

    fn tasks(&self) -> LocalBoxFuture<'static, Option<Vec<Box<str>>>> {
        self.session.tasks()
    }
}

/// A question that waits; one that ends without an answer is taken back, once it has been asked.
struct Question {
    under_way: Rc<UnderWay>,
    id: String,
    answered: bool,
}

impl Drop for Question {
    fn drop(&mut self) {
        let asked = self.under_way.questions.borrow_mut().remove(&self.id);
        if asked && !self.answered {
            let notice = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
                "params": {"requestId": self.id, "reason": "not waited for any more"}});
            self.under_way.notices.borrow_mut().push(notice.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_cancelled_while_it_is_under_way_and_then_forgotten() {
        let under_way = Rc::<UnderWay>::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut one = under_way.begin("1");
        let mut two = under_way.begin("\"1\"");
        assert!(under_way.holds(Id::Int(1)) && under_way.holds(Id::Str("1")));
        assert!(one.as_mut().poll(&mut cx).is_pending());
        under_way.cancel("1");
        under_way.cancel("2");
        assert!(!under_way.holds(Id::Int(1)));
        let again = under_way.begin("1");
        assert!(one.as_mut().poll(&mut cx).is_ready());
        assert!(two.as_mut().poll(&mut cx).is_pending());
        drop(one);
        assert!(under_way.holds(Id::Int(1)), "the later request has the id");
        drop((again, two));
        assert!(!under_way.holds(Id::Int(1)) && !under_way.holds(Id::Str("1")));
    }
}
