//! Credit: how much of one shard may be under way to one actor of another, and how what was
//! handled is given back.
//!
//! A sender takes a credit for every message before it sends it; the receiver notes every message
//! it has handled or dropped, and gives credits back in batches. So one slow actor fills neither
//! the lane that others use nor its shard's memory: the sender learns it here, without asking.
//!
//! A credit belongs to `(actor index, generation)`, so a successor in the same slot starts afresh
//! while the credits of its predecessor still come home. Each is at any moment in exactly one
//! place: the window, a frame or mailbox, [`Returns`], or a [`Batch`] on its way (model:
//! tests/credit.rs).

use rustc_hash::FxHashMap;

use crate::limits::{CREDIT_BATCH, CREDIT_WINDOW};

/// Returns in one [`Batch`].
pub const RETURNS: usize = 4;
/// Runs that a message is compared with before it begins one of its own.
const LOOKBACK: usize = 16;

/// An actor of a peer: slot index and generation.
pub type Target = (u32, u32);

/// The sender's side, for one peer shard.
#[derive(Debug, Default)]
pub struct Credits {
    /// The actor of the last send and its credits under way; kept out of the map.
    last: Target,
    last_out: u32,
    /// Credits under way of all other actors, none of them 0: as many entries as messages at most.
    out: FxHashMap<Target, u32>,
    surplus: u64,
}

impl Credits {
    /// All credits at home.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a credit for a message to `target`; false when [`CREDIT_WINDOW`] are under way.
    #[inline]
    #[must_use]
    pub fn take(&mut self, target: Target) -> bool {
        if target != self.last {
            self.turn_to(target);
        }
        let granted = self.last_out < CREDIT_WINDOW;
        self.last_out += u32::from(granted);
        granted
    }

    /// Takes back `n` credits of `target`. True when there was none left, so that those who wait
    /// for one may go on. What was never taken is ignored, and counted in [`Credits::surplus`].
    pub fn give_back(&mut self, target: Target, n: u32) -> bool {
        if target == self.last {
            let before = self.last_out;
            self.last_out = before.saturating_sub(n);
            self.surplus += u64::from(n.saturating_sub(before));
            return before == CREDIT_WINDOW && n > 0;
        }
        let Some(out) = self.out.get_mut(&target) else {
            self.surplus += u64::from(n);
            return false;
        };
        let before = *out;
        *out = before.saturating_sub(n);
        self.surplus += u64::from(n.saturating_sub(before));
        if *out == 0 {
            self.out.remove(&target);
        }
        before == CREDIT_WINDOW && n > 0
    }

    /// Credits of `target` under way.
    #[must_use]
    pub fn out(&self, target: Target) -> u32 {
        if target == self.last {
            return self.last_out;
        }
        self.out.get(&target).copied().unwrap_or(0)
    }

    /// Actors with credits under way.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.out.len() + usize::from(self.last_out > 0)
    }

    /// Credits given back and never taken: 0, or the two sides disagree.
    #[must_use]
    pub fn surplus(&self) -> u64 {
        self.surplus
    }

    fn turn_to(&mut self, target: Target) {
        if self.last_out > 0 {
            self.out.insert(self.last, self.last_out);
        }
        self.last = target;
        self.last_out = self.out.remove(&target).unwrap_or(0);
    }
}

/// Credits of one actor on their way home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Return {
    /// The actor.
    pub target: Target,
    /// How many.
    pub credits: u32,
}

/// What one frame carries home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Batch {
    returns: [Return; RETURNS],
    len: u32,
}

const _: () = assert!(size_of::<Batch>() <= crate::limits::INLINE_BYTES);

impl Batch {
    /// The returns in it, one at least.
    #[must_use]
    pub fn returns(&self) -> &[Return] {
        &self.returns[..(self.len as usize).min(RETURNS)]
    }
}

/// The receiver's side, for one peer shard: what was handled and not yet given back.
#[derive(Debug, Default)]
pub struct Returns {
    /// In the order of their first message; none is empty. As many as messages at most, which the
    /// sender's windows bound.
    runs: Vec<Return>,
    /// Credits in all runs.
    pending: u32,
}

impl Returns {
    /// Nothing to give back.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A message to `target` was handled or dropped. True when a batch is due; otherwise it goes
    /// at the end of the tick, or when a mailbox runs empty.
    #[inline]
    pub fn handled(&mut self, target: Target) -> bool {
        self.pending += 1;
        match self.runs.last_mut() {
            Some(run) if run.target == target => run.credits += 1,
            _ => self.count_apart(target),
        }
        self.pending >= CREDIT_BATCH
    }

    fn count_apart(&mut self, target: Target) {
        let recent = self.runs.iter_mut().rev().take(LOOKBACK);
        match recent.into_iter().find(|run| run.target == target) {
            Some(run) => run.credits += 1,
            None => self.runs.push(Return { target, credits: 1 }),
        }
    }

    /// Whether there is nothing to give back.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending == 0
    }

    /// Credits to give back.
    #[must_use]
    pub fn pending(&self) -> u32 {
        self.pending
    }

    /// The next [`RETURNS`] actors' credits for one frame; ask until `None`. What was taken must
    /// be sent: see that there is room first.
    #[must_use]
    pub fn next_batch(&mut self) -> Option<Batch> {
        let first = self.runs.len().saturating_sub(RETURNS);
        let mut batch = Batch::default();
        for (at, run) in batch.returns.iter_mut().zip(self.runs.drain(first..)) {
            *at = run;
            batch.len += 1;
            self.pending -= run.credits;
        }
        (batch.len > 0).then_some(batch)
    }
}
