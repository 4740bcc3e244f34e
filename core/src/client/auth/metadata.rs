//! Who gives out tokens for a server: the metadata of the resource (RFC 9728), then that of its
//! authorization server (RFC 8414, OpenID Connect Discovery 1.0).

use hyper::{StatusCode, Uri};
use serde_json::Value;

use super::challenge::words;
use super::error::AuthError;
use super::fetch::Fetch;
use super::place::origin;

/// What is known of a server and of the authorization server that it trusts.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The resource, to the letter as published: it is what tokens are asked for.
    pub(crate) resource: String,
    /// Scopes that the resource names.
    pub(crate) scopes: Vec<String>,
    /// Whether the resource takes no token that is not bound to a key (RFC 9449, section 5.2).
    pub(crate) dpop: bool,
    pub(crate) issuer: Issuer,
}

/// An authorization server.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    pub(crate) id: String,
    metadata: Value,
}

impl Issuer {
    /// A text of the metadata.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.metadata[name].as_str()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.metadata[name] == Value::Bool(true)
    }

    pub(crate) fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        let list = self.metadata[name].as_array().into_iter().flatten();
        list.filter_map(Value::as_str)
    }

    pub(crate) fn has(&self, list: &str, wanted: &str) -> bool {
        self.list(list).any(|it| it == wanted)
    }

    /// A URL that nothing can go on without.
    pub(crate) fn endpoint(&self, name: &'static str) -> Result<&str, AuthError> {
        let missing = || AuthError::fetch(&self.id, format!("its metadata has no `{name}`"));
        self.text(name).ok_or_else(missing)
    }
}

/// Finds out about `server`. `named` is the place of its metadata where it has told one; of the
/// authorization servers there, `known` is preferred.
// [mcp:auth-discovery]
pub(crate) async fn discover(
    fetch: &Fetch,
    server: &Uri,
    named: Option<&str>,
    known: Option<&str>,
) -> Result<Site, AuthError> {
    let Some(resource) = resource(fetch, server, named).await? else {
        return before_2025_06(fetch, server).await;
    };
    let published = resource["resource"].as_str().unwrap_or_default();
    if !covers(published, server) {
        return Err(AuthError::Resource {
            server: server.to_string(),
            found: published.to_owned(),
        });
    }
    let trusted = resource["authorization_servers"].as_array();
    let trusted = trusted.into_iter().flatten().filter_map(Value::as_str);
    let trusted: Vec<_> = trusted.collect();
    let kept = known.filter(|known| trusted.contains(known));
    let Some(id) = kept.or(trusted.first().copied()) else {
        let why = "its metadata names no authorization server";
        return Err(AuthError::fetch(&server.to_string(), why));
    };
    let scopes = resource["scopes_supported"]
        .as_array()
        .into_iter()
        .flatten();
    let scopes: Vec<_> = scopes.filter_map(Value::as_str).collect();
    Ok(Site {
        resource: published.to_owned(),
        scopes: words(&scopes.join(" ")),
        dpop: resource["dpop_bound_access_tokens_required"] == Value::Bool(true),
        issuer: issuer(fetch, id).await?,
    })
}

/// The metadata of the resource: where the server says, else by its path, else at the root.
async fn resource(
    fetch: &Fetch,
    server: &Uri,
    named: Option<&str>,
) -> Result<Option<Value>, AuthError> {
    const WHAT: &str = "the metadata of the resource";
    if let Some(url) = named {
        let answer = fetch.get(WHAT, url).await?;
        let object = answer.object().filter(|_| answer.status == StatusCode::OK);
        let wanted = || AuthError::fetch(url, format!("no metadata, but {}", answer.shown()));
        return object.map(Some).ok_or_else(wanted);
    }
    let base = base(server);
    let path = server.path().trim_end_matches('/');
    let mut tried = vec![path];
    if !path.is_empty() {
        tried.push("");
    }
    for path in tried {
        let url = format!("{base}/.well-known/oauth-protected-resource{path}");
        let answer = fetch.look(WHAT, &url).await?;
        if let (StatusCode::OK, Some(object)) = (answer.status, answer.object()) {
            return Ok(Some(object));
        }
    }
    Ok(None)
}

/// Scheme and authority of a URL.
fn base(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority = uri.authority().map_or("", |it| it.as_str());
    format!("{scheme}://{authority}")
}

/// Servers of 2025-03-26 publish no metadata of their own: they are authorization servers
/// themselves, or have one at their root.
async fn before_2025_06(fetch: &Fetch, server: &Uri) -> Result<Site, AuthError> {
    Ok(Site {
        resource: server.to_string(),
        scopes: Vec::new(),
        dpop: false,
        issuer: issuer(fetch, &base(server)).await?,
    })
}

/// Whether the resource that was published is the server, or what the server is a part of.
fn covers(published: &str, server: &Uri) -> bool {
    let Ok(uri) = published.parse::<Uri>() else {
        return false;
    };
    if origin(&uri) != origin(server) || published.contains('#') {
        return false;
    }
    let rest = server.path().strip_prefix(uri.path().trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The metadata of an authorization server, from the first of the places where it may be.
// [mcp:auth-discovery] [mcp:auth-issuer]
async fn issuer(fetch: &Fetch, id: &str) -> Result<Issuer, AuthError> {
    const WHAT: &str = "the authorization server";
    let uri = fetch.places.check(WHAT, id)?;
    if uri.query().is_some() || id.contains('#') {
        return Err(AuthError::Url {
            what: WHAT,
            url: id.to_owned(),
            why: "an issuer has neither query nor fragment",
        });
    }
    let base = base(&uri);
    let path = uri.path().trim_end_matches('/');
    let mut places = vec![
        format!("{base}/.well-known/oauth-authorization-server{path}"),
        format!("{base}/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        places.push(format!("{base}{path}/.well-known/openid-configuration"));
    }
    let mut found = String::new();
    for url in places {
        let answer = fetch
            .look("the metadata of the authorization server", &url)
            .await?;
        let Some(metadata) = answer.object().filter(|_| answer.status == StatusCode::OK) else {
            found = format!("no metadata of an authorization server: {}", answer.shown());
            continue;
        };
        // To the letter: who lets a slash pass lets two servers pass for one.
        let named = metadata["issuer"].as_str().unwrap_or_default();
        return match named == id {
            true => Ok(Issuer {
                id: id.to_owned(),
                metadata,
            }),
            false => Err(AuthError::Issuer {
                wanted: id.to_owned(),
                found: named.to_owned(),
            }),
        };
    }
    Err(AuthError::fetch(id, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_covers_what_lies_below_it_at_its_own_origin() {
        let server: Uri = "https://h.example/a/mcp".parse().unwrap();
        for good in [
            "https://h.example/a/mcp",
            "https://H.example:443/a/mcp",
            "https://h.example/a",
            "https://h.example/a/",
            "https://h.example/",
            "https://h.example",
        ] {
            assert!(covers(good, &server), "{good}");
        }
        for bad in [
            "",
            "/a/mcp",
            "http://h.example/a/mcp",
            "https://h.example:8443/a/mcp",
            "https://evil.example/a/mcp",
            "https://h.example.evil.example/a/mcp",
            "https://h.example/a/m",
            "https://h.example/a/mcp/x",
            "https://h.example/a/mcp#x",
        ] {
            assert!(!covers(bad, &server), "{bad}");
        }
    }
}
