//! How a server is told whom to let in, and what is checked before it serves anybody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::Uri;
use jsonwebtoken::Algorithm;

use super::access::{Access, Metadata};
use super::crypto;
use super::fetch::is_trustworthy;
use super::jwt::Wanted;
use super::keeper::{Source, read_api_keys, read_jwks};
use super::keys::KeyBoard;
use super::scopes::{Feature, Policy, Rule, is_scope};
use crate::limits::Limits;

/// Why an [`Authorization`] cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// Nobody could ever come in.
    #[error("authorization: nobody could come in: give an issuer, or a file of API keys")]
    Nobody,
    /// Tokens of an issuer, and no name for this server in them.
    #[error(
        "authorization: tokens of an issuer need an audience: the URL of this server (RFC 8707)"
    )]
    NoAudience,
    /// Tokens of an issuer, and no keys to judge them by; or the other way round.
    #[error(
        "authorization: an issuer needs its keys (a JWK Set as URL or file), and keys an issuer"
    )]
    NoKeys,
    /// An audience that names no server.
    #[error(
        "authorization: audience {0:?}: wanted http(s)://HOST/PATH without query, fragment and \
         user, as clients reach this server"
    )]
    Audience(String),
    /// An issuer that is no URL.
    #[error("authorization: issuer {0:?}: wanted an http(s) URL without query and fragment")]
    Issuer(String),
    /// Keys from a place that anybody could stand in for.
    #[error("authorization: keys from {0:?}: wanted an https URL, or http on this very host")]
    KeysUrl(String),
    /// A file that is no good.
    #[error("authorization: {path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What was wanted and what was found.
        why: String,
    },
    /// A word that is no scope, or one that has no place here.
    #[error(
        "authorization: scope {0:?}: wanted visible ASCII without space, quote and backslash, and \
         not offline_access, which is between clients and their authorization server"
    )]
    Scope(String),
    /// A rule without scopes, or without a name.
    #[error("authorization: a rule for {0:?} needs a name and at least one scope")]
    EmptyRule(String),
    /// A rule for what is not there protects nothing.
    #[error(
        "authorization: a rule for {what} {name:?}, but there is none; for those that come later \
         use a pattern that ends in *"
    )]
    Unmatched {
        /// Tool, prompt or resource.
        what: &'static str,
        /// Its name or URI.
        name: String,
    },
    /// An algorithm that proves nothing here.
    #[error(
        "authorization: algorithm {0:?}: wanted RS256, RS384, RS512, PS256, PS384, PS512, ES256, \
         ES384 or EdDSA"
    )]
    Algorithm(String),
}

/// Who may use a server, and what for: it becomes an OAuth 2.1 resource server (RFC 6750, RFC 8707,
/// RFC 9068, RFC 9728), takes API keys of a file, or both. Every request must bring a token then.
///
/// ```no_run
/// use ninefold::auth::{Authorization, Feature};
///
/// let authorization = Authorization::new()
///     .audience("https://mcp.example.com/mcp")
///     .issuer("https://login.example.com")
///     .keys_url("https://login.example.com/jwks.json")
///     .require_always("mcp")
///     .require(Feature::Tool, "hash", ["compute"])
///     .implies("admin", ["mcp", "compute"]);
/// let server = ninefold::Server::builder("demo", "0.1.0").authorize(authorization);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Authorization {
    audience: Option<String>,
    issuer: Option<String>,
    keys_url: Option<String>,
    keys_file: Option<PathBuf>,
    api_keys: Option<PathBuf>,
    algorithms: Vec<String>,
    policy: Policy,
}

/// Every algorithm with a public key that is known here: what is allowed unless some are named.
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

impl Authorization {
    /// Lets nobody in yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The URL of this server, as clients reach it and as the claim `aud` of their tokens must say,
    /// character by character (RFC 8707).
    pub fn audience(mut self, url: impl Into<String>) -> Self {
        self.audience = Some(url.into());
        self
    }

    /// Takes access tokens of the authorization server `url`, as their claim `iss` says it.
    pub fn issuer(mut self, url: impl Into<String>) -> Self {
        self.issuer = Some(url.into());
        self
    }

    /// Where the issuer publishes its keys (RFC 7517). They are fetched off the shards, again every
    /// `jwks_refresh_ms`, and once in `jwks_refresh_min_ms` when a token names an unknown key.
    pub fn keys_url(mut self, url: impl Into<String>) -> Self {
        self.keys_url = Some(url.into());
        self
    }

