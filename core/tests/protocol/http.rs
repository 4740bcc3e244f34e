//! The HTTP layer around a message: paths, verbs, Host, Origin, media types, connections.

use ninefold::service::Outcome;
use serde_json::json;

use crate::harness::{Node, modern, text};

#[test]
fn paths_and_verbs() {
    // [mcp:http-endpoint] [mcp:http-get]
    let node = Node::new();
    let bare = |verb: &str, target: &str, fields: &str| {
        node.one(format!(
            "{verb} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
        ))
    };
    for verb in ["PUT", "OPTIONS", "HEAD", "PATCH", "TRACE"] {
        let answer = bare(verb, "/mcp", "");
        assert_eq!(answer.status, 405, "{verb}");
        assert_eq!(answer.field("allow"), Some("POST, GET, DELETE"));
    }
    for target in [
        "/",
        "/mcp/",
        "/MCP",
        "/health",
        "/mcp%20",
        "*",
        "http://localhost/",
    ] {
        assert_eq!(bare("POST", target, "").status, 404, "{target}");
    }
    for target in [
        "/mcp?x=1",
        "http://localhost:8080/mcp",
        "HTTP://127.0.0.1/mcp?x",
    ] {
        assert_eq!(bare("PUT", target, "").status, 405, "{target}");
    }
    for verb in ["GET", "DELETE"] {
        let fields = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Session-Id: x\r\n";
        let modern = bare(verb, "/mcp", fields);
        assert_eq!((modern.status, modern.field("allow")), (405, Some("POST")));
    }
    assert_eq!(bare("GET", "/mcp", "").refusal(), (406, Some(-32600)));
    let stream = "Accept: text/event-stream\r\n";
    assert_eq!(bare("GET", "/mcp", stream).refusal(), (400, Some(-32000)));
    assert_eq!(bare("DELETE", "/mcp", "").refusal(), (400, Some(-32000)));
}

#[test]
fn foreign_hosts_and_origins_are_refused() {
    // [mcp:http-origin]
    let node = Node::new();
    let ping = modern("tools/list", json!({}));
    let with = |host: &str, origin: &str| {
        let request = ping.replacen("Host: localhost:8080\r\n", host, 1);
        node.one(request.replacen("Accept:", &format!("{origin}Accept:"), 1))
    };
    let local = "Host: localhost:8080\r\n";
    let evil = "Host: evil.example.com\r\n";
    let evil_origin = "Origin: http://evil.example.com\r\n";
    for (host, origin) in [
        (evil, ""),
        (local, evil_origin),
        (evil, evil_origin),
        (local, "Origin: null\r\n"),
    ] {
        let answer = with(host, origin);
        assert_eq!(answer.refusal(), (403, Some(-32600)), "{host} {origin}");
        assert!(answer.json().get("id").is_none());
    }
    assert_eq!(with(local, "Origin: http://localhost:8080\r\n").status, 200);
    assert_eq!(with("Host: [::1]:8080\r\n", "").status, 200);
    assert_eq!(
        (node.count("refused_host"), node.count("refused_origin")),
        (2, 2)
    );
    let absolute = ping.replacen("/mcp", "http://evil.example.com/mcp", 1);
    assert_eq!(
        node.one(absolute).status,
        403,
        "the target's authority overrides Host"
    );
}

#[test]
fn media_types_are_checked() {
    let node = Node::new();
    let request = modern("tools/list", json!({}));
    let accept = "Accept: application/json, text/event-stream";
    let content = "Content-Type: application/json";
    for (old, new, status) in [
        (content, "Content-Type: text/plain", 415),
        (content, "X: y", 415),
        (
            content,
            "Content-Type: application/json; charset=utf-8",
            200,
        ),
        (content, "Content-Type: Application/JSON", 200),
        (accept, "Accept: application/json", 406),
        (accept, "Accept: text/event-stream", 406),
        (accept, "Accept: text/html", 406),
        (accept, "X: y", 406),
        (
            accept,
            "Accept: application/json;q=0, text/event-stream",
            406,
        ),
        (accept, "Accept: */*", 200),
        (
            accept,
            "Accept: text/event-stream;q=0.5,application/json",
            200,
        ),
        (accept, "Accept: application/*\r\nAccept: text/*", 200),
    ] {
        assert_eq!(
            node.one(request.replacen(old, new, 1)).status,
            status,
            "{new}"
        );
    }
    assert_eq!(
        (
            node.count("refused_accept"),
            node.count("refused_content_type")
        ),
        (5, 2)
    );
}

#[test]
fn connections_are_kept_or_closed_as_asked() {
    let node = Node::new();
    let request = modern("tools/list", json!({}));
    let close = |request: &str| {
        let (answers, outcome) = node.send(request);
        let connection = answers[0].field("connection").map(str::to_owned);
        (
            outcome.is_some_and(|Outcome { close, .. }| close),
            connection,
        )
    };
    let old = request.replacen("HTTP/1.1", "HTTP/1.0", 1);
    let kept = old.replacen("Host:", "Connection: Keep-Alive\r\nHost:", 1);
    let closed = request.replacen("Host:", "Connection: x, Close\r\nHost:", 1);
    assert_eq!(close(&request), (false, None));
    assert_eq!(close(&old), (true, Some("close".into())));
    assert_eq!(close(&kept), (false, Some("keep-alive".into())));
    assert_eq!(close(&closed), (true, Some("close".into())));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let node = Node::new();
    let echo = |text: &str| {
        modern(
            "tools/call",
            json!({"name": "echo", "arguments": {"text": text}}),
        )
    };
    let all = [echo("one"), modern("nope", json!({})), echo("three")].concat();
    let (answers, _) = node.send(&all);
    assert_eq!(text(&answers[0].json()), "one");
    assert_eq!(answers[1].refusal(), (404, Some(-32601)));
    assert_eq!(text(&answers[2].json()), "three");
    // The same bytes, one at a time.
    let pieces: Vec<_> = all.as_bytes().chunks(1).collect();
    let (again, _) = node.send_in_pieces(&pieces);
    assert_eq!(again.len(), 3);
    assert!(again.iter().zip(&answers).all(|(a, b)| a.body == b.body));
}
