//! How actors end, and who is told: exit reasons, links, monitors, as in OTP.
//!
//! A link ties the fates of two actors: when one ends for a reason that is not normal, the other
//! ends for the same reason, unless its type traps exits. A monitor only tells. Both are told of
//! the actor's end, not of a restart in place: that keeps the address, and with it the promise.

use std::fmt;
use std::sync::Arc;

use super::ActorId;
use crate::panics::Caught;

/// Why an actor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitReason {
    /// It stopped by itself, its work done.
    Normal,
    /// It was told to stop, by its supervisor or because its shard went down.
    Shutdown,
    /// It panicked, and nobody restarted it.
    Panicked(Arc<Caught>),
    /// It gave up, in its own words.
    Failed(Arc<str>),
    /// It was killed, and could not refuse.
    Killed,
    /// There was no such actor (any more) when it was to be linked or watched.
    NoActor,
}

impl ExitReason {
    /// Whether linked actors end with it.
    #[must_use]
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, ExitReason::Normal | ExitReason::Shutdown)
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::Normal => f.write_str("normal"),
            ExitReason::Shutdown => f.write_str("shutdown"),
            ExitReason::Panicked(caught) => write!(f, "panic: {}", caught.message),
            ExitReason::Failed(why) => write!(f, "failed: {why}"),
            ExitReason::Killed => f.write_str("killed"),
            ExitReason::NoActor => f.write_str("no such actor"),
        }
    }
}

/// Names one act of watching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Monitor(pub(crate) u64);

/// A watched actor has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// What `monitor` returned.
    pub monitor: Monitor,
    /// Who ended.
    pub actor: ActorId,
    /// Why.
    pub why: ExitReason,
}

/// A linked actor has ended, and this one traps exits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Who ended.
    pub from: ActorId,
    /// Why.
    pub why: ExitReason,
}

/// What the runtime itself tells an actor, in the system lane.
#[derive(Clone, Debug)]
pub(crate) enum Signal {
    /// A linked actor has ended.
    Exit(Exit),
    /// Somebody wants this actor to end, and it may not refuse.
    Kill,
    /// Somebody wants this one to end; links stay as they are.
    Ask(Exit),
    Down(Down),
    Link(ActorId),
    Unlink(ActorId),
    Watch(Monitor, ActorId),
    Unwatch(Monitor),
    /// The actor that had moved from here has ended.
    Ended(ExitReason),
}
