//! The flags that say who may use the node.

use std::path::PathBuf;

use clap::Args;
use ninefold::auth::{Authorization, Feature};

#[derive(Debug, Args)]
#[command(next_help_heading = "Authorization")]
pub(crate) struct Auth {
    /// Take access tokens of this authorization server; every request must bring one then.
    #[arg(
        long = "auth-issuer",
        value_name = "URL",
        env = "NINEFOLD_AUTH_ISSUER",
        requires = "audience"
    )]
    issuer: Option<String>,
    /// The URL of this node as clients reach it, which tokens must name as their audience.
    #[arg(
        long = "auth-audience",
        value_name = "URL",
        env = "NINEFOLD_AUTH_AUDIENCE"
    )]
    audience: Option<String>,
    /// Where the issuer publishes its keys (a JWK Set).
    #[arg(
        long = "auth-jwks-url",
        value_name = "URL",
        env = "NINEFOLD_AUTH_JWKS_URL",
        requires = "issuer"
    )]
    jwks_url: Option<String>,
    /// A file with the issuer's keys, in place of their URL.
    #[arg(
        long = "auth-jwks-file",
        value_name = "PATH",
        env = "NINEFOLD_AUTH_JWKS_FILE",
        requires = "issuer",
        conflicts_with = "jwks_url"
    )]
    jwks_file: Option<PathBuf>,
    /// Take the API keys of this file too, or only them.
    #[arg(
        long = "auth-keys-file",
        value_name = "PATH",
        env = "NINEFOLD_AUTH_KEYS_FILE"
    )]
    keys_file: Option<PathBuf>,
    /// Take only tokens signed by this algorithm; may be given more than once.
    #[arg(long = "auth-algorithm", value_name = "ALG")]
    algorithms: Vec<String>,
    /// Need this scope for every request; may be given more than once.
    #[arg(long = "auth-scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Need scopes for a tool, `prompt:NAME` or `resource:URI`; a name that ends in `*` stands for
    /// all that begin so. May be given more than once.
    #[arg(long = "require-scope", value_name = "TOOL=SCOPE[,SCOPE]", value_parser = pair)]
    rules: Vec<(String, String)>,
    /// Whoever has a scope has these too; may be given more than once.
    #[arg(long = "scope-implies", value_name = "SCOPE=SCOPE[,SCOPE]", value_parser = pair)]
    implied: Vec<(String, String)>,
}

/// Splits at the last `=`: a URI may hold others.
fn pair(text: &str) -> Result<(String, String), String> {
    let split = text.rsplit_once('=');
    let whole = split.filter(|(name, scopes)| !name.is_empty() && !scopes.is_empty());
    let (name, scopes) = whole.ok_or("wanted NAME=SCOPE, with commas between scopes")?;
    Ok((name.to_owned(), scopes.to_owned()))
}

impl Auth {
    /// The authorization that the flags ask for; `None` without any of them.
    pub(crate) fn authorization(&self) -> Option<Authorization> {
        let nothing = self.issuer.is_none()
            && self.audience.is_none()
            && self.keys_file.is_none()
            && self.algorithms.is_empty()
            && self.scopes.is_empty()
            && self.rules.is_empty()
            && self.implied.is_empty();
        if nothing {
            return None;
        }
        let mut made = Authorization::new();
        if let Some(url) = &self.audience {
            made = made.audience(url);
        }
        if let Some(url) = &self.issuer {
            made = made.issuer(url);
        }
        if let Some(url) = &self.jwks_url {
            made = made.keys_url(url);
        }
        if let Some(path) = &self.jwks_file {
            made = made.keys_file(path);
        }
        if let Some(path) = &self.keys_file {
            made = made.api_keys(path);
        }
        made = self.algorithms.iter().fold(made, Authorization::algorithm);
        made = (self.scopes.iter()).fold(made, |made, scope| made.require_always(scope));
        for (name, scopes) in &self.rules {
            let (feature, name) = feature(name);
            made = made.require(feature, name, scopes.split(','));
        }
        let implied = self.implied.iter();
        Some(implied.fold(made, |made, (scope, held)| {
            made.implies(scope, held.split(','))
        }))
    }
}

/// What a rule is about; the names of tools have no colon.
fn feature(name: &str) -> (Feature, &str) {
    match name.split_once(':') {
        Some(("prompt", name)) => (Feature::Prompt, name),
        Some(("resource", uri)) => (Feature::Resource, uri),
        _ => (Feature::Tool, name),
    }
}
