//! Who a client is to an authorization server: registered beforehand, known by its metadata
//! document, or registered by itself (RFC 7591), in this order.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use form_urlencoded::{Serializer, byte_serialize};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{HeaderMap, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::AuthError;
use super::fetch::{Fetch, JSON};
use super::keys::{Key, now_s};
use super::metadata::Issuer;
use super::options::Auth;
use super::place::is_loopback;

const BASIC: &str = "client_secret_basic";
const POST: &str = "client_secret_post";
const NONE: &str = "none";
const KEY: &str = "private_key_jwt";

/// How a client shows who it is.
#[derive(Clone)]
pub(crate) enum Proof {
    None,
    Basic(String),
    Post(String),
    Key(Arc<Key>),
}

/// A client as one authorization server knows it.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) proof: Proof,
    /// It registered itself: it may do so again.
    pub(crate) by_itself: bool,
}

/// What a registration gave; kept by issuer.
#[derive(Serialize, Deserialize)]
struct Registered {
    client_id: String,
    client_secret: Option<String>,
    method: String,
    redirect_uri: String,
    /// Seconds since 1970; 0 for never.
    #[serde(default)]
    client_secret_expires_at: u64,
}

impl Identity {
    /// Adds to a request for a token who asks.
    pub(crate) fn sign(
        &self,
        issuer: &Issuer,
        form: &mut Serializer<'_, String>,
        headers: &mut HeaderMap,
    ) -> Result<(), AuthError> {
        if !matches!(self.proof, Proof::Basic(_)) {
            form.append_pair("client_id", &self.id);
        }
        match &self.proof {
            Proof::None => {}
            Proof::Basic(secret) => {
                let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let both = format!("{}:{}", encode(&self.id), encode(secret));
                let value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(both)));
                let mut value = value.map_err(|error| AuthError::Option(error.to_string()))?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            Proof::Post(secret) => {
                form.append_pair("client_secret", secret);
            }
            Proof::Key(key) => {
                const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.append_pair("client_assertion_type", KIND);
                form.append_pair("client_assertion", &key.assertion(&self.id, &issuer.id)?);
            }
        }
        Ok(())
    }
}

/// How an id with this secret or key is shown, as far as the authorization server takes it.
fn proof(auth: &Auth, issuer: &Issuer) -> Proof {
    const METHODS: &str = "token_endpoint_auth_methods_supported";
    // RFC 8414, section 2: where nothing is named it is Basic.
    let silent = issuer.list(METHODS).next().is_none();
    match (&auth.key, &auth.client_secret) {
        (Some(key), None) => Proof::Key(key.clone()),
        (Some(key), _) if issuer.has(METHODS, KEY) => Proof::Key(key.clone()),
        (_, Some(secret)) if silent || issuer.has(METHODS, BASIC) => Proof::Basic(secret.clone()),
        (_, Some(secret)) if issuer.has(METHODS, POST) => Proof::Post(secret.clone()),
        (_, Some(secret)) => Proof::Basic(secret.clone()),
        (None, None) => Proof::None,
    }
}

/// The id that the client was given, unless it belongs to another authorization server.
pub(crate) fn given(auth: &Auth, issuer: &Issuer) -> Option<Identity> {
    let id = auth.client_id.as_ref()?;
    let theirs = auth.issuer.as_ref().is_none_or(|it| *it == issuer.id);
    theirs.then(|| Identity {
        id: id.clone(),
        proof: proof(auth, issuer),
        by_itself: false,
    })
}

/// The client's metadata document, if the authorization server takes such ones and is not another
/// than the one that was given.
// [mcp:auth-client-document]
pub(crate) fn documented(auth: &Auth, issuer: &Issuer) -> Option<Identity> {
    let url = auth.metadata_url.as_ref()?;
    let taken = issuer.flag("client_id_metadata_document_supported");
    let theirs = auth.issuer.as_ref().is_none_or(|it| *it == issuer.id);
    (taken && theirs).then(|| Identity {
        id: url.clone(),
        proof: auth
            .key
            .as_ref()
            .map_or(Proof::None, |key| Proof::Key(key.clone())),
        by_itself: false,
    })
}

/// Under which key a registration is kept.
pub(crate) fn kept_under(issuer: &str) -> String {
    format!("client {issuer}")
}

