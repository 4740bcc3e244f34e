//! Drives a service with the bytes of HTTP requests and reads the bytes of its answers: no
//! socket, no thread, no timer, and an executor that polls once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use bumpalo::Bump;
use ninefold::guard::Guard;
use ninefold::http::{Awaiting, HttpError, Parser, Progress};
use ninefold::limits::Limits;
use ninefold::rest::Rest;
use ninefold::server::Builder;
use ninefold::service::{Outcome, Service};
use ninefold::session::{Change, SessionError, SessionFacts, SessionId, SessionView, Sessions};
use ninefold::{NoArguments, Server};
use serde_json::{Value, json};

/// Sessions in a map: the protocol's side of the contract, without actors behind it.
#[derive(Default)]
pub(crate) struct MapSessions {
    open: RefCell<HashMap<String, SessionView>>,
    pub(crate) capacity: Option<usize>,
}

impl Sessions for MapSessions {
    async fn open(&self, facts: SessionFacts) -> Result<SessionId, SessionError> {
        let mut open = self.open.borrow_mut();
        if self.capacity.is_some_and(|capacity| open.len() >= capacity) {
            return Err(SessionError::Full);
        }
        let id = format!("session-{}", open.len());
        open.insert(id.clone(), SessionView::opened(&facts));
        Ok(SessionId::new(id).expect("visible ASCII"))
    }

    async fn check(&self, id: &str) -> Result<SessionView, SessionError> {
        self.open
            .borrow()
            .get(id)
            .copied()
            .ok_or(SessionError::Unknown)
    }

    async fn change(&self, id: &str, change: Change) -> Result<SessionView, SessionError> {
        let mut open = self.open.borrow_mut();
        let view = open.get_mut(id).ok_or(SessionError::Unknown)?;
        match change {
            Change::Initialized => view.initialized = true,
            Change::LogLevel(level) => view.log_level = level,
            Change::Subscribe(_) | Change::Unsubscribe(_) | Change::Cancel(_) => {}
        }
        Ok(*view)
    }

    async fn close(&self, id: &str) -> Result<(), SessionError> {
        self.open
            .borrow_mut()
            .remove(id)
            .map(drop)
            .ok_or(SessionError::Unknown)
    }
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// The messages of a stream of events.
    pub(crate) fn events(&self) -> Vec<Value> {
        assert_eq!(self.field("content-type"), Some("text/event-stream"));
        let text = String::from_utf8(self.body.clone()).expect("text");
        let data = text.lines().filter_map(|it| it.strip_prefix("data: "));
        data.map(|it| serde_json::from_str(it).expect("a message"))
            .collect()
    }

