//! Who uses the shard: time, counts and delays by actor type and by message type.
//!
//! The shard alone writes, with plain stores; anybody may read at any time, without a lock. Types
//! are found by their vtable's address in a list of a few, so that a message costs one comparison.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rustc_hash::FxBuildHasher;

use crate::actor::{Actor, MessageVtable};
use crate::limits::{ACTOR_TYPES_MAX, MESSAGE_TYPES_MAX};
use crate::sched::Class;
use crate::stats::{Counter, Histogram};

/// What one type of message has cost one type of actor on one shard.
#[derive(Debug)]
pub struct MessageAccount {
    /// The message's type name; for a task, what stands for being polled.
    pub name: &'static str,
    /// The class of the type.
    pub class: Class,
    /// Messages handled.
    pub handled: Counter,
    /// Time that handling one took, in cycles; of short ones, the mean of a few. Its sum is the
    /// time used.
    pub run: Histogram,
    /// Time the first message of each turn waited, in cycles.
    pub queue_delay: Histogram,
}

/// What one type of actor or task has cost one shard.
#[derive(Debug)]
pub struct ActorAccount {
    /// The actor's type name.
    pub name: &'static str,
    /// Actors of this type alive now.
    pub live: Counter,
    /// Actors of this type ever started.
    pub spawned: Counter,
    /// Restarts in place.
    pub restarts: Counter,
    messages: Box<[OnceLock<MessageAccount>]>,
}

