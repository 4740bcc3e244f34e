//! Messages as lines: over the pipes of a child process, over TCP, over Unix sockets; and the pair
//! of HTTP and SSE of 2024-11-05, which shares their code.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests are about real time and have real threads beside the server"
)]
#![expect(
    clippy::expect_used,
    reason = "a failed expectation is how a test fails"
)]

mod bad_input;
mod channel;
mod client;
mod eras;
mod flood;
mod pair;
mod sockets;
