//! A slot: one schedulable thing of a shard, an actor with its mailbox or a task.

use std::any::TypeId;
use std::cell::Cell;
use std::ptr;

use super::class::{CLASSES, Class};
use crate::actor::Lane;
use crate::chunks::Chunks;
use crate::clock::Cycles;
use crate::limits::ACTORS_MAX;
use crate::shard::Shard;

/// What the shard must know of the type in a slot.
pub(crate) struct BodyVtable {
    pub(crate) name: fn() -> &'static str,
    pub(crate) type_id: fn() -> TypeId,
    /// Polls a task; true when it has finished. `None` for actors.
    pub(crate) poll: Option<unsafe fn(*mut ()) -> bool>,
    /// Calls the actor's `started`, on its first and on every later incarnation.
    pub(crate) started: unsafe fn(*mut (), &Slot, &Shard),
    /// Replaces a panicked actor by a fresh one; false when it is not to be restarted.
    pub(crate) restart: unsafe fn(*mut ()) -> bool,
    /// Says goodbye to an actor that stops in good order.
    pub(crate) stopped: unsafe fn(*mut ()),
    /// Drops and frees the body.
    pub(crate) destroy: unsafe fn(*mut ()),
}

/// Which lane of the mailbox: high has its own, normal and low share one.
pub(crate) const LANE_HIGH: usize = 0;
pub(crate) const LANE_NORMAL: usize = 1;

/// Names a slot in its present use; a stale key finds nothing.
///
/// The index of a key that was made from parts of an id (see `Address::from_parts`) carries
/// [`SlotKey::FROM_PARTS`]: its type is checked on delivery, since nothing else vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl SlotKey {
    /// Above every index that exists ([`ACTORS_MAX`]).
    pub(crate) const FROM_PARTS: u32 = 1 << 31;
}

/// One schedulable thing. All fields are single-threaded cells: the shard owns it.
pub(crate) struct Slot {
    pub(crate) index: u32,
    pub(crate) generation: Cell<u32>,
    pub(crate) incarnation: Cell<u32>,
    pub(crate) capacity: Cell<u32>,
    pub(crate) body: Cell<*mut ()>,
    pub(crate) vtable: Cell<Option<&'static BodyVtable>>,
    pub(crate) lanes: [Lane; 2],
    /// Next in the run queue of each class.
    pub(crate) next: [Cell<*const Slot>; CLASSES],
    /// Bit per class: physically linked in that run queue.
    pub(crate) linked: Cell<u8>,
    /// The class of an actor's normal messages, or of a task.
    pub(crate) class: Cell<Class>,
    /// A task that asked to be polled, and when.
    pub(crate) woken: Cell<bool>,
    pub(crate) woken_at: Cell<Cycles>,
    /// The actor asked to stop after the present message.
    pub(crate) stopping: Cell<bool>,
}

impl Slot {
    fn free(index: u32) -> Self {
        Slot {
            index,
            generation: Cell::new(0),
            incarnation: Cell::new(0),
            capacity: Cell::new(0),
            body: Cell::new(ptr::null_mut()),
            vtable: Cell::new(None),
            lanes: [Lane::new(), Lane::new()],
            next: [const { Cell::new(ptr::null()) }; CLASSES],
            linked: Cell::new(0),
            class: Cell::new(Class::Normal),
            woken: Cell::new(false),
            woken_at: Cell::new(0),
            stopping: Cell::new(false),
        }
    }

    #[inline(always)]
    pub(crate) fn key(&self) -> SlotKey {
        SlotKey {
            index: self.index,
            generation: self.generation.get(),
        }
    }

    #[inline(always)]
    pub(crate) fn is_free(&self) -> bool {
        self.vtable.get().is_none()
    }

    /// The class this slot should be queued in, if it has anything to do.
    #[inline(always)]
    pub(crate) fn wanted_class(&self) -> Option<Class> {
        if !self.lanes[LANE_HIGH].is_empty() {
            Some(Class::High)
        } else if !self.lanes[LANE_NORMAL].is_empty() || self.woken.get() {
            Some(self.class.get())
        } else {
            None
        }
    }
}

/// The slots of a shard.
pub(crate) struct Slots {
    all: Chunks<Slot>,
    free: Cell<*const Slot>,
    live: Cell<u32>,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Slots {
            all: Chunks::new(),
            free: Cell::new(ptr::null()),
            live: Cell::new(0),
        }
    }

    /// Slots in use.
    pub(crate) fn live(&self) -> u32 {
        self.live.get()
    }

    /// Slots ever made, used or free.
    pub(crate) fn made(&self) -> u32 {
        self.all.len()
    }

    #[inline(always)]
    pub(crate) fn at(&self, index: u32) -> Option<&Slot> {
        self.all.get(index)
    }

    #[inline(always)]
    pub(crate) fn get(&self, key: SlotKey) -> Option<&Slot> {
        self.at(key.index)
            .filter(|s| s.generation.get() == key.generation && !s.is_free())
    }

    /// Takes a free slot; `None` at [`ACTORS_MAX`].
    #[inline]
    pub(crate) fn take(&self) -> Option<&Slot> {
        if self.free.get().is_null() {
            self.grow()?;
        }
        // SAFETY: non-null pointers in the free list point into a chunk.
        let slot = unsafe { self.free.get().as_ref() }?;
        self.free.set(slot.next_free());
        self.live.set(self.live.get() + 1);
        Some(slot)
    }

    /// Frees a slot: its key dies now.
    ///
    /// A freed slot may still be linked in a run queue, so the free list has its own order: the
    /// slot is threaded through `body`, which a free slot does not use.
    pub(crate) fn put(&self, slot: &Slot) {
        slot.generation.set(slot.generation.get().wrapping_add(1));
        slot.vtable.set(None);
        slot.body.set(self.free.get().cast_mut().cast());
        self.free.set(slot);
        self.live.set(self.live.get() - 1);
    }

    #[cold]
    fn grow(&self) -> Option<()> {
        if self.all.len() >= ACTORS_MAX {
            return None;
        }
        for slot in self.all.grow(Slot::free).iter().rev() {
            slot.body.set(self.free.get().cast_mut().cast());
            self.free.set(slot);
        }
        Some(())
    }
}

impl Slot {
    fn next_free(&self) -> *const Slot {
        self.body.get().cast_const().cast()
    }
}
