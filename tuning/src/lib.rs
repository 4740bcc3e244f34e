//! Host facts for Ninefold, and the checks made on them.
//!
//! ```
//! use ninefold_tuning::{CheckOptions, Facts, Profile, check};
//!
//! let facts = Facts::capture();
//! let cpus: Vec<u32> = facts.cpu.topology.allowed_cpus().map(|cpu| cpu.id).collect();
//! assert!(!cpus.is_empty());
//!
//! let report = check(&facts, &CheckOptions { profile: Profile::Dev, ..CheckOptions::default() });
//! println!("{} settings, exit {}", report.settings.len(), report.exit);
//! ```
//!
//! # Code map
//! - [`facts`]: the one reader of `/proc` and `/sys` in the repository. Everything is read below a
//!   [`Root`], so a directory with a saved tree is as good a host as the one we run on.
//! - [`setting`]: what should be true of a host, and why: data, one file per family.
//! - [`Profile`]: what a host is meant for, and so which settings are required or advised.
//! - [`check()`]: compares the two. `src/cli.rs` and `src/render.rs` belong to the binary.
//!
//! - [`plan()`]: what would make a host fit. [`apply()`] writes it, with a [`journal`] of what was
//!   there before; [`revert()`] puts that back. Both write through a [`Pen`].
//! - [`experiment`]: whether a setting, or a placement of the node, helps on this host.
//! - [`noise`]: what each CPU loses to others while a thread of ours wants all of it.
//!
//! # Invariants
//! - Only `src/pen.rs` writes a host's files, and only below the [`Root`] that it was given;
//!   nothing here panics on what a host says.
//! - Before the first write of an apply, the prior bytes of all its files are on disk.
//! - What could not be read is `None` and named in [`Facts::gaps`]; it is never a default value.
#![forbid(unsafe_code)]

mod apply;
mod check;
pub mod experiment;
pub mod facts;
pub mod journal;
pub mod noise;
mod pen;
mod plan;
mod profile;
mod revert;
pub mod setting;

pub use apply::{Applied, ApplyError, apply};
pub use check::{CheckOptions, Finding, Report, SCHEMA, Status, Summary, check, check_one};
pub use facts::{Facts, Root};
pub use pen::Pen;
pub use plan::{Advice, By, Choice, PLAN_SCHEMA, Plan, Step, plan};
pub use profile::{Level, Profile};
pub use revert::{RevertError, RevertOptions, RevertOutcome, Reverted, Which, revert};
pub use setting::change::sysctl_name;
