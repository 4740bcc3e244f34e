//! What a client is, what it can be asked, and whom it tells.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use serde_json::{Map, Value, json};

use super::auth::Auth;
use super::cache::EraCache;
use super::limits::Limits;
use super::{ClientError, tls};
use crate::ask::Action;
use crate::task::EXTENSION;

/// How a client finds out which era a server belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EraChoice {
    /// Asks in the modern way first, and falls back to `initialize`.
    #[default]
    Auto,
    /// `initialize` only.
    Legacy,
    /// `server/discover` only.
    Modern,
}

/// What a server says without being asked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A request comes along.
    Progress(Progress),
    /// A line of the server's log.
    Log {
        /// One of the eight levels.
        level: String,
        /// What is logged.
        data: Value,
    },
    /// A list has changed: `tools`, `prompts` or `resources`.
    ListChanged(String),
    /// A resource that was subscribed to has changed.
    Updated(String),
    /// How a task stands, described as the server's era does.
    Task(Value),
    /// The visit to a URL that this elicitation asked for is done, in the legacy era. Ids that
    /// nobody was asked for, and those told of already, are ignored.
    Elicited(String),
    /// Any other notification: method and params.
    Other(String, Value),
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// How far it is.
    pub progress: f64,
    /// How far it will be at its end.
    pub total: Option<f64>,
    /// What it does.
    pub message: Option<String>,
}

/// A wish of the server that the person visits a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Why, for the person to read.
    pub message: String,
    /// Where. Its scheme is one of those allowed; all else is to be judged by the person, who
    /// should see it whole before it is opened.
    pub url: String,
    /// Name of this elicitation, in the legacy era.
    pub id: Option<String>,
}

/// Key of the handler for visits; forms and visits are asked for by one method.
pub(crate) const VISIT: &str = "elicitation/create by url";

/// Answers a question of the server with a result, or with code and message of an error.
pub(crate) type Handler = Arc<dyn Fn(Value) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = Result<Value, (i64, String)>> + Send>>;

