//! Tokens, and the requests for them (OAuth 2.1, sections 3.2, 4.1.3, 4.2 and 4.3; RFC 7523;
//! RFC 8693; RFC 8707).

use form_urlencoded::Serializer;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::AuthError;
use super::fetch::{Answer, FORM, Fetch};
use super::identity::Identity;
use super::keys::{Key, now_s};
use super::metadata::Site;
use super::options::Grant;

/// Seconds before its end from which a token is no longer used: it takes a while to arrive.
const EARLY_S: u64 = 10;
/// Bytes of a token that is accepted.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Characters of a refusal that are shown.
const SHOWN_CHARS: usize = 300;

pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
const NONCE: &str = "dpop-nonce";

/// A token, and whose it is. No part of it may be shown.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) issuer: String,
    pub(crate) resource: String,
    pub(crate) client_id: String,
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    /// Seconds since 1970.
    pub(crate) expires_s: Option<u64>,
    /// What was asked for, from the first sign-in on.
    pub(crate) scopes: Vec<String>,
    /// The key to which it is bound.
    pub(crate) key: Option<String>,
    /// Where the server has said that its metadata is.
    pub(crate) metadata: Option<String>,
    /// By what right it was given: a person's token is not the client's own.
    pub(crate) grant: String,
}

impl Token {
    pub(crate) fn is_over(&self) -> bool {
        self.expires_s.is_some_and(|end| end <= now_s() + EARLY_S)
    }
}

/// What a token is asked for with, besides who asks and for what.
pub(crate) type Pairs<'a> = Vec<(&'static str, &'a str)>;

/// A request for a token.
pub(crate) struct Wish<'a> {
    pub(crate) site: &'a Site,
    pub(crate) identity: &'a Identity,
    pub(crate) scopes: &'a [String],
    pub(crate) grant: &'a Grant,
    /// The key to which the token is to be bound.
    pub(crate) key: Option<&'a Key>,
}

impl Wish<'_> {
    /// Asks with `pairs`; `None` of a scope when the answer is about the earlier request's.
    pub(crate) async fn ask(
        &self,
        fetch: &Fetch,
        pairs: &Pairs<'_>,
        with_scope: bool,
    ) -> Result<Token, AuthError> {
        let endpoint = self.site.issuer.endpoint("token_endpoint")?;
        let mut nonce: Option<String> = None;
        // Once more if the authorization server wants its nonce in the proof (RFC 9449, section 8).
        loop {
            let (body, mut headers) = self.form(pairs, with_scope)?;
            if let Some(key) = self.key {
                let proof = key.proof("POST", endpoint, None, nonce.as_deref())?;
                headers.insert(DPOP, header(proof)?);
            }
            let what = "the place to get tokens from";
            let answer = fetch.post(what, endpoint, FORM, body, headers).await?;
            if answer.status.is_success() {
                return self.take(endpoint, &answer);
            }
            let error = refusal(endpoint, &answer);
            let given = answer.headers.get(NONCE).and_then(|it| it.to_str().ok());
            match (&error, given) {
                (AuthError::Refused { code, .. }, Some(given))
                    if code == "use_dpop_nonce" && nonce.is_none() && self.key.is_some() =>
                {
                    nonce = Some(given.to_owned());
                }
                _ => return Err(error),
            }
        }
    }

    // [mcp:auth-resource]
    fn form(&self, pairs: &Pairs<'_>, with_scope: bool) -> Result<(String, HeaderMap), AuthError> {
        let mut form = Serializer::new(String::new());
        form.extend_pairs(pairs);
        form.append_pair("resource", &self.site.resource);
        if with_scope && !self.scopes.is_empty() {
            form.append_pair("scope", &self.scopes.join(" "));
        }
        let mut headers = HeaderMap::new();
        self.identity
            .sign(&self.site.issuer, &mut form, &mut headers)?;
        Ok((form.finish(), headers))
    }

    fn take(&self, endpoint: &str, answer: &Answer) -> Result<Token, AuthError> {
        let wrong = |why: &str| AuthError::fetch(endpoint, why);
        let given = answer
            .object()
            .ok_or_else(|| wrong("no token, and no JSON"))?;
        let access =
            text(&given, "access_token").ok_or_else(|| wrong("an answer without token"))?;
        let long = access.len() > TOKEN_BYTES_MAX;
        if long || HeaderValue::from_str(&access).is_err() {
            return Err(wrong("a token that cannot be sent"));
        }
        let kind = text(&given, "token_type").unwrap_or_default();
        let bound = kind.eq_ignore_ascii_case("dpop");
        if !bound && !kind.eq_ignore_ascii_case("bearer") {
            return Err(wrong("a token of a type that is neither Bearer nor DPoP"));
        }
        let key = self.key.filter(|_| bound);
        if bound && key.is_none() {
            return Err(wrong(
                "a token that is bound to a key, which was not asked for",
            ));
        }
        let lasts = given["expires_in"].as_u64();
        Ok(Token {
            issuer: self.site.issuer.id.clone(),
            resource: self.site.resource.clone(),
            client_id: self.identity.id.clone(),
            access,
            refresh: text(&given, "refresh_token"),
            expires_s: lasts.map(|lasts| now_s().saturating_add(lasts)),
            scopes: self.scopes.to_vec(),
            key: key.map(Key::to_text),
            metadata: None,
            grant: self.grant.kind().to_owned(),
        })
    }
}