/// A registration that is kept, if it still holds. Without `redirect_uri` any will do.
pub(crate) fn kept(value: Option<Value>, redirect_uri: Option<&str>) -> Option<Identity> {
    let kept: Registered = serde_json::from_value(value?).ok()?;
    let there = redirect_uri.is_none_or(|uri| lead_to_one(uri, &kept.redirect_uri));
    let expires = kept.client_secret_expires_at;
    let valid = expires == 0 || expires > now_s();
    (there && valid).then(|| identity(kept))
}

/// Whether an authorization server that knows one of two redirect URIs takes the other too: at an
/// address of this host every port is as good as another (RFC 8252, section 7.3).
fn lead_to_one(one: &str, other: &str) -> bool {
    let placed = |text: &str| {
        let uri: Uri = text.parse().ok()?;
        let host = uri.host()?.to_owned();
        let here = is_loopback(&uri) && host.starts_with(|it: char| it == '[' || it.is_numeric());
        let path = uri.path_and_query()?.to_string();
        here.then(|| (uri.scheme_str().map(str::to_owned), host, path))
    };
    one == other || placed(one).is_some_and(|it| placed(other) == Some(it))
}

fn identity(registered: Registered) -> Identity {
    let proof = match (registered.method.as_str(), registered.client_secret) {
        (POST, Some(secret)) => Proof::Post(secret),
        (BASIC, Some(secret)) => Proof::Basic(secret),
        _ => Proof::None,
    };
    Identity {
        id: registered.client_id,
        proof,
        by_itself: true,
    }
}

/// Registers; also what is to be kept of it.
// [mcp:auth-registration]
pub(crate) async fn register(
    fetch: &Fetch,
    auth: &Auth,
    issuer: &Issuer,
    redirect_uri: &str,
) -> Result<(Identity, Value), AuthError> {
    let Some(endpoint) = issuer.text("registration_endpoint") else {
        return Err(AuthError::NoClient(issuer.id.clone()));
    };
    let methods: Vec<_> = issuer
        .list("token_endpoint_auth_methods_supported")
        .collect();
    // A program on somebody's desk keeps no secrets from its user.
    let ours = [NONE, BASIC, POST]
        .into_iter()
        .find(|it| methods.contains(it));
    let method = ours.unwrap_or(if methods.is_empty() { BASIC } else { NONE });
    let uri: Option<Uri> = redirect_uri.parse().ok();
    let on_the_web = uri
        .is_some_and(|it| matches!(it.scheme_str(), Some("http" | "https")) && !is_loopback(&it));
    let body = json!({
        "client_name": auth.client_name,
        "application_type": if on_the_web { "web" } else { "native" },
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
    });
    let answer = fetch.post(
        "the place to register at",
        endpoint,
        JSON,
        body.to_string(),
        HeaderMap::new(),
    );
    let answer = answer.await?;
    let given = answer.object().filter(|_| answer.status.is_success());
    let refused = || AuthError::fetch(endpoint, format!("no registration: {}", answer.shown()));
    let mut given = given.ok_or_else(refused)?;
    given["redirect_uri"] = redirect_uri.into();
    let chosen = given["token_endpoint_auth_method"]
        .as_str()
        .unwrap_or(method);
    given["method"] = chosen.into();
    let registered: Registered = serde_json::from_value(given)
        .map_err(|error| AuthError::fetch(endpoint, format!("no registration: {error}")))?;
    let kept = json!(registered);
    Ok((identity(registered), kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_this_host_are_one_as_a_place_to_come_back_to() {
        let here = "http://127.0.0.1:4000/callback";
        for (other, good) in [
            ("http://127.0.0.1:4000/callback", true),
            ("http://127.0.0.1:5000/callback", true),
            ("http://127.0.0.1/callback", true),
            ("http://127.0.0.1:5000/other", false),
            ("http://127.0.0.2:4000/callback", false),
            ("https://127.0.0.1:4000/callback", false),
            ("http://localhost:4000/callback", false),
            ("nonsense", false),
        ] {
            assert_eq!(lead_to_one(here, other), good, "{other}");
        }
        // A name may be anybody's, as may a host elsewhere.
        assert!(!lead_to_one("http://localhost:1/", "http://localhost:2/"));
        assert!(!lead_to_one("https://192.0.2.1:1/", "https://192.0.2.1:2/"));
        assert!(lead_to_one("http://[::1]:1/", "http://[::1]:2/"));
    }
}
