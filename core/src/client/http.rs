//! Streamable HTTP: one POST a message; answers as JSON or as a stream of events.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming as Body};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::connect::dns::GaiResolver;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::auth::{Authorizer, Challenge, Ticket};
use super::error::ClientError;
use super::limits::{Limits, RETRY_MIN_MS};
use super::message::{Incoming, read};
use super::peer::{Peer, lock};
use super::sse::Events;
use super::tls::{self, Pool};

pub(crate) type Headers = Vec<(HeaderName, HeaderValue)>;

/// The legacy session, if the server made one, and the negotiated version.
#[derive(Clone, Default)]
pub(crate) struct Session {
    pub(crate) id: Option<HeaderValue>,
    pub(crate) version: Option<&'static str>,
}

pub(crate) struct Http {
    pool: Pool<GaiResolver>,
    uri: Uri,
    headers: Headers,
    limits: Limits,
    auth: Option<Authorizer>,
    session: Mutex<Session>,
}

/// What a POST is answered with.
pub(crate) enum Reply {
    Accepted,
    Message(Vec<u8>),
    Stream(Events),
}

impl Http {
    pub(crate) fn new(uri: Uri, peer: &Peer) -> Result<Self, ClientError> {
        let limits = peer.options.limits.clone();
        let mut headers = Headers::new();
        for (name, value) in &peer.options.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) else {
                return Err(ClientError::Option("a header that is no header".to_owned()));
            };
            headers.push((name, value));
        }
        let pool = tls::pool_for(&uri, &peer.options.certificates, limits.connect_ms)?;
        let told = headers.iter().any(|(name, _)| name == AUTHORIZATION);
        let auth = peer.options.auth.clone().filter(|_| !told).map(|auth| {
            let (roots, busy) = (peer.options.certificates.clone(), peer.answering());
            Authorizer::new(auth, uri.clone(), roots, limits.clone(), busy)
        });
        Ok(Self {
            pool,
            uri,
            headers,
            limits,
            auth,
            session: Mutex::default(),
        })
    }

    pub(crate) fn session(&self) -> Session {
        lock(&self.session).clone()
    }

    pub(crate) fn set_session(&self, session: Session) {
        *lock(&self.session) = session;
    }

    /// Sends with a token, if the server wants one; gets another if it refuses the one it was sent.
    async fn send(
        &self,
        method: Method,
        body: Vec<u8>,
        extra: Headers,
    ) -> Result<Response<Body>, ClientError> {
        let body = Bytes::from(body);
        let Some(auth) = &self.auth else {
            return self.send_with(method, body, extra, None).await;
        };
        let mut tries = 0;
        loop {
            let ticket = auth.ticket().await;
            let stamped = ticket.as_deref().map(|ticket| (auth, ticket));
            let (again, more) = (method.clone(), extra.clone());
            let outcome = self.send_with(again, body.clone(), more, stamped).await;
            let Err(ClientError::Unauthorized { status, challenge }) = &outcome else {
                return outcome;
            };
            let sent = ticket.as_deref().map(Ticket::scheme);
            let challenge = Challenge::read(challenge.as_deref().unwrap_or_default(), sent);
            // Nobody signs in to say goodbye, and not every 403 is about the token.
            let ours = *status == 401 || challenge.wants_more();
            if !ours || tries == self.limits.token_count || method == Method::DELETE {
                return outcome;
            }
            if !challenge.wants_nonce() {
                auth.renew(ticket.as_ref(), &challenge, tries).await?;
            }
            tries += 1;
        }
    }

    async fn send_with(
        &self,
        method: Method,
        body: Bytes,
        extra: Headers,
        stamped: Option<(&Authorizer, &Ticket)>,
    ) -> Result<Response<Body>, ClientError> {
        let session = self.session();
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        for (name, value) in self.headers.iter().cloned().chain(extra) {
            headers.insert(name, value);
        }
        if let Some((auth, ticket)) = stamped {
            auth.stamp(ticket, method.as_str(), headers)?;
        }
        let named = session.id.is_some();
        // [mcp:http-send-session]
        if let Some(id) = session.id {
            headers.insert("mcp-session-id", id);
        }
        // [mcp:http-send-version]
        if let Some(version) = session.version {
            headers.insert("mcp-protocol-version", HeaderValue::from_static(version));
        }
        *request.method_mut() = method;
        let response = self.pool.request(request).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            match error.is_connect() {
                true => ClientError::Unreachable(cause.unwrap_or_else(|| error.to_string())),
                false => match cause.filter(|it| it.contains("invalid HTTP")) {
                    Some(cause) => ClientError::Garbage(cause),
                    None => ClientError::Closed,
                },
            }
        })?;
        if let Some((auth, _)) = stamped {
            auth.heed(response.headers());
        }
        self.judge(response, named).await
    }

    /// Turns a status that is no success into an error.
    async fn judge(
        &self,
        response: Response<Body>,
        in_session: bool,
    ) -> Result<Response<Body>, ClientError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let field = |name| {
            let value = response.headers().get(name);
            value.and_then(|it: &HeaderValue| it.to_str().ok().map(str::to_owned))
        };
        if status.is_redirection() {
            return Err(ClientError::Redirect {
                status: status.as_u16(),
                location: field(LOCATION).unwrap_or_default(),
            });
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
            let challenges: Vec<_> = challenges.filter_map(|it| it.to_str().ok()).collect();
            return Err(ClientError::Unauthorized {
                status: status.as_u16(),
                challenge: (!challenges.is_empty()).then(|| challenges.join(", ")),
            });
        }
        if status == StatusCode::NOT_FOUND && in_session {
            return Err(ClientError::SessionGone);
        }
        let body = self.body(response, self.limits.message_bytes).await?;
        if let Ok([Incoming::Answer(_, Err(error))]) = read(&body).as_deref() {
            return Err(error.clone());
        }
        let shown = &body[..body.len().min(self.limits.excerpt_bytes)];
        Err(ClientError::Status {
            status: status.as_u16(),
            excerpt: String::from_utf8_lossy(shown).into_owned(),
        })
    }

    async fn body(
        &self,
        response: Response<Body>,
        bytes_max: usize,
    ) -> Result<Vec<u8>, ClientError> {
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ClientError::Closed)?;
            bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if bytes.len() > bytes_max {
                return Err(ClientError::TooMuch("message_bytes"));
            }
        }
        Ok(bytes)
    }

    pub(crate) async fn post(
        &self,
        body: Vec<u8>,
        extra: Headers,
    ) -> Result<(Reply, Option<HeaderValue>), ClientError> {
        let response = self.send(Method::POST, body, for_post(extra)).await?;
        let session = response.headers().get("mcp-session-id").cloned();
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|it| it.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let reply = match kind.to_ascii_lowercase().as_str() {
            "text/event-stream" => {
                Reply::Stream(Events::new(response.into_body(), self.limits.message_bytes))
            }
            "application/json" => {
                let bytes = self.body(response, self.limits.message_bytes).await?;
                Reply::Message(bytes)
            }
            _ if response.status() == StatusCode::ACCEPTED => Reply::Accepted,
            other => return Err(ClientError::Garbage(format!("content of type `{other}`"))),
        };
        Ok((reply, session))
    }

    /// A notification, or an answer to a question.
    pub(crate) async fn tell(&self, body: Vec<u8>, extra: Headers) -> Result<(), ClientError> {
        let sent = self.send(Method::POST, body, for_post(extra)).await;
        sent.map(|_| ())
    }

    /// The stream of a session, or the rest of one after the event `after`.
    // [mcp:http-get-accept]
    pub(crate) async fn get(&self, after: Option<&str>) -> Result<Events, ClientError> {
        let mut extra = vec![(ACCEPT, HeaderValue::from_static("text/event-stream"))];
        if let Some(id) = after.and_then(|id| HeaderValue::from_str(id).ok()) {
            extra.push((HeaderName::from_static("last-event-id"), id));
        }
        let response = self.send(Method::GET, Vec::new(), extra).await?;
        let mut events = Events::new(response.into_body(), self.limits.message_bytes);
        events.last_id = after.map(str::to_owned);
        Ok(events)
    }

    /// Ends the session.
    pub(crate) async fn delete(&self) -> Result<(), ClientError> {
        self.send(Method::DELETE, Vec::new(), Headers::new())
            .await
            .map(|_| ())
    }

    /// Sends the request `id` and returns its result; other messages go to the peer.
    pub(crate) async fn request(
        &self,
        peer: &Peer,
        id: u64,
        body: Vec<u8>,
        extra: Headers,
    ) -> Result<(Value, Option<HeaderValue>), ClientError> {
        let (reply, session) = self.post(body, extra).await?;
        match reply {
            // The answer may come on another stream.
            Reply::Accepted => std::future::pending().await,
            Reply::Message(bytes) => match self.take(peer, &bytes, Some(id)).await? {
                Some(result) => Ok((result, session)),
                None => Err(ClientError::Garbage("no answer to the request".to_owned())),
            },
            Reply::Stream(events) => {
                let result = self.follow(peer, events, Some(id)).await?;
                Ok((result, session))
            }
        }
    }

    /// Takes in what a stream brings, and comes back to it when it ends before the answer to `id`;
    /// without an id it goes on until the server cannot be found there any more.
    async fn follow(
        &self,
        peer: &Peer,
        mut events: Events,
        id: Option<u64>,
    ) -> Result<Value, ClientError> {
        let mut tries = 0;
        loop {
            while let Some(data) = events.next().await? {
                tries = 0;
                if let Some(result) = self.take(peer, &data, id).await? {
                    return Ok(result);
                }
            }
            let after = events.last_id.take();
            let lost = id.is_some() && (after.is_none() || self.session().version.is_none());
            loop {
                if lost || tries == self.limits.reconnect_count {
                    return Err(ClientError::Closed);
                }
                tries += 1;
                let retry = Duration::from_millis(self.limits.retry_ms);
                let longest = Duration::from_millis(self.limits.retry_max_ms);
                let shortest = Duration::from_millis(RETRY_MIN_MS).min(longest);
                sleep(events.retry.unwrap_or(retry).clamp(shortest, longest)).await;
                match self.get(after.as_deref()).await {
                    Ok(again) => {
                        let retry = events.retry;
                        events = again;
                        events.retry = retry;
                        // A stream that waits for nothing in particular may well be silent.
                        tries = if id.is_some() { tries } else { 0 };
                        break;
                    }
                    Err(ClientError::Unreachable(_) | ClientError::Closed) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// The session's own stream, for as long as the server keeps it up; `open` hears when the
    /// server has answered.
    pub(crate) async fn stream(self: Arc<Self>, peer: Arc<Peer>, open: oneshot::Sender<()>) {
        let events = self.get(None).await;
        // Whoever no longer waits has gone on without the stream.
        let _ = open.send(());
        if let Ok(events) = events {
            // Its end is no error: it says only that nothing more comes unasked.
            let _ = self.follow(&peer, events, None).await;
        }
    }

    async fn take(
        &self,
        peer: &Peer,
        bytes: &[u8],
        wanted: Option<u64>,
    ) -> Result<Option<Value>, ClientError> {
        let mut result = None;
        for incoming in read(bytes)? {
            match incoming {
                Incoming::Answer(id, outcome)
                    if wanted.is_some() && (id == wanted || id.is_none()) =>
                {
                    result = Some(outcome?);
                }
                other => {
                    if let Some(question) = peer.take(other) {
                        let answer = peer.answer(question).await;
                        self.tell(answer, Headers::new()).await?;
                    }
                }
            }
        }
        Ok(result)
    }
}

/// What every POST carries besides.
// [mcp:http-post] [mcp:http-accept]
fn for_post(mut extra: Headers) -> Headers {
    extra.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    let both = HeaderValue::from_static("application/json, text/event-stream");
    extra.push((ACCEPT, both));
    extra
}
