//! One request from its params to its result.

use std::time::Duration;

use hyper::header::HeaderValue;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::error::ClientError;
use super::http::Headers;
use super::message::write;
use super::{Client, Transport};
use crate::mcp::{Era, META_CAPABILITIES, META_LOG_LEVEL, META_VERSION};

const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";
const HEADER_MISMATCH: i64 = -32020;

/// Tells the server when nobody waits for a request any more.
struct Cancel<'a> {
    client: &'a Client,
    id: u64,
    armed: bool,
}

impl Drop for Cancel<'_> {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        if let (true, Ok(runtime)) = (self.armed, runtime) {
            runtime.spawn(self.client.cancellation(self.id));
        }
    }
}

impl Client {
    /// Sends a request and follows it to its result: questions of the server are answered, rounds
    /// are gone through, and a session that has ended is opened again, once.
    pub async fn request(&self, method: &str, params: Value) -> Result<Value, ClientError> {
        let mut asked = params;
        let (mut renewed, mut listed) = (false, false);
        let mut rounds = 0;
        loop {
            let headers = match (self.era(), &self.transport) {
                (Era::Modern, Transport::Http(_)) => self.headers(method, &asked),
                _ => Headers::new(),
            };
            let session = self.session();
            let result = match self.once(method, &asked, headers).await {
                Err(ClientError::SessionGone) if !renewed => {
                    renewed = true;
                    self.renew(session).await?;
                    continue;
                }
                // The server wants headers that only the list of its tools can tell.
                Err(ClientError::Rpc {
                    code: HEADER_MISMATCH,
                    ..
                }) if method == "tools/call" && !listed => {
                    listed = true;
                    Box::pin(self.tools()).await?;
                    continue;
                }
                outcome => outcome?.0,
            };
            // [mcp:result-type-unknown] [mcp:result-type-absent]
            match result.get("resultType").and_then(Value::as_str) {
                None | Some("complete") => return Ok(result),
                Some("input_required") if self.era() == Era::Modern => {}
                Some(other) => return Err(ClientError::ResultType(other.to_owned())),
            }
            rounds += 1;
            if rounds > self.peer.options.limits.round_count {
                return Err(ClientError::TooMuch("round_count"));
            }
            self.next_round(&mut asked, &result).await?;
        }
    }

    /// Answers what a round asks; the request is then the one of the next round.
    // [mcp:mrtr-answer] [mcp:mrtr-echo] [mcp:mrtr-only-retry]
    async fn next_round(&self, asked: &mut Value, result: &Value) -> Result<(), ClientError> {
        let mut answers = Map::new();
        for (key, question) in result["inputRequests"].as_object().into_iter().flatten() {
            let method = question["method"].as_str().unwrap_or_default();
            let params = question["params"].clone();
            let Some(answer) = self.peer.ask(method, params).await else {
                return Err(ClientError::Unanswered(method.to_owned()));
            };
            let failed = |(code, message)| ClientError::Rpc {
                code,
                message,
                data: None,
            };
            answers.insert(key.clone(), answer.map_err(failed)?);
        }
        if let Some(asked) = asked.as_object_mut() {
            asked.remove("inputResponses");
            asked.remove("requestState");
            if !answers.is_empty() {
                asked.insert("inputResponses".to_owned(), answers.into());
            }
            if let Some(state) = result.get("requestState") {
                asked.insert("requestState".to_owned(), state.clone());
            }
        }
        Ok(())
    }

    fn session(&self) -> Option<HeaderValue> {
        match &self.transport {
            Transport::Http(http) => http.session().id,
            Transport::Stdio(_) => None,
        }
    }

    /// Opens a new session, unless another request has done so since `gone` was used.
    // [mcp:http-session-again]
    async fn renew(&self, gone: Option<HeaderValue>) -> Result<(), ClientError> {
        let _one = self.renewal.lock().await;
        if self.session() == gone {
            self.initialize().await?;
        }
        Ok(())
    }

