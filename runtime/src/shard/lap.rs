//! Time, read seldom and shared out: a read of the counter costs as much as a short handler.
//!
//! A lap is what happened between two reads: up to a few runs of messages of one type to one actor.
//! Its time is shared out among them by their messages, and charged to their classes, groups,
//! actors and types. As soon as a lap's turns take more than a few microseconds each, the clock is
//! read after each of them.

use std::cell::Cell;

use crate::accounts::Entry;
use crate::clock::Cycles;
use crate::sched::{Class, Slot};

use super::Shard;

/// Runs in a lap.
pub(super) const LAP_RUNS: usize = 8;

/// What is charged together: a class and group, and a type of message to a type of actor.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bill {
    entry: Entry,
    group: u8,
    class: Class,
}

/// Messages of one type, handled by one actor in one turn.
#[derive(Clone, Copy)]
struct Run {
    slot: u32,
    messages: u32,
    bill: Bill,
}

const NO_RUN: Run = Run {
    slot: 0,
    messages: 0,
    bill: Bill {
        entry: Entry::NONE,
        group: 0,
        class: Class::Normal,
    },
};

/// What has happened since the clock was last read.
pub(super) struct Lap {
    runs: [Cell<Run>; LAP_RUNS],
    len: Cell<usize>,
    /// Turns that began and ended in this lap.
    short_turns: Cell<u32>,
    /// Turns take so long that each has its time read.
    pub(super) fine: Cell<bool>,
}

impl Lap {
    pub(super) fn new() -> Self {
        Lap {
            runs: [const { Cell::new(NO_RUN) }; LAP_RUNS],
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
}

impl Shard {
    /// Notes that `slot` handled `messages` messages with the account `entry`.
    #[inline(always)]
    pub(super) fn note_run(&self, slot: &Slot, class: Class, entry: Entry, messages: u32) {
        let lap = &self.lap;
        if lap.len.get() >= LAP_RUNS {
            self.read_lap(self.time.cycles());
        }
        let bill = Bill {
            entry,
            group: slot.group.get(),
            class,
        };
        let len = lap.len.get();
        lap.runs[len % LAP_RUNS].set(Run {
            slot: slot.index,
            messages,
            bill,
        });
        lap.len.set(len + 1);
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
        let class = lap.runs[0].get().bill.class;
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
        let lap = &self.lap;
        let runs = &lap.runs[..lap.len.replace(0).min(LAP_RUNS)];
        let Some(first) = runs.first() else {
            return used;
        };
        let messages: u32 = runs.iter().map(|run| run.get().messages).sum();
        let each = used / u64::from(messages.max(1));
        let (mut bill, mut billed, mut span) = (first.get().bill, 0, 0);
        for run in runs {
            let run = run.get();
            if run.bill != bill {
                self.charge(bill, billed, span);
                (bill, billed, span) = (run.bill, 0, 0);
            }
            let share = each * u64::from(run.messages);
            if let Some(slot) = self.slots.at(run.slot) {
                slot.cpu.set(slot.cpu.get() + share);
            }
            billed += u64::from(run.messages);
            span += share;
        }
        self.charge(bill, billed, span);
        used
    }

    fn charge(&self, bill: Bill, messages: u64, used: Cycles) {
        let charged = i64::try_from(used).unwrap_or(i64::MAX);
        self.ready.charge(bill.class, bill.group, charged);
        if let Some(message) = self.kinds.account(bill.entry) {
            message.handled.add(messages);
            message.run.record_many(used / messages.max(1), messages);
        }
    }
}
