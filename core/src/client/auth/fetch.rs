//! Requests to authorization servers and for metadata: bounded in size and time, never redirected.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::error::AuthError;
use super::place::{Places, Resolver};
use crate::client::limits::Limits;
use crate::client::tls::{self, Pool};

/// Bytes of an answer that an error shows.
const SHOWN_BYTES: usize = 200;

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
pub(crate) const JSON: &str = "application/json";

pub(crate) struct Fetch {
    pub(crate) places: Places,
    extra: Vec<CertificateDer<'static>>,
    limits: Limits,
    /// Made when first needed: the host's roots are not read for a server that wants no token.
    pool: OnceCell<Pool<Resolver>>,
}

/// What was answered, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// The body as a JSON object.
    pub(crate) fn object(&self) -> Option<Value> {
        let value: Option<Value> = serde_json::from_slice(&self.body).ok();
        value.filter(Value::is_object)
    }

    /// The answer, unless it only says where another would be.
    fn unless_redirected(self, url: &str) -> Result<Self, AuthError> {
        match self.status.is_redirection() {
            true => Err(AuthError::fetch(url, self.shown())),
            false => Ok(self),
        }
    }

    /// Status and beginning of the body, for people.
    pub(crate) fn shown(&self) -> String {
        if self.status.is_redirection() {
            let to = self.headers.get(LOCATION).and_then(|it| it.to_str().ok());
            let to = to.unwrap_or_default();
            return format!("it points to `{to}`: redirects are not followed");
        }
        let shown = &self.body[..self.body.len().min(SHOWN_BYTES)];
        let text = String::from_utf8_lossy(shown);
        format!("status {}: {text}", self.status.as_u16())
    }
}

impl Fetch {
    pub(crate) fn new(places: Places, extra: Vec<CertificateDer<'static>>, limits: Limits) -> Self {
        Self {
            places,
            extra,
            limits,
            pool: OnceCell::new(),
        }
    }

    async fn pool(&self) -> &Pool<Resolver> {
        let made = async {
            let tcp = HttpConnector::new_with_resolver(Resolver::new(self.places));
            // Without roots every certificate is refused, which is the right answer then.
            let roots = tls::roots(&self.extra).unwrap_or_else(|_| RootCertStore::empty());
            tls::pool(tcp, roots, self.limits.connect_ms)
        };
        self.pool.get_or_init(|| made).await
    }

    /// Reads `what` at `url`, where somebody says that it is.
    pub(crate) async fn get(&self, what: &'static str, url: &str) -> Result<Answer, AuthError> {
        self.look(what, url).await?.unless_redirected(url)
    }

    /// Reads `what` if it is at `url`, which nobody has named: a redirection says only that it is
    /// not, and that is for the caller to see.
    pub(crate) async fn look(&self, what: &'static str, url: &str) -> Result<Answer, AuthError> {
        let uri = self.places.check(what, url)?;
        let request = Request::new(Full::new(Bytes::new()));
        self.send(url, uri, request).await
    }

    /// Sends `body`, which is of the media type `kind`.
    pub(crate) async fn post(
        &self,
        what: &'static str,
        url: &str,
        kind: &'static str,
        body: String,
        headers: HeaderMap,
    ) -> Result<Answer, AuthError> {
        let uri = self.places.check(what, url)?;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = headers;
        let kind = HeaderValue::from_static(kind);
        request.headers_mut().insert(CONTENT_TYPE, kind);
        self.send(url, uri, request).await?.unless_redirected(url)
    }

    async fn send(
        &self,
        url: &str,
        uri: Uri,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Answer, AuthError> {
        *request.uri_mut() = uri;
        let json = HeaderValue::from_static(JSON);
        request.headers_mut().insert(ACCEPT, json);
        let answered = async {
            let response = self.pool().await.request(request).await;
            let response = response.map_err(|error| AuthError::fetch(url, cause(&error)))?;
            self.take(url, response).await
        };
        let time = Duration::from_millis(self.limits.fetch_ms);
        let late = || AuthError::fetch(url, "no answer within the limit fetch_ms");
        timeout(time, answered)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    async fn take(&self, url: &str, response: Response<Incoming>) -> Result<Answer, AuthError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let (mut incoming, mut body) = (response.into_body(), Vec::new());
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|_| AuthError::fetch(url, "the answer breaks off"))?;
            body.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if body.len() > self.limits.metadata_bytes {
                let why = "the answer is larger than the limit metadata_bytes allows";
                return Err(AuthError::fetch(url, why));
            }
        }
        Ok(Answer {
            status,
            headers,
            body,
        })
    }
}

/// The innermost reason of an error: the outer ones only say that there is one.
fn cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(inner) = error.source() {
        error = inner;
    }
    error.to_string()
}