    /// Status and error code, for the table tests.
    pub(crate) fn refusal(&self) -> (u16, Option<i64>) {
        let code = if self.body.is_empty() {
            None
        } else {
            self.json()["error"]["code"].as_i64()
        };
        (self.status, code)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

pub(crate) struct Node {
    pub(crate) service: Service,
    pub(crate) sessions: MapSessions,
    pub(crate) limits: Limits,
}

impl Node {
    /// A node with the builtin tools and some that misbehave.
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(more: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = Server::builder("test \"node\"", "1.2.3").instructions("Use it.");
        Self::build(more(misbehaving(builder.builtin_tools(|| UNIX_EPOCH))))
    }

    pub(crate) fn limited(limits: Limits) -> Self {
        let builder = Server::builder("test", "1").limits(limits);
        Self::build(misbehaving(builder.builtin_tools(|| UNIX_EPOCH)))
    }

    /// A node for a shard of a real runtime, whose timers and pool it uses.
    pub(crate) fn on_runtime() -> Self {
        Self::with_on_runtime(|builder| builder)
    }

    pub(crate) fn with_on_runtime(more: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = Server::builder("test", "1").builtin_tools(|| UNIX_EPOCH);
        let server = more(misbehaving(builder)).build().expect("a valid server");
        let limits = server.limits().clone();
        let service = Service::new(server, Guard::new(true));
        Self {
            service,
            sessions: MapSessions::default(),
            limits,
        }
    }

    fn build(builder: Builder) -> Self {
        let server = builder.build().expect("a valid server");
        let limits = server.limits().clone();
        // A deadline that is over at once, so that a pending tool is a late one.
        let service = Service::new(server, Guard::new(true))
            .with_sleep(|_: Duration| Box::pin(std::future::ready(())));
        Self {
            service,
            sessions: MapSessions::default(),
            limits,
        }
    }

    /// Answers one complete request, however long its tool takes.
    pub(crate) async fn answer(&self, request: &str) -> Answer {
        let (mut input, mut out) = (request.as_bytes().to_vec(), Vec::new());
        let Ok(Progress::Complete(frame)) = Parser::new().advance(&mut input, &self.limits) else {
            panic!("wanted one complete request");
        };
        let arena = Bump::new();
        let (head, body) = frame.split(&mut input);
        let outcome = self
            .service
            .respond(&head, body, &arena, &self.sessions, &mut out)
            .await;
        if let Some(rest) = outcome.rest {
            self.to_end(*rest, &mut out).await;
        }
        answers(&out, &[false]).remove(0)
    }

    /// Takes the rest of an answer.
    async fn to_end(&self, mut rest: Rest, out: &mut Vec<u8>) {
        poll_fn(|cx| rest.poll(&self.service, cx, out).map(drop)).await;
    }

    /// Sends `bytes` as they would arrive on one connection; every answer and the last outcome.
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) -> (Vec<Answer>, Option<Outcome>) {
        self.send_in_pieces(&[bytes.as_ref()])
    }

    pub(crate) fn send_in_pieces(&self, pieces: &[&[u8]]) -> (Vec<Answer>, Option<Outcome>) {
        let (mut parser, mut input, mut out) = (Parser::new(), Vec::new(), Vec::new());
        let (mut last, mut heads) = (None, Vec::new());
        'connection: for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                match parser.advance(&mut input, &self.limits) {
                    Ok(Progress::Incomplete(_)) => break,
                    Ok(Progress::Complete(frame)) => {
                        let arena = Bump::new();
                        let (head, body) = frame.split(&mut input);
                        heads.push(head.method == ninefold::http::Method::Head);
                        let answer =
                            self.service
                                .respond(&head, body, &arena, &self.sessions, &mut out);
                        let mut outcome = now(answer);
                        if let Some(rest) = outcome.rest.take() {
                            now(self.to_end(*rest, &mut out));
                        }
                        last = Some(outcome);
                        input.drain(..frame.consumed());
                    }
                    Err(error) => {
                        heads.push(false);
                        last = Some(self.service.refuse_framing(error, &mut out));
                    }
                }
                if last.as_ref().is_some_and(|outcome| outcome.close) {
                    break 'connection;
                }
            }
        }
        (answers(&out, &heads), last)
    }

    /// Sends one request and takes its one answer.
    pub(crate) fn one(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let (mut answers, outcome) = self.send(bytes);
        assert_eq!(answers.len(), 1, "one answer for one request");
        let answer = answers.remove(0);
        let outcome = outcome.expect("an outcome");
        // What goes on had no status of its own yet.
        assert!(outcome.status == answer.status || outcome.status == 200);
        answer
    }

    pub(crate) fn modern(&self, method: &str, params: Value) -> Answer {
        self.one(modern(method, params))
    }

    pub(crate) fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.modern("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// Opens a legacy session and returns its id.
    pub(crate) fn initialize(&self, version: &str) -> (String, Value) {
        let answer = self.one(legacy(None, &initialize(version)));
        assert_eq!(answer.status, 200, "{answer:?}");
        let session = answer
            .field("mcp-session-id")
            .expect("a session id")
            .to_owned();
        let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(self.one(legacy(Some(&session), &note)).status, 202);
        (session, answer.json())
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        let mut found = None;
        self.service.counters().each(&mut |counter, _, value| {
            if counter == name {
                found = Some(value);
            }
        });
        found.expect("a counter of this name")
    }
}

