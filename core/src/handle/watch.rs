//! Who watches a task, from wherever in the node: subscriptions of the modern era, requests for its
//! result in the legacy era. What a task says comes to the slot of each, as all that is waited for.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ninefold_runtime::{Address, CallError};

use super::hub::{Hub, Parcel, Posted, Slot, SlotRef};
use super::task::{ANSWER_WITHIN, Ask, Key, Task, TaskWant, Unwatch};
use super::tell::tell;
use crate::task::{TaskError, TaskFeed, TaskNews};
use crate::tool::LocalBoxFuture;

/// Those who watch one task.
pub(super) struct Watchers {
    hub: Rc<Hub>,
    slots: RefCell<Vec<SlotRef>>,
    watchers_max: usize,
    /// What the first of them has been asked to pass on; whoever is first after it is asked anew,
    /// because the connection that had the question is gone.
    passed_on: RefCell<BTreeSet<String>>,
}

impl Watchers {
    pub(super) fn new(hub: Rc<Hub>, watchers_max: usize) -> Self {
        Self {
            hub,
            slots: RefCell::default(),
            watchers_max,
            passed_on: RefCell::default(),
        }
    }

    /// Adds a watcher, once; false when there are too many.
    pub(super) fn add(&self, slot: SlotRef) -> bool {
        let mut slots = self.slots.borrow_mut();
        if let Some(at) = slots.iter().position(|it| it.is(&slot)) {
            // It has missed something, which may have been a question.
            if at == 0 {
                self.passed_on.borrow_mut().clear();
            }
            return true;
        }
        let room = slots.len() < self.watchers_max;
        if room {
            slots.push(slot);
        }
        room
    }

    pub(super) fn remove(&self, slot: SlotRef) {
        let mut slots = self.slots.borrow_mut();
        if slots.first().is_some_and(|it| it.is(&slot)) {
            self.passed_on.borrow_mut().clear();
        }
        slots.retain(|it| !it.is(&slot));
    }

    /// Tells one of them; who has missed something is told so, and asks again.
    pub(super) fn tell(&self, slot: SlotRef, news: TaskNews) {
        if self.hub.post(slot, Parcel::Task(news)) == Posted::NoRoom {
            self.hub.tell(slot, Parcel::End);
        }
    }

    /// Tells all of them.
    pub(super) fn tell_all(&self, news: impl Fn() -> TaskNews) {
        for &slot in &*self.slots.borrow() {
            self.tell(slot, news());
        }
    }

    /// Gives the first of them the questions, by their ids, that it has not been given.
    pub(super) fn pass_on(&self, questions: impl Iterator<Item = (String, String)>) {
        let slots = self.slots.borrow();
        let Some(&first) = slots.first() else {
            return;
        };
        let mut passed_on = self.passed_on.borrow_mut();
        let mut open = BTreeSet::new();
        for (id, question) in questions {
            if !passed_on.contains(&id) {
                self.tell(first, TaskNews::Asks(question));
            }
            open.insert(id);
        }
        *passed_on = open;
    }
}

/// A task as it is watched. Dropping it ends the watch.
pub(super) struct Watched {
    task: Address<Task>,
    key: Key,
    slot: Slot,
    /// The question how it stands, where the news were more than is kept for who is slow.
    again: Option<LocalBoxFuture<'static, Result<String, TaskError>>>,
}

impl Watched {
    pub(super) fn new(task: Address<Task>, key: Key, slot: Slot) -> Self {
        Self {
            task,
            key,
            slot,
            again: None,
        }
    }

    /// Asks the task to say how it stands, and what comes after that.
    pub(super) fn begin(&self) -> LocalBoxFuture<'static, Result<String, TaskError>> {
        let want = TaskWant::Watch(self.slot.at());
        ask(self.task, self.key.clone(), want)
    }
}

/// Asks a task.
pub(super) fn ask(
    task: Address<Task>,
    key: Key,
    want: TaskWant,
) -> LocalBoxFuture<'static, Result<String, TaskError>> {
    let call = task.call(Ask { key, want }, ANSWER_WITHIN);
    Box::pin(async move {
        match call.await {
            Ok(answer) => answer,
            Err(CallError::Closed(_) | CallError::Stopped) => Err(TaskError::Unknown),
            Err(_) => Err(TaskError::Busy),
        }
    })
}

impl TaskFeed for Watched {
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Option<TaskNews>> {
        loop {
            if let Some(again) = &mut self.again {
                if ready!(again.as_mut().poll(cx)).is_err() {
                    return Poll::Ready(None);
                }
                self.again = None;
            }
            match ready!(self.slot.poll(cx)) {
                Parcel::Task(news) => return Poll::Ready(Some(news)),
                Parcel::End => self.again = Some(self.begin()),
                Parcel::Reply(..) | Parcel::Event(_) | Parcel::Message(_) | Parcel::Cancel => {}
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        tell(self.task, Unwatch(self.slot.at()));
    }
}
