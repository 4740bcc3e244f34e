//! Tokens that a shard has found good, by fingerprint, so that a client's next request costs one
//! hash and no signature.

use std::collections::HashMap;
use std::rc::Rc;

use super::api_keys::Fingerprint;
use super::identity::Identity;

struct Known {
    identity: Rc<Identity>,
    until_s: u64,
}

/// Two generations of at most half the limit each: when the young one is full, it becomes the old
/// one, whose tokens are forgotten unless they were used meanwhile.
pub(super) struct Cache {
    young: HashMap<Fingerprint, Known>,
    old: HashMap<Fingerprint, Known>,
    half: usize,
}

impl Cache {
    pub(super) fn new(count_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: count_max / 2,
        }
    }

    /// The identity behind `fingerprint`, if it is known and good at `now_s`.
    pub(super) fn find(&mut self, fingerprint: &Fingerprint, now_s: u64) -> Option<Rc<Identity>> {
        if let Some(known) = self.young.get(fingerprint) {
            return (now_s < known.until_s).then(|| known.identity.clone());
        }
        let known = self.old.remove(fingerprint)?;
        let identity = (now_s < known.until_s).then(|| known.identity.clone())?;
        self.keep(*fingerprint, known);
        Some(identity)
    }

    pub(super) fn put(&mut self, fingerprint: Fingerprint, identity: Rc<Identity>, until_s: u64) {
        self.keep(fingerprint, Known { identity, until_s });
    }

    fn keep(&mut self, fingerprint: Fingerprint, known: Known) {
        if self.half == 0 {
            return;
        }
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(fingerprint, known);
    }

    /// Forgets all: what is good is judged anew, by other keys.
    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_its_bound_what_is_used_and_nothing_beyond_its_time() {
        let identity = Rc::new(Identity::new(None, "me", None, Vec::new()));
        let mut cache = Cache::new(8);
        for n in 0..100 {
            cache.put([n; 32], identity.clone(), 10);
            assert!(n == 0 || cache.find(&[0; 32], 9).is_some(), "{n}");
            assert!(cache.young.len() + cache.old.len() <= 8);
        }
        assert!(cache.find(&[0; 32], 10).is_none(), "expired");
        assert!(cache.find(&[1; 32], 1).is_none(), "forgotten");
        assert!(cache.find(&[99; 32], 1).is_some());
        cache.clear();
        assert!(cache.find(&[99; 32], 1).is_none());
        let mut none = Cache::new(0);
        none.put([1; 32], identity, 10);
        assert!(none.find(&[1; 32], 1).is_none());
    }
}
