//! The children of a supervisor in start order: added and removed in O(1), found by a key that
//! dies with the child.

use std::rc::Weak;

use super::State;
use super::options::Restart;
use crate::actor::ExitReason;
use crate::clock::Cycles;
use crate::region::NIL;
use crate::sched::SlotKey;
use crate::timer::TimerKey;

/// Names a child of one supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChildKey {
    at: u32,
    serial: u32,
}

/// Who a child is.
#[derive(Clone)]
pub(super) enum Member {
    Actor(SlotKey),
    Supervisor(Weak<State>),
}

/// What a supervisor knows of a child.
pub(super) struct Entry {
    pub(super) member: Member,
    pub(super) restart: Restart,
    /// How often it was restarted.
    pub(super) restarts: u32,
    /// Restarts in a row, for the back-off.
    pub(super) attempts: u32,
    /// When the last of them was due.
    pub(super) restarted_at: Cycles,
    /// Starts it again when its back-off is over.
    pub(super) timer: Option<TimerKey>,
    /// Why it is down for good: what its links and monitors are told.
    pub(super) failure: Option<ExitReason>,
}

struct Place {
    entry: Option<Entry>,
    serial: u32,
    prev: u32,
    /// The next child, or the next free place.
    next: u32,
}

/// A list in start order, threaded through a slab.
pub(super) struct Members {
    places: Vec<Place>,
    head: u32,
    tail: u32,
    free: u32,
    len: u32,
}

impl Members {
    pub(super) fn new() -> Self {
        Members {
            places: Vec::new(),
            head: NIL,
            tail: NIL,
            free: NIL,
            len: 0,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Adds a child behind all others.
    pub(super) fn add(&mut self, member: Member, restart: Restart) -> ChildKey {
        let at = if self.free == NIL {
            self.places.push(Place {
                entry: None,
                serial: 0,
                prev: NIL,
                next: NIL,
            });
            u32::try_from(self.places.len() - 1).unwrap_or(NIL - 1)
        } else {
            let at = self.free;
            self.free = self.places[at as usize].next;
            at
        };
        let tail = std::mem::replace(&mut self.tail, at);
        match self.places.get_mut(tail as usize) {
            Some(place) => place.next = at,
            None => self.head = at,
        }
        let place = &mut self.places[at as usize];
        (place.prev, place.next) = (tail, NIL);
        place.entry = Some(Entry {
            member,
            restart,
            restarts: 0,
            attempts: 0,
            restarted_at: 0,
            timer: None,
            failure: None,
        });
        self.len += 1;
        ChildKey {
            at,
            serial: place.serial,
        }
    }

    pub(super) fn get(&self, key: ChildKey) -> Option<&Entry> {
        let place = self.places.get(key.at as usize)?;
        place.entry.as_ref().filter(|_| place.serial == key.serial)
    }

    pub(super) fn get_mut(&mut self, key: ChildKey) -> Option<&mut Entry> {
        let place = self.places.get_mut(key.at as usize)?;
        place.entry.as_mut().filter(|_| place.serial == key.serial)
    }

    /// Removes a child; its key dies.
    pub(super) fn remove(&mut self, key: ChildKey) -> Option<Entry> {
        self.get(key)?;
        let place = &mut self.places[key.at as usize];
        let entry = place.entry.take();
        place.serial = place.serial.wrapping_add(1);
        let (prev, next) = (place.prev, place.next);
        place.next = self.free;
        self.free = key.at;
        match self.places.get_mut(prev as usize) {
            Some(before) => before.next = next,
            None => self.head = next,
        }
        match self.places.get_mut(next as usize) {
            Some(after) => after.prev = prev,
            None => self.tail = prev,
        }
        self.len -= 1;
        entry
    }

    /// The keys in start order, from the child `from` on or all.
    pub(super) fn keys(&self, from: Option<ChildKey>) -> Vec<ChildKey> {
        let mut keys = Vec::new();
        let mut at = from.map_or(self.head, |key| key.at);
        while let Some(place) = self.places.get(at as usize) {
            keys.push(ChildKey {
                at,
                serial: place.serial,
            });
            at = place.next;
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn members_are_an_ordered_list_whose_keys_die(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200),
        ) {
            let mut members = Members::new();
            let (mut model, mut dead) = (Vec::new(), Vec::new());
            for (add, which) in steps {
                if add || model.is_empty() {
                    let member = Member::Actor(SlotKey::NONE);
                    model.push(members.add(member, Restart::Permanent));
                } else {
                    let key = model.remove(which.index(model.len()));
                    prop_assert!(members.remove(key).is_some());
                    dead.push(key);
                }
                prop_assert_eq!(members.keys(None), model.clone());
                prop_assert_eq!(members.len() as usize, model.len());
                prop_assert!(dead.iter().all(|key| members.get(*key).is_none()));
            }
            for (n, key) in model.iter().enumerate() {
                prop_assert_eq!(members.keys(Some(*key)), model[n..].to_vec());
            }
        }
    }
}