    /// A file with the issuer's keys in place of their URL; looked at every `auth_reload_ms`.
    pub fn keys_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.keys_file = Some(path.into());
        self
    }

    /// Takes the API keys of a file: TOML, with `[[key]]` of `subject`, `sha256` (of the key, 64
    /// hexadecimal digits) and `scopes`. Only its owner may write it, and strangers must not read
    /// it. Looked at every `auth_reload_ms`: a key that is gone from it is good no more.
    pub fn api_keys(mut self, path: impl Into<PathBuf>) -> Self {
        self.api_keys = Some(path.into());
        self
    }

    /// Takes only tokens that are signed by `name`, such as `ES256`, or by others named so; without
    /// any, all that have a public key. `none` and shared secrets are never taken.
    pub fn algorithm(mut self, name: impl Into<String>) -> Self {
        self.algorithms.push(name.into());
        self
    }

    /// Needs `scope` for every request.
    pub fn require_always(mut self, scope: &str) -> Self {
        self.policy.every.push(scope.into());
        self
    }

    /// Needs all of `scopes` for the tool, prompt or resource called `name`; one that ends in `*`
    /// stands for all that begin so. Several rules for one feature add up. Completions of a prompt
    /// or resource and subscriptions to it need what it needs.
    pub fn require<'a>(
        mut self,
        feature: Feature,
        name: &str,
        scopes: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.policy.rules.push(Rule {
            feature,
            pattern: name.into(),
            scopes: scopes.into_iter().map(Into::into).collect(),
        });
        self
    }

    /// Whoever has `scope` has `held` too.
    pub fn implies<'a>(mut self, scope: &str, held: impl IntoIterator<Item = &'a str>) -> Self {
        let all = self.policy.implied.entry(scope.into()).or_default();
        all.extend(held.into_iter().map(Into::into));
        self
    }

    /// The features that its rules name one by one.
    pub(crate) fn named(&self) -> impl Iterator<Item = (Feature, &str)> {
        let exact = self
            .policy
            .rules
            .iter()
            .filter(|it| !it.pattern.ends_with('*'));
        exact.map(|rule| (rule.feature, &*rule.pattern))
    }

    /// Checks all of it and reads its files.
    pub(crate) fn build(self, name: &str, limits: &Limits) -> Result<Arc<Access>, AuthError> {
        self.check_scopes()?;
        let origin = self.audience.as_deref().map(origin_and_path).transpose()?;
        let source = self.source()?;
        if source.is_none() && self.api_keys.is_none() {
            return Err(AuthError::Nobody);
        }
        let wanted = self.wanted(limits)?;
        let signers = match &source {
            Some(Source::File(path)) => {
                let read = read_jwks(path, limits);
                Some(read.map_err(|why| bad_file(path, why))?)
            }
            Some(Source::Url(_)) | None => None,
        };
        let api_keys = match &self.api_keys {
            Some(path) => read_api_keys(path, limits).map_err(|why| bad_file(path, why))?,
            None => Vec::new(),
        };
        let metadata = match (&wanted, &self.audience, &origin) {
            (Some(wanted), Some(audience), Some((origin, path))) => Some(Metadata::new(
                (audience, origin, path),
                &wanted.issuer,
                name,
                &self.policy.supported(),
            )),
            _ => None,
        };
        crypto::install();
        let quoted = |it: char| it.is_ascii_graphic() && !matches!(it, '"' | '\\');
        Ok(Arc::new(Access {
            policy: self.policy,
            wanted,
            board: KeyBoard::new(signers, api_keys),
            source,
            api_keys_file: self.api_keys.map(PathBuf::into_boxed_path),
            metadata,
            name: name.chars().filter(|&it| quoted(it)).collect(),
        }))
    }

    fn check_scopes(&self) -> Result<(), AuthError> {
        let Policy {
            every,
            rules,
            implied,
        } = &self.policy;
        for rule in rules {
            if rule.scopes.is_empty() || rule.pattern.is_empty() {
                return Err(AuthError::EmptyRule(rule.pattern.to_string()));
            }
        }
        let ruled = rules.iter().flat_map(|rule| &rule.scopes);
        let holding = implied
            .iter()
            .flat_map(|(it, held)| held.iter().chain([it]));
        let good = |scope: &str| is_scope(scope) && scope != "offline_access";
        match (every.iter().chain(ruled).chain(holding)).find(|it| !good(it)) {
            Some(scope) => Err(AuthError::Scope(scope.to_string())),
            None => Ok(()),
        }
    }

    /// Where the issuer's keys come from.
    fn source(&self) -> Result<Option<Source>, AuthError> {
        match (&self.issuer, &self.keys_url, &self.keys_file) {
            (None, None, None) => Ok(None),
            (Some(_), Some(url), None) => {
                let uri = url.parse().ok().filter(is_trustworthy);
                let uri = uri.ok_or_else(|| AuthError::KeysUrl(url.clone()))?;
                Ok(Some(Source::Url(uri)))
            }
            (Some(_), None, Some(path)) => Ok(Some(Source::File(path.as_path().into()))),
            _ => Err(AuthError::NoKeys),
        }
    }

    /// What tokens must say.
    fn wanted(&self, limits: &Limits) -> Result<Option<Wanted>, AuthError> {
        let mut algorithms = Vec::new();
        for name in &self.algorithms {
            let known = ALGORITHMS.iter().find(|(it, _)| it == name);
            let (_, known) = known.ok_or_else(|| AuthError::Algorithm(name.clone()))?;
            algorithms.push(*known);
        }
        if algorithms.is_empty() {
            algorithms = ALGORITHMS.iter().map(|(_, it)| *it).collect();
        }
        let Some(issuer) = &self.issuer else {
            return Ok(None);
        };
        if !is_plain_url(issuer) {
            return Err(AuthError::Issuer(issuer.clone()));
        }
        let audience = self.audience.as_deref().ok_or(AuthError::NoAudience)?;
        Ok(Some(Wanted {
            issuer: issuer.as_str().into(),
            audience: audience.into(),
            algorithms,
            leeway_s: limits.auth_leeway_ms / 1000,
        }))
    }
}

