//! Deterministic simulation: the whole runtime in one thread, driven by a seed.
//!
//! N shards are stepped one after the other by a chooser that owns everything which is left to
//! chance in a real run: which shard goes on, after how many turns it looks at its rings, how
//! large those are, when a wake-up arrives (now, late, twice, or not before the longest park is
//! over), how time passes (also by seconds at once), what panics. Workloads that check themselves
//! run on top; after every step the simulator looks into the shards and checks that they are
//! consistent. The same seed gives the same run, which the trace hash proves; so a seed that fails
//! is a test that fails every time. The method is FoundationDB's and TigerBeetle's.
//!
//! What is simulated is what runs: [`run`] calls the same step that the real loop calls. Only the
//! clock, the wake-ups and the threads are exchanged. There are no sockets in the simulation: its
//! shards have no driver.
//!
//! # Code map
//! - `world`: clock, chooser, trace hash, findings. `letter`: every message accounted for.
//! - `shards`: shards without threads. `town`: how they are driven, from the first step to the
//!   quiet end.
//! - `check`: the invariants of the shards. `sabotage`: faults that the checks must find.
//! - `workload`: one file for each. `found`: what they have found, as tests of their own.
//!
//! # Invariants that are checked
//! After every step: a slot with something to do is in a run queue; what is counted agrees with
//! what is there (lanes, bytes, envelopes, slots, frames between shards, panics, dropped
//! messages); nothing sleeps with work waiting and no wake-up under way; queues, credits and debts
//! are within their bounds. By the workloads: the order of one sender, one end for each message,
//! an answer for its question, a restart intensity, timers, names, monitors and links. At the quiet
//! end: nothing is left.

mod check;
#[cfg(test)]
mod found;
mod letter;
mod sabotage;
mod shards;
mod town;
mod workload;
mod world;

use std::fmt;

use crate::panics;

pub use world::buggify;

/// What is to be simulated.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Steps before the end begins.
    pub steps: u64,
    /// Breaks something on purpose, to see that it is found.
    pub fault: Option<Fault>,
    /// Gets a line for every event.
    pub trace: Option<fn(&str)>,
}

impl Default for SimConfig {
    fn default() -> Self {
        SimConfig {
            steps: 2000,
            fault: None,
            trace: None,
        }
    }
}

/// Ways to break the runtime or a workload, each of which a check must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A wake-up never arrives, and no park ends by itself.
    LostWakeUp,
    /// A message vanishes from a mailbox.
    LostMessage,
    /// A message is in a mailbox twice.
    DoubledMessage,
    /// The first message of a mailbox goes to its end.
    SwappedMessages,
    /// A ready actor vanishes from its run queue.
    ForgottenActor,
    /// The bytes of a mailbox are counted wrong.
    MiscountedBytes,
    /// Timers fire a second early.
    EarlyTimer,
    /// A sender believes to have sent what it has not.
    SkippedNumber,
    /// A supervisor grants one restart more than it may.
    GenerousSupervisor,
    /// An answer belongs to another question.
    WrongAnswer,
    /// A monitor hears of the same end twice.
    DoubledDown,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 11] = [
        Fault::LostWakeUp,
        Fault::LostMessage,
        Fault::DoubledMessage,
        Fault::SwappedMessages,
        Fault::ForgottenActor,
        Fault::MiscountedBytes,
        Fault::EarlyTimer,
        Fault::SkippedNumber,
        Fault::GenerousSupervisor,
        Fault::WrongAnswer,
        Fault::DoubledDown,
    ];
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: &'static str,
    /// After which step.
    pub step: u64,
    /// Where, if it concerns one shard.
    pub shard: Option<u16>,
    /// What was found.
    pub details: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.step)?;
        if let Some(shard) = self.shard {
            write!(f, ", shard {shard}")?;
        }
        write!(f, ": {}: {}", self.invariant, self.details)
    }
}

/// How one seed went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Steps taken, those of the quiet end included.
    pub steps: u64,
    /// Messages that the shards have handled.
    pub messages: u64,
    /// Hash of every event in its order: equal for equal seeds.
    pub hash: u64,
    /// Invariants that did not hold, the first ones first; the run ends at the first.
    pub violations: Vec<Violation>,
}

/// Simulates `seed` on the calling thread, which must not be a shard.
///
/// # Errors
/// The system's, when the address space of the process is limited.
pub fn run(seed: u64, config: &SimConfig) -> std::io::Result<Report> {
    panics::forbid_backtraces(true);
    let report = town::Town::found(seed, config).map(town::Town::live);
    panics::forbid_backtraces(false);
    report
}
