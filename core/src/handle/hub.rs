//! Where a shard's calls and streams wait for what comes to them from other shards: answers of a
//! client, events of a session, the wish to cancel.
//!
//! Who waits opens a slot and gives its route away; who has something for it posts it, here or
//! through the mesh to the hub of that shard. A slot is closed by dropping it, and its route then
//! leads nowhere.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll, Waker};

use ninefold_runtime::{
    Actor, Address, Context, Handler, Message, SendError, SpawnError, SpawnOptions, spawn_actor,
};

use super::id::{Route, Secret};
use super::tell::tell;
use crate::auth::Owner;
use crate::limits::{HUB_MESSAGE_BYTES, HUB_MESSAGES, Limits};
use crate::session::{Event, Reply};
use crate::task::TaskNews;

/// What comes to a slot.
pub(crate) enum Parcel {
    /// The answer to a question, and who gives it.
    Reply(Option<Owner>, Reply),
    /// An event of a session.
    Event(Event),
    /// What a task says.
    Task(TaskNews),
    /// A message of a client, for a stream of 2024-11-05.
    Message(Vec<u8>),
    /// The call is to end.
    Cancel,
    /// Nothing more will come.
    End,
}

impl Parcel {
    /// Bytes that it owns.
    fn bytes(&self) -> usize {
        match self {
            Self::Event(event) => event.id.len() + event.data.len(),
            Self::Reply(_, Reply::Result(text)) => text.len(),
            Self::Reply(_, Reply::Error { message, .. }) => message.len(),
            Self::Task(TaskNews::Stands(text) | TaskNews::Asks(text)) => text.len(),
            Self::Task(TaskNews::Ended(Ok(result))) => result.len(),
            Self::Task(TaskNews::Ended(Err(error))) => error.message.len(),
            Self::Message(text) => text.len(),
            Self::Cancel | Self::End => 0,
        }
    }

    /// Bytes that a client has sent and its stream is to take.
    fn message_bytes(&self) -> usize {
        match self {
            Self::Message(text) => text.len(),
            _ => 0,
        }
    }
}

/// What is known of a parcel when it has been posted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posted {
    /// It is there, or on its way.
    Sent,
    /// Nobody waits there.
    Nowhere,
    /// The hub there, or the way to it, is full: it will not arrive.
    NoRoom,
}

/// The way to a slot.
#[derive(Clone, Copy)]
pub(crate) struct SlotRef {
    pub(crate) route: Route,
    pub(crate) secret: Secret,
}

impl SlotRef {
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.route == other.route && self.secret.matches(other.secret)
    }
}

struct Waiting {
    secret: Secret,
    queue: RefCell<VecDeque<Parcel>>,
    queued_bytes: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Default)]
struct Entry {
    generation: u32,
    waiting: Option<Rc<Waiting>>,
}

/// The slots of one shard.
pub(crate) struct Hub {
    shard: u16,
    hubs: Arc<Hubs>,
    entries: RefCell<Vec<Entry>>,
    free: RefCell<Vec<u32>>,
    slots_max: usize,
    queue_max: usize,
    queue_bytes_max: usize,
    /// Bytes of the messages of clients that wait in slots.
    message_bytes: Cell<usize>,
    message_bytes_max: usize,
    streams: Cell<u64>,
}

/// Where the hub of each shard is.
pub(crate) struct Hubs(Vec<OnceLock<(u32, u32)>>);

impl Hubs {
    pub(crate) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| OnceLock::new()).collect())
    }

    fn address(&self, shard: u16) -> Option<Address<HubActor>> {
        let &(index, generation) = self.0.get(usize::from(shard))?.get()?;
        Address::from_parts(shard, index, generation)
    }
}

/// Takes what other shards post.
struct HubActor(Rc<Hub>);

impl Actor for HubActor {}

struct Post {
    to: SlotRef,
    parcel: Parcel,
}

impl Message for Post {
    type Reply = ();

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.parcel.bytes()
    }
}

impl Handler<Post> for HubActor {
    fn handle(&mut self, post: Post, _: &mut Context<'_, Self>) {
        if self.0.deliver(post.to, post.parcel) == Posted::NoRoom {
            // Its sender was told that it is on its way: the stream cannot go on without it.
            self.0.deliver(post.to, Parcel::End);
        }
    }
}

impl Hub {
    /// Opens the hub of the calling shard.
    pub(crate) fn open(hubs: Arc<Hubs>, limits: &Limits) -> Result<Rc<Self>, SpawnError> {
        let shard = ninefold_runtime::current_shard().unwrap_or_default();
        let hub = Rc::new(Self {
            shard,
            hubs: hubs.clone(),
            entries: RefCell::default(),
            free: RefCell::default(),
            slots_max: limits.waits_per_shard,
            queue_max: limits.replay_count,
            queue_bytes_max: limits.stream_bytes,
            message_bytes: Cell::new(0),
            message_bytes_max: limits.inbox_bytes_per_shard,
            streams: Cell::new(0),
        });
        let options = SpawnOptions {
            capacity: HUB_MESSAGES,
            bytes: HUB_MESSAGE_BYTES,
            ..SpawnOptions::default()
        };
        let address = spawn_actor(options, HubActor(hub.clone()))?;
        let (shard, index, generation) = address.id().to_parts();
        if let Some(place) = hubs.0.get(usize::from(shard)) {
            place.get_or_init(|| (index, generation));
        }
        Ok(hub)
    }

