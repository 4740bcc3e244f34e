//! The benchmark of Ninefold: real work on real parts, latency from the intended start, and no
//! verdict without the evidence and the host's own floor beside it.
//!
//! # Code map
//! - [`cli`]: the command line; [`run`]: from a command to an exit code.
//! - [`scenario`]: what is measured, one file each; [`recorder`]: what a scenario leaves behind.
//! - `workload`: what actors do in it, the same on every runtime; `peers`: other crates' runtimes.
//! - [`load`]: generators, each in a process of its own; [`process`]: those processes;
//!   [`interrupt`]: how a run ends early.
//! - [`measure`]: clock, histograms, hiccups; [`stats`]: bounds, bootstrap, ranks.
//! - [`gate`]: objectives, claims, verdicts, baselines; [`mod@env`]: the host and its fitness.
//! - [`sim`]: the runtime under deterministic simulation.
//! - [`report`]: one document, and its renderings.
//!
//! # Invariants
//! - A metric that was not measured is absent, never zero.
//! - The schedule is fixed before the run; a slow server cannot slow it.
//! - A trial that is not complete and correct within its deadline is a miss, whatever the reason.
//! - Only [`measure::clock`] reads a clock; only `ninefold_tuning::facts` reads the host.
#![forbid(unsafe_code)]

pub mod cli;
pub mod env;
pub mod gate;
pub(crate) mod inproc;
pub mod interrupt;
pub mod load;
pub mod measure;
pub mod node;
#[cfg(feature = "peers")]
pub(crate) mod peers;
pub mod plan;
pub mod process;
pub mod progress;
pub mod recorder;
pub mod report;
pub mod run;
pub mod scenario;
pub mod sim;
pub mod stats;
pub(crate) mod workload;
