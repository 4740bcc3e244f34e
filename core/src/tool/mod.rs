//! Tools: what a node offers, from a Rust function to bytes of a result.
//!
//! A tool is of one of three kinds: it runs to completion on the shard, it is a future polled on
//! the shard, or it is blocking work for the pool. [`Tool::start`] hides which.

pub mod builtin;
mod registry;
mod result;
mod run;
mod typed;

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

pub(crate) use registry::Registry;
pub use result::{IntoToolResult, Json, ResultWriter, ToolResult};
pub(crate) use run::{Sleep, Stopped, runtime_sleep, to_end};
pub(crate) use typed::{AsyncTool, BlockingTool, SyncTool};

use crate::rpc::Value;

/// A future of one shard.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// How a tool presents itself in `tools/list`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Definition {
    /// Unique name, 1 to 64 of `A-Z a-z 0-9 _ . / -`.
    pub name: Cow<'static, str>,
    /// What it does, for a model to read.
    pub description: Cow<'static, str>,
    /// JSON Schema (2020-12) of the arguments; its root has `"type":"object"`.
    pub input_schema: Box<RawValue>,
}

impl Definition {
    /// The definition of a tool whose arguments have the type `A`.
    pub fn of<A: JsonSchema>(
        name: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        let schema = SchemaSettings::draft2020_12()
            .into_generator()
            .into_root_schema_for::<A>();
        // A schema is a JSON value, which always serialises; `null` would be refused by `build`.
        let input_schema = to_raw_value(&schema).unwrap_or_default();
        Self {
            name: name.into(),
            description: description.into(),
            input_schema,
        }
    }
}

/// One call of a tool.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The arguments, always an object.
    pub arguments: Value<'a>,
}

/// What became of a started call.
#[must_use]
pub enum Started {
    /// It ran to completion and wrote its result.
    Finished,
    /// The arguments do not fit; the result says which and why.
    Refused,
    /// It goes on as a future of this shard; what it wrote so far is discarded.
    Running(LocalBoxFuture<'static, ToolResult>),
}

/// A tool, shared by all shards.
pub trait Tool: Send + Sync {
    /// Name, description and schema.
    fn definition(&self) -> &Definition;

    /// Starts one call, on the shard that received it. A panic fails this call alone.
    fn start(&self, call: Call<'_>, result: &mut ResultWriter<'_>) -> Started;
}

/// Arguments of a tool that takes none.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize, JsonSchema)]
pub struct NoArguments {}
