//! What a client is, what it can be asked, and whom it tells.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use serde_json::{Map, Value, json};

use super::auth::Auth;
use super::limits::Limits;
use super::{ClientError, tls};

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
    Progress {
        /// How far it is.
        progress: f64,
        /// How far it will be at its end.
        total: Option<f64>,
        /// What it does.
        message: Option<String>,
    },
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
    /// Any other notification: method and params.
    Other(String, Value),
}

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
        self.handle("elicitation/create", "elicitation", json!({"form": {}}), f)
    }

    /// Asks a model for the server: the params of `sampling/createMessage` in, its result out.
    pub fn on_sample<F>(self, f: impl Fn(Value) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Value, (i64, String)>> + Send + 'static,
    {
        self.handle("sampling/createMessage", "sampling", json!({}), f)
    }

    /// Names these roots, URIs of folders, to servers that ask.
    pub fn roots(self, roots: &[&str]) -> Self {
        let roots: Vec<_> = roots.iter().map(|uri| json!({"uri": uri})).collect();
        let result = json!({"roots": roots});
        self.handle("roots/list", "roots", json!({}), move |_| {
            std::future::ready(Ok(result.clone()))
        })
    }

    fn handle<F>(
        mut self,
        method: &'static str,
        capability: &str,
        declared: Value,
        f: impl Fn(Value) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Value, (i64, String)>> + Send + 'static,
    {
        self.capabilities[capability] = declared;
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
