//! Quarantine: messages that made an actor panic, with the panic, for whoever looks later.

use std::any::Any;
use std::collections::VecDeque;

use crate::actor::ActorId;
use crate::limits::QUARANTINE_MAX;
use crate::panics::Caught;

/// A message that made an actor panic.
#[derive(Debug)]
pub struct Quarantined {
    /// Who panicked.
    pub actor: ActorId,
    /// Its type name.
    pub actor_type: &'static str,
    /// The message's type name; `started` when it was none.
    pub message_type: &'static str,
    /// Which incarnation it was.
    pub incarnation: u32,
    /// The panic, its place, and its backtrace when one was taken.
    pub panic: Caught,
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// The message, when its type makes specimens ([`crate::Message::specimen`]).
    pub message: Option<Box<dyn Any + Send>>,
}

/// The latest [`QUARANTINE_MAX`] of a shard.
pub(super) struct Quarantine {
    kept: VecDeque<Quarantined>,
}

impl Quarantine {
    pub(super) fn new() -> Self {
        Quarantine {
            kept: VecDeque::new(),
        }
    }

    /// Keeps one; the oldest goes when there is no room.
    pub(super) fn keep(&mut self, one: Quarantined) {
        if self.kept.len() == QUARANTINE_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(one);
    }

    /// Takes all, oldest first.
    pub(super) fn take(&mut self) -> Vec<Quarantined> {
        self.kept.drain(..).collect()
    }
}
