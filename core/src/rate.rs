//! How many calls a client may make in a time: a bucket of tokens for each, of which every call
//! takes one.
//!
//! A bucket is known by the time at which it would be full again (the generic cell rate algorithm,
//! ITU-T I.371), so it is one word, nothing fills it by and by, and to look at it takes a
//! comparison and a subtraction. What is counted is counted on each shard for itself.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use ninefold_runtime::clock::{self, Cycles};

use crate::auth::Owner;
use crate::limits::{Limits, RATE_CLIENTS};

/// Time between two looks for buckets that can be forgotten.
const SWEEP_EVERY_NS: u64 = 1_000_000_000;

/// What is left of the calls of one client, as the time at which nothing will be missing.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    full_at: Cell<Cycles>,
}

/// Whose calls are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// The subject of a token.
    Subject(Owner),
    /// Who has an address, where nobody has to say who they are.
    Peer(IpAddr),
}

/// The rate of a shard, and the buckets of its clients.
pub(crate) struct Rates {
    /// Time in which one token comes.
    pause: Cycles,
    /// Time in which an empty bucket fills.
    depth: Cycles,
    known: RefCell<HashMap<Client, Rc<Bucket>>>,
    known_max: usize,
    /// The bucket of all who come when there is no room for one of their own.
    common: Rc<Bucket>,
    swept: Cell<Cycles>,
}

impl Rates {
    /// The rate that `limits` set, if they set one.
    pub(crate) fn of(limits: &Limits) -> Option<Self> {
        let pause_ns = 1_000_000_000_u64.checked_div(limits.calls_per_s)?;
        let pause = clock::ns_to_cycles(pause_ns).max(1);
        Some(Self::new(pause, limits.calls_burst, RATE_CLIENTS))
    }

    fn new(pause: Cycles, burst: u64, known_max: usize) -> Self {
        Self {
            pause,
            depth: pause.saturating_mul(burst),
            known: RefCell::default(),
            known_max,
            common: Rc::default(),
            swept: Cell::new(0),
        }
    }

    /// Takes a token out of `bucket`; false when it holds none, which changes nothing.
    pub(crate) fn take(&self, bucket: &Bucket, now: Cycles) -> bool {
        let missing = bucket.full_at.get().saturating_sub(now) + self.pause;
        let has = missing <= self.depth;
        if has {
            bucket.full_at.set(now + missing);
        }
        has
    }

    /// The bucket of `client`, which is the same while anything is missing in it.
    pub(crate) fn bucket(&self, client: Client, now: Cycles) -> Rc<Bucket> {
        let mut known = self.known.borrow_mut();
        if let Some(bucket) = known.get(&client) {
            return bucket.clone();
        }
        let since = now.saturating_sub(self.swept.get());
        if known.len() >= self.known_max && since >= clock::ns_to_cycles(SWEEP_EVERY_NS) {
            self.swept.set(now);
            // One that is full and in nobody's hands is as good as a new one.
            known.retain(|_, it| Rc::strong_count(it) > 1 || it.full_at.get() > now);
        }
        if known.len() >= self.known_max {
            return self.common.clone();
        }
        known.entry(client).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> Client {
        Client::Peer(IpAddr::from([192, 0, 2, n]))
    }

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate_and_never_more_than_it_holds() {
        let rates = Rates::new(100, 3, 10);
        let bucket = Bucket::default();
        let taken = |now| (0..10).filter(|_| rates.take(&bucket, now)).count();
        assert_eq!(taken(1000), 3, "the burst");
        assert_eq!(taken(1099), 0, "a token is not whole");
        assert_eq!(taken(1100), 1, "a token has come, and refusals took none");
        assert_eq!(taken(1350), 2);
        assert_eq!(taken(1399), 0, "what was left of the last one counts");
        assert_eq!(taken(1400), 1);
        assert_eq!(taken(1_000_000), 3, "it does not overflow");
    }

    #[test]
    fn a_client_finds_its_bucket_again_and_what_has_gone_takes_no_room() {
        let second = clock::ns_to_cycles(SWEEP_EVERY_NS);
        let rates = Rates::new(second * 10, 1, 2);
        let (start, later) = (second, second * 3);
        let mine = rates.bucket(peer(1), start);
        assert!(rates.take(&mine, start));
        drop(mine);
        let again = rates.bucket(peer(1), start + 1);
        assert!(
            !rates.take(&again, start + 1),
            "a new connection, the same peer"
        );
        drop(again);
        assert!(
            rates.take(&rates.bucket(peer(2), start), start),
            "another peer"
        );
        let third = rates.bucket(peer(3), start);
        assert!(Rc::ptr_eq(&third, &rates.common), "no room for its own");
        assert!(rates.take(&third, start));
        assert!(!rates.take(&rates.bucket(peer(4), later), later), "shared");
        let full = second * 20;
        let held = rates.bucket(peer(1), full);
        assert!(rates.take(&rates.bucket(peer(5), full), full));
        assert!(rates.known.borrow().contains_key(&peer(1)), "it is held");
        assert!(
            !rates.known.borrow().contains_key(&peer(2)),
            "it was full again"
        );
        drop(held);
    }

    #[test]
    fn without_a_rate_there_is_nothing_to_look_at() {
        let mut limits = Limits::default();
        assert!(Rates::of(&limits).is_none());
        limits.calls_per_s = 1;
        assert!(Rates::of(&limits).is_some());
    }
}
