//! Which order the ready slots of a shard run in: one trait, three policies.

use std::fmt;
use std::str::FromStr;

use super::class::{Class, Quanta};
use super::drr::Drr;
use super::edf::Edf;
use super::fifo::Fifo;
use super::slot::{Slot, Slots};
use crate::clock::Cycles;

/// The scheduling policy of a runtime's shards. System messages come first under each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Deficit round robin in time between the classes, virtual time by shares between the groups
    /// of a class: the default, and the one to use.
    #[default]
    Drr,
    /// One queue, first in, first out, whatever the class: what most actor systems do. For
    /// experiments: a health check waits behind the flood.
    Fifo,
    /// Earliest deadline first (Liu and Layland, 1973), the deadline being 0.1, 5 or 50 ms from
    /// when a slot became ready in the high, normal or low class. For experiments: no protection
    /// from a class that floods.
    Edf,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Policy; 3] = [Policy::Drr, Policy::Fifo, Policy::Edf];

    /// The name in configuration and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Drr => "drr",
            Policy::Fifo => "fifo",
            Policy::Edf => "edf",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted a scheduling policy (drr, fifo or edf), found {0:?}")]
pub struct UnknownPolicy(pub String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        Policy::ALL
            .into_iter()
            .find(|policy| policy.name() == text)
            .ok_or_else(|| UnknownPolicy(text.to_owned()))
    }
}

/// What a policy does. A slot may be linked in several classes at once (see [`super::Ready`]).
pub(super) trait Order {
    /// Queues `slot`, which is not linked in `class`.
    fn link(&self, slots: &Slots, slot: &Slot, class: Class, now: Cycles);

    /// Takes the slot that runs next, and the class it runs for; `None` when nothing is ready.
    fn pick<'a>(&self, slots: &'a Slots) -> Option<(&'a Slot, Class)>;

    /// Notes the time that a turn took.
    fn charge(&self, class: Class, group: u8, used: i64);

    /// Whether nothing is ready.
    fn is_empty(&self) -> bool;

    /// Whether the high class has time left in this round: system messages beyond their share are
    /// served as high.
    fn high_has_credit(&self) -> bool;

    /// Whether what the policy keeps of the past is within its bounds.
    fn is_in_bounds(&self) -> bool {
        true
    }
}

/// The policies by enumeration, so that the default one is inlined into the loop.
#[expect(
    clippy::large_enum_variant,
    reason = "one a shard, and the largest is the default"
)]
pub(super) enum Policies {
    Drr(Drr),
    Fifo(Fifo),
    Edf(Edf),
}

macro_rules! delegate {
    ($self:ident, $policy:ident => $call:expr) => {
        match $self {
            Policies::Drr($policy) => $call,
            Policies::Fifo($policy) => $call,
            Policies::Edf($policy) => $call,
        }
    };
}

impl Policies {
    pub(super) fn new(policy: Policy, quanta: &Quanta, shares: &[u32], edf: [Cycles; 3]) -> Self {
        match policy {
            Policy::Drr => Policies::Drr(Drr::new(quanta, shares)),
            Policy::Fifo => Policies::Fifo(Fifo::default()),
            Policy::Edf => Policies::Edf(Edf::new(edf)),
        }
    }
}

impl Order for Policies {
    #[inline(always)]
    fn link(&self, slots: &Slots, slot: &Slot, class: Class, now: Cycles) {
        delegate!(self, policy => policy.link(slots, slot, class, now));
    }

    #[inline(always)]
    fn pick<'a>(&self, slots: &'a Slots) -> Option<(&'a Slot, Class)> {
        delegate!(self, policy => policy.pick(slots))
    }

    #[inline(always)]
    fn charge(&self, class: Class, group: u8, used: i64) {
        delegate!(self, policy => policy.charge(class, group, used));
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        delegate!(self, policy => policy.is_empty())
    }

    #[inline(always)]
    fn high_has_credit(&self) -> bool {
        delegate!(self, policy => policy.high_has_credit())
    }

    fn is_in_bounds(&self) -> bool {
        delegate!(self, policy => policy.is_in_bounds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_back_from_their_names() {
        for policy in Policy::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        let why = "lifo".parse::<Policy>().unwrap_err();
        assert!(why.to_string().contains("\"lifo\""), "{why}");
    }
}
