//! A person at a browser: the URL to visit, and what comes back from it (OAuth 2.1, sections 4.1.1
//! and 4.1.2; RFC 9207; for the listener RFC 8252, section 7.3).

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use form_urlencoded::{Serializer, parse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::error::AuthError;
use super::fetch::Fetch;
use super::keys;
use super::metadata::Site;
use crate::client::limits::Limits;

/// Bytes of a request to the listener: a browser sends its cookies for this host along.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// Visits to the listener that are not the one that is waited for.
const STRAYS_MAX: usize = 64;
/// Time that one visitor may take to say what it wants.
const VISIT: Duration = Duration::from_secs(5);

pub(crate) type Visit =
    dyn Fn(String) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send>> + Send + Sync;

/// How a person is asked.
#[derive(Clone)]
pub(crate) enum SignIn {
    Here {
        port: u16,
        show: Arc<dyn Fn(&str) + Send + Sync>,
    },
    Own {
        redirect_uri: String,
        visit: Arc<Visit>,
    },
}

/// A sign-in that can begin: it is known where the browser will come back to.
pub(crate) enum Waiting {
    Here(TcpListener, Arc<dyn Fn(&str) + Send + Sync>),
    Own(Arc<Visit>),
}

/// What a sign-in is exchanged for a token with.
pub(crate) struct Code {
    pub(crate) code: String,
    pub(crate) verifier: String,
}

impl SignIn {
    /// Gets ready; the URI is where the browser comes back to.
    pub(crate) async fn ready(&self) -> Result<(String, Waiting), AuthError> {
        match self {
            Self::Own {
                redirect_uri,
                visit,
            } => Ok((redirect_uri.clone(), Waiting::Own(visit.clone()))),
            Self::Here { port, show } => {
                let failed = |error: std::io::Error| {
                    let why = format!("cannot listen on 127.0.0.1:{port} for the browser: {error}");
                    AuthError::SignIn(why)
                };
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).await;
                let listener = listener.map_err(failed)?;
                let port = listener.local_addr().map_err(failed)?.port();
                let uri = format!("http://127.0.0.1:{port}/callback");
                Ok((uri, Waiting::Here(listener, show.clone())))
            }
        }
    }
}

impl Waiting {
    /// Sends the person to the authorization server and waits for the code.
    pub(crate) async fn code(
        self,
        fetch: &Fetch,
        site: &Site,
        client_id: &str,
        redirect_uri: &str,
        scopes: &[String],
        limits: &Limits,
    ) -> Result<Code, AuthError> {
        let (verifier, state) = (keys::secret()?, keys::secret()?);
        let to = site.issuer.endpoint("authorization_endpoint")?;
        // A browser would run what stands behind other schemes.
        fetch.places.check("the page to sign in at", to)?;
        let challenge = keys::digest(&verifier);
        let wanted = [
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", redirect_uri),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("state", &state),
            ("resource", &site.resource),
        ];
        let url = page(to, &wanted, scopes);
        let time = Duration::from_millis(limits.sign_in_ms);
        let back = timeout(time, self.visit(url, redirect_uri, &state)).await;
        let back = back.unwrap_or(Err(AuthError::Late))?;
        let code = answer(&back, &state, site)?;
        Ok(Code { code, verifier })
    }

    /// The query with which the browser came back.
    async fn visit(
        self,
        url: String,
        redirect_uri: &str,
        state: &str,
    ) -> Result<String, AuthError> {
        match self {
            Self::Own(visit) => {
                let back = visit(url).await.map_err(AuthError::SignIn)?;
                let rest = back.strip_prefix(redirect_uri);
                let query = rest.and_then(|it| it.split('#').next()?.strip_prefix(['?', '&']));
                let elsewhere = || {
                    let why = format!("wanted to come back to `{redirect_uri}`, came elsewhere");
                    AuthError::SignIn(why)
                };
                query.map(str::to_owned).ok_or_else(elsewhere)
            }
            Self::Here(listener, show) => {
                show(&url);
                await_browser(&listener, state).await
            }
        }
    }
}

/// The URL to visit: the page at `to`, with what is wanted there.
fn page(to: &str, wanted: &[(&str, &str)], scopes: &[String]) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(wanted);
    if !scopes.is_empty() {
        query.append_pair("scope", &scopes.join(" "));
    }
    if scopes.iter().any(|it| it == "offline_access") {
        // OpenID Connect Core, section 11: it counts only with consent.
        query.append_pair("prompt", "consent");
    }
    let to = to.split('#').next().unwrap_or_default();
    let joint = if to.contains('?') { '&' } else { '?' };
    format!("{to}{joint}{}", query.finish())
}

/// Judges what came back. Whose answer it is comes first: what others say is not even looked at.
fn answer(query: &str, state: &str, site: &Site) -> Result<String, AuthError> {
    let param = |name: &str| {
        let mut pairs = parse(query.as_bytes());
        let found = pairs.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    };
    if param("state").as_deref() != Some(state) {
        return Err(AuthError::State);
    }
    let promised = site
        .issuer
        .flag("authorization_response_iss_parameter_supported");
    match param("iss") {
        None if !promised => {}
        Some(iss) if iss == site.issuer.id => {}
        found => {
            let wanted = site.issuer.id.clone();
            return Err(AuthError::Iss { wanted, found });
        }
    }
    if let Some(code) = param("error") {
        return Err(AuthError::Refused {
            code,
            description: param("error_description").unwrap_or_default(),
        });
    }
    let nothing = || AuthError::SignIn("the browser came back without a code".to_owned());
    param("code").ok_or_else(nothing)
}

/// Waits for the visit that brings this state. Others, such as a browser's look for an icon or
/// somebody's attempt to slip in a code, are turned away and end nothing.
async fn await_browser(listener: &TcpListener, state: &str) -> Result<String, AuthError> {
    for _ in 0..STRAYS_MAX {
        let accepted = listener.accept().await;
        let (mut stream, _) = accepted.map_err(|it| AuthError::SignIn(it.to_string()))?;
        let Ok(Some(query)) = timeout(VISIT, visitor(&mut stream)).await else {
            reply(&mut stream, "404 Not Found", "Nothing is here.").await;
            continue;
        };
        let ours = parse(query.as_bytes()).any(|(key, value)| key == "state" && value == state);
        if ours {
            let text = "This window can be closed: the program that asked has got its answer.";
            reply(&mut stream, "200 OK", text).await;
            return Ok(query);
        }
        reply(
            &mut stream,
            "400 Bad Request",
            "This is not the sign-in that is waited for.",
        )
        .await;
    }
    let why = format!("{STRAYS_MAX} visits, and none was of this sign-in");
    Err(AuthError::SignIn(why))
}

/// The query of a visit to the callback.
async fn visitor(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let mut table = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut table);
        if request.parse(&bytes).ok()?.is_complete() {
            let path = request.path.filter(|_| request.method == Some("GET"))?;
            return path.strip_prefix("/callback?").map(str::to_owned);
        }
        let n = stream.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&chunk[..n]);
        if bytes.len() > REQUEST_BYTES_MAX {
            return None;
        }
    }
}

async fn reply(stream: &mut TcpStream, status: &str, text: &str) {
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\
         Connection: close\r\n\r\n{text}"
    );
    // A browser that has gone need not be told; the answer it brought counts.
    let _ = timeout(VISIT, stream.write_all(answer.as_bytes())).await;
}
