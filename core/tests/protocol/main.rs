//! The protocol, from the bytes of a request to the bytes of its answer.
#![expect(
    clippy::expect_used,
    reason = "a failed expectation is how a test fails"
)]

mod damage;
mod features;
mod framing;
mod harness;
mod hostile;
mod http;
mod json_suite;
mod legacy;
mod messages;
mod modern;
mod mutations;
mod rounds;
mod schema;
mod tools;
