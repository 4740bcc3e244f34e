//! Time, read seldom and shared out: a read of the counter costs as much as a short handler.
//!
//! A lap is what happened between two reads: up to a few runs of messages of one type to one actor.
//! Its time is shared out among them by their messages, and charged to their classes, groups,
//! actors and types. As soon as a lap's turns take more than a few microseconds each, the clock is
//! read after each of them.

use std::cell::Cell;

use crate::accounts::Entry;
use crate::clock::Cycles;
use crate::limits::TICK_TURNS;
use crate::sched::{Class, Slot};

use super::Shard;

/// Runs in a lap: those of a tick of turns with one message, so that one reading of the clock ends
/// the lap and begins the next tick.
pub(super) const LAP_RUNS: usize = TICK_TURNS as usize;

/// Places for runs: those of a lap, and the open one behind them.
const PLACES: usize = (LAP_RUNS + 1).next_power_of_two();

/// Marks a run as a poll of a task, beside its group.
const POLL: u8 = 1 << 7;

/// Messages of one type, handled by one actor in one turn; or one poll of a task.
struct Run {
    entry: Cell<Entry>,
    slot: Cell<u32>,
    messages: Cell<u16>,
    class: Cell<Class>,
    /// The scheduling group, and [`POLL`].
    group: Cell<u8>,
}

/// What is charged together: a class and group, and a type of message to a type of actor.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bill {
    entry: Entry,
    class: Class,
    group: u8,
}

impl Run {
    const fn none() -> Self {
        Run {
            entry: Cell::new(Entry::NONE),
            slot: Cell::new(0),
            messages: Cell::new(0),
            class: Cell::new(Class::Normal),
            group: Cell::new(0),
        }
    }

    #[inline(always)]
    fn bill(&self) -> Bill {
        Bill {
            entry: self.entry.get(),
            class: self.class.get(),
            group: self.group.get(),
        }
    }
}

/// What has happened since the clock was last read.
pub(super) struct Lap {
    /// The runs of the lap; behind them the open one, without messages when there is none.
    runs: [Run; PLACES],
    len: Cell<usize>,
    /// Turns that began and ended in this lap.
    short_turns: Cell<u32>,
    /// Turns take so long that each has its time read.
    pub(super) fine: Cell<bool>,
}

impl Lap {
    pub(super) fn new() -> Self {
        Lap {
            runs: [const { Run::none() }; PLACES],
            len: Cell::new(0),
            short_turns: Cell::new(0),
            fine: Cell::new(false),
        }
    }

    /// Whether nothing has happened since the clock was read.
    #[inline(always)]
    pub(super) fn is_fresh(&self) -> bool {
        self.len.get() == 0
    }

    #[inline(always)]
    fn open(&self) -> &Run {
        &self.runs[self.len.get() % PLACES]
    }

    /// Another message of the open run begins; or `-1`: it was set aside.
    #[inline(always)]
    pub(super) fn count(&self, messages: i16) {
        let run = self.open();
        run.messages
            .set(run.messages.get().wrapping_add_signed(messages));
    }

    /// Closes the open run if it has messages; its account.
    #[inline(always)]
    pub(super) fn close_run(&self) -> Entry {
        let run = self.open();
        if run.messages.get() > 0 {
            self.len.set(self.len.get() + 1);
            self.open().messages.set(0);
        }
        run.entry.get()
    }

    /// Messages handled that the statistics do not show yet.
    pub(super) fn messages(&self) -> u64 {
        let closed = self.runs.iter().take(self.len.get());
        closed.map(Run::messages_handled).sum()
    }
}

impl Run {
    fn messages_handled(&self) -> u64 {
        let polled = self.group.get() & POLL != 0;
        u64::from(self.messages.get()) * u64::from(!polled)
    }
}

impl Shard {
    /// Opens the run of the messages that `slot` handles now.
    #[inline(always)]
    pub(super) fn open_run(&self, slot: &Slot, class: Class, entry: Entry) {
        self.open(slot, class, entry, 0);
    }

    /// Notes that the task in `slot` is polled.
    #[inline(always)]
    pub(super) fn note_poll(&self, slot: &Slot, class: Class, entry: Entry) {
        self.open(slot, class, entry, POLL);
        self.lap.count(1);
        self.lap.close_run();
    }

    #[inline(always)]
    fn open(&self, slot: &Slot, class: Class, entry: Entry, poll: u8) {
        if self.lap.len.get() >= LAP_RUNS {
            self.read_lap(self.time.cycles());
        }
        let run = self.lap.open();
        run.entry.set(entry);
        run.slot.set(slot.index);
        run.class.set(class);
        run.group.set(slot.group.get() | poll);
    }

    /// Messages handled so far.
    pub(crate) fn messages_handled(&self) -> u64 {
        self.stats().messages.get() + self.lap.messages()
    }

    /// The end of a turn that read no clock: it is read now only when a lap is full.
    #[inline(always)]
    pub(super) fn end_short_turn(&self) {
        let lap = &self.lap;
        lap.short_turns.set(lap.short_turns.get() + 1);
        if lap.len.get() >= LAP_RUNS || lap.fine.get() {
            self.end_lap();
        }
    }

    /// Reads the clock and shares out the time of short turns.
    pub(super) fn end_lap(&self) {
        let lap = &self.lap;
        let turns = u64::from(lap.short_turns.replace(0));
        let class = lap.runs[0].class.get();
        let used = self.read_lap(self.time.cycles());
        if let Some(each) = used.checked_div(turns) {
            lap.fine.set(each > self.thresholds.slow);
            if used > self.thresholds.stall {
                // At least one of them; the stall detector knows which.
                self.stats().turns_over_budget.add(1);
            }
            self.stats().turns.add(turns);
            self.stats().turn[class as usize].record_many(each, turns);
        }
    }

    /// Shares out the time until `now` among the runs of the lap; returns it.
    #[inline]
    pub(super) fn read_lap(&self, now: Cycles) -> Cycles {
        let used = now.saturating_sub(self.now.replace(now));
        self.clock_is_fresh.set(true);
        let lap = &self.lap;
        let runs = &lap.runs[..lap.len.replace(0) % PLACES];
        let Some(first) = runs.first() else {
            return used;
        };
        let messages: u32 = runs.iter().map(|run| u32::from(run.messages.get())).sum();
        let each = used / u64::from(messages.max(1));
        let (mut bill, mut billed, mut span) = (first.bill(), 0, 0);
        for run in runs {
            if run.bill() != bill {
                self.charge(bill, billed, span);
                (bill, billed, span) = (run.bill(), 0, 0);
            }
            let share = each * u64::from(run.messages.get());
            if let Some(slot) = self.slots.at(run.slot.get()) {
                slot.cpu.set(slot.cpu.get() + share);
            }
            billed += u64::from(run.messages.get());
            span += share;
        }
        self.charge(bill, billed, span);
        lap.open().messages.set(0);
        used
    }

    fn charge(&self, bill: Bill, messages: u64, used: Cycles) {
        let charged = i64::try_from(used).unwrap_or(i64::MAX);
        self.ready.charge(bill.class, bill.group & !POLL, charged);
        if bill.group & POLL == 0 {
            self.stats().messages.add(messages);
        }
        if let Some(message) = self.kinds.account(bill.entry) {
            message.handled.add(messages);
            message.run.record_many(used / messages.max(1), messages);
        }
    }
}
