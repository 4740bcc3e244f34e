//! The public builder: a server from typed Rust functions, ready to be served by every shard.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{Limits, OutOfRange};
use crate::mcp::{Era, MODERN, Stamp, Version};
use crate::tool::builtin::{self, WallClock};
use crate::tool::{AsyncTool, BlockingTool, Definition, IntoToolResult, Registry, SyncTool, Tool};

/// Why a server could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Two tools of one name.
    #[error("tool {0:?} is registered twice: give each tool a name of its own")]
    DuplicateTool(String),
    /// A name outside the grammar.
    #[error("tool name {0:?}: wanted 1 to 64 of A-Z a-z 0-9 _ . / -")]
    ToolName(String),
    /// Arguments that are not an object.
    #[error("tool {0:?}: the schema of its arguments must have type object: use a struct")]
    InputSchema(String),
    /// A limit outside its range.
    #[error(transparent)]
    Limit(#[from] OutOfRange),
}

/// A server under construction.
#[must_use]
pub struct Builder {
    info: Info,
    instructions: Option<String>,
    tools: Vec<Box<dyn Tool>>,
    limits: Limits,
}

#[derive(Serialize)]
struct Info {
    name: Cow<'static, str>,
    version: Cow<'static, str>,
}

/// A server: its tools, and the answers that can be known in advance. Clones share it.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    registry: Registry,
    limits: Limits,
    stamp: Stamp,
    /// Members of the `initialize` result behind its version, without braces.
    introduction: Vec<u8>,
    discovery: Vec<u8>,
    legacy_tools: Vec<u8>,
    modern_tools: Vec<u8>,
}

impl Server {
    /// Starts a server that presents itself as `name`, `version`.
    pub fn builder(
        name: impl Into<Cow<'static, str>>,
        version: impl Into<Cow<'static, str>>,
    ) -> Builder {
        Builder {
            info: Info {
                name: name.into(),
                version: version.into(),
            },
            instructions: None,
            tools: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// The limits that this server was built with.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The tools in the order of their registration.
    pub fn tools(&self) -> impl Iterator<Item = &Definition> {
        self.0.registry.definitions()
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(crate) fn stamp(&self) -> &Stamp {
        &self.0.stamp
    }

    pub(crate) fn introduction(&self) -> &[u8] {
        &self.0.introduction
    }

    pub(crate) fn discovery(&self) -> &[u8] {
        &self.0.discovery
    }

    pub(crate) fn tools_list(&self, era: Era) -> &[u8] {
        match era {
            Era::Legacy => &self.0.legacy_tools,
            Era::Modern => &self.0.modern_tools,
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tools: Vec<_> = self.tools().map(|tool| &tool.name).collect();
        f.debug_struct("Server")
            .field("tools", &tools)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Registers a function that runs to completion on the shard: it must be short.
    pub fn tool<A, R>(
        self,
        name: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
        function: impl Fn(A) -> R + Send + Sync + 'static,
    ) -> Self
    where
        A: JsonSchema + DeserializeOwned + 'static,
        R: IntoToolResult,
    {
        self.register(SyncTool::new(name, description, function))
    }

    /// Registers an async function; its futures stay on the shard that received the call.
    pub fn async_tool<A, R>(
        self,
        name: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
        function: impl Fn(A) -> R + Send + Sync + 'static,
    ) -> Self
    where
        A: JsonSchema + DeserializeOwned + 'static,
        R: Future<Output: IntoToolResult> + 'static,
    {
        self.register(AsyncTool::new(name, description, function))
    }

    /// Registers a function that blocks or computes for long; it runs on the blocking pool.
    pub fn blocking_tool<A, R>(
        self,
        name: impl Into<Cow<'static, str>>,
        description: impl Into<Cow<'static, str>>,
        function: impl Fn(A) -> R + Send + Sync + 'static,
    ) -> Self
    where
        A: JsonSchema + DeserializeOwned + Send + 'static,
        R: IntoToolResult + 'static,
    {
        self.register(BlockingTool::new(name, description, function))
    }

    /// Registers a tool of its own making.
    pub fn register(mut self, tool: impl Tool + 'static) -> Self {
        self.tools.push(Box::new(tool));
        self
    }

    /// Registers the builtin tools `echo`, `add`, `time`, `sleep` and `hash`, under the limits
    /// set so far.
    pub fn builtin_tools(self, clock: WallClock) -> Self {
        builtin::register(self, clock)
    }

    /// Says how this server is to be used, for a model to read.
    pub fn instructions(mut self, text: impl Into<String>) -> Self {
        self.instructions = Some(text.into());
        self
    }

    /// Replaces the default limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    pub(crate) fn current_limits(&self) -> &Limits {
        &self.limits
    }

    /// Checks everything that was registered and computes the answers that do not change.
    pub fn build(self) -> Result<Server, BuildError> {
        self.limits.validate()?;
        let registry = Registry::new(self.tools)?;
        let info = json(&self.info);
        let stamp = Stamp::new(&info);
        let tools = json(&registry.definitions().collect::<Vec<_>>());
        let list = |era| {
            let mut out = [r#"{"tools":"#, &tools].concat().into_bytes();
            stamp.close_cacheable(era, &mut out);
            out
        };
        let (legacy_tools, modern_tools) = (list(Era::Legacy), list(Era::Modern));
        let instructions = self.instructions.map_or_else(String::new, |text| {
            [r#","instructions":"#, &json(&text)].concat()
        });
        let versions: Vec<_> = MODERN.iter().copied().map(Version::as_str).collect();
        let mut discovery = [
            r#"{"supportedVersions":"#,
            &json(&versions),
            r#","capabilities":{"tools":{}}"#,
            &instructions,
        ]
        .concat()
        .into_bytes();
        stamp.close_cacheable(Era::Modern, &mut discovery);
        let introduction = [
            r#""capabilities":{"tools":{}},"serverInfo":"#,
            &info,
            &instructions,
        ]
        .concat();
        Ok(Server(Arc::new(Inner {
            registry,
            limits: self.limits,
            stamp,
            introduction: introduction.into_bytes(),
            discovery,
            legacy_tools,
            modern_tools,
        })))
    }
}

/// JSON of a value that always has one: strings and structs of strings.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::NoArguments;

    #[test]
    fn mistakes_are_named_at_build_time() {
        let tool = |name: &'static str| {
            Server::builder("t", "1")
                .tool(name, "", |_: NoArguments| ())
                .build()
        };
        assert!(tool("a.b/c-d_E9").is_ok());
        for name in ["", "a b", "é", &"x".repeat(65).leak()[..]] {
            assert_eq!(tool(name).err(), Some(BuildError::ToolName(name.into())));
        }
        let twice = Server::builder("t", "1")
            .tool("x", "", |_: NoArguments| ())
            .tool("y", "", |_: NoArguments| ())
            .tool("x", "", |_: NoArguments| ());
        assert_eq!(
            twice.build().err(),
            Some(BuildError::DuplicateTool("x".into()))
        );
        let number = Server::builder("t", "1").tool("n", "", |n: i64| n);
        assert_eq!(
            number.build().err(),
            Some(BuildError::InputSchema("n".into()))
        );
        let limits = Limits {
            body_bytes: 1,
            ..Limits::default()
        };
        let limited = Server::builder("t", "1").limits(limits).build();
        assert!(matches!(limited.err(), Some(BuildError::Limit(_))));
    }
}
