//! Why access could not be had.

/// Why no token could be had for a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// A URL that somebody on the way names and that is not gone to.
    #[error("{what} `{url}` is not gone to: {why}")]
    Url {
        /// What is there.
        what: &'static str,
        /// The URL.
        url: String,
        /// What is wrong with it, and what to do.
        why: &'static str,
    },
    /// A server elsewhere whose URL is not https: who is on the way could take its tokens.
    #[error(
        "`{0}` wants a token, and none is sent to another host without TLS: give its URL with \
         https, or pass on a token of your own (`--token`)"
    )]
    Plain(String),
    /// No answer, or none that can be used.
    #[error("{url}: {why}")]
    Fetch {
        /// Who was asked.
        url: String,
        /// What came instead of an answer.
        why: String,
    },
    /// The metadata speaks of another resource than the server (RFC 9728, section 3.3).
    #[error(
        "the metadata of `{server}` speaks of the resource `{found}`: a token for that one would \
         be of use to somebody else"
    )]
    Resource {
        /// URL of the server.
        server: String,
        /// What the metadata names.
        found: String,
    },
    /// The metadata is another authorization server's (RFC 8414, section 3.3).
    #[error("the metadata of the authorization server `{wanted}` names `{found}` as its issuer")]
    Issuer {
        /// Whose metadata was asked for.
        wanted: String,
        /// Whose it says it is.
        found: String,
    },
    /// The authorization server does not say that it knows PKCE with S256.
    #[error(
        "the authorization server `{0}` does not name S256 in `code_challenge_methods_supported`: \
         a code from it could be stolen, so none is asked for"
    )]
    NoPkce(String),
    /// What came back from the browser belongs to another sign-in.
    #[error("what came back from the browser is not of this sign-in: its `state` differs")]
    State,
    /// What came back from the browser is another authorization server's (RFC 9207).
    #[error("the answer to the sign-in is of the issuer {found:?}, wanted `{wanted}`")]
    Iss {
        /// Who was asked.
        wanted: String,
        /// Who answered; nobody, where the server had promised to say so.
        found: Option<String>,
    },
    /// The authorization server says no.
    #[error("the authorization server refuses: {code} {description}")]
    Refused {
        /// Its code, such as `access_denied` or `invalid_grant`.
        code: String,
        /// What it says to people.
        description: String,
    },
    /// The server still refuses what was authorized for it just now.
    #[error("the server refuses a token that was made for it just now, with the scopes [{0}]")]
    StillRefused(String),
    /// No way to be known to the authorization server.
    #[error(
        "the authorization server `{0}` registers nobody by itself: give the id of a client that \
         is registered there, or the URL of a client metadata document if it takes one"
    )]
    NoClient(String),
    /// A person would have to sign in, and nobody is there to be asked.
    #[error("somebody has to sign in at `{0}`, and there is no way to ask for it here")]
    NoSignIn(String),
    /// Nobody came back from the browser.
    #[error("nobody signed in within the limit sign_in_ms")]
    Late,
    /// The sign-in could not be carried out.
    #[error("the sign-in failed: {0}")]
    SignIn(String),
    /// The server now trusts another authorization server than the one the client id is for.
    #[error(
        "the client id is for the authorization server `{was}`, but the server now names `{now}`: \
         give the id that the client has there, and its issuer"
    )]
    IssuerChanged {
        /// Where the client id is known.
        was: String,
        /// Whom the server names.
        now: String,
    },
    /// What is kept cannot be read or written.
    #[error("{0}")]
    Store(String),
    /// A key that cannot sign.
    #[error("the private key cannot be used: {0}")]
    Key(String),
    /// An option that is no good.
    #[error("{0}")]
    Option(String),
}

impl AuthError {
    pub(crate) fn fetch(url: &str, why: impl Into<String>) -> Self {
        Self::Fetch {
            url: url.to_owned(),
            why: why.into(),
        }
    }
}
