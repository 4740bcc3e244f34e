//! An open table from name to address whose entries are a cache line each.
//!
//! Linear probing (Knuth, volume 3, 6.4), at most five eighths full, emptied by shifting back: a
//! look-up that hits reads its own line and, now and then, the next. Names up to
//! [`INLINE`] bytes lie in their entry.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::actor::ActorId;
use crate::region::prefer_huge_pages;
use crate::sched::BodyVtable;

/// Longest name that needs no memory of its own.
const INLINE: usize = 38;
/// Buckets of the smallest table; a power of two.
const SMALLEST: usize = 16;

/// Who has a name: the actor, and its type.
#[derive(Clone, Copy)]
pub(crate) struct Named {
    pub(crate) id: ActorId,
    pub(crate) body: &'static BodyVtable,
}

enum Text {
    Inline { len: u8, bytes: [u8; INLINE] },
    Long(Box<str>),
}

impl Text {
    fn new(name: &str) -> Self {
        match (u8::try_from(name.len()), name.len() <= INLINE) {
            (Ok(len), true) => {
                let mut bytes = [0; INLINE];
                bytes[..name.len()].copy_from_slice(name.as_bytes());
                Text::Inline { len, bytes }
            }
            _ => Text::Long(name.into()),
        }
    }

    #[inline(always)]
    fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Inline { len, bytes } => &bytes[..usize::from(*len).min(INLINE)],
            Text::Long(name) => name.as_bytes(),
        }
    }
}

#[repr(align(64))]
struct Bucket {
    text: Text,
    body: Option<&'static BodyVtable>,
    id: ActorId,
    /// Part of the hash, never zero; zero in a vacant bucket.
    tag: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    const VACANT: Bucket = Bucket {
        text: Text::Inline {
            len: 0,
            bytes: [0; INLINE],
        },
        body: None,
        id: ActorId {
            runtime: 0,
            shard: 0,
            index: 0,
            generation: 0,
        },
        tag: 0,
    };

    #[inline(always)]
    fn named(&self) -> Option<Named> {
        self.body.map(|body| Named { id: self.id, body })
    }
}

/// The hash of a name: names are chosen by the program, not by peers, hence a fast one.
#[inline(always)]
pub(super) fn hash(name: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(name);
    hasher.finish()
}

#[inline(always)]
fn tag(hash: u64) -> u32 {
    let tag = (hash >> 32) as u32;
    tag | 1
}

/// Names and who has them.
#[derive(Default)]
pub(crate) struct Table {
    buckets: Box<[Bucket]>,
    len: usize,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn mask(&self) -> usize {
        self.buckets.len().wrapping_sub(1)
    }

