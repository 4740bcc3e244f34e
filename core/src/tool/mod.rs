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
mod structure;
mod typed;

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

pub(crate) use raw::RawTool;
pub(crate) use registry::{Registry, ToolEntry};
pub(crate) use result::Members;
pub use result::{IntoToolResult, Json, ResultWriter, ToolResult, WithMeta};
pub(crate) use run::{Sleep, elsewhere, runtime_sleep};
pub(crate) use structure::{Schema, Structure, compile, mistakes};
pub(crate) use typed::Typed;

use crate::content::{Icon, Meta};
use crate::context::Context;
use crate::mcp::Era;
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
    output_by_hand: bool,
    task_support: TaskSupport,
    pub(crate) meta: Meta,
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

    /// Promises that a tool's structured content is a `T`; return it as [`Json`]. Clients of the
    /// legacy era are promised objects only: of any other `T` they are not told, and get text.
    pub fn output<T: JsonSchema>(mut self) -> Self {
        (self.output_schema, self.output_by_hand) = (Some(schema_of::<T>()), false);
        self
    }

    /// Promises that a tool's structured content is what `schema` accepts, which was written by
    /// hand (JSON Schema 2020-12, unless it names another draft). It is kept byte for byte, and
    /// kept to: a result that it does not accept is never sent, and the call fails with -32603.
    pub fn output_schema(mut self, schema: Box<RawValue>) -> Self {
        (self.output_schema, self.output_by_hand) = (Some(schema), true);
        self
    }

    /// Says whether clients of 2025-11-25 may call a tool as a task; a prompt has no tasks. In the
    /// modern era the handler decides, by [`Context::become_task`].
    pub fn task_support(mut self, support: TaskSupport) -> Self {
        self.task_support = support;
        self
    }

    /// Adds to `_meta`, under a key such as `example.com/name`.
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.meta.insert(key.into(), value.into());
        self
    }
}

/// Whether a tool may be called as a task, in 2025-11-25.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskSupport {
    /// It must not: -32601.
    #[default]
    Forbidden,
    /// As the client wishes.
    Optional,
    /// It must: another call of it is refused with -32601.
    Required,
}

/// What `tools/list` of 2025-11-25 says of how a tool runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Execution {
    pub(crate) task_support: TaskSupport,
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
    /// What else programs may want to know.
    #[serde(rename = "_meta", skip_serializing_if = "Meta::is_empty")]
    pub meta: Meta,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) execution: Option<Execution>,
    /// Whether the schema of the structured content was written by hand.
    #[serde(skip)]
    pub(crate) output_by_hand: bool,
}

impl Definition {
    /// The definition of a tool whose arguments have the type `A`; without a description, that of
    /// the type's documentation is taken.
    pub fn of<A: JsonSchema>(
        info: impl Into<Info>,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (schema, mut description) = (schema_of::<A>(), description.into());
        if description.is_empty() {
            description = description_of(&schema).into();
        }
        Self::with_schema(info, description, schema)
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
            meta: info.meta,
            execution: (info.task_support != TaskSupport::Forbidden).then_some(Execution {
                task_support: info.task_support,
            }),
            output_by_hand: info.output_by_hand,
        }
    }

    /// Whether it may be called as a task, in 2025-11-25.
    pub(crate) fn task_support(&self) -> TaskSupport {
        self.execution.unwrap_or_default().task_support
    }

    /// Itself as the lists of an era show it. The legacy era has structured content of one kind,
    /// objects, and is not told of another; the modern era leaves it to the server what becomes a
    /// task.
    pub(crate) fn shown_in(&self, era: Era) -> Self {
        let mut shown = self.clone();
        match era {
            Era::Modern => shown.execution = None,
            Era::Legacy => {
                let schema = shown.output_schema.take();
                shown.output_schema =
                    schema.filter(|it| root_type(it.get()).is_some_and(|kind| kind == "object"));
            }
        }
        shown
    }
}

/// The `type` at the root of a schema, if it names one.
pub(crate) fn root_type(schema: &str) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Root<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<Cow<'a, str>>,
    }
    serde_json::from_str::<Root<'_>>(schema).ok()?.kind
}

/// What a schema says of itself: the documentation of its type.
pub(crate) fn description_of(schema: &RawValue) -> String {
    #[derive(serde::Deserialize)]
    struct Root {
        description: Option<String>,
    }
    let root = serde_json::from_str::<Root>(schema.get());
    root.ok().and_then(|it| it.description).unwrap_or_default()
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
