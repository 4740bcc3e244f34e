//! The public builder: a server from typed Rust functions, ready to be served by every shard.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;

use crate::auth::{Access, AuthError, Authorization, Feature};
use crate::catalog::{Catalog, Edition, Press};
use crate::changes::{Bells, Ear, List};
use crate::content::Icon;
use crate::features::Features;
use crate::limits::{Limits, OutOfRange};
use crate::mcp::rounds::Secrets;
use crate::mcp::{Era, MODERN, Stamp, Version};
use crate::task::EXTENSION;
use crate::tool::Definition;
use crate::tool::builtin::{self, WallClock};

/// Why a server could not be built, or features could not be added to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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
    /// A schema that is none, or that needs another document.
    #[error("tool {tool:?}: its schema cannot be used: {why}")]
    Schema {
        /// Name of the tool.
        tool: String,
        /// What is wrong.
        why: String,
    },
    /// An `x-mcp-header` that cannot be met.
    #[error("tool {0:?}: x-mcp-header in its schema: {1}")]
    MirroredHeader(String, &'static str),
    /// Two resources of one URI, or two templates of one form.
    #[error("resource {0:?} is registered twice: give each resource a URI of its own")]
    DuplicateResource(String),
    /// Two prompts of one name.
    #[error("prompt {0:?} is registered twice: give each prompt a name of its own")]
    DuplicatePrompt(String),
    /// A template beyond level 1 of RFC 6570.
    #[error("resource template {0:?}: wanted {{name}} for one segment each, apart from each other")]
    UriTemplate(String),
    /// A completion for nothing.
    #[error("completion of {argument:?} of {of:?}: there is no such argument")]
    Completer {
        /// Name of the prompt, or the template.
        of: String,
        /// Argument of the prompt, or variable of the template.
        argument: String,
    },
    /// A limit outside its range.
    #[error(transparent)]
    Limit(#[from] OutOfRange),
    /// An authorization that would let the wrong ones in, or nobody.
    #[error(transparent)]
    Authorization(#[from] AuthError),
    /// The system gave no randomness for the keys of cursors and request states.
    #[error("wanted random bytes for keys from the system: {0}")]
    Random(String),
}

/// A server under construction.
#[must_use]
pub struct Builder {
    info: Implementation,
    instructions: Option<String>,
    tasks: bool,
    authorization: Option<Authorization>,
    pub(crate) features: Features,
    limits: Limits,
}

#[derive(Serialize)]
struct Implementation {
    name: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<Cow<'static, str>>,
    version: Cow<'static, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    icons: Vec<Icon>,
}

/// A server: what it offers, and the answers that can be known in advance. Clones share it.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    press: Press,
    bells: Bells,
    limits: Limits,
    stamp: Stamp,
    secrets: Secrets,
    access: Option<Arc<Access>>,
    declared: Declared,
    /// Members of the `initialize` result behind its version, without braces.
    introduction: Vec<u8>,
    discovery: Vec<u8>,
}

/// What a server said it offers when it was built; that cannot be taken back later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Declared {
    pub(crate) resources: bool,
    pub(crate) prompts: bool,
    pub(crate) completions: bool,
    pub(crate) tasks: bool,
}

impl Declared {
    fn of(features: &Features, tasks: bool) -> Self {
        Self {
            resources: !features.resources.is_empty() || !features.templates.is_empty(),
            prompts: !features.prompts.is_empty(),
            completions: !features.completers.is_empty(),
            tasks,
        }
    }

