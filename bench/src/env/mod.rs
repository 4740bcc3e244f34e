//! The host of a run, and what it is fit for.

pub mod capture;
pub mod fitness;
