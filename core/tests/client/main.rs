//! The client over real sockets: against a node in this process, in both eras; and against peers
//! that misbehave.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests are about real time and have real threads beside the client"
)]
#![expect(
    clippy::expect_used,
    reason = "a failed expectation is how a test fails"
)]

mod auth;
mod bad_servers;
mod command;
mod eras;
mod node;
