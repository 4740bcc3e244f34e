//! A slot: one schedulable thing of a shard, an actor with its mailbox or a task.

use std::any::TypeId;
use std::cell::{Cell, UnsafeCell};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use super::class::{CLASSES, Class};
use super::cold::Cold;
use crate::actor::{ExitReason, Lane, Signal};
use crate::limits::ACTORS_MAX;
use crate::region::{NIL, Region};
use crate::shard::Shard;

/// What the shard must know of the type in a slot.
pub(crate) struct BodyVtable {
    pub(crate) name: fn() -> &'static str,
    pub(crate) type_id: fn() -> TypeId,
    /// Polls a task; true when it has finished. `None` for actors.
    pub(crate) poll: Option<unsafe fn(*mut ()) -> bool>,
    /// Calls the actor's `started`, on its first and on every later incarnation.
    pub(crate) started: unsafe fn(*mut (), &Slot, &Shard),
    /// Hands an actor a signal that concerns it: an exit that it traps, the end of one it watches.
    pub(crate) signal: unsafe fn(*mut (), Signal, &Slot, &Shard),
    /// Says goodbye to an actor that stops in good order.
    pub(crate) stopped: unsafe fn(*mut (), &ExitReason),
    /// Asks an actor that has been idle for long to give memory back.
    pub(crate) hibernate: unsafe fn(*mut ()),
    /// Drops and frees the body.
    pub(crate) destroy: unsafe fn(*mut ()),
    /// Whether exits of linked actors reach the actor as signals instead of ending it.
    pub(crate) traps_exits: bool,
}

/// Lanes of a mailbox, in the order they are served; normal and low messages share one.
pub(crate) const LANE_SYSTEM: usize = 0;
pub(crate) const LANE_HIGH: usize = 1;
pub(crate) const LANE_NORMAL: usize = 2;
pub(crate) const LANES: usize = 3;

/// States of a slot, one bit each.
pub(crate) mod flag {
    /// The actor asked to stop after the present message.
    pub(crate) const STOPPING: u8 = 1;
    /// A task that asked to be polled.
    pub(crate) const WOKEN: u8 = 1 << 1;
    /// No messages but the system's are handled: the actor waits to be restarted, or runs an
    /// exclusive asynchronous handler.
    pub(crate) const SUSPENDED: u8 = 1 << 2;
    /// Was told to give memory back and has not run since.
    pub(crate) const HIBERNATED: u8 = 1 << 3;
    /// The actor has moved to another shard; its messages follow it.
    pub(crate) const MOVED: u8 = 1 << 4;
    /// Code of the user's runs in this slot right now.
    pub(crate) const RUNNING: u8 = 1 << 5;
    /// The actor has run since the last sweep for idle ones.
    pub(crate) const ACTIVE: u8 = 1 << 6;
    /// Reserved for an actor that is on its way here: what comes before it waits.
    pub(crate) const ARRIVING: u8 = 1 << 7;
}

/// Names a slot in its present use; a stale key finds nothing.
///
/// The index of a key that was made from parts of an id (see `Address::from_parts`) carries
/// [`SlotKey::FROM_PARTS`]: its type is checked on delivery, since nothing else vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SlotKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl SlotKey {
    /// Above every index that exists ([`ACTORS_MAX`]).
    pub(crate) const FROM_PARTS: u32 = 1 << 31;
    /// Finds nothing.
    pub(crate) const NONE: SlotKey = SlotKey {
        index: NIL,
        generation: 0,
    };
}

/// Bytes of a body that lives in the slot itself.
const INLINE_BODY: usize = 16;

