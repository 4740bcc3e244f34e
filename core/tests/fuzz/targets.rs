//! What is fuzzed, as functions of bytes: each takes anything and panics when a promise is broken.
//!
//! `core/fuzz` runs them under libFuzzer, `main.rs` here over what it has found worth keeping.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bumpalo::Bump;
use ninefold::Server;
use ninefold::client::sse;
use ninefold::guard::Guard;
use ninefold::http::{Frame, Parser, Progress};
use ninefold::limits::Limits;
use ninefold::rpc::{JsonParser, Message};
use ninefold::service::Service;
use ninefold::session::{Change, SessionError, SessionFacts, SessionId, SessionView, Sessions};

/// Takes any bytes; panics when they break a promise.
#[allow(dead_code, reason = "a fuzzer runs one of them, the replay runs all")]
type Target = fn(&[u8]);

/// Every target by name, as in `core/fuzz/corpus`.
#[allow(dead_code, reason = "a fuzzer runs one of them, the replay runs all")]
pub(crate) const TARGETS: [(&str, Target); 5] = [
    ("head", head),
    ("framing", framing),
    ("envelope", envelope),
    ("events", events),
    ("values", values),
];

/// How the first requests of a connection are read.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Whole { body: Vec<u8>, consumed: usize },
    Unfinished,
    Refused,
}

/// What the parser makes of `bytes` when they arrive in pieces of `size`.
fn read_in_pieces(bytes: &[u8], size: usize, limits: &Limits) -> Vec<Verdict> {
    let (mut parser, mut buffer, mut verdicts) = (Parser::new(), Vec::new(), Vec::new());
    for piece in bytes.chunks(size.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            match parser.advance(&mut buffer, limits) {
                Ok(Progress::Incomplete(_)) => break,
                Ok(Progress::Complete(frame)) => {
                    let (body, consumed) = whole(&frame, &mut buffer);
                    verdicts.push(Verdict::Whole { body, consumed });
                    buffer.drain(..consumed);
                }
                Err(_) => {
                    verdicts.push(Verdict::Refused);
                    return verdicts;
                }
            }
        }
    }
    verdicts.push(Verdict::Unfinished);
    verdicts
}

fn whole(frame: &Frame, buffer: &mut [u8]) -> (Vec<u8>, usize) {
    let consumed = frame.consumed();
    assert!(consumed <= buffer.len(), "more was consumed than had come");
    let (head, body) = frame.split(buffer);
    for value in [head.host, head.origin, head.session, head.mcp_name]
        .into_iter()
        .flatten()
        .chain([head.path])
    {
        let forbidden = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        assert!(!value.iter().any(forbidden), "a value crosses its line");
    }
    (body.to_vec(), consumed)
}

/// Small, so that a fuzzer reaches them.
fn small_limits() -> Limits {
    Limits {
        request_line_bytes: 256,
        head_bytes: 1024,
        header_count: 16,
        body_bytes: 1024,
        ..Limits::default()
    }
}

/// Reads `bytes` in one piece and in others: the cut must not matter.
fn read(bytes: &[u8]) -> Vec<Verdict> {
    let limits = small_limits();
    let at_once = read_in_pieces(bytes, bytes.len(), &limits);
    for size in [1, 7] {
        let cut = read_in_pieces(bytes, size, &limits);
        assert_eq!(at_once, cut, "the verdict depends on pieces of {size}");
    }
    at_once
}

