//! Experiments: does a setting, or a way to start the node, make a difference that can be shown?
//!
//! - [`effect`]: what pairs of runs show, with an interval and a stated rate of false alarms.
//! - [`command`]: one run: a program with a bound on its time and on what it says.
//! - [`metric`]: the figure in what it said.
//! - [`mod@prove`]: one setting, on and off in turns, kept only if it helps.
//! - [`matrix`], [`trial`]: factors of the node's start, and the runs of their combinations.

pub mod command;
mod deadline;
pub mod effect;
pub mod matrix;
pub mod metric;
pub mod prove;
pub mod trial;

pub use self::deadline::Deadline;