/// One schedulable thing. All fields are single-threaded cells: the shard owns it. What a send
/// touches comes first and fits one cache line.
#[repr(C)]
pub(crate) struct Slot {
    pub(crate) vtable: Cell<Option<&'static BodyVtable>>,
    pub(crate) lanes: [Lane; LANES],
    /// Messages that the high and the normal lane still take; postponed ones take room too. Below
    /// zero when more have come by another way than a send.
    pub(crate) room: [Cell<i32>; 2],
    pub(crate) generation: Cell<u32>,
    /// Bytes that the mailbox still takes, in units of 64; below zero when high messages fill more.
    pub(crate) room_bytes: Cell<i32>,
    pub(crate) flags: Cell<u8>,
    /// Bit per class: linked in that run queue.
    pub(crate) linked: Cell<u8>,
    /// The class of an actor's normal messages, or of a task.
    pub(crate) class: Cell<Class>,
    /// The scheduling group.
    pub(crate) group: Cell<u8>,
    /// Index of the options it was spawned with.
    pub(crate) options: Cell<u16>,
    /// Index of its type in the accounts.
    pub(crate) kind: Cell<u16>,
    pub(crate) body: Cell<*mut ()>,
    /// Next in the run queue of each class.
    pub(crate) next: [Cell<u32>; CLASSES],
    /// What few actors have.
    cold: Cell<*mut Cold>,
    /// CPU time used, in cycles.
    pub(crate) cpu: Cell<u64>,
    pub(crate) index: u32,
    /// When a task was woken, in units of 64 cycles; the next free slot while this one is free.
    pub(crate) woken_at: Cell<u32>,
    inline: UnsafeCell<MaybeUninit<[u64; INLINE_BODY / 8]>>,
}

// An idle actor is its slot: the limit is the figure that the documents give.
const _: () = assert!(size_of::<Slot>() <= 120);

