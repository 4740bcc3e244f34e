//! Tools: what a node offers, from a Rust function to bytes of a result.
//!
//! A tool is of one of three kinds: it runs to completion on the shard, it is a future polled on
//! the shard, or it is blocking work for the pool. [`Tool::start`] hides which.

pub mod builtin;
mod expansion;
mod raw;
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

pub(crate) use raw::RawTool;
pub(crate) use registry::Registry;
pub use result::{IntoToolResult, Json, ResultWriter, ToolResult};
pub(crate) use run::{Sleep, runtime_sleep};
pub(crate) use typed::{AsyncTool, BlockingTool, ContextTool, SyncTool};

use crate::content::Icon;
use crate::context::Context;
use crate::rpc::Value;

/// A future of one shard.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// How a tool or a prompt presents itself, beyond its description. A plain name will do.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Info {
    pub(crate) name: Cow<'static, str>,
    pub(crate) title: Option<Cow<'static, str>>,
    pub(crate) icons: Vec<Icon>,
    annotations: Option<ToolAnnotations>,
    output_schema: Option<Box<RawValue>>,
}

impl Info {
    /// Presents as `name`.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Gives a title, for people.
    pub fn title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Adds an icon.
    pub fn icon(mut self, icon: Icon) -> Self {
        self.icons.push(icon);
        self
    }

    /// Hints at what a tool does; a prompt has no such hints.
    pub fn annotations(mut self, annotations: ToolAnnotations) -> Self {
        self.annotations = Some(annotations);
        self
    }

    /// Promises that a tool's structured content is a `T`; return it as [`Json`].
    pub fn output<T: JsonSchema>(mut self) -> Self {
        self.output_schema = Some(schema_of::<T>());
        self
    }
}

macro_rules! info_from {
    ($($kind:ty)*) => {
        $(impl From<$kind> for Info {
            fn from(name: $kind) -> Self {
                Self::new(name)
            }
        })*
    };
}

info_from! { &'static str String Cow<'static, str> }

/// Hints at what a tool does, for clients; none of them is a promise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolAnnotations {
    /// It changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_hint: Option<bool>,
    /// It may destroy something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// Calling it twice is as good as once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// It deals with things outside this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_world_hint: Option<bool>,
}

/// How a tool presents itself in `tools/list`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Definition {
    /// Unique name, 1 to 64 of `A-Z a-z 0-9 _ . / -`.
    pub name: Cow<'static, str>,
    /// Its name, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Cow<'static, str>>,
    /// What it does, for a model to read.
    pub description: Cow<'static, str>,
    /// Its icons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub icons: Vec<Icon>,
    /// JSON Schema (2020-12) of the arguments; its root has `"type":"object"`.
    pub input_schema: Box<RawValue>,
    /// JSON Schema (2020-12) of the structured content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Box<RawValue>>,
    /// Hints for clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<ToolAnnotations>,
}

impl Definition {
    /// The definition of a tool whose arguments have the type `A`.
    pub fn of<A: JsonSchema>(
        info: impl Into<Info>,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::with_schema(info, description, schema_of::<A>())
    }

    /// The definition of a tool whose arguments have the schema `input_schema`, which is kept byte
    /// for byte.
    pub fn with_schema(
        info: impl Into<Info>,
        description: impl Into<Cow<'static, str>>,
        input_schema: Box<RawValue>,
    ) -> Self {
        let info = info.into();
        Self {
            name: info.name,
            title: info.title,
            description: description.into(),
            icons: info.icons,
            input_schema,
            output_schema: info.output_schema,
            annotations: info.annotations,
        }
    }
}

/// The JSON Schema (2020-12) of `T`.
pub(crate) fn schema_of<T: JsonSchema>() -> Box<RawValue> {
    let schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>();
    // A schema is a JSON value, which always serialises; `null` would be refused by `build`.
    to_raw_value(&schema).unwrap_or_default()
}

/// One call of a tool.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The arguments, always an object.
    pub arguments: Value<'a>,
    pub(crate) make_context: &'a dyn Fn() -> Context,
}

impl Call<'_> {
    /// The client of this call, for a tool that goes on as a future.
    pub fn context(&self) -> Context {
        (self.make_context)()
    }
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
