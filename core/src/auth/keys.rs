//! The keys that tokens are judged by: an immutable set that a thread off the shards replaces, and
//! how often shards may make it look for newer ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::mpsc;

use super::api_keys::ApiKey;
use super::jwks::Signer;

/// One set of keys. It knows the next one, as an edition of the catalog does, so that a shard looks
/// for it with one atomic load and takes no lock.
pub(super) struct KeySet {
    /// Of the authorization server; `None` while they are not at hand.
    pub(super) signers: Option<Arc<Vec<Signer>>>,
    pub(super) api_keys: Arc<Vec<ApiKey>>,
    next: OnceLock<Arc<KeySet>>,
}

impl KeySet {
    /// The newest set, if this is not it.
    pub(super) fn newer(&self) -> Option<Arc<Self>> {
        let mut newest = self.next.get()?;
        while let Some(next) = newest.next.get() {
            newest = next;
        }
        Some(newest.clone())
    }
}

impl Drop for KeySet {
    /// One after the other: a long row of sets dropped from within would fill the stack.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut set) = next.and_then(Arc::into_inner) {
            next = set.next.take();
        }
    }
}

/// The newest set, for whoever makes the next one. The lock is theirs; no request takes it.
pub(super) struct KeyBoard(Mutex<Arc<KeySet>>);

impl KeyBoard {
    pub(super) fn new(signers: Option<Vec<Signer>>, api_keys: Vec<ApiKey>) -> Self {
        Self(Mutex::new(Arc::new(KeySet {
            signers: signers.map(Arc::new),
            api_keys: Arc::new(api_keys),
            next: OnceLock::new(),
        })))
    }

    pub(super) fn newest(&self) -> Arc<KeySet> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set_signers(&self, signers: Option<Vec<Signer>>) {
        let signers = signers.map(Arc::new);
        self.publish(|newest| (signers, newest.api_keys.clone()));
    }

    pub(super) fn set_api_keys(&self, api_keys: Vec<ApiKey>) {
        self.publish(|newest| (newest.signers.clone(), Arc::new(api_keys)));
    }

    fn publish(&self, make: impl FnOnce(&KeySet) -> (Option<Arc<Vec<Signer>>>, Arc<Vec<ApiKey>>)) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (signers, api_keys) = make(&newest);
        let next = Arc::new(KeySet {
            signers,
            api_keys,
            next: OnceLock::new(),
        });
        newest.next.get_or_init(|| next.clone());
        *newest = next;
    }
}

/// How shards ask for newer keys: at most one look in an interval, however many of them ask.
pub(crate) struct Looking {
    /// When the next look may be asked for, on the monotonic clock.
    next_ns: AtomicU64,
    asked: AtomicU64,
    done: AtomicU64,
    interval_ns: u64,
    wishes: mpsc::Sender<()>,
}

impl Looking {
    pub(super) fn new(interval_ns: u64) -> (Self, mpsc::Receiver<()>) {
        // One wish is as good as many.
        let (wishes, heard) = mpsc::channel(1);
        let looking = Self {
            next_ns: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            done: AtomicU64::new(0),
            interval_ns,
            wishes,
        };
        (looking, heard)
    }

    /// Asks for a look at `now_ns`: the number of the look to wait for, which may be under way
    /// already; `None` when it is too early for another one.
    pub(super) fn ask(&self, now_ns: u64) -> Option<u64> {
        let (asked, done) = (
            self.asked.load(Ordering::Acquire),
            self.done.load(Ordering::Acquire),
        );
        if asked > done {
            return Some(asked);
        }
        let allowed = |next_ns| (now_ns >= next_ns).then_some(now_ns + self.interval_ns);
        let taken = self
            .next_ns
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, allowed);
        if taken.is_err() {
            // Another shard may have been first.
            let asked = self.asked.load(Ordering::Acquire);
            return (asked > self.done.load(Ordering::Acquire)).then_some(asked);
        }
        let number = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        // A full channel holds a wish that is not heard yet.
        let _ = self.wishes.try_send(());
        Some(number)
    }

    /// A look begins at `now_ns` that no shard has asked for.
    pub(super) fn begin(&self, now_ns: u64) {
        if self.asked.load(Ordering::Acquire) == self.done.load(Ordering::Acquire) {
            self.next_ns
                .store(now_ns + self.interval_ns, Ordering::Release);
            self.asked.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Every look that was asked for has been done.
    pub(super) fn end(&self, asked: u64) {
        self.done.fetch_max(asked, Ordering::AcqRel);
    }

    /// The number of the last look that was asked for.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    /// Whether the look `number` has been done.
    pub(super) fn has_done(&self, number: u64) -> bool {
        self.done.load(Ordering::Acquire) >= number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_who_ask_cause_one_look_in_an_interval() {
        let (looking, mut heard) = Looking::new(100);
        let first = looking.ask(0).unwrap();
        for _ in 0..50 {
            assert_eq!(looking.ask(1), Some(first), "that look is under way");
        }
        assert!(heard.try_recv().is_ok() && heard.try_recv().is_err());
        looking.end(looking.asked());
        assert!(looking.has_done(first));
        assert_eq!(looking.ask(99), None);
        let second = looking.ask(100).unwrap();
        assert!(second > first && !looking.has_done(second));
        looking.begin(150);
        looking.end(looking.asked());
        assert_eq!(looking.ask(199), None, "counted from when it was asked for");
        looking.begin(250);
        looking.end(looking.asked());
        assert_eq!(looking.ask(300), None, "looks of its own accord count too");
        assert!(looking.ask(350).is_some());
    }

    #[test]
    fn a_shard_that_was_away_finds_the_newest_set_and_frees_the_others() {
        let board = KeyBoard::new(None, Vec::new());
        let held = board.newest();
        assert!(held.newer().is_none());
        // More than the stack has room for, if each set dropped the next from within.
        for _ in 0..100_000 {
            board.set_signers(Some(Vec::new()));
        }
        let newest = held.newer().unwrap();
        assert!(newest.signers.is_some() && newest.newer().is_none());
        let second = Arc::downgrade(held.next.get().unwrap());
        drop(held);
        assert_eq!(second.strong_count(), 0);
    }
}