/// The kind of token that vouches for a person at another authorization server (ID-JAG).
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// Exchanges a person's identity token for an assertion that `site` takes (RFC 8693, section 2).
pub(crate) async fn exchange(
    fetch: &Fetch,
    site: &Site,
    endpoint: &str,
    client_id: &str,
    id_token: &str,
) -> Result<String, AuthError> {
    let pairs = [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("requested_token_type", ID_JAG),
        ("subject_token", id_token),
        (
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:id_token",
        ),
        ("audience", &site.issuer.id),
        ("resource", &site.resource),
        ("client_id", client_id),
    ];
    let form = Serializer::new(String::new()).extend_pairs(pairs).finish();
    let what = "the identity provider";
    let sent = fetch.post(what, endpoint, FORM, form, HeaderMap::new());
    let answer = sent.await?;
    if !answer.status.is_success() {
        return Err(refusal(endpoint, &answer));
    }
    let given = answer.object().unwrap_or_default();
    let nothing = || AuthError::fetch(endpoint, "an answer without token");
    // A token of another kind may be good at this very provider: nobody else is to see it.
    let kind = shown(&given["issued_token_type"]);
    if kind != ID_JAG {
        let why = format!("wanted an `issued_token_type` of `{ID_JAG}`, found `{kind}`");
        return Err(AuthError::fetch(endpoint, why));
    }
    text(&given, "access_token").ok_or_else(nothing)
}

/// Why no token was given (OAuth 2.1, section 3.2.4).
fn refusal(endpoint: &str, answer: &Answer) -> AuthError {
    let given = answer.object().unwrap_or_default();
    match text(&given, "error") {
        Some(_) => AuthError::Refused {
            code: shown(&given["error"]),
            description: shown(&given["error_description"]),
        },
        None => AuthError::fetch(endpoint, format!("no token: {}", answer.shown())),
    }
}

/// The beginning of a text for people.
fn shown(text: &Value) -> String {
    let text = text.as_str().unwrap_or_default();
    text.chars().take(SHOWN_CHARS).collect()
}

fn text(of: &Value, name: &str) -> Option<String> {
    of[name].as_str().map(str::to_owned)
}

/// A secret as the value of a header.
pub(crate) fn header(text: String) -> Result<HeaderValue, AuthError> {
    let value = HeaderValue::try_from(text);
    let mut value = value.map_err(|error| AuthError::Option(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}
