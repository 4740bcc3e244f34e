//! The node over real sockets: what a peer sees, what the counters say, and that nobody beside a
//! misbehaving peer notices.
//!
//! Most tests start a node in this process with limits small enough to be reached; those that need
//! a process (signals, exit codes, resource limits, its log) start the binary.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests are about real time and have real threads beside the node"
)]
#![expect(
    clippy::expect_used,
    reason = "a failed expectation is how a test fails"
)]

mod admin;
mod auth;
mod bad_input;
mod bounds;
mod client;
mod connections;
mod crowds;
#[path = "../protocol/damage.rs"]
mod damage;
mod deadlines;
mod drain;
mod faults;
mod host;
mod local;
mod mutants;
mod notify;
mod process;
mod rate;
mod resumed;
#[path = "../../../tuning/tests/support/mod.rs"]
mod saved;
mod session_tasks;
mod sessions;
mod start;
mod streams;
mod subscriptions;
mod target;
mod tasks;
mod tools;
