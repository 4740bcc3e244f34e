//! What all shards know of who may do what: the policy, the keys, and the words for refusals.

use std::path::Path;

use super::jwt::Wanted;
use super::keeper::Source;
use super::keys::KeyBoard;
use super::refusal::Refusal;
use super::scopes::{Policy, joined};

/// Where RFC 9728, 3 wants the metadata; the path of the resource goes behind it.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The authorization of one server. Clones of the server share it.
pub(crate) struct Access {
    pub(super) policy: Policy,
    /// What JWTs must say; `None` where only API keys are good.
    pub(super) wanted: Option<Wanted>,
    pub(super) board: KeyBoard,
    pub(super) source: Option<Source>,
    pub(super) api_keys_file: Option<Box<Path>>,
    pub(super) metadata: Option<Metadata>,
    pub(super) name: Box<str>,
}

/// The metadata of the protected resource (RFC 9728, 2).
pub(super) struct Metadata {
    /// The document.
    document: String,
    /// Its URL, where challenges point to.
    url: String,
    /// The path of the resource as its clients see it.
    path: String,
}

impl Metadata {
    /// The metadata of the resource `audience`, which is `origin` and `path`.
    pub(super) fn new(
        (audience, origin, path): (&str, &str, &str),
        issuer: &str,
        name: &str,
        scopes: &[&str],
    ) -> Self {
        let mut document = serde_json::json!({
            "resource": audience,
            "authorization_servers": [issuer],
            "bearer_methods_supported": ["header"],
            "resource_name": name,
        });
        if !scopes.is_empty() {
            document["scopes_supported"] = scopes.into();
        }
        let path = if path == "/" { "" } else { path };
        Self {
            document: document.to_string(),
            url: format!("{origin}{WELL_KNOWN}{path}"),
            path: path.to_owned(),
        }
    }
}

impl Access {
    pub(super) fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    pub(super) fn api_keys_file(&self) -> Option<&Path> {
        self.api_keys_file.as_deref()
    }

    pub(super) fn board(&self) -> &KeyBoard {
        &self.board
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The metadata, if it is served at `path`: at the root form, and with the path of the resource
    /// appended, as the node knows it and as its clients do.
    // [mcp:auth-metadata]
    pub(crate) fn document(&self, path: &[u8]) -> Option<&str> {
        let behind = path.strip_prefix(WELL_KNOWN.as_bytes())?;
        let metadata = self.metadata.as_ref()?;
        let here = behind.is_empty() || behind == b"/mcp" || behind == metadata.path.as_bytes();
        here.then_some(metadata.document.as_str())
    }

    /// The value of `WWW-Authenticate` (RFC 6750, 3; RFC 9728, 5.1) for a request that was refused;
    /// `None` where a token is not at fault.
    pub(crate) fn challenge(&self, refusal: Refusal) -> Option<String> {
        if refusal.status() == 503 {
            return None;
        }
        let mut words = vec![self.place()];
        if !self.policy.every.is_empty() {
            let every = joined(self.policy.every.iter().map(AsRef::as_ref));
            words.push(format!(r#"scope="{every}""#));
        }
        if let Some(error) = refusal.error() {
            words.push(format!(r#"error="{error}""#));
            words.push(format!(r#"error_description="{}""#, refusal.says()));
        }
        Some(format!("Bearer {}", words.join(", ")))
    }

    /// The challenge to a good token that lacks scopes; names all that the request needs, so that
    /// one step up is enough.
    pub(crate) fn step_up(&self, needed: &str) -> String {
        let place = self.place();
        let words = [
            r#"error="insufficient_scope""#.to_owned(),
            format!(r#"scope="{needed}""#),
            place,
            format!(r#"error_description="this request needs the scopes {needed}""#),
        ];
        format!("Bearer {}", words.join(", "))
    }

    /// Where a client learns how to get a token; where nobody can tell it, whose keys are wanted.
    // [mcp:auth-metadata]
    fn place(&self) -> String {
        match &self.metadata {
            Some(Metadata { url, .. }) => format!(r#"resource_metadata="{url}""#),
            None => format!(r#"realm="{}""#, self.name),
        }
    }
}