/// A connection's bytes: whatever is accepted has one length, which its head states plainly.
pub(crate) fn head(data: &[u8]) {
    let mut rest = data;
    for verdict in read(data) {
        let Verdict::Whole { body, consumed } = verdict else {
            return;
        };
        let (frame, behind) = rest.split_at(consumed);
        rest = behind;
        let end = memchr::memmem::find(frame, b"\r\n\r\n");
        let lines = frame[..end.expect("the end of a head")].split(|&byte| byte == b'\n');
        let fields = |wanted: &str| {
            let named = lines.clone().filter_map(|line| {
                let colon = line.iter().position(|&byte| byte == b':')?;
                let value = line[colon + 1..].trim_ascii();
                let same = line[..colon]
                    .trim_ascii()
                    .eq_ignore_ascii_case(wanted.as_bytes());
                same.then(|| String::from_utf8_lossy(value).into_owned())
            });
            named.collect::<Vec<_>>()
        };
        let (lengths, codings) = (fields("content-length"), fields("transfer-encoding"));
        match (lengths.as_slice(), codings.as_slice()) {
            ([], []) => assert!(body.is_empty(), "a body without a length"),
            ([length], []) => assert_eq!(length.parse(), Ok(body.len())),
            ([], [coding]) => assert!(coding.eq_ignore_ascii_case("chunked")),
            both => panic!("an ambiguous head was accepted: {both:?}"),
        }
    }
}

/// A chunked body: what is accepted is what a second, plainer decoder makes of it.
pub(crate) fn framing(data: &[u8]) {
    const HEAD: &[u8] = b"POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let verdicts = read(&[HEAD, data].concat());
    if let Some(Verdict::Whole { body, consumed }) = verdicts.first() {
        let plain = dechunked(data).expect("what is accepted is well-formed");
        assert_eq!((body, consumed - HEAD.len()), (&plain.0, plain.1));
    }
}

/// The body that `raw` begins with and its length there.
fn dechunked(raw: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    let line = |at: usize| -> Option<&str> {
        let end = memchr::memmem::find(&raw[at..], b"\r\n")?;
        std::str::from_utf8(&raw[at..at + end]).ok()
    };
    loop {
        let head = line(at)?;
        let size = usize::from_str_radix(head.split([';', ' ', '\t']).next()?, 16).ok()?;
        at += head.len() + 2;
        if size == 0 {
            break;
        }
        body.extend_from_slice(raw.get(at..at + size)?);
        at += size;
        raw[at..].starts_with(b"\r\n").then_some(())?;
        at += 2;
    }
    loop {
        let end = memchr::memmem::find(&raw[at..], b"\r\n")?;
        at += end + 2;
        if end == 0 {
            return Some((body, at));
        }
    }
}

/// A body: what is accepted as JSON another parser accepts too, and reading it as a message and
/// answering it panics for none.
pub(crate) fn envelope(data: &[u8]) {
    let arena = Bump::new();
    let mut body = data.to_vec();
    let mut parser = JsonParser::new(&Limits::default());
    if let Ok(root) = parser.parse(&mut body, &arena) {
        let other = serde_json::from_slice::<serde::de::IgnoredAny>(data);
        assert!(other.is_ok(), "accepted, but {other:?}");
        let _ = Message::read(root);
    }
    const HEAD: &str = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nMcp-Method: tools/call\r\n\
        MCP-Protocol-Version: 2026-07-28\r\nMcp-Name: echo\r\nContent-Type: application/json\r\n\
        Accept: application/json, text/event-stream\r\n";
    let head = format!("{HEAD}Content-Length: {}\r\n\r\n", data.len());
    answer(&[head.as_bytes(), data].concat());
}

/// A stream of events: neither how it is cut nor how its lines end makes a difference.
pub(crate) fn events(data: &[u8]) {
    let at_once = parsed(data, data.len());
    for size in [1, 3] {
        assert_eq!(parsed(data, size), at_once, "cut into pieces of {size}");
    }
    if !data.contains(&b'\r') {
        let ended = |end: &[u8]| {
            let lines: Vec<_> = data.split(|&byte| byte == b'\n').collect();
            parsed(&lines.join(end), data.len())
        };
        assert_eq!(ended(b"\r\n"), at_once);
        assert_eq!(ended(b"\r"), at_once);
    }
}