    /// Where a name of this hash would lie if it were alone.
    #[inline(always)]
    fn ideal(&self, hash: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "masked to the table")]
        let at = hash as usize;
        at & self.mask()
    }

    /// The bucket of `name`, or the vacant one where its search ends; `None` in a table of none.
    #[inline(always)]
    fn search(&self, name: &str) -> Option<(usize, bool)> {
        if self.buckets.is_empty() {
            return None;
        }
        let hash = hash(name.as_bytes());
        let (mut at, tag) = (self.ideal(hash), tag(hash));
        // Ends: the table is never full.
        loop {
            let bucket = &self.buckets[at];
            if bucket.tag == tag && bucket.text.as_bytes() == name.as_bytes() {
                return Some((at, true));
            }
            if bucket.tag == 0 {
                return Some((at, false));
            }
            at = (at + 1) & self.mask();
        }
    }

    #[inline(always)]
    pub(super) fn get(&self, name: &str) -> Option<Named> {
        match self.search(name) {
            Some((at, true)) => self.buckets[at].named(),
            _ => None,
        }
    }

    /// Gives `name` to `named`, whoever had it before.
    pub(super) fn insert(&mut self, name: &str, named: Named) {
        if let Some((at, true)) = self.search(name) {
            (self.buckets[at].id, self.buckets[at].body) = (named.id, Some(named.body));
            return;
        }
        if (self.len + 1) * 8 > self.buckets.len() * 5 {
            self.grow();
        }
        let Some((at, false)) = self.search(name) else {
            return;
        };
        self.len += 1;
        self.buckets[at] = Bucket {
            text: Text::new(name),
            body: Some(named.body),
            id: named.id,
            tag: tag(hash(name.as_bytes())),
        };
    }

    /// Frees `name`; who had it.
    pub(super) fn remove(&mut self, name: &str) -> Option<Named> {
        let Some((mut hole, true)) = self.search(name) else {
            return None;
        };
        let named = self.buckets[hole].named();
        self.len -= 1;
        self.buckets[hole] = Bucket::VACANT;
        let mask = self.mask();
        let mut at = (hole + 1) & mask;
        while self.buckets[at].tag != 0 {
            let ideal = self.ideal(hash(self.buckets[at].text.as_bytes()));
            // What has been pushed at least as far as the hole moves back into it.
            if at.wrapping_sub(ideal) & mask >= at.wrapping_sub(hole) & mask {
                self.buckets.swap(hole, at);
                hole = at;
            }
            at = (at + 1) & mask;
        }
        named
    }

    /// Frees every name, and the memory.
    pub(super) fn clear(&mut self) {
        *self = Table::default();
    }

    fn grow(&mut self) {
        let size = (self.buckets.len() * 2).max(SMALLEST);
        let mut bigger = Vec::with_capacity(size);
        prefer_huge_pages(bigger.spare_capacity_mut());
        bigger.extend((0..size).map(|_| Bucket::VACANT));
        let old = std::mem::replace(&mut self.buckets, bigger.into_boxed_slice());
        let mask = self.mask();
        for bucket in old.into_iter().filter(|bucket| bucket.tag != 0) {
            let mut at = self.ideal(hash(bucket.text.as_bytes()));
            while self.buckets[at].tag != 0 {
                at = (at + 1) & mask;
            }
            self.buckets[at] = bucket;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::{Actor, vtable_of};
    use proptest::prelude::*;
    use std::collections::HashMap;

    struct Nobody;
    impl Actor for Nobody {}

    fn named(index: u32) -> Named {
        Named {
            id: ActorId {
                runtime: 0,
                shard: 0,
                index,
                generation: 0,
            },
            body: vtable_of::<Nobody>(),
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16, u32),
        Remove(u16),
    }

    /// Short and long names, some of them prefixes of others.
    fn name(n: u16) -> String {
        "x".repeat(usize::from(n % 60)) + &(n / 60).to_string()
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..400_u16, any::<u32>()).prop_map(|(name, id)| Step::Insert(name, id)),
            (0..400_u16).prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn a_table_is_a_map(steps in prop::collection::vec(step(), 0..800)) {
            let (mut table, mut model) = (Table::default(), HashMap::new());
            for step in steps {
                match step {
                    Step::Insert(n, id) => {
                        table.insert(&name(n), named(id));
                        model.insert(name(n), id);
                    }
                    Step::Remove(n) => {
                        let had = table.remove(&name(n)).map(|named| named.id.index);
                        prop_assert_eq!(had, model.remove(&name(n)));
                    }
                }
                prop_assert_eq!(table.len(), model.len());
            }
            for n in 0..400 {
                let found = table.get(&name(n)).map(|named| named.id.index);
                prop_assert_eq!(found, model.get(&name(n)).copied());
            }
        }
    }

    #[test]
    fn a_hit_is_seldom_far_from_its_place() {
        let mut table = Table::default();
        for n in 0..100_000 {
            table.insert(&format!("session-{n}"), named(n));
        }
        let mask = table.mask();
        let far: usize = (table.buckets.iter().enumerate())
            .filter(|(_, bucket)| bucket.tag != 0)
            .map(|(at, b)| at.wrapping_sub(table.ideal(hash(b.text.as_bytes()))) & mask)
            .sum();
        let mean = far as f64 / table.len() as f64;
        // Linear probing of a random function: (1 / (1 - load) - 1) / 2, less than 0.84 at 5/8.
        assert!(mean < 1.0, "{mean} buckets away on average");
    }
}
