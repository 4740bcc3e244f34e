//! Changes of what a server offers, on their way to the shards and from there to subscribers.
//!
//! Whoever changes something rings the bell of each shard, from any thread and without waiting.
//! That a list has changed is a flag, which cannot get lost; that a resource was updated is an
//! entry in a bounded queue.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use crate::limits::SHARD_UPDATES;

/// A list of what a server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Tools,
    Prompts,
    Resources,
}

impl List {
    pub(crate) const ALL: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];

    pub(crate) fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The notification of its change.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
            Self::Resources => "notifications/resources/list_changed",
        }
    }
}

/// What has changed since a shard last looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Bits of the lists that changed.
    pub(crate) lists: u8,
    /// URIs of resources that were updated.
    pub(crate) updated: Vec<Arc<str>>,
}

impl News {
    pub(crate) fn has(&self, list: List) -> bool {
        self.lists & list.bit() != 0
    }
}

/// How others reach a shard.
struct Bell {
    /// Of the one task that listens; set before the first wait and never changed.
    waker: OnceLock<Waker>,
    lists: AtomicU8,
    updated: SyncSender<Arc<str>>,
}

/// How a shard hears of changes.
pub(crate) struct Ear {
    bell: Arc<Bell>,
    updated: Receiver<Arc<str>>,
}

impl Ear {
    /// Resolves to what has changed.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<News> {
        // Before looking, so that what comes after the look finds someone to wake.
        self.bell.waker.get_or_init(|| cx.waker().clone());
        let news = News {
            lists: self.bell.lists.swap(0, Ordering::AcqRel),
            updated: self.updated.try_iter().take(SHARD_UPDATES).collect(),
        };
        if news == News::default() {
            Poll::Pending
        } else {
            Poll::Ready(news)
        }
    }
}

/// The bells of all shards. The lock is for those who change something and for shards that start;
/// no request takes it.
#[derive(Default)]
pub(crate) struct Bells(Mutex<Vec<Weak<Bell>>>);

impl Bells {
    /// Adds a shard.
    pub(crate) fn attach(&self) -> Ear {
        let (sender, updated) = sync_channel(SHARD_UPDATES);
        let bell = Arc::new(Bell {
            waker: OnceLock::new(),
            lists: AtomicU8::new(0),
            updated: sender,
        });
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|bell| bell.strong_count() > 0);
        all.push(Arc::downgrade(&bell));
        Ear { bell, updated }
    }

    /// Tells every shard that lists have changed, by their bits.
    pub(crate) fn lists_changed(&self, bits: u8) {
        self.ring(|bell| {
            bell.lists.fetch_or(bits, Ordering::AcqRel);
        });
    }

    /// Tells every shard that a resource was updated.
    pub(crate) fn resource_updated(&self, uri: &str) {
        let uri: Arc<str> = uri.into();
        self.ring(|bell| {
            if let Err(TrySendError::Full(uri)) = bell.updated.try_send(uri.clone()) {
                tracing::warn!(%uri, "an update of a resource was dropped: too many wait");
            }
        });
    }

    fn ring(&self, tell: impl Fn(&Bell)) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for bell in all.iter().filter_map(Weak::upgrade) {
            tell(&bell);
            if let Some(waker) = bell.waker.get() {
                waker.wake_by_ref();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_reach_every_ear_once() {
        let bells = Bells::default();
        let ears = [bells.attach(), bells.attach()];
        let mut cx = Context::from_waker(Waker::noop());
        bells.lists_changed(List::Tools.bit());
        bells.lists_changed(List::Prompts.bit());
        bells.resource_updated("a:b");
        for ear in &ears {
            let Poll::Ready(news) = ear.poll(&mut cx) else {
                panic!("nothing was heard")
            };
            assert!(news.has(List::Tools) && news.has(List::Prompts));
            assert!(!news.has(List::Resources));
            assert_eq!(news.updated, ["a:b".into()]);
            assert!(ear.poll(&mut cx).is_pending());
        }
    }

    #[test]
    fn updates_beyond_the_bound_are_dropped() {
        let bells = Bells::default();
        let ear = bells.attach();
        (0..=SHARD_UPDATES).for_each(|_| bells.resource_updated("a:b"));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(
            matches!(ear.poll(&mut cx), Poll::Ready(news) if news.updated.len() == SHARD_UPDATES)
        );
    }
}
