//! Scheduling classes and their time quanta.

use crate::clock::{Cycles, ns_to_cycles};

/// How urgent a message is. It is a property of the message *type*, and it lifts the receiving
/// actor in the run queue of its shard and onto the express lane between shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Health, supervision, replies: served first, bounded to 8/13 of a shard's time.
    High = 0,
    /// Everything else.
    Normal = 1,
    /// Background work: an actor of this class is served at 1/4 of normal's weight.
    Low = 2,
}

/// Number of classes.
pub(crate) const CLASSES: usize = 3;

impl Class {
    /// Every class, most urgent first.
    pub const ALL: [Class; CLASSES] = [Class::High, Class::Normal, Class::Low];

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Class::High => "high",
            Class::Normal => "normal",
            Class::Low => "low",
        }
    }
}

/// Time each class may use per round of deficit round robin, and the budget of one turn.
/// Shreedhar and Varghese, "Efficient fair queueing using deficit round robin", 1995, in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quanta {
    pub(crate) round: [i64; CLASSES],
    pub(crate) turn: [Cycles; CLASSES],
}

impl Quanta {
    /// High : normal : low = 200 : 100 : 25 us a round; turns of 50, 20 and 10 us.
    pub(crate) fn standard() -> Self {
        let cy = |us: u64| ns_to_cycles(us * 1000);
        let signed = |us| i64::try_from(cy(us)).unwrap_or(i64::MAX);
        Quanta {
            round: [signed(200), signed(100), signed(25)],
            turn: [cy(50), cy(20), cy(10)],
        }
    }
}