fn misbehaving(builder: Builder) -> Builder {
    builder
        .tool("panics", "Panics at once", |_: NoArguments| -> String {
            panic!("secret")
        })
        .async_tool(
            "panics_later",
            "Panics when polled",
            |_: NoArguments| async {
                if true {
                    panic!("secret")
                }
            },
        )
        .blocking_tool(
            "panics_elsewhere",
            "Panics on the pool",
            |_: NoArguments| {
                if true {
                    panic!("secret")
                }
            },
        )
        .async_tool("ready", "Is ready at once", |_: NoArguments| async {
            "done"
        })
        .async_tool("never", "Is never ready", |_: NoArguments| {
            std::future::pending::<()>()
        })
}

/// Polls once: what is tested here never waits.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the answer had to wait"),
    }
}

/// Frames `bytes` alone: the verdict of the HTTP layer.
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, HttpError> {
    let mut buffer = bytes.to_vec();
    Ok(
        match Parser::new().advance(&mut buffer, &Limits::default())? {
            Progress::Incomplete(_) => None,
            Progress::Complete(frame) => {
                let body = frame.split(&mut buffer).1.to_vec();
                Some((body, frame.consumed()))
            }
        },
    )
}

pub(crate) fn awaiting(bytes: &[u8]) -> Awaiting {
    match Parser::new().advance(&mut bytes.to_vec(), &Limits::default()) {
        Ok(Progress::Incomplete(awaiting)) => awaiting,
        other => panic!("wanted an incomplete request, found {other:?}"),
    }
}

pub(crate) const META: &str = "io.modelcontextprotocol/protocolVersion";

pub(crate) fn meta(version: &str) -> Value {
    json!({
        META: version,
        "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

/// A POST of `body` with the fields every client sends and `fields` besides.
pub(crate) fn post(fields: &[(&str, &str)], body: &str) -> String {
    let mut request = String::from(
        "POST /mcp HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n",
    );
    for (name, value) in fields {
        request += &format!("{name}: {value}\r\n");
    }
    request + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A complete modern request with id 1.
pub(crate) fn modern(method: &str, mut params: Value) -> String {
    params["_meta"] = meta("2026-07-28");
    let name = params["name"]
        .as_str()
        .or(params["uri"].as_str())
        .unwrap_or("-")
        .to_owned();
    let fields = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", method),
        ("Mcp-Name", &name),
    ];
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    post(&fields, &body.to_string())
}

pub(crate) fn initialize(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": version, "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"}}})
}

pub(crate) fn legacy(session: Option<&str>, body: &Value) -> String {
    let fields: Vec<_> = session
        .map(|id| ("mcp-session-id", id))
        .into_iter()
        .collect();
    post(&fields, &body.to_string())
}

fn answers(mut bytes: &[u8], heads: &[bool]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for &head_only in heads {
        let mut table = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut table);
        let length = match response.parse(bytes).expect("a well-formed answer") {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => panic!("a cut-off answer: {bytes:?}"),
        };
        let status = response.code.expect("a status");
        let fields: HashMap<_, _> = response
            .headers
            .iter()
            .map(|it| {
                let value = String::from_utf8(it.value.to_vec()).expect("text");
                (it.name.to_ascii_lowercase(), value)
            })
            .collect();
        bytes = &bytes[length..];
        let (body, length) = match fields.get("content-length") {
            _ if head_only => (Vec::new(), 0),
            Some(length) => {
                let length = length.parse().expect("a length");
                (bytes[..length].to_vec(), length)
            }
            None if fields.contains_key("transfer-encoding") => dechunked(bytes),
            None => (Vec::new(), 0),
        };
        bytes = &bytes[length..];
        answers.push(Answer {
            status,
            fields,
            body,
        });
    }
    assert!(bytes.is_empty(), "bytes behind the last answer");
    answers
}

/// The first chunked body in `bytes`, and its length there.
fn dechunked(bytes: &[u8]) -> (Vec<u8>, usize) {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = bytes[at..].split(|&byte| byte == b'\r').next();
        let digits = std::str::from_utf8(line.expect("a line")).expect("text");
        let size = usize::from_str_radix(digits, 16).expect("a size");
        at += digits.len() + 2;
        body.extend_from_slice(&bytes[at..at + size]);
        at += size + 2;
        if size == 0 {
            return (body, at);
        }
    }
}

/// The text of the first block of a result.
pub(crate) fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
}