impl Slot {
    fn free(index: u32) -> Self {
        Slot {
            vtable: Cell::new(None),
            lanes: [const { Lane::new() }; LANES],
            room: [Cell::new(0), Cell::new(0)],
            generation: Cell::new(0),
            room_bytes: Cell::new(0),
            flags: Cell::new(0),
            linked: Cell::new(0),
            class: Cell::new(Class::Normal),
            group: Cell::new(0),
            options: Cell::new(0),
            kind: Cell::new(0),
            body: Cell::new(ptr::null_mut()),
            next: [const { Cell::new(NIL) }; CLASSES],
            cold: Cell::new(ptr::null_mut()),
            cpu: Cell::new(0),
            index,
            woken_at: Cell::new(NIL),
            inline: UnsafeCell::new(MaybeUninit::uninit()),
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

    #[inline(always)]
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags.get() & flag != 0
    }

    #[inline(always)]
    pub(crate) fn set(&self, flag: u8) {
        self.flags.set(self.flags.get() | flag);
    }

    #[inline(always)]
    pub(crate) fn unset(&self, flag: u8) {
        self.flags.set(self.flags.get() & !flag);
    }

    /// The class this slot should be queued in, if it has anything to do.
    #[inline(always)]
    pub(crate) fn wanted_class(&self) -> Option<Class> {
        if !self.lanes[LANE_SYSTEM].is_empty() {
            return (!self.has(flag::ARRIVING)).then_some(Class::System);
        }
        if self.has(flag::SUSPENDED) {
            return None;
        }
        if !self.lanes[LANE_HIGH].is_empty() {
            Some(Class::High)
        } else if !self.lanes[LANE_NORMAL].is_empty() || self.has(flag::WOKEN) {
            Some(self.class.get())
        } else {
            None
        }
    }

    /// Whether no message waits in any lane.
    #[inline(always)]
    pub(crate) fn is_without_messages(&self) -> bool {
        self.lanes.iter().all(Lane::is_empty)
    }

    const fn is_inline<T>() -> bool {
        size_of::<T>() <= INLINE_BODY && align_of::<T>() <= align_of::<u64>()
    }

    /// Moves `body` into the vacant slot: into the slot itself when it is small.
    pub(crate) fn install<T>(&self, body: T) {
        debug_assert!(self.body.get().is_null());
        if Self::is_inline::<T>() {
            let at: *mut T = self.inline.get().cast();
            // SAFETY: size and alignment fit, the slot is vacant, and slots never move.
            unsafe { at.write(body) };
            self.body.set(at.cast());
        } else {
            self.body.set(Box::into_raw(Box::new(body)).cast());
        }
    }

    /// Drops and frees a body of type `T`.
    ///
    /// # Safety
    /// `body` came from [`Slot::install`] of a `T`, and nobody refers to it any more.
    pub(crate) unsafe fn destroy<T>(body: *mut ()) {
        // SAFETY: the caller's promise; `install` chose the place by the same rule.
        unsafe {
            if Self::is_inline::<T>() {
                body.cast::<T>().drop_in_place();
            } else {
                drop(Box::from_raw(body.cast::<T>()));
            }
        }
    }

    /// Moves a body of type `T` out.
    ///
    /// # Safety
    /// As [`Slot::destroy`].
    pub(crate) unsafe fn take_out<T>(body: *mut ()) -> T {
        // SAFETY: as in `destroy`.
        unsafe {
            if Self::is_inline::<T>() {
                body.cast::<T>().read()
            } else {
                *Box::from_raw(body.cast::<T>())
            }
        }
    }

    /// What few actors have, if this one has it.
    #[inline]
    pub(crate) fn cold(&self) -> Option<&Cold> {
        // SAFETY: non-null only between `cold_or_new` and `drop_cold`, both of this thread; all of
        // `Cold` is cells, so shared references suffice.
        unsafe { self.cold.get().as_ref() }
    }

    /// The same, made when missing.
    pub(crate) fn cold_or_new(&self) -> &Cold {
        if self.cold.get().is_null() {
            self.cold.set(Box::into_raw(Box::default()));
        }
        // SAFETY: as in `cold`; non-null by the line above.
        unsafe { &*self.cold.get() }
    }

    /// Takes the cold part away from a slot that ends.
    pub(crate) fn take_cold(&self) -> Option<Box<Cold>> {
        let cold = self.cold.replace(ptr::null_mut());
        // SAFETY: it came from `Box::into_raw`; callers hold no reference from `cold` across the
        // end of the slot.
        (!cold.is_null()).then(|| unsafe { Box::from_raw(cold) })
    }
}

/// The slots of a shard.
pub(crate) struct Slots {
    all: Region<Slot>,
    free: Cell<u32>,
    live: Cell<u32>,
}

impl Slots {
    /// Reserves room for [`ACTORS_MAX`] slots.
    ///
    /// # Errors
    /// The system's, when the address space is limited.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Slots {
            all: Region::reserve(ACTORS_MAX)?,
            free: Cell::new(NIL),
            live: Cell::new(0),
        })
    }

    /// Slots in use.
    pub(crate) fn live(&self) -> u32 {
        self.live.get()
    }

    /// Slots ever made, used or free.
    pub(crate) fn made(&self) -> u32 {
        self.all.len()
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.all.bytes()
    }

    /// The slot at `index`, used or free.
    #[inline(always)]
    pub(crate) fn at(&self, index: u32) -> Option<&Slot> {
        self.all.get(index)
    }

    /// The slot at an index that a run queue holds.
    ///
    /// # Safety
    /// `index` is that of a slot of this shard.
    #[inline(always)]
    pub(crate) unsafe fn linked(&self, index: u32) -> &Slot {
        // SAFETY: the caller's promise; slots are never unmade.
        unsafe { self.all.at(index) }
    }

    /// The slot of a live actor or task. A key dies when its slot is freed, so that the generation
    /// alone decides.
    #[inline(always)]
    pub(crate) fn get(&self, key: SlotKey) -> Option<&Slot> {
        self.at(key.index)
            .filter(|s| s.generation.get() == key.generation && !s.is_free())
    }

    /// As [`Slots::get`] for a key from outside the shard's own bookkeeping: the key of an actor
    /// that is just ending is found, without room for a message.
    #[inline(always)]
    pub(crate) fn addressed(&self, key: SlotKey) -> Option<&Slot> {
        self.at(key.index)
            .filter(|s| s.generation.get() == key.generation)
    }

    /// Takes a free slot; `None` at [`ACTORS_MAX`].
    #[inline]
    pub(crate) fn take(&self) -> Option<&Slot> {
        let slot = match self.at(self.free.get()) {
            Some(slot) => {
                self.free.set(slot.woken_at.get());
                slot
            }
            None => self.all.push(Slot::free)?,
        };
        self.live.set(self.live.get() + 1);
        Some(slot)
    }

    /// Frees a slot: its key dies now.
    ///
    /// A freed slot may still be linked in a run queue, so the free list has its own order: the
    /// slot is threaded through `woken_at`, which a free slot does not use.
    pub(crate) fn put(&self, slot: &Slot) {
        slot.generation.set(slot.generation.get().wrapping_add(1));
        slot.vtable.set(None);
        slot.woken_at.set(self.free.get());
        self.free.set(slot.index);
        self.live.set(self.live.get() - 1);
    }
}
