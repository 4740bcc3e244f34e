//! Scheduling classes and their time quanta.

use crate::clock::{Cycles, Time};

/// How urgent a message is. It is a property of the message *type*, and it lifts the receiving
/// actor in the run queue of its shard and onto the express lane between shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// The runtime's own signals (exits, monitors, supervision): strictly first within a token
    /// bucket of a tenth of the shard's time, beyond it served as high. No message of a user's has
    /// this class.
    System = 0,
    /// Health, supervision, replies: served first, bounded to 8/13 of a shard's time.
    High = 1,
    /// Everything else.
    Normal = 2,
    /// Background work: an actor of this class is served at 1/4 of normal's weight.
    Low = 3,
}

/// Number of classes.
pub(crate) const CLASSES: usize = 4;

impl Class {
    /// Every class, most urgent first.
    pub const ALL: [Class; CLASSES] = [Class::System, Class::High, Class::Normal, Class::Low];

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Class::System => "system",
            Class::High => "high",
            Class::Normal => "normal",
            Class::Low => "low",
        }
    }

    /// The bit of this class in a set of classes.
    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Time each class may use per round of deficit round robin, and the budget of one turn.
/// Shreedhar and Varghese, "Efficient fair queueing using deficit round robin", 1995, in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quanta {
    pub(crate) round: [i64; CLASSES],
    pub(crate) turn: [Cycles; CLASSES],
    /// Strict time of system messages in one window, and the window.
    pub(crate) system: (i64, Cycles),
}

impl Quanta {
    /// High : normal : low = 200 : 100 : 25 us a round; turns of 50, 20 and 10 us, times
    /// `turn_scale` of the configuration; 100 us of every 1 ms are the system's.
    pub(crate) fn standard(time: &Time, turn_scale: f64) -> Self {
        let signed = |us: u64| i64::try_from(time.to_cycles(us * 1000)).unwrap_or(i64::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few microseconds times a small positive factor"
        )]
        let turn = |us: u64| ((time.to_cycles(us * 1000) as f64 * turn_scale) as u64).max(1);
        Quanta {
            round: [signed(200), signed(200), signed(100), signed(25)],
            turn: [turn(50), turn(50), turn(20), turn(10)],
            system: (signed(100), time.to_cycles(1_000_000)),
        }
    }
}