impl ActorAccount {
    fn new(name: &'static str) -> Self {
        ActorAccount {
            name,
            live: Counter::default(),
            spawned: Counter::default(),
            restarts: Counter::default(),
            messages: (0..MESSAGE_TYPES_MAX).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Time used, in cycles.
    #[must_use]
    pub fn cpu(&self) -> u64 {
        self.messages().map(|message| message.run.sum()).sum()
    }

    /// By message type, in the order of their first appearance. The last of
    /// [`MESSAGE_TYPES_MAX`] stands for all further ones.
    pub fn messages(&self) -> impl Iterator<Item = &MessageAccount> {
        self.messages.iter().map_while(OnceLock::get)
    }
}

/// The accounts of one shard, read by anybody.
#[derive(Debug)]
pub struct Accounts {
    actors: Box<[OnceLock<ActorAccount>]>,
}

/// Index of the account that stands for all types beyond the limit.
const OTHERS: u16 = 0;

impl Default for Accounts {
    fn default() -> Self {
        let actors: Box<[OnceLock<ActorAccount>]> =
            (0..ACTOR_TYPES_MAX).map(|_| OnceLock::new()).collect();
        // The first is there from the start, so that it is always found.
        actors[usize::from(OTHERS)].get_or_init(|| ActorAccount::new("others"));
        Accounts { actors }
    }
}

impl Accounts {
    /// By actor type, in the order of their first appearance; the first one stands for all types
    /// beyond [`ACTOR_TYPES_MAX`].
    pub fn actors(&self) -> impl Iterator<Item = &ActorAccount> {
        self.actors.iter().map_while(OnceLock::get)
    }

    #[inline]
    pub(crate) fn actor(&self, kind: u16) -> &ActorAccount {
        self.actors[usize::from(kind)]
            .get()
            .unwrap_or_else(|| self.others())
    }

    #[cold]
    fn others(&self) -> &ActorAccount {
        self.actors[usize::from(OTHERS)].get_or_init(|| ActorAccount::new("others"))
    }
}

/// The vtables of the messages that one type of actor has got, by index of their account.
type Known = [Cell<*const MessageVtable>; MESSAGE_TYPES_MAX];

/// The account that a message is entered in; lives as long as the shard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry(*const MessageAccount);

impl Entry {
    /// No account.
    pub(crate) const NONE: Entry = Entry(std::ptr::null());
}

/// The shard's own side: from types to accounts.
pub(crate) struct Kinds {
    accounts: Arc<Accounts>,
    by_type: RefCell<HashMap<TypeId, u16, FxBuildHasher>>,
    last: Cell<Option<(TypeId, u16)>>,
    known: Box<[Known]>,
    hot: Box<[Hot; ACTOR_TYPES_MAX]>,
}

/// What a turn asks of a kind.
struct Hot {
    /// The message that actors of the kind got last, and its account; of tasks, their only account.
    vtable: Cell<*const MessageVtable>,
    entry: Cell<Entry>,
    /// Its handlers take long enough to read the clock after each message.
    slow: Cell<bool>,
}

impl Kinds {
    pub(crate) fn new(accounts: Arc<Accounts>) -> Self {
        Kinds {
            accounts,
            by_type: RefCell::default(),
            last: Cell::new(None),
            known: (0..ACTOR_TYPES_MAX)
                .map(|_| [const { Cell::new(std::ptr::null()) }; MESSAGE_TYPES_MAX])
                .collect(),
            hot: Box::new(std::array::from_fn(|_| Hot {
                vtable: Cell::new(std::ptr::null()),
                entry: Cell::new(Entry::NONE),
                slow: Cell::new(false),
            })),
        }
    }

    /// The kind of actors of type `A`.
    #[inline]
    pub(crate) fn of_actor<A: Actor>(&self) -> u16 {
        self.of_type(TypeId::of::<A>(), std::any::type_name::<A>)
    }

    /// The kind of a type, by its id.
    #[inline]
    pub(crate) fn of_type(&self, id: TypeId, name: fn() -> &'static str) -> u16 {
        let kind = match self.last.get() {
            Some((last, kind)) if last == id => kind,
            _ => self.look_up(id, name),
        };
        let account = self.accounts.actor(kind);
        account.spawned.add(1);
        account.live.add(1);
        kind
    }

    fn look_up(&self, id: TypeId, name: fn() -> &'static str) -> u16 {
        let mut by_type = self.by_type.borrow_mut();
        // The account of the others comes first.
        let next = by_type.len() + 1;
        let kind = *by_type.entry(id).or_insert_with(|| {
            let Some(account) = self.accounts.actors.get(next) else {
                return OTHERS;
            };
            account.get_or_init(|| ActorAccount::new(name()));
            u16::try_from(next).unwrap_or(OTHERS)
        });
        self.last.set(Some((id, kind)));
        kind
    }

    /// An actor of this kind has ended.
    pub(crate) fn ended(&self, kind: u16) {
        let live = &self.accounts.actor(kind).live;
        live.set(live.get().saturating_sub(1));
    }

    /// An actor of this kind was restarted in place.
    pub(crate) fn restarted(&self, kind: u16) {
        self.accounts.actor(kind).restarts.add(1);
    }

    #[inline(always)]
    fn hot(&self, kind: u16) -> &Hot {
        &self.hot[usize::from(kind) % ACTOR_TYPES_MAX]
    }

    #[inline(always)]
    pub(crate) fn is_slow(&self, kind: u16) -> bool {
        self.hot(kind).slow.get()
    }

    #[inline(always)]
    pub(crate) fn set_slow(&self, kind: u16, slow: bool) {
        self.hot(kind).slow.set(slow);
    }

    /// The account of a message type among those that actors of `kind` get.
    #[inline(always)]
    pub(crate) fn of_message(&self, kind: u16, vtable: &'static MessageVtable) -> Entry {
        let hot = self.hot(kind);
        if std::ptr::eq(hot.vtable.get(), vtable) {
            return hot.entry.get();
        }
        let entry = self.find_message(kind, vtable);
        hot.vtable.set(vtable);
        hot.entry.set(entry);
        entry
    }

    #[inline(never)]
    fn find_message(&self, kind: u16, vtable: &'static MessageVtable) -> Entry {
        let known = &self.known[usize::from(kind)];
        let last = MESSAGE_TYPES_MAX - 1;
        let index = known
            .iter()
            .position(|known| std::ptr::eq(known.get(), vtable) || known.get().is_null())
            .unwrap_or(last);
        if known[index].get().is_null() {
            known[index].set(vtable);
        }
        let name = if index == last {
            "others"
        } else {
            (vtable.name)()
        };
        self.open(kind, index, name, vtable.class)
    }

    fn open(&self, kind: u16, index: usize, name: &'static str, class: Class) -> Entry {
        let account = self.accounts.actor(kind).messages[index].get_or_init(|| MessageAccount {
            name,
            class,
            handled: Counter::default(),
            run: Histogram::default(),
            queue_delay: Histogram::default(),
        });
        Entry(account)
    }

    /// Opens the one account of a kind of task: being polled.
    pub(crate) fn open_poll(&self, kind: u16, class: Class) {
        let hot = self.hot(kind);
        if hot.entry.get() == Entry::NONE {
            hot.entry.set(self.open(kind, 0, "poll", class));
        }
    }

    /// The account of a kind of task.
    #[inline(always)]
    pub(crate) fn of_poll(&self, kind: u16) -> Entry {
        self.hot(kind).entry.get()
    }

    /// The account behind an entry of this shard's.
    #[inline(always)]
    pub(crate) fn account(&self, entry: Entry) -> Option<&MessageAccount> {
        // SAFETY: entries other than `NONE` are made by `open`, from accounts that `self.accounts`
        // holds in place as long as `self` lives.
        unsafe { entry.0.as_ref() }
    }
}
