//! What a shard lets others see of its present turn: a few words that it stores and anybody reads.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, compiler_fence};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::alarm::Alarm;
use super::ring::Ring;
use crate::clock::Cycles;

/// Gives the name of a type: what is stored while a turn runs, and called only by who reads it.
pub(crate) type Name = fn() -> &'static str;

/// The place of a [`Name`] or none, stored by one thread and read by any, also by a signal handler.
#[derive(Default)]
struct NameCell(AtomicPtr<Name>);

impl NameCell {
    #[inline(always)]
    fn set(&self, name: &'static Name) {
        self.0
            .store(ptr::from_ref(name).cast_mut(), Ordering::Relaxed);
    }

    #[inline(always)]
    fn clear(&self) {
        self.0.store(ptr::null_mut(), Ordering::Relaxed);
    }

    #[inline(always)]
    fn get(&self) -> Option<&'static Name> {
        // SAFETY: what is not null was a `&'static Name` when `set` stored it.
        unsafe { self.0.load(Ordering::Relaxed).as_ref() }
    }
}

/// A turn as seen from outside. `since` also tells turns of one shard apart: the counter goes on
/// between any two of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// When it began; never 0.
    pub(crate) since: Cycles,
    /// Index of the slot, or [`Watch::NO_SLOT`].
    pub(crate) slot: u32,
    /// Name of the actor's or the task's type.
    pub(crate) body: Option<&'static Name>,
    /// Name of the type of the message under way.
    pub(crate) message: Option<&'static Name>,
}

/// One shard's window. Its first fields fill one cache line, which only the shard writes: that is
/// what the layout is for.
///
/// There is one writer, the shard's thread. Its own signal handler sees every store in order; other
/// threads may see the words of two turns mixed, which happens only around a change of turns and so
/// never to a turn that has been held for as long as anybody here asks about.
#[repr(C, align(64))]
pub(crate) struct Watch {
    since: AtomicU64,
    pub(super) alarm: Alarm,
    body: NameCell,
    message: NameCell,
    slot: AtomicU32,
    /// `since` of the turn that the handler recorded last: each is recorded once.
    pub(super) recorded: AtomicU64,
    /// The watchdog wants a record of the stack as it is now.
    pub(super) asked: AtomicBool,
    pub(super) ring: Ring,
    /// A shard runs: between [`super::Sentry`]'s begin and end.
    pub(super) alive: AtomicBool,
    /// The kernel's id of the shard's thread while signals may be sent to it. The shard takes this
    /// lock when it starts and when it ends, never between.
    thread: Mutex<Option<i32>>,
}

/// What a turn touches stays within the first line.
const _: () = assert!(std::mem::offset_of!(Watch, recorded) <= 64);

impl Watch {
    /// Stands for the slot of work that has none (an injected job).
    pub(crate) const NO_SLOT: u32 = u32::MAX;

    pub(super) fn new(ring: Ring) -> Self {
        Watch {
            since: AtomicU64::new(0),
            alarm: Alarm::off(),
            body: NameCell::default(),
            message: NameCell::default(),
            slot: AtomicU32::new(Self::NO_SLOT),
            recorded: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            ring,
            alive: AtomicBool::new(false),
            thread: Mutex::new(None),
        }
    }

    /// A turn begins; only the shard's thread calls this. Costs a load and four plain stores to one
    /// cache line, and at most once in a threshold's time a system call.
    #[inline(always)]
    pub(crate) fn begin(&self, start: Cycles, slot: u32, body: &'static Name) {
        if self.alarm.is_due(start) {
            self.alarm.put_off(start);
        }
        self.slot.store(slot, Ordering::Relaxed);
        self.body.set(body);
        self.message.clear();
        // Last, and in order for the handler on this thread: with `since` the turn can be seen.
        self.since.store(start | 1, Ordering::Release);
    }

    /// The turn goes on with a message of the type that `name` names.
    #[inline(always)]
    pub(crate) fn message(&self, name: &'static Name) {
        self.message.set(name);
    }

    /// The type of message that the shard's thread runs, or ran last in this turn.
    pub(crate) fn last_message(&self) -> Option<&'static Name> {
        self.message.get()
    }

    /// The same, taken away while something else of the turn runs; [`Watch::give_message`] is next.
    pub(crate) fn take_message(&self) -> Option<&'static Name> {
        let message = self.message.get();
        self.message.clear();
        message
    }

    /// The turn goes on with what [`Watch::take_message`] took away.
    pub(crate) fn give_message(&self, message: Option<&'static Name>) {
        match message {
            Some(name) => self.message.set(name),
            None => self.message.clear(),
        }
    }

    /// The turn has ended.
    #[inline(always)]
    pub(crate) fn end(&self) {
        self.since.store(0, Ordering::Release);
        // The stores of the next turn stay behind this one; costs no instruction.
        compiler_fence(Ordering::SeqCst);
    }

    /// The present turn; `None` between turns.
    pub(crate) fn turn(&self) -> Option<Turn> {
        let since = self.since.load(Ordering::Acquire);
        (since != 0).then(|| Turn {
            since,
            slot: self.slot.load(Ordering::Relaxed),
            body: self.body.get(),
            message: self.message.get(),
        })
    }

    pub(super) fn thread(&self) -> MutexGuard<'_, Option<i32>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_seen_from_its_begin_to_its_end() {
        let watch = Watch::new(Ring::new());
        assert!(watch.turn().is_none());
        const ACTOR: Name = || "Actor";
        const MESSAGE: Name = || "Message";
        const TASK: Name = || "Task";
        watch.begin(1001, 7, &ACTOR);
        let seen = watch.turn().unwrap();
        assert_eq!((seen.since, seen.slot), (1001, 7));
        assert!(seen.message.is_none());
        assert_eq!(seen.body.map(|name| name()), Some("Actor"));
        watch.message(&MESSAGE);
        let name = watch.turn().unwrap().message.unwrap();
        assert_eq!(name(), "Message");
        watch.end();
        assert!(watch.turn().is_none());
        watch.begin(2001, 8, &TASK);
        assert!(
            watch.turn().unwrap().message.is_none(),
            "not the one before"
        );
    }
}
