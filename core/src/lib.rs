//! Ninefold: an MCP node that answers both eras of the protocol on pinned shards.
//!
//! The way of one request: [`http`] frames it, [`rpc`] parses it, [`service`] checks it in the
//! order of the specification, [`mcp`] decides what it means, [`tool`] does the work. None of
//! these reads a socket or a clock.
//!
//! A typed Rust function becomes a tool; its schema and its errors come with the type:
//!
//! ```
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Add {
//!     a: i64,
//!     b: i64,
//! }
//!
//! let server = ninefold::Server::builder("demo", "0.1.0")
//!     .tool("add", "Adds two numbers", |Add { a, b }| a + b)
//!     .async_tool("sub", "Subtracts two numbers", |Add { a, b }| async move { a - b })
//!     .blocking_tool("div", "Divides", |Add { a, b }| a.checked_div(b).ok_or("division by 0"))
//!     .build()?;
//! # Ok::<(), ninefold::server::BuildError>(())
//! ```
#![forbid(unsafe_code)]

mod admin;
pub mod ask;
pub mod auth;
mod catalog;
mod changes;
pub mod client;
mod completion;
pub mod content;
pub mod context;
pub mod counters;
mod doors;
mod duplex;
mod features;
pub mod guard;
mod handle;
pub mod host;
pub mod http;
pub mod limits;
pub mod mcp;
mod net;
pub mod node;
pub mod notify;
pub mod prompt;
mod rate;
pub mod resource;
pub mod rest;
mod rfc3339;
pub mod rpc;
pub mod server;
pub mod service;
pub mod session;
pub mod stdio;
mod talk;
mod task;
pub mod tool;
mod turns;
mod uri_template;

pub use ask::{AskError, Elicit, Elicited, Sample, Sampled};
pub use completion::{Completed, Completing, Completion};
pub use content::{Annotations, Content, Contents, Icon};
pub use context::{Context, Level};
pub use features::Features;
pub use node::{Node, NodeConfig, NodeError};
pub use prompt::PromptMessage;
pub use resource::{Resource, Template, Variables};
pub use server::Server;
pub use stdio::Stdio;
pub use tool::{Info, IntoToolResult, Json, NoArguments, TaskSupport};
