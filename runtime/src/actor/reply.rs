//! Reply cells: where the answer of a `call` lands, allocated before the question is asked, so
//! that an answer can never be refused.

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::task::{Context as TaskContext, Poll};

use super::Payload;
use crate::limits::CALLS_MAX;
use crate::region::{NIL, Region};
use crate::task::Wakee;
use crate::timer::TimerKey;

/// Where an answer goes; travels with the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyTo {
    pub(crate) index: u32,
    pub(crate) generation: u32,
    pub(crate) shard: u16,
}

impl ReplyTo {
    /// A cast: nobody waits.
    pub(crate) const NONE: ReplyTo = ReplyTo {
        index: u32::MAX,
        generation: 0,
        shard: 0,
    };

    /// Nobody waits, but the message can be told from all others that wait on the shard.
    pub(crate) fn mark(serial: u32) -> ReplyTo {
        ReplyTo {
            generation: serial,
            ..ReplyTo::NONE
        }
    }

    #[inline(always)]
    pub(crate) fn is_wanted(self) -> bool {
        self.index != u32::MAX
    }
}

/// Why a question got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The actor panicked while it handled the message.
    Panicked,
    /// The actor stopped before it reached the message.
    Stopped,
    /// The deadline came first, before the answer or before the message was reached.
    TimedOut,
    /// The mailbox was full and its overflow policy gave the message up.
    Dropped,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Waiting,
    Answered,
    Failed(NoAnswer),
}

struct ReplyCell {
    generation: Cell<u32>,
    state: Cell<State>,
    next_free: Cell<u32>,
    /// The deadline, once it is on the wheel.
    timer: Cell<Option<TimerKey>>,
    drop: Cell<unsafe fn(*mut u8)>,
    wakee: UnsafeCell<Wakee>,
    payload: Payload,
}

/// The reply cells of a shard.
pub(crate) struct ReplyCells {
    all: Region<ReplyCell>,
    free: Cell<u32>,
    open: Cell<u32>,
}

