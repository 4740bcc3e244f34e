//! In steady state a call of a synchronous tool allocates nothing but what the tool itself asks
//! for: head, JSON, dispatch and answer live in the connection's buffers and the arena.
#![expect(
    clippy::expect_used,
    reason = "a failed expectation is how a test fails"
)]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::UNIX_EPOCH;

use allocation_counter::measure;
use bumpalo::Bump;
use ninefold::Server;
use ninefold::guard::Guard;
use ninefold::http::{Parser, Progress};
use ninefold::mcp::{Capabilities, Version};
use ninefold::service::Service;
use ninefold::session::{Change, SessionError, SessionFacts, SessionId, SessionView, Sessions};

/// One session that is always there.
struct Open;

impl Sessions for Open {
    async fn open(&self, _: SessionFacts) -> Result<SessionId, SessionError> {
        Err(SessionError::Full)
    }

    async fn check(&self, _: &str) -> Result<SessionView, SessionError> {
        Ok(SessionView::opened(&SessionFacts {
            version: Version::V2025_11_25,
            client: Box::default(),
            capabilities: Capabilities::default(),
            owner: None,
        }))
    }

    async fn change(&self, id: &str, _: Change) -> Result<SessionView, SessionError> {
        self.check(id).await
    }

    async fn close(&self, _: &str) -> Result<(), SessionError> {
        Err(SessionError::Unknown)
    }
}

fn request(era: &str, params: &str) -> String {
    let body = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#);
    format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n{era}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Allocations of one call after some have warmed the buffers.
fn allocations_per_call(request: &str) -> u64 {
    let server = Server::builder("n", "1")
        .builtin_tools(|| UNIX_EPOCH)
        .build()
        .expect("a valid server");
    let limits = server.limits().clone();
    let service = Service::new(server, Guard::new(true));
    let (mut parser, mut input, mut out) = (Parser::new(), Vec::new(), Vec::new());
    let mut arena = Bump::new();
    let mut last = 0;
    for _ in 0..10 {
        let counted = measure(|| {
            input.clear();
            input.extend_from_slice(request.as_bytes());
            out.clear();
            let Ok(Progress::Complete(frame)) = parser.advance(&mut input, &limits) else {
                panic!("wanted one complete request");
            };
            let (head, body) = frame.split(&mut input);
            let answer = pin!(service.respond(&head, body, &arena, &Open, &mut out));
            let answered = answer.poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(answered, Poll::Ready(outcome) if outcome.status == 200));
        });
        arena.reset();
        last = counted.count_total;
    }
    assert!(
        out.windows(12).any(|it| it == b"\"content\":[{"),
        "a tool result"
    );
    last
}

#[test]
fn a_warm_call_allocates_nothing() {
    let text = "x\\n".repeat(500);
    let arguments = format!(r#""name":"echo","arguments":{{"text":"{text}"}}"#);
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
        "io.modelcontextprotocol/clientCapabilities":{}}"#;
    let modern = request(
        "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: echo\r\n",
        &format!("{{{arguments},{meta}}}"),
    );
    let legacy = request("Mcp-Session-Id: s\r\n", &format!("{{{arguments}}}"));
    let add = request(
        "Mcp-Session-Id: s\r\n",
        r#"{"name":"add","arguments":{"a":1,"b":0.5}}"#,
    );
    for (request, name) in [(modern, "modern"), (legacy, "legacy"), (add, "add")] {
        assert_eq!(allocations_per_call(&request), 0, "{name}");
    }
}