    /// The headers of a modern request.
    pub(super) fn headers(&self, method: &str, params: &Value) -> Headers {
        let mut headers = self.params.headers(method, params);
        let version = HeaderValue::from_static(self.server().version.as_str());
        headers.push((
            hyper::header::HeaderName::from_static("mcp-protocol-version"),
            version,
        ));
        headers
    }

    /// Adds to params what the era wants in each request.
    // [mcp:meta-send] [mcp:elicit-declared] [mcp:sampling-declared] [mcp:roots-declared]
    pub(super) fn stamp(&self, id: u64, method: &str, params: &Value) -> Value {
        let mut params = params.clone();
        let options = &self.peer.options;
        if matches!(method, "tools/call" | "prompts/get" | "resources/read") {
            params["_meta"]["progressToken"] = id.into();
        }
        if self.era() == Era::Modern {
            let meta = &mut params["_meta"];
            meta[META_VERSION] = self.server().version.as_str().into();
            meta[META_CLIENT] = options.info.clone();
            meta[META_CAPABILITIES] = options.capabilities.clone();
            if let Some(level) = &options.log_level {
                meta[META_LOG_LEVEL] = level.as_str().into();
            }
        }
        params
    }

    /// Sends a request once and waits for its answer, which may come with a new session.
    pub(super) async fn once(
        &self,
        method: &str,
        params: &Value,
        headers: Headers,
    ) -> Result<(Value, Option<HeaderValue>), ClientError> {
        let mut waiting = self.peer.register()?;
        let (id, life) = (waiting.id, waiting.life.clone());
        let body = write(Some(id), method, &self.stamp(id, method, params));
        let mut cancel = Cancel {
            client: self,
            id,
            // [mcp:cancel-initialize] [mcp:cancel-known]
            armed: method != "initialize",
        };
        let outcome = tokio::select! {
            outcome = self.drive(id, body, headers) => outcome,
            answer = &mut waiting.answer => answer
                .unwrap_or(Err(ClientError::Closed))
                .map(|result| (result, None)),
            limit = self.peer.silence(&life) => Err(ClientError::late(method, limit)),
        };
        let late = outcome.as_ref().is_err_and(ClientError::is_late);
        if late && std::mem::take(&mut cancel.armed) {
            self.cancellation(id).await;
        }
        cancel.armed = false;
        outcome
    }

    async fn drive(
        &self,
        id: u64,
        body: Vec<u8>,
        headers: Headers,
    ) -> Result<(Value, Option<HeaderValue>), ClientError> {
        match &self.transport {
            Transport::Http(http) => http.request(&self.peer, id, body, headers).await,
            Transport::Stdio(stdio) => {
                stdio.write(body).await?;
                std::future::pending().await
            }
        }
    }

    /// Says that nobody waits for the request `id`. Over HTTP the modern era says so by closing.
    // [mcp:cancel-stdio]
    pub(super) fn cancellation(&self, id: u64) -> impl Future<Output = ()> + Send + 'static {
        let params = json!({"requestId": id, "reason": "nobody waits any more"});
        let body = write(None, "notifications/cancelled", &params);
        let time = Duration::from_millis(self.peer.options.limits.goodbye_ms);
        let modern = self.era() == Era::Modern;
        let transport = match &self.transport {
            Transport::Http(http) => Ok(http.clone()),
            Transport::Stdio(stdio) => Err(stdio.clone()),
        };
        async move {
            // A server that is gone has nothing to cancel.
            let _ = match transport {
                Ok(_) if modern => return,
                Ok(http) => timeout(time, http.tell(body, Headers::new())).await,
                Err(stdio) => timeout(time, stdio.write(body)).await,
            };
        }
    }

    pub(super) async fn notify(&self, method: &str, params: &Value) -> Result<(), ClientError> {
        let body = write(None, method, params);
        let told = async {
            match &self.transport {
                Transport::Http(http) => http.tell(body, Headers::new()).await,
                Transport::Stdio(stdio) => stdio.write(body).await,
            }
        };
        let life = Notify::new();
        tokio::select! {
            outcome = told => outcome,
            limit = self.peer.silence(&life) => Err(ClientError::late(method, limit)),
        }
    }
}
