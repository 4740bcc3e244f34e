//! What a server offers, while it is being put together: the same methods at build time, on the
//! builder, and at run time, on a set of features that is then added to a running server.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::completion::{Completing, Completion};
use crate::content::Contents;
use crate::context::Context;
use crate::prompt::{IntoMessages, PromptEntry};
use crate::resource::{
    IntoContents, Reader, Resource, ResourceEntry, Template, TemplateEntry, Variables,
};
use crate::server::{BuildError, Builder};
use crate::tool::{Definition, Info, IntoToolResult, RawTool, Tool, Typed};
use crate::uri_template::UriTemplate;

/// Tools, resources, prompts and completions, in the order in which they were added.
#[derive(Clone, Default)]
#[must_use]
pub struct Features {
    pub(crate) tools: Vec<Arc<dyn Tool>>,
    pub(crate) resources: Vec<Arc<ResourceEntry>>,
    pub(crate) templates: Vec<Arc<TemplateEntry>>,
    pub(crate) prompts: Vec<Arc<PromptEntry>>,
    pub(crate) completions: Vec<Arc<Completion>>,
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
        self.completions.extend(other.completions);
        self.mistake = self.mistake.take().or(other.mistake);
    }

    fn add_resource(&mut self, definition: Resource, reader: Reader) {
        let entry = ResourceEntry { definition, reader };
        self.resources.push(Arc::new(entry));
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

/// Methods that register typed functions. What they differ in is what a function is given, what it
/// returns, who runs it, and where it is kept.
macro_rules! typed {
    ($($(#[$doc:meta])+ fn $method:ident<A $(: $sent:ident)?>($($given:ty),+) -> [$($bound:tt)+]
        = $run:path, $keep:ident;)+) => {
        $($(#[$doc])+
        pub fn $method<A, R>(
            self,
            info: impl Into<Info>,
            description: impl Into<Cow<'static, str>>,
            function: impl Fn($($given),+) -> R + Send + Sync + 'static,
        ) -> Self
        where
            A: JsonSchema + DeserializeOwned $(+ $sent)? + 'static,
            R: $($bound)+ + 'static,
        {
            self.$keep($run(info.into(), description.into(), function))
        })+
    };
}

/// Methods that register what reads a resource, or a family of them.
macro_rules! read {
    ($($(#[$doc:meta])+ fn $method:ident($definition:ty, fn($($given:ty),*)) -> [$($bound:tt)+]
        = $run:path, $keep:ident;)+) => {
        $($(#[$doc])+
        pub fn $method<R: $($bound)+ + 'static>(
            mut self,
            definition: $definition,
            read: impl Fn($($given),*) -> R + Send + Sync + 'static,
        ) -> Self {
            self.features().$keep(definition, $run(read));
            self
        })+
    };
}

macro_rules! registration {
    ($kind:ty) => {
        /// Without a description, that of the documentation of a function's arguments is taken.
        impl $kind {
            typed! {
                /// Registers a function that runs to completion on the shard: it must be short.
                fn tool<A>(A) -> [IntoToolResult] = Typed::now, register;

                /// Registers an async function; its futures stay on the shard that received the
                /// call.
                fn async_tool<A>(A) -> [Future<Output: IntoToolResult>] = Typed::later, register;

                /// Registers an async function that speaks with its client: progress, log
                /// messages, questions.
                fn context_tool<A>(A, Context) -> [Future<Output: IntoToolResult>]
                    = Typed::talking, register;

                /// Registers a function that blocks or computes for long; it runs on the blocking
                /// pool.
                fn blocking_tool<A: Send>(A) -> [IntoToolResult] = Typed::elsewhere, register;

                /// Registers a prompt that a short function writes. Its arguments are strings, so
                /// the members of `A` are `String`, `Option<String>` and what serde reads from a
                /// string.
                fn prompt<A>(A) -> [IntoMessages] = PromptEntry::now, keep_prompt;

                /// Registers a prompt that an async function writes, which may ask its client.
                fn context_prompt<A>(A, Context) -> [Future<Output: IntoMessages>]
                    = PromptEntry::later, keep_prompt;

                /// Registers a prompt whose function blocks or computes for long; it runs on the
                /// blocking pool.
                fn blocking_prompt<A: Send>(A) -> [IntoMessages]
                    = PromptEntry::elsewhere, keep_prompt;
            }

            read! {
                /// Registers a resource that a short function reads.
                fn resource(Resource, fn()) -> [IntoContents] = Reader::one, add_resource;

                /// Registers a resource that an async function reads.
                fn context_resource(Resource, fn(Context)) -> [Future<Output: IntoContents>]
                    = Reader::one_later, add_resource;

                /// Registers a resource that a function reads which blocks or computes for long;
                /// it runs on the blocking pool.
                fn blocking_resource(Resource, fn()) -> [IntoContents]
                    = Reader::one_elsewhere, add_resource;

                /// Registers a family of resources that a short function reads.
                fn template(Template, fn(&Variables)) -> [IntoContents]
                    = Reader::now, add_template;

                /// Registers a family of resources that an async function reads.
                fn context_template(Template, fn(Variables, Context))
                    -> [Future<Output: IntoContents>] = Reader::later, add_template;

                /// Registers a family of resources that a function reads which blocks or computes
                /// for long; it runs on the blocking pool.
                fn blocking_template(Template, fn(&Variables)) -> [IntoContents]
                    = Reader::elsewhere, add_template;
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

            /// Completes the argument `argument` of the prompt `prompt`.
            pub fn complete_prompt<V: Into<String>, I: IntoIterator<Item = V>>(
                self,
                prompt: impl Into<String>,
                argument: impl Into<String>,
                complete: impl Fn(Completing<'_>) -> I + Send + Sync + 'static,
            ) -> Self {
                self.completion(Completion::prompt(prompt, argument).by(complete))
            }

            /// Completes the variable `variable` of the resource template `template`.
            pub fn complete_template<V: Into<String>, I: IntoIterator<Item = V>>(
                self,
                template: impl Into<String>,
                variable: impl Into<String>,
                complete: impl Fn(Completing<'_>) -> I + Send + Sync + 'static,
            ) -> Self {
                self.completion(Completion::template(template, variable).by(complete))
            }

            /// Registers a completion.
            pub fn completion(mut self, completion: Completion) -> Self {
                self.features().completions.push(Arc::new(completion));
                self
            }

            fn keep_prompt(mut self, entry: PromptEntry) -> Self {
                self.features().prompts.push(Arc::new(entry));
                self
            }
        }
    };
}

registration! { Builder }
registration! { Features }