fn bad_file(path: &Path, why: String) -> AuthError {
    AuthError::File {
        path: path.display().to_string(),
        why,
    }
}

/// Whether `text` is an http(s) URL that can stand in a header: no query, no fragment, no user.
fn is_plain_url(text: &str) -> bool {
    let unwanted = |it: char| !it.is_ascii_graphic() || "\"\\?#@<>".contains(it);
    let http = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|it| !it.is_empty())
    };
    !text.contains(unwanted) && text.parse().is_ok_and(|uri| http(&uri))
}

/// What stands before the path of an audience, and its path.
fn origin_and_path(audience: &str) -> Result<(String, String), AuthError> {
    let refuse = || AuthError::Audience(audience.to_owned());
    if !is_plain_url(audience) {
        return Err(refuse());
    }
    let behind = audience.find("://").ok_or_else(refuse)? + 3;
    let end = audience[behind..].find('/');
    let (origin, path) = audience.split_at(end.map_or(audience.len(), |at| behind + at));
    Ok((origin.to_owned(), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oauth() -> Authorization {
        Authorization::new()
            .audience("https://mcp.example/mcp")
            .issuer("https://as.example")
            .keys_url("https://as.example/jwks")
    }

    fn why(authorization: Authorization) -> AuthError {
        let built = authorization.build("t", &Limits::default());
        built.err().unwrap_or_else(|| panic!("wanted an error"))
    }

    #[test]
    fn what_would_let_nobody_or_anybody_in_is_refused() {
        assert!(oauth().build("t", &Limits::default()).is_ok());
        assert_eq!(why(Authorization::new()), AuthError::Nobody);
        assert_eq!(why(oauth().keys_file("x")), AuthError::NoKeys);
        let no_keys = Authorization::new().issuer("https://as.example");
        assert_eq!(why(no_keys.clone()), AuthError::NoKeys);
        let no_audience = no_keys.keys_url("https://as.example/jwks");
        assert_eq!(why(no_audience), AuthError::NoAudience);
        for url in ["http://as.example/jwks", "as.example", "", "file:///jwks"] {
            assert_eq!(why(oauth().keys_url(url)), AuthError::KeysUrl(url.into()));
        }
        for url in [
            "mcp",
            "ftp://x/",
            "https://",
            "https://x/?q",
            "https://x/#f",
            "https://u@x/",
        ] {
            assert_eq!(why(oauth().audience(url)), AuthError::Audience(url.into()));
            assert_eq!(why(oauth().issuer(url)), AuthError::Issuer(url.into()));
        }
        for name in ["none", "HS256", "HS512", "es256", ""] {
            assert_eq!(
                why(oauth().algorithm(name)),
                AuthError::Algorithm(name.into())
            );
        }
        for scope in ["", "a b", "a\"", "offline_access"] {
            let wanted = AuthError::Scope(scope.into());
            assert_eq!(why(oauth().require_always(scope)), wanted);
            assert_eq!(why(oauth().require(Feature::Tool, "x", [scope])), wanted);
            assert_eq!(why(oauth().implies("x", [scope])), wanted);
        }
        let empty = oauth().require(Feature::Tool, "x", []);
        assert_eq!(why(empty), AuthError::EmptyRule("x".into()));
        assert!(matches!(
            why(Authorization::new().api_keys("none")),
            AuthError::File { .. }
        ));
    }

    #[test]
    fn the_metadata_stands_where_the_audience_says() {
        let at = |audience: &str, path: &str| {
            let built = oauth().audience(audience).build("t", &Limits::default());
            let access = built.unwrap_or_else(|error| panic!("{error}"));
            access.document(path.as_bytes()).map(str::to_owned)
        };
        let root = "/.well-known/oauth-protected-resource";
        for (audience, paths) in [
            ("https://h/mcp", &["", "/mcp"][..]),
            ("https://h", &["", "/mcp"]),
            ("https://h/", &["", "/mcp"]),
            ("https://h/a/mcp", &["", "/mcp", "/a/mcp"]),
        ] {
            for path in paths {
                let document = at(audience, &format!("{root}{path}")).unwrap_or_default();
                assert!(
                    document.contains(&format!(r#""resource":"{audience}""#)),
                    "{document}"
                );
            }
        }
        for elsewhere in ["/x", "/mcp/", "/"] {
            assert_eq!(at("https://h/mcp", &format!("{root}{elsewhere}")), None);
        }
    }
}