    /// The shard whose hub this is.
    pub(crate) fn shard(&self) -> u16 {
        self.shard
    }

    /// A name for a stream that no other stream of this process has.
    pub(crate) fn name_stream(&self) -> String {
        let number = self.streams.get();
        self.streams.set(number + 1);
        format!("{}.{number}", self.shard)
    }

    /// Opens a slot; `None` at the limit, or without randomness.
    pub(crate) fn slot(self: &Rc<Self>) -> Option<Slot> {
        let secret = Secret::fresh().ok()?;
        let waiting = Rc::new(Waiting {
            secret,
            queue: RefCell::default(),
            queued_bytes: Cell::new(0),
            waker: RefCell::default(),
        });
        let mut entries = self.entries.borrow_mut();
        let index = match self.free.borrow_mut().pop() {
            Some(index) => index,
            None if entries.len() < self.slots_max => {
                entries.push(Entry::default());
                u32::try_from(entries.len() - 1).ok()?
            }
            None => return None,
        };
        let entry = entries.get_mut(index as usize)?;
        entry.waiting = Some(waiting.clone());
        let route = Route {
            shard: self.shard,
            index,
            generation: entry.generation,
        };
        Some(Slot {
            hub: self.clone(),
            waiting,
            at: SlotRef { route, secret },
        })
    }

    /// Posts `parcel`.
    pub(crate) fn post(&self, to: SlotRef, parcel: Parcel) -> Posted {
        if to.route.shard == self.shard {
            return self.deliver(to, parcel);
        }
        let Some(hub) = self.hubs.address(to.route.shard) else {
            return Posted::Nowhere;
        };
        match hub.cast(Post { to, parcel }) {
            Ok(()) => Posted::Sent,
            Err(SendError::Closed(_)) => Posted::Nowhere,
            Err(_) => Posted::NoRoom,
        }
    }

    /// Posts `parcel`, which must not get lost: who waits for it would wait for ever.
    pub(crate) fn tell(&self, to: SlotRef, parcel: Parcel) {
        if to.route.shard == self.shard {
            self.deliver(to, parcel);
        } else if let Some(hub) = self.hubs.address(to.route.shard) {
            tell(hub, Post { to, parcel });
        }
    }

    /// A parcel waits no more.
    fn taken(&self, parcel: &Parcel) {
        let waiting = &self.message_bytes;
        waiting.set(waiting.get() - parcel.message_bytes());
    }

    fn deliver(&self, to: SlotRef, parcel: Parcel) -> Posted {
        let entries = self.entries.borrow();
        let waiting = entries
            .get(to.route.index as usize)
            .filter(|entry| entry.generation == to.route.generation)
            .and_then(|entry| entry.waiting.as_ref())
            .filter(|waiting| waiting.secret.matches(to.secret));
        let Some(waiting) = waiting else {
            return Posted::Nowhere;
        };
        let message_bytes = self.message_bytes.get() + parcel.message_bytes();
        if message_bytes > self.message_bytes_max {
            return Posted::NoRoom;
        }
        let mut queue = waiting.queue.borrow_mut();
        let bytes = waiting.queued_bytes.get() + parcel.bytes();
        let room = queue.len() < self.queue_max && bytes <= self.queue_bytes_max;
        // What is larger than the room waits alone.
        if room || queue.is_empty() {
            waiting.queued_bytes.set(bytes);
            self.message_bytes.set(message_bytes);
            queue.push_back(parcel);
        } else if !matches!(queue.back(), Some(Parcel::End)) {
            // The reader is behind by more than is kept for it: it must come back for the rest.
            queue.push_back(Parcel::End);
        }
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
        Posted::Sent
    }
}

/// A place where parcels are waited for; dropping it closes it.
pub(crate) struct Slot {
    hub: Rc<Hub>,
    waiting: Rc<Waiting>,
    at: SlotRef,
}

impl Slot {
    pub(crate) fn at(&self) -> SlotRef {
        self.at
    }

    pub(crate) fn poll(&self, cx: &mut TaskContext<'_>) -> Poll<Parcel> {
        if let Some(parcel) = self.waiting.queue.borrow_mut().pop_front() {
            let queued = &self.waiting.queued_bytes;
            queued.set(queued.get() - parcel.bytes());
            self.hub.taken(&parcel);
            return Poll::Ready(parcel);
        }
        *self.waiting.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) async fn receive(&self) -> Parcel {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let unread = self.waiting.queue.take();
        unread.iter().for_each(|parcel| self.hub.taken(parcel));
        let index = self.at.route.index;
        if let Some(entry) = self.hub.entries.borrow_mut().get_mut(index as usize) {
            entry.waiting = None;
            entry.generation = entry.generation.wrapping_add(1);
        }
        self.hub.free.borrow_mut().push(index);
    }
}