/// The events of `data` until one is too much.
fn parsed(data: &[u8], size: usize) -> (Vec<sse::Event>, bool) {
    const BYTES_MAX: usize = 256;
    let (mut parser, mut found) = (sse::Parser::new(BYTES_MAX), Vec::new());
    for piece in data.chunks(size.max(1)) {
        parser.push(piece);
        loop {
            match parser.next_event() {
                Ok(Some(event)) => {
                    assert!(event.data.len() <= BYTES_MAX);
                    found.push(event);
                }
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

/// Values of the fields that the node reads, one a line: every request that can be framed gets one
/// well-formed answer.
pub(crate) fn values(data: &[u8]) {
    const FIELDS: [&str; 9] = [
        "Host",
        "Origin",
        "Accept",
        "Content-Type",
        "MCP-Protocol-Version",
        "Mcp-Method",
        "Mcp-Name",
        "Mcp-Session-Id",
        "Last-Event-ID",
    ];
    const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo",
        "arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
        "io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let mut request = b"POST /mcp HTTP/1.1\r\n".to_vec();
    for (name, value) in FIELDS.iter().zip(data.split(|&byte| byte == b'\n')) {
        if value != b"-" {
            request.extend_from_slice(name.as_bytes());
            request.extend_from_slice(b": ");
            request.extend_from_slice(value);
            request.extend_from_slice(b"\r\n");
        }
    }
    let length = format!("Content-Length: {}\r\n\r\n{BODY}", BODY.len());
    request.extend_from_slice(length.as_bytes());
    answer(&request);
}

/// Answers the requests in `bytes`, and checks the answers' form.
fn answer(bytes: &[u8]) {
    let server =
        Server::builder("fuzzed", "1").tool("echo", "Echoes", |_: ninefold::NoArguments| "heard");
    let service = Service::new(server.build().expect("a server"), Guard::new(true));
    let (mut parser, mut input, mut out) = (Parser::new(), bytes.to_vec(), Vec::new());
    while let Ok(Progress::Complete(frame)) = parser.advance(&mut input, &Limits::default()) {
        let arena = Bump::new();
        let (head, body) = frame.split(&mut input);
        let start = out.len();
        let outcome = now(service.respond(&head, body, &arena, &NoSessions, &mut out));
        if outcome.rest.is_none() {
            well_formed(&out[start..], outcome.status);
        }
        input.drain(..frame.consumed());
    }
}

fn well_formed(answer: &[u8], status: u16) {
    let mut table = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut table);
    let Ok(httparse::Status::Complete(head)) = response.parse(answer) else {
        panic!("no answer: {}", String::from_utf8_lossy(answer));
    };
    assert_eq!(response.code, Some(status));
    let length = response.headers.iter().find_map(|it| {
        let same = it.name.eq_ignore_ascii_case("content-length");
        same.then(|| String::from_utf8_lossy(it.value).trim().parse())
    });
    let body = &answer[head..];
    assert_eq!(length.unwrap_or(Ok(0)), Ok(body.len()));
    if !body.is_empty() {
        let json = serde_json::from_slice::<serde::de::IgnoredAny>(body);
        assert!(json.is_ok(), "{}", String::from_utf8_lossy(body));
    }
}

/// Polls once: nothing here waits.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the answer had to wait"),
    }
}

/// A node that is full: every session is unknown, and there is no room for another.
struct NoSessions;

impl Sessions for NoSessions {
    async fn open(&self, _: SessionFacts) -> Result<SessionId, SessionError> {
        Err(SessionError::Full)
    }

    async fn check(&self, _: &str) -> Result<SessionView, SessionError> {
        Err(SessionError::Unknown)
    }

    async fn change(&self, _: &str, _: Change) -> Result<SessionView, SessionError> {
        Err(SessionError::Unknown)
    }

    async fn close(&self, _: &str) -> Result<(), SessionError> {
        Err(SessionError::Unknown)
    }
}