impl ReplyCells {
    /// Reserves room for [`CALLS_MAX`] calls.
    ///
    /// # Errors
    /// The system's, when the address space is limited.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(ReplyCells {
            all: Region::reserve(CALLS_MAX)?,
            free: Cell::new(NIL),
            open: Cell::new(0),
        })
    }

    #[inline(always)]
    fn get(&self, index: u32) -> Option<&ReplyCell> {
        self.all.get(index)
    }

    /// Calls that wait for an answer or whose answer waits to be taken.
    pub(crate) fn open_count(&self) -> u32 {
        self.open.get()
    }

    /// Reserves a cell for an answer of type `R`; `None` at the limit.
    #[inline]
    pub(crate) fn open<R>(&self, shard: u16) -> Option<ReplyTo> {
        let (index, cell) = match self.get(self.free.get()) {
            Some(cell) => (self.free.replace(cell.next_free.get()), cell),
            None => self.grow()?,
        };
        cell.state.set(State::Waiting);
        cell.drop.set(Payload::drop_in_place::<R>);
        self.open.set(self.open.get() + 1);
        Some(ReplyTo {
            index,
            generation: cell.generation.get(),
            shard,
        })
    }

    #[inline]
    fn waiting(&self, to: ReplyTo) -> Option<&ReplyCell> {
        self.get(to.index)
            .filter(|c| c.generation.get() == to.generation && c.state.get() == State::Waiting)
    }

    /// Whether the answer is still to come; the caller then puts the deadline on the wheel.
    pub(crate) fn is_waiting(&self, to: ReplyTo) -> bool {
        self.waiting(to).is_some()
    }

    /// Remembers the deadline on the wheel.
    pub(crate) fn set_timer(&self, to: ReplyTo, timer: TimerKey) {
        if let Some(cell) = self.waiting(to) {
            cell.timer.set(Some(timer));
        }
    }

    /// Stores the answer. Gives it back when nobody waits any more.
    #[inline]
    pub(crate) fn answer<R>(&self, to: ReplyTo, value: R) -> Result<(), R> {
        let Some(cell) = self.waiting(to) else {
            return Err(value);
        };
        // SAFETY: a waiting cell holds no value, and `open::<R>` fixed the type through the
        // message's `Reply`, which is the same at both ends.
        unsafe { cell.payload.write(value) };
        cell.state.set(State::Answered);
        cell.wake();
        Ok(())
    }

    /// Stores an answer that came over the mesh; false when nobody waits any more.
    ///
    /// # Safety
    /// `from` holds a value of the type the cell was opened for, `used` bytes long; on `true` its
    /// ownership has moved into the cell.
    pub(crate) unsafe fn answer_raw(&self, to: ReplyTo, from: *const u8, used: usize) -> bool {
        let Some(cell) = self.waiting(to) else {
            return false;
        };
        // SAFETY: the contract of this function.
        unsafe { cell.payload.copy_from(from, used) };
        cell.state.set(State::Answered);
        cell.wake();
        true
    }

    /// Records that no answer will come.
    pub(crate) fn fail(&self, to: ReplyTo, why: NoAnswer) {
        if let Some(cell) = self.waiting(to) {
            cell.state.set(State::Failed(why));
            cell.wake();
        }
    }

    /// Takes the answer, or notes who is to be woken when it comes.
    ///
    /// # Safety
    /// `R` is the type that `to` was opened with, and `to` has not been closed.
    #[inline]
    pub(crate) unsafe fn poll<R>(
        &self,
        to: ReplyTo,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<R, NoAnswer>> {
        let Some(cell) = self.get(to.index) else {
            return Poll::Ready(Err(NoAnswer::Stopped));
        };
        debug_assert_eq!(cell.generation.get(), to.generation);
        match cell.state.get() {
            State::Answered => {
                cell.state.set(State::Failed(NoAnswer::Stopped));
                // SAFETY: `Answered` means that the payload holds an R not yet taken; the state
                // change above makes this the only take.
                Poll::Ready(Ok(unsafe { Payload::read(cell.payload.as_ptr()) }))
            }
            State::Failed(why) => Poll::Ready(Err(why)),
            State::Waiting | State::Free => {
                // SAFETY: single thread; `wake` takes the wakee out before it wakes, so no
                // reference into the cell is alive here.
                unsafe { &mut *cell.wakee.get() }.note(cx);
                Poll::Pending
            }
        }
    }

    /// Ends the use of a cell: drops an answer that nobody took, makes late answers miss. Gives
    /// back the deadline that is on the wheel.
    #[inline]
    pub(crate) fn close(&self, to: ReplyTo) -> Option<TimerKey> {
        let cell = self.get(to.index)?;
        if cell.generation.get() != to.generation {
            return None;
        }
        if cell.state.get() == State::Answered {
            // SAFETY: `Answered` means an untaken value of the type `drop` was set for.
            unsafe { (cell.drop.get())(cell.payload.as_ptr()) };
        }
        cell.state.set(State::Free);
        // SAFETY: as in `poll`: no reference into the wakee is alive.
        unsafe { *cell.wakee.get() = Wakee::None };
        cell.generation.set(cell.generation.get().wrapping_add(1));
        cell.next_free.set(self.free.get());
        self.free.set(to.index);
        self.open.set(self.open.get() - 1);
        cell.timer.take()
    }

    #[cold]
    fn grow(&self) -> Option<(u32, &ReplyCell)> {
        let cell = self.all.push(|_| ReplyCell {
            generation: Cell::new(0),
            state: Cell::new(State::Free),
            next_free: Cell::new(NIL),
            timer: Cell::new(None),
            drop: Cell::new(Payload::drop_in_place::<()>),
            wakee: UnsafeCell::new(Wakee::None),
            payload: Payload::empty(),
        })?;
        Some((self.all.len() - 1, cell))
    }
}

impl ReplyCell {
    #[inline]
    fn wake(&self) {
        // SAFETY: single thread; the wakee is moved out before it runs, so a wake that comes back
        // to this cell finds it free of references.
        let wakee = std::mem::replace(unsafe { &mut *self.wakee.get() }, Wakee::None);
        wakee.wake();
    }
}
