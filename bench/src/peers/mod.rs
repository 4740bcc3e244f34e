//! Other runtimes under the same workload: actor crates, plain tasks with channels, and the BEAM.
//!
//! Each round is a process of its own on one CPU, ours as theirs, so that no allocator, no table
//! and no thread of one is there for another.

mod actix;
pub(crate) mod beam;
mod kameo;
mod ractor;
mod tokio;

use serde::{Deserialize, Serialize};

use self::actix::Actix;
use self::kameo::Kameo;
use self::ractor::Ractor;
use self::tokio::Tokio;
use crate::inproc;
use crate::report::peers::OURS;
use crate::workload::{Case, Failed, Ninefold};

const LOCK: &str = include_str!("../../../Cargo.lock");

/// A crate that can be measured beside ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its name, in metrics and on crates.io.
    pub(crate) name: &'static str,
    /// How it is used.
    pub(crate) mode: &'static str,
}

/// The crates, in the order they run.
pub(crate) const CRATES: [Peer; 4] = [
    Peer {
        name: "tokio",
        mode: "a task and an unbounded mpsc channel an actor, oneshot for answers; current-thread \
               runtime without I/O and time drivers",
    },
    Peer {
        name: "actix",
        mode: "do_send, which ignores the mailbox's bound; one arbiter",
    },
    Peer {
        name: "ractor",
        mode: "cast, unbounded (there is no other); without span propagation; current-thread tokio",
    },
    Peer {
        name: "kameo",
        mode: "unbounded mailboxes and try_send; without tracing; current-thread tokio",
    },
];

impl Peer {
    /// The release that is compiled in.
    pub(crate) fn version(self) -> &'static str {
        let entry = format!("name = \"{}\"\nversion = \"", self.name);
        LOCK.split_once(&entry)
            .and_then(|(_, rest)| rest.split('"').next())
            .unwrap_or("unknown")
    }
}

/// One round, for a child process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    /// Who runs it: [`OURS`] or the name of a crate.
    pub(crate) runtime: String,
    /// What is done.
    pub(crate) case: Case,
    /// How much of it.
    pub(crate) amount: u64,
    /// The one CPU.
    pub(crate) cpu: u32,
}

impl Round {
    /// Runs it and gives the case's metrics, none where the crate lacks what the case takes.
    pub(crate) fn run(&self) -> Result<Vec<f64>, String> {
        let (case, amount) = (self.case, self.amount);
        if self.runtime == OURS {
            return ours(self.cpu, case, amount);
        }
        if case == Case::Restart {
            // Printing a panic would cost more than all that is measured.
            std::panic::set_hook(Box::new(|_| {}));
        }
        let run = match self.runtime.as_str() {
            "tokio" => tokio::run(case.round::<Tokio>(amount)),
            "actix" => actix::run(case.round::<Actix>(amount)),
            "ractor" => tokio::run(case.round::<Ractor>(amount)),
            "kameo" => tokio::run(case.round::<Kameo>(amount)),
            other => Err(Failed(format!(
                "wanted a runtime that is built in, found {other:?}"
            ))),
        };
        run.map_err(|why| why.to_string())
    }
}

fn ours(cpu: u32, case: Case, amount: u64) -> Result<Vec<f64>, String> {
    let runtime = inproc::start_on(vec![cpu], 1).map_err(|why| why.to_string())?;
    inproc::run_on(&runtime.handle(), 0, move || async move {
        Ok(case.round::<Ninefold>(amount).await?)
    })
    .map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every case on every runtime, small: each checks its own counts.
    #[test]
    fn every_case_comes_to_its_result_on_every_crate() {
        for peer in CRATES {
            assert!(
                peer.version()
                    .starts_with(|first: char| first.is_ascii_digit())
            );
            for case in Case::ALL {
                let round = Round {
                    runtime: peer.name.into(),
                    case,
                    amount: 1_000,
                    cpu: 0,
                };
                let found = round.run();
                let found = found.unwrap_or_else(|why| panic!("{} {case:?}: {why}", peer.name));
                let wanted = if case == Case::Restart && ["tokio", "actix"].contains(&peer.name) {
                    0
                } else {
                    case.metrics().len()
                };
                assert_eq!(found.len(), wanted, "{} {case:?}", peer.name);
                assert!(found.iter().all(|value| *value >= 0.0), "{found:?}");
            }
        }
    }
}
