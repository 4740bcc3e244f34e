//! What a server offers, while it is being put together: the same methods at build time, on the
//! builder, and at run time, on a set of features that is then added to a running server.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::completion::{Completer, Completing};
use crate::content::Contents;
use crate::context::Context;
use crate::prompt::{IntoMessages, PromptEntry};
use crate::resource::{
    IntoContents, Reader, Resource, ResourceEntry, Template, TemplateEntry, Variables,
};
use crate::server::{BuildError, Builder};
use crate::tool::{
    AsyncTool, BlockingTool, ContextTool, Definition, Info, IntoToolResult, RawTool, SyncTool, Tool,
};
use crate::uri_template::UriTemplate;

/// Tools, resources, prompts and completions, in the order in which they were added.
#[derive(Clone, Default)]
#[must_use]
pub struct Features {
    pub(crate) tools: Vec<Arc<dyn Tool>>,
    pub(crate) resources: Vec<Arc<ResourceEntry>>,
    pub(crate) templates: Vec<Arc<TemplateEntry>>,
    pub(crate) prompts: Vec<Arc<PromptEntry>>,
    pub(crate) completers: Vec<Arc<Completer>>,
    /// The first mistake; told when these features are used.
    pub(crate) mistake: Option<BuildError>,
}

impl Features {
    /// No features.
    pub fn new() -> Self {
        Self::default()
    }

    fn features(&mut self) -> &mut Self {
        self
    }

    /// Adds all of `other` behind its own.
    pub(crate) fn append(&mut self, other: Self) {
        self.tools.extend(other.tools);
        self.resources.extend(other.resources);
        self.templates.extend(other.templates);
        self.prompts.extend(other.prompts);
        self.completers.extend(other.completers);
        self.mistake = self.mistake.take().or(other.mistake);
    }

    fn add_template(&mut self, definition: Template, reader: Reader) {
        match UriTemplate::parse(definition.key()) {
            Some(pattern) => self.templates.push(Arc::new(TemplateEntry {
                definition,
                pattern,
                reader,
            })),
            None => {
                let text = definition.key().to_owned();
                self.mistake.get_or_insert(BuildError::UriTemplate(text));
            }
        }
    }
}

