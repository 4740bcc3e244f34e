//! A client of MCP: both eras, over HTTP or to a child process.
//!
//! [`Client`] is for programs on tokio; [`Blocking`] brings a runtime of its own and is for those
//! that are not. Neither belongs on a shard.
//!
//! ```no_run
//! use ninefold::client::{Blocking, Options};
//! use serde_json::json;
//!
//! let target = "http://127.0.0.1:8080/mcp".parse()?;
//! let client = Blocking::connect(&target, Options::new("mine", "1.0.0"))?;
//! let sum = client.run(async |it| it.call("add", json!({"a": 40, "b": 2})).await)?;
//! # Ok::<(), ninefold::client::ClientError>(())
//! ```
//!
//! [`Client::request`] is the way of every request: `params` and `http` say what it looks like,
//! `peer` waits for what comes back, `era` has begun the conversation. Results are the server's
//! JSON; what a server may send, and how long it may take, is bounded by [`limits::Limits`].

mod auth;
mod blocking;
mod cache;
mod era;
mod error;
mod features;
mod http;
pub mod limits;
mod listen;
mod message;
mod options;
mod params;
mod peer;
mod request;
pub mod sse;
mod stdio;
mod structure;
mod support;
mod tasks;
mod tls;
mod visits;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::Uri;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use auth::{Auth, AuthError, FileStore, Grant, MemoryStore, Store};
pub use blocking::Blocking;
pub use cache::EraCache;
pub use error::ClientError;
use http::Http;
pub use listen::{Change, Listen, Listening};
pub use options::{EraChoice, Event, Options, Progress, Visit, accept};
use params::Params;
use peer::{Peer, lock};
use stdio::Stdio;
use structure::Promises;
use support::Supports;
pub use tasks::{Called, Task};
pub(crate) use tls::pool_for;

use crate::mcp::{Era, Version};

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// At a URL.
    Http(Uri),
    /// A program and its arguments, to be started.
    Command(Vec<String>),
}

impl std::str::FromStr for Target {
    type Err = ClientError;

    /// A URL, or else a command line, cut into words as a shell would.
    fn from_str(text: &str) -> Result<Self, ClientError> {
        let unknown = || ClientError::Target(text.to_owned());
        if text.contains("://") {
            let uri: Uri = text.parse().map_err(|_| unknown())?;
            let known = matches!(uri.scheme_str(), Some("http" | "https"));
            return known.then_some(Self::Http(uri)).ok_or_else(unknown);
        }
        let words = shlex::split(text).filter(|words| !words.is_empty());
        words.map(Self::Command).ok_or_else(unknown)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let server = self.server();
        f.debug_struct("Client")
            .field("server", &server)
            .finish_non_exhaustive()
    }
}

enum Transport {
    Http(Arc<Http>),
    Stdio(Arc<Stdio>),
}

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerInfo {
    /// The version of the protocol that is spoken with it.
    pub version: Version,
    /// Its name and version, if it tells them.
    pub info: Value,
    /// What it can do.
    pub capabilities: Value,
    /// How it wants to be used.
    pub instructions: Option<String>,
}

/// A conversation with one server.
pub struct Client {
    peer: Arc<Peer>,
    transport: Transport,
    server: Mutex<ServerInfo>,
    params: Params,
    promises: Promises,
    supports: Supports,
    /// Reads the stream of the legacy session, or the child's output.
    stream: Mutex<Option<JoinHandle<()>>>,
    /// One request opens a new session; the others wait for it.
    renewal: tokio::sync::Mutex<()>,
}

impl Client {
    /// Begins a conversation; on a tokio runtime.
    pub async fn connect(target: &Target, options: Options) -> Result<Self, ClientError> {
        let checked = options.limits.validate();
        checked.map_err(|error| ClientError::Option(error.to_string()))?;
        let peer = Arc::new(Peer::new(options));
        let (transport, stream) = match target {
            Target::Http(uri) => {
                let http = Http::new(uri.clone(), &peer)?;
                (Transport::Http(Arc::new(http)), None)
            }
            Target::Command(command) => {
                let (stdio, reader) = Stdio::start(command, &peer)?;
                (Transport::Stdio(stdio), reader)
            }
        };
        let mut client = Self {
            peer,
            transport,
            server: Mutex::new(ServerInfo {
                version: Version::V2026_07_28,
                info: Value::Null,
                capabilities: Value::Null,
                instructions: None,
            }),
            params: Params::default(),
            promises: Promises::default(),
            supports: Supports::default(),
            stream: Mutex::new(stream),
            renewal: tokio::sync::Mutex::default(),
        };
        let uri = match target {
            Target::Http(uri) => Some(uri),
            Target::Command(_) => None,
        };
        match client.begin(uri).await {
            Ok(()) => Ok(client),
            Err(error) => {
                client.close().await;
                Err(error)
            }
        }
    }

    /// What the server says about itself.
    pub fn server(&self) -> ServerInfo {
        lock(&self.server).clone()
    }

    /// The era that is spoken.
    pub fn era(&self) -> Era {
        lock(&self.server).version.era()
    }

    /// Ends the conversation: the session, or the child process.
    pub async fn close(&mut self) {
        match &self.transport {
            Transport::Http(http) if http.session().id.is_some() => {
                let time = Duration::from_millis(self.peer.options.limits.goodbye_ms);
                // A server that keeps no account of its sessions forgets this one anyway.
                let _ = timeout(time, http.delete()).await;
                http.set_session(http::Session::default());
            }
            Transport::Http(_) => {}
            Transport::Stdio(stdio) => stdio.close().await,
        }
        self.end_stream();
    }

    fn end_stream(&self) {
        if let Some(stream) = lock(&self.stream).take() {
            stream.abort();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end_stream();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tasks of a runtime with many threads may share a client; that this compiles is the test.
    #[test]
    fn a_client_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>(_: Option<&T>) {}
        fn sent<T: Send>(_: Option<T>) {}
        shared::<Client>(None);
        let call = |client: &'static Client| client.call("any", Value::Null);
        sent(None::<&'static Client>.map(call));
        let target = Target::Command(Vec::new());
        sent(Some(Client::connect(&target, Options::new("test", "1"))));
    }

    #[test]
    fn targets_are_urls_or_commands() {
        let url: Target = "http://localhost:1/mcp".parse().unwrap();
        assert!(matches!(url, Target::Http(_)));
        let words = ["npx", "-y", "a server"].map(str::to_owned).to_vec();
        assert_eq!("npx -y 'a server'".parse(), Ok(Target::Command(words)));
        for bad in ["", "  ", "'open", "ftp://localhost", "http://"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
