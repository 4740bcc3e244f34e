//! Supervision on real shards: who is restarted, when, in which order, and what becomes of the
//! messages meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod dynamic;
mod escalation;
mod faults;
mod order;
mod probe;
#[path = "../support/mod.rs"]
mod support;
mod waiting;
mod within;