macro_rules! registration {
    ($kind:ty) => {
        impl $kind {
            /// Registers a function that runs to completion on the shard: it must be short.
            pub fn tool<A, R>(
                self,
                info: impl Into<Info>,
                description: impl Into<Cow<'static, str>>,
                function: impl Fn(A) -> R + Send + Sync + 'static,
            ) -> Self
            where
                A: JsonSchema + DeserializeOwned + 'static,
                R: IntoToolResult,
            {
                self.register(SyncTool::new(info, description, function))
            }

            /// Registers an async function; its futures stay on the shard that received the call.
            pub fn async_tool<A, R>(
                self,
                info: impl Into<Info>,
                description: impl Into<Cow<'static, str>>,
                function: impl Fn(A) -> R + Send + Sync + 'static,
            ) -> Self
            where
                A: JsonSchema + DeserializeOwned + 'static,
                R: Future<Output: IntoToolResult> + 'static,
            {
                self.register(AsyncTool::new(info, description, function))
            }

            /// Registers an async function that speaks with its client: progress, log messages,
            /// questions.
            pub fn context_tool<A, R>(
                self,
                info: impl Into<Info>,
                description: impl Into<Cow<'static, str>>,
                function: impl Fn(A, Context) -> R + Send + Sync + 'static,
            ) -> Self
            where
                A: JsonSchema + DeserializeOwned + 'static,
                R: Future<Output: IntoToolResult> + 'static,
            {
                self.register(ContextTool::new(info, description, function))
            }

            /// Registers a function that blocks or computes for long; it runs on the blocking
            /// pool.
            pub fn blocking_tool<A, R>(
                self,
                info: impl Into<Info>,
                description: impl Into<Cow<'static, str>>,
                function: impl Fn(A) -> R + Send + Sync + 'static,
            ) -> Self
            where
                A: JsonSchema + DeserializeOwned + Send + 'static,
                R: IntoToolResult + 'static,
            {
                self.register(BlockingTool::new(info, description, function))
            }

            /// Registers a function of JSON objects by a schema that was written by hand (JSON
            /// Schema 2020-12, unless it names another draft). The schema is kept byte for byte;
            /// arguments that it does not accept do not reach the function.
            pub fn raw_tool<R: IntoToolResult + 'static>(
                mut self,
                info: impl Into<Info>,
                description: impl Into<Cow<'static, str>>,
                schema: Box<RawValue>,
                function: impl Fn(serde_json::Value) -> R + Send + Sync + 'static,
            ) -> Self {
                let definition = Definition::with_schema(info, description, schema);
                match RawTool::new(definition, function) {
                    Ok(tool) => self.register(tool),
                    Err(mistake) => {
                        self.features().mistake.get_or_insert(mistake);
                        self
                    }
                }
            }

            /// Registers a tool of its own making.
            pub fn register(mut self, tool: impl Tool + 'static) -> Self {
                self.features().tools.push(Arc::new(tool));
                self
            }

            /// Registers a resource that never changes.
            pub fn static_resource(self, definition: Resource, contents: Contents) -> Self {
                self.resource(definition, move || contents.clone())
            }

            /// Registers a resource that a short function reads.
            pub fn resource<R: IntoContents>(
                mut self,
                definition: Resource,
                read: impl Fn() -> R + Send + Sync + 'static,
            ) -> Self {
                let reader = Reader::now(move |_| read());
                let entry = ResourceEntry { definition, reader };
                self.features().resources.push(Arc::new(entry));
                self
            }

            /// Registers a resource that an async function reads.
            pub fn context_resource<R: Future<Output: IntoContents> + 'static>(
                mut self,
                definition: Resource,
                read: impl Fn(Context) -> R + Send + Sync + 'static,
            ) -> Self {
                let reader = Reader::later(move |_, context| read(context));
                let entry = ResourceEntry { definition, reader };
                self.features().resources.push(Arc::new(entry));
                self
            }

            /// Registers a family of resources that a short function reads.
            pub fn template<R: IntoContents>(
                mut self,
                definition: Template,
                read: impl Fn(&Variables) -> R + Send + Sync + 'static,
            ) -> Self {
                self.features().add_template(definition, Reader::now(read));
                self
            }

            /// Registers a family of resources that an async function reads.
            pub fn context_template<R: Future<Output: IntoContents> + 'static>(
                mut self,
                definition: Template,
                read: impl Fn(Variables, Context) -> R + Send + Sync + 'static,
            ) -> Self {
                self.features()
                    .add_template(definition, Reader::later(read));
                self
            }

            /// Registers a prompt that a short function writes. Its arguments are strings, so the
            /// members of `A` are `String`, `Option<String>` and what serde reads from a string.
            pub fn prompt<A, R>(
                mut self,
                info: impl Into<Info>,
                description: impl Into<Cow<'static, str>>,
                function: impl Fn(A) -> R + Send + Sync + 'static,
            ) -> Self
            where
                A: JsonSchema + DeserializeOwned + 'static,
                R: IntoMessages,
            {
                let entry = PromptEntry::now(info.into(), description.into(), function);
                self.features().prompts.push(Arc::new(entry));
                self
            }

            /// Registers a prompt that an async function writes, which may ask its client.
            pub fn context_prompt<A, R>(
                mut self,
                info: impl Into<Info>,
                description: impl Into<Cow<'static, str>>,
                function: impl Fn(A, Context) -> R + Send + Sync + 'static,
            ) -> Self
            where
                A: JsonSchema + DeserializeOwned + 'static,
                R: Future<Output: IntoMessages> + 'static,
            {
                let entry = PromptEntry::later(info.into(), description.into(), function);
                self.features().prompts.push(Arc::new(entry));
                self
            }

            /// Completes the argument `argument` of the prompt `prompt`.
            pub fn complete_prompt<V: Into<String>, I: IntoIterator<Item = V>>(
                self,
                prompt: impl Into<String>,
                argument: impl Into<String>,
                complete: impl Fn(Completing<'_>) -> I + Send + Sync + 'static,
            ) -> Self {
                let completer = Completer::new(prompt.into(), argument.into(), true, complete);
                self.completer(completer)
            }

            /// Completes the variable `variable` of the resource template `template`.
            pub fn complete_template<V: Into<String>, I: IntoIterator<Item = V>>(
                self,
                template: impl Into<String>,
                variable: impl Into<String>,
                complete: impl Fn(Completing<'_>) -> I + Send + Sync + 'static,
            ) -> Self {
                let completer = Completer::new(template.into(), variable.into(), false, complete);
                self.completer(completer)
            }

            fn completer(mut self, completer: Completer) -> Self {
                self.features().completers.push(Arc::new(completer));
                self
            }
        }
    };
}

registration! { Builder }
registration! { Features }