/// What a client is to be; [`Options::new`] has what most need.
#[derive(Clone)]
pub struct Options {
    pub(crate) info: Value,
    pub(crate) era: EraChoice,
    pub(crate) limits: Limits,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) auth: Option<Auth>,
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) log_level: Option<String>,
    pub(crate) capabilities: Value,
    pub(crate) handlers: HashMap<&'static str, Handler>,
    pub(crate) told: Option<Arc<dyn Fn(Event) + Send + Sync>>,
    pub(crate) eras: Option<EraCache>,
    /// Schemes of the URLs that a person may be sent to.
    schemes: Vec<String>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("info", &self.info)
            .field("era", &self.era)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// A client of this name and version, which cannot be asked anything.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            info: json!({"name": name, "version": version}),
            era: EraChoice::Auto,
            limits: Limits::default(),
            headers: Vec::new(),
            auth: None,
            certificates: Vec::new(),
            log_level: None,
            capabilities: json!({}),
            handlers: HashMap::new(),
            told: None,
            eras: None,
            schemes: vec!["https".to_owned()],
        }
    }

    /// How the era is found.
    pub fn era(mut self, era: EraChoice) -> Self {
        self.era = era;
        self
    }

    /// Other limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A header for every HTTP request, such as `Authorization`.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends this token with every HTTP request, instead of getting one.
    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Gets a token when the server wants one; of no effect beside a header `Authorization`, and
    /// for child processes, which take their credentials from their environment.
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// Believes certificates that these roots vouch for, PEM, besides those of the host's roots.
    pub fn root_certificates(mut self, pem: &[u8]) -> Result<Self, ClientError> {
        self.certificates
            .extend(tls::certificates(pem).map_err(ClientError::Option)?);
        Ok(self)
    }

    /// Asks for the server's log from this level on.
    pub fn log_level(mut self, level: &str) -> Self {
        self.log_level = Some(level.to_owned());
        self
    }

    /// Calls `told` with what the server says without being asked.
    pub fn on_event(mut self, told: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.told = Some(Arc::new(told));
        self
    }

    /// Answers elicitations by form: the params of `elicitation/create` in, its result out.
    pub fn on_elicit<F>(self, f: impl Fn(Value) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Value, (i64, String)>> + Send + 'static,
    {
        self.able("elicitation", "form")
            .handle("elicitation/create", f)
    }

    /// Sends the person to pages: what they did is the answer. In 2025-11-25 a call may also fail
    /// until a page was visited (-32042): accepted here, it is made again. URLs of other schemes
    /// than those of [`Options::url_schemes`] are declined.
    pub fn on_visit<F>(self, f: impl Fn(Visit) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Action> + Send + 'static,
    {
        self.able("elicitation", "url").handle(VISIT, move |asked| {
            let text = |key: &str| asked[key].as_str().map(str::to_owned);
            let action = f(Visit {
                message: text("message").unwrap_or_default(),
                url: text("url").unwrap_or_default(),
                id: text("elicitationId"),
            });
            async move { Ok(json!({"action": action.await})) }
        })
    }

    /// The schemes of the URLs that a person may be sent to; by default `https` alone.
    pub fn url_schemes(mut self, schemes: &[&str]) -> Self {
        self.schemes = schemes.iter().map(|it| it.to_ascii_lowercase()).collect();
        self
    }

    /// Whether a person may be sent to `url`.
    pub(crate) fn visits(&self, url: &Value) -> bool {
        let url = url.as_str().unwrap_or_default();
        let scheme = url.split_once("://").map(|(it, _)| it.to_ascii_lowercase());
        let clean = !url.contains(|c: char| c.is_control() || c.is_whitespace());
        clean && scheme.is_some_and(|it| self.schemes.contains(&it))
    }

    /// Says that the client knows tasks, so that servers of the modern era may make a call one:
    /// [`super::Client::start`] then tells of it, [`super::Client::call`] waits for its result.
    pub fn tasks(mut self) -> Self {
        self.capabilities["extensions"][EXTENSION] = json!({});
        self
    }

    pub(crate) fn knows_tasks(&self) -> bool {
        self.capabilities["extensions"][EXTENSION].is_object()
    }

    /// Remembers which origins are of the legacy era, and asks them nothing else.
    pub fn era_cache(mut self, cache: &EraCache) -> Self {
        self.eras = Some(cache.clone());
        self
    }

    /// Asks a model for the server: the params of `sampling/createMessage` in, its result out.
    pub fn on_sample<F>(self, f: impl Fn(Value) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Value, (i64, String)>> + Send + 'static,
    {
        let mut this = self;
        this.capabilities["sampling"] = json!({});
        this.handle("sampling/createMessage", f)
    }

    /// Names these roots, URIs of folders, to servers that ask.
    pub fn roots(self, roots: &[&str]) -> Self {
        let roots: Vec<_> = roots.iter().map(|uri| json!({"uri": uri})).collect();
        let result = json!({"roots": roots});
        let mut this = self;
        this.capabilities["roots"] = json!({});
        this.handle("roots/list", move |_| {
            std::future::ready(Ok(result.clone()))
        })
    }

    fn able(mut self, capability: &str, how: &str) -> Self {
        self.capabilities[capability][how] = json!({});
        self
    }

    fn handle<F>(
        mut self,
        method: &'static str,
        f: impl Fn(Value) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Value, (i64, String)>> + Send + 'static,
    {
        let handler = move |params| Box::pin(f(params)) as Answering;
        self.handlers.insert(method, Arc::new(handler));
        self
    }
}

/// The answer to an elicitation that accepts with `content`, and with the defaults of the form
/// for what `content` leaves out.
// [mcp:elicit-no-mode]
pub fn accept(question: &Value, mut content: Map<String, Value>) -> Value {
    let properties = question["requestedSchema"]["properties"].as_object();
    for (name, property) in properties.into_iter().flatten() {
        if let (None, Some(default)) = (content.get(name), property.get("default")) {
            content.insert(name.clone(), default.clone());
        }
    }
    json!({"action": "accept", "content": content})
}