    /// The capabilities in an era, as JSON.
    // [mcp:tools-declared] [mcp:resources-declared] [mcp:prompts-declared]
    // [mcp:completions-declared] [mcp:logging-declared]
    fn capabilities(self, era: Era) -> String {
        let mut all = vec![r#""logging":{}"#, r#""tools":{"listChanged":true}"#];
        if self.resources {
            all.push(r#""resources":{"subscribe":true,"listChanged":true}"#);
        }
        if self.prompts {
            all.push(r#""prompts":{"listChanged":true}"#);
        }
        if self.completions {
            all.push(r#""completions":{}"#);
        }
        let extensions = format!(r#""extensions":{{"{EXTENSION}":{{}}}}"#);
        if self.tasks && era == Era::Modern {
            all.push(&extensions);
        }
        format!("{{{}}}", all.join(","))
    }
}

impl Server {
    /// Starts a server that presents itself as `name`, `version`.
    pub fn builder(
        name: impl Into<Cow<'static, str>>,
        version: impl Into<Cow<'static, str>>,
    ) -> Builder {
        Builder {
            info: Implementation {
                name: name.into(),
                title: None,
                version: version.into(),
                icons: Vec::new(),
            },
            instructions: None,
            tasks: false,
            authorization: None,
            features: Features::default(),
            limits: Limits::default(),
        }
    }

    /// The limits that this server was built with.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The tools it offers now, in the order of their registration.
    pub fn tools(&self) -> Vec<Definition> {
        let newest = self.0.press.newest();
        newest.catalog.tools.definitions().cloned().collect()
    }

    /// Offers `features` from now on, behind what is offered already, and tells the clients that
    /// asked to be told. A kind that the server offered nothing of when it was built (resources,
    /// prompts, completions) is not served.
    ///
    /// # Errors
    /// [`BuildError`], and nothing has changed then.
    pub fn add(&self, features: Features) -> Result<(), BuildError> {
        let bits = changed(&features);
        self.publish(bits, |all| {
            all.append(features);
            true
        })
        .map(drop)
    }

    /// Withdraws a tool, and tells the clients that asked to be told; false when there was none of
    /// that name. Calls under way go on.
    pub fn remove_tool(&self, name: &str) -> bool {
        self.remove(List::Tools, |all| {
            let before = all.tools.len();
            all.tools.retain(|it| it.definition().name != name);
            all.tools.len() < before
        })
    }

    /// Withdraws a prompt with its completions, as [`Server::remove_tool`] does a tool.
    pub fn remove_prompt(&self, name: &str) -> bool {
        self.remove(List::Prompts, |all| {
            let before = all.prompts.len();
            all.prompts.retain(|it| it.definition.name != name);
            all.completers.retain(|it| !it.is_prompt || it.of != name);
            all.prompts.len() < before
        })
    }

    /// Withdraws a resource, or a template with its completions, by its URI, as
    /// [`Server::remove_tool`] does a tool.
    pub fn remove_resource(&self, uri: &str) -> bool {
        self.remove(List::Resources, |all| {
            let before = all.resources.len() + all.templates.len();
            all.resources.retain(|it| it.definition.key() != uri);
            all.templates.retain(|it| it.definition.key() != uri);
            all.completers.retain(|it| it.is_prompt || it.of != uri);
            all.resources.len() + all.templates.len() < before
        })
    }

    /// Tells the clients that subscribed to `uri` that it was updated. From any thread; does not
    /// wait.
    pub fn resource_updated(&self, uri: &str) {
        self.0.bells.resource_updated(uri);
    }

    fn remove(&self, list: List, from: impl FnOnce(&mut Features) -> bool) -> bool {
        // What is left of a valid catalog is valid.
        self.publish(list.bit(), from).unwrap_or(false)
    }

    fn publish(
        &self,
        bits: u8,
        change: impl FnOnce(&mut Features) -> bool,
    ) -> Result<bool, BuildError> {
        let inner = &*self.0;
        let changed = inner.press.publish(|catalog| {
            let mut features = catalog.features().clone();
            if !change(&mut features) {
                return Ok(None);
            }
            let pages = inner.limits.page_entries;
            Catalog::new(features, &inner.stamp, &inner.secrets, pages).map(Some)
        })?;
        if changed {
            inner.bells.lists_changed(bits);
        }
        Ok(changed)
    }

    pub(crate) fn edition(&self) -> Arc<Edition> {
        self.0.press.newest()
    }

    pub(crate) fn attach(&self) -> Ear {
        self.0.bells.attach()
    }

    pub(crate) fn declared(&self) -> Declared {
        self.0.declared
    }

    pub(crate) fn stamp(&self) -> &Stamp {
        &self.0.stamp
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.0.secrets
    }

    /// Who may do what; `None` where everybody may do everything.
    pub(crate) fn access(&self) -> Option<&Arc<Access>> {
        self.0.access.as_ref()
    }

    pub(crate) fn introduction(&self) -> &[u8] {
        &self.0.introduction
    }

    pub(crate) fn discovery(&self) -> &[u8] {
        &self.0.discovery
    }
}

/// The lists that `features` change.
fn changed(features: &Features) -> u8 {
    let any = |list: List, count: usize| if count > 0 { list.bit() } else { 0 };
    any(List::Tools, features.tools.len())
        | any(List::Prompts, features.prompts.len())
        | any(
            List::Resources,
            features.resources.len() + features.templates.len(),
        )
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tools: Vec<_> = self.tools().into_iter().map(|tool| tool.name).collect();
        f.debug_struct("Server")
            .field("tools", &tools)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Registers the builtin tools `echo`, `add`, `time`, `sleep` and `hash`, under the limits
    /// set so far.
    pub fn builtin_tools(self, clock: WallClock) -> Self {
        builtin::register(self, clock)
    }

    /// Gives the server a title, for people.
    pub fn title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.info.title = Some(title.into());
        self
    }

    /// Adds an icon of the server.
    pub fn icon(mut self, icon: Icon) -> Self {
        self.info.icons.push(icon);
        self
    }

    /// Says how this server is to be used, for a model to read.
    pub fn instructions(mut self, text: impl Into<String>) -> Self {
        self.instructions = Some(text.into());
        self
    }

    /// Lets calls become tasks (extension `io.modelcontextprotocol/tasks` of the modern era); their
    /// handlers say which, by [`crate::Context::become_task`].
    pub fn with_tasks(mut self) -> Self {
        self.tasks = true;
        self
    }

    /// Lets in only who has a token for it: from then on every request must bring one. Its files
    /// are read when the server is built.
    pub fn authorize(mut self, authorization: Authorization) -> Self {
        self.authorization = Some(authorization);
        self
    }

    /// Adds features that were put together elsewhere.
    pub fn with(mut self, features: Features) -> Self {
        self.features.append(features);
        self
    }

    /// Replaces the default limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    pub(crate) fn features(&mut self) -> &mut Features {
        &mut self.features
    }

    pub(crate) fn current_limits(&self) -> &Limits {
        &self.limits
    }

    /// Checks everything that was registered and computes the answers that do not change.
    ///
    /// # Errors
    /// [`BuildError`] names the first mistake.
    pub fn build(self) -> Result<Server, BuildError> {
        self.limits.validate()?;
        let info = json(&self.info);
        let stamp = Stamp::new(&info);
        let secrets = Secrets::fresh().map_err(|error| BuildError::Random(error.to_string()))?;
        let declared = Declared::of(&self.features, self.tasks);
        let catalog = Catalog::new(self.features, &stamp, &secrets, self.limits.page_entries)?;
        let access = match self.authorization {
            Some(authorization) => {
                protects_what_is_there(&authorization, &catalog)?;
                Some(authorization.build(&self.info.name, &self.limits)?)
            }
            None => None,
        };
        let instructions = self.instructions.map_or_else(String::new, |text| {
            [r#","instructions":"#, &json(&text)].concat()
        });
        let versions: Vec<_> = MODERN.iter().copied().map(Version::as_str).collect();
        let mut discovery = [
            r#"{"supportedVersions":"#,
            &json(&versions),
            r#","capabilities":"#,
            &declared.capabilities(Era::Modern),
            &instructions,
        ]
        .concat()
        .into_bytes();
        stamp.close_cacheable(Era::Modern, &mut discovery);
        let introduction = [
            r#""capabilities":"#,
            &declared.capabilities(Era::Legacy),
            r#","serverInfo":"#,
            &info,
            &instructions,
        ]
        .concat();
        Ok(Server(Arc::new(Inner {
            press: Press::new(Edition::new(catalog)),
            bells: Bells::default(),
            limits: self.limits,
            stamp,
            secrets,
            access,
            declared,
            introduction: introduction.into_bytes(),
            discovery,
        })))
    }
}

/// A rule for what is not there has a mistake in its name, and leaves open what was meant.
fn protects_what_is_there(
    authorization: &Authorization,
    catalog: &Catalog,
) -> Result<(), AuthError> {
    for (feature, name) in authorization.named() {
        let there = match feature {
            Feature::Tool => catalog.tools.find(name).is_some(),
            Feature::Prompt => catalog.prompt(name).is_some(),
            Feature::Resource => catalog.reader(name).is_some(),
        };
        if !there {
            let (what, name) = (feature.as_str(), name.to_owned());
            return Err(AuthError::Unmatched { what, name });
        }
    }
    Ok(())
}

/// JSON of a value that always has one: strings and structs of strings.
pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> String {
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

    #[test]
    fn mistakes_in_resources_and_prompts_are_named_too() {
        use crate::resource::{Resource, Template};
        let base = || Server::builder("t", "1");
        let twice = base()
            .resource(Resource::new("a:b", "x"), || "x")
            .resource(Resource::new("a:b", "y"), || "y");
        let wanted = BuildError::DuplicateResource("a:b".into());
        assert_eq!(twice.build().err(), Some(wanted));
        let template = base().template(Template::new("a:{+b}", "x"), |_| "x");
        let wanted = BuildError::UriTemplate("a:{+b}".into());
        assert_eq!(template.build().err(), Some(wanted));
        let prompt = |it: Builder| it.prompt("p", "", |_: NoArguments| "x");
        let wanted = BuildError::DuplicatePrompt("p".into());
        assert_eq!(prompt(prompt(base())).build().err(), Some(wanted));
        let nothing = prompt(base()).complete_prompt("p", "x", |_| ["y"]);
        assert!(matches!(
            nothing.build().err(),
            Some(BuildError::Completer { .. })
        ));
    }

    #[test]
    fn what_is_added_is_checked_and_what_is_removed_is_gone() {
        let server = Server::builder("t", "1")
            .tool("a", "", |_: NoArguments| ())
            .build()
            .unwrap();
        let named = |name: &'static str| Features::new().tool(name, "", |_: NoArguments| ());
        let names = || -> Vec<_> { server.tools().into_iter().map(|it| it.name).collect() };
        assert_eq!(server.add(named("b")), Ok(()));
        let wanted = BuildError::DuplicateTool("a".into());
        assert_eq!(server.add(named("a")), Err(wanted));
        assert_eq!(names(), ["a", "b"]);
        assert!(server.remove_tool("a") && !server.remove_tool("a"));
        assert_eq!(names(), ["b"]);
    }
}
