//! How a client gets access: who it is, whom it may ask, and what it keeps.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use hyper::Uri;

use super::error::AuthError;
use super::keys::Key;
use super::sign_in::SignIn;
use super::store::{MemoryStore, Store};

/// By what right a token is given.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grant {
    /// A person signs in (authorization code, OAuth 2.1 section 4.1).
    Person,
    /// The client itself (client credentials, OAuth 2.1 section 4.2).
    Client,
    /// A signed statement about the client, such as a workload's identity (RFC 7523, section 2.1).
    /// It is shown to the authorization server of [`Auth::issuer`], which has to be given.
    Assertion(String),
    /// An identity provider of the organization, which vouches for a person who has signed in
    /// there: it exchanges the person's identity token for an assertion (RFC 8693).
    Organization {
        /// Token endpoint of the identity provider.
        token_endpoint: String,
        /// What the client is called there.
        client_id: String,
        /// The person's identity token.
        id_token: String,
    },
}

impl Grant {
    /// What it is called where tokens are kept.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Client => "client",
            Self::Assertion(_) => "assertion",
            Self::Organization { .. } => "organization",
        }
    }
}

/// How a client gets access to servers that want a token.
#[derive(Clone)]
pub struct Auth {
    pub(crate) grant: Grant,
    pub(crate) client_name: String,
    pub(crate) client_id: Option<String>,
    pub(crate) client_secret: Option<String>,
    pub(crate) key: Option<Arc<Key>>,
    pub(crate) issuer: Option<String>,
    pub(crate) metadata_url: Option<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) sign_in: Option<SignIn>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) private: bool,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("client_id", &self.client_id)
            .field("issuer", &self.issuer)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

impl Auth {
    /// A client of this name, as people see it when they sign in. Which of the ways to be known to
    /// an authorization server it takes: an id that it has there ([`Auth::client_id`]), else its
    /// metadata document ([`Auth::client_metadata_url`]), else it registers by itself.
    pub fn new(client_name: &str) -> Self {
        Self {
            grant: Grant::Person,
            client_name: client_name.to_owned(),
            client_id: None,
            client_secret: None,
            key: None,
            issuer: None,
            metadata_url: None,
            scopes: Vec::new(),
            sign_in: None,
            store: Arc::new(MemoryStore::default()),
            private: false,
        }
    }

    /// By what right tokens are asked for; [`Grant::Person`] unless said otherwise.
    pub fn grant(mut self, grant: Grant) -> Self {
        self.grant = grant;
        self
    }

    /// The id under which the client is registered at the authorization server.
    pub fn client_id(mut self, id: &str) -> Self {
        self.client_id = Some(id.to_owned());
        self
    }

    /// The secret that belongs to the id.
    pub fn client_secret(mut self, secret: &str) -> Self {
        self.client_secret = Some(secret.to_owned());
        self
    }

    /// The key with which the client shows who it is (`private_key_jwt`): PEM with PKCS #8, of
    /// P-256 (ES256) or RSA (RS256).
    pub fn private_key(mut self, pem: &[u8]) -> Result<Self, AuthError> {
        self.key = Some(Arc::new(Key::from_pem(pem)?));
        Ok(self)
    }

    /// The authorization server to which the id belongs; it is shown to no other. Without it, the
    /// id belongs to the first one that it was used with.
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.issuer = Some(issuer.to_owned());
        self
    }

    /// Where the client's own metadata document is (https, with a path): the URL is its id at
    /// authorization servers that take such ones.
    // [mcp:auth-client-document]
    pub fn client_metadata_url(mut self, url: &str) -> Result<Self, AuthError> {
        let uri: Option<Uri> = url.parse().ok();
        let good = uri.filter(|it| it.scheme_str() == Some("https") && it.path().len() > 1);
        if good.is_none() || url.contains(['#', '@']) {
            return Err(AuthError::Option(format!(
                "the client metadata document is at `{url}`: wanted https and a path"
            )));
        }
        self.metadata_url = Some(url.to_owned());
        Ok(self)
    }

    /// Scopes that are asked for in any case. Without them it is what the server names.
    pub fn scopes(mut self, scopes: &[&str]) -> Self {
        self.scopes = super::challenge::words(&scopes.join(" "));
        self
    }

    /// Lets people sign in in a browser that comes back to this host: `show` is told the URL that
    /// has to be visited, and a listener on 127.0.0.1 waits on `port` for what comes back (0: any
    /// free one).
    pub fn sign_in_here(mut self, port: u16, show: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.sign_in = Some(SignIn::Here {
            port,
            show: Arc::new(show),
        });
        self
    }

    /// Lets people sign in in a way of the program's own: `visit` gets the URL that has to be
    /// visited, and gives back the whole URL that the authorization server has led to, which
    /// begins with `redirect_uri`; or says what went wrong. The URI is https, or http on this host
    /// (MCP, "Authorization", communication security).
    pub fn sign_in_by<F>(
        mut self,
        redirect_uri: &str,
        visit: impl Fn(String) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<String, String>> + Send + 'static,
    {
        self.sign_in = Some(SignIn::Own {
            redirect_uri: redirect_uri.to_owned(),
            visit: Arc::new(move |url| Box::pin(visit(url))),
        });
        self
    }

    /// Where tokens and registrations are kept; in memory unless said otherwise.
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// Goes to addresses of private networks too when a server names them.
    pub fn allow_private(mut self) -> Self {
        self.private = true;
        self
    }
}
