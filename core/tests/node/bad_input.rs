//! Bad input against the binary: the exact status and error, a line in the log, a counter, and no
//! harm to the request beside it.

use std::io::Write;

use serde_json::{Value, json};

use crate::client::{META, call, delete, echo, in_session, legacy, modern, post};
use crate::process::Process;

/// Sends `request` on a connection of its own while another connection is being served.
fn refused(
    node: &Process,
    request: impl AsRef<[u8]>,
    wanted: (u16, Option<i64>),
    counter: &str,
) -> Value {
    let request = request.as_ref();
    let status = format!("status={}", wanted.0);
    let words = ["request refused", status.as_str()];
    let before = node.logged(&words);
    let answer = node.beside(counter, || node.ask(request));
    let shown = String::from_utf8_lossy(&request[..request.len().min(400)]);
    assert_eq!(
        answer.refusal(),
        wanted,
        "{shown} is answered by {answer:?}"
    );
    node.logs(&words, before);
    if answer.body.is_empty() {
        Value::Null
    } else {
        answer.json()
    }
}

fn plain(body: &str) -> String {
    post(
        &[
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", "tools/list"),
        ],
        body,
    )
}

#[test]
fn what_is_not_json_rpc_is_refused() {
    let node = Process::serve(&["--shards", "1"]);
    for body in [
        "",
        "{",
        "nonsense",
        "{\"id\":1,}",
        "\u{0}",
        "{\"a\":1} {\"b\":2}",
    ] {
        let answer = refused(&node, plain(body), (400, Some(-32700)), "error_parse");
        assert!(
            answer.get("id").is_none(),
            "the id of what is not JSON is not known: {answer}"
        );
    }
    let deep = ["[".repeat(10_000), "]".repeat(10_000)].concat();
    refused(&node, plain(&deep), (400, Some(-32700)), "error_parse");
    refused(
        &node,
        plain(&"{\"a\":".repeat(10_000)),
        (400, Some(-32700)),
        "error_parse",
    );
    for body in [
        json!(null),
        json!(7),
        json!("text"),
        json!([]),
        json!({}),
        json!({"jsonrpc": "1.0", "id": 1, "method": "tools/list"}),
        json!({"jsonrpc": "2.0", "id": {}, "method": "tools/list"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": 7}),
        json!([{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}]),
    ] {
        let body = body.to_string();
        refused(
            &node,
            plain(&body),
            (400, Some(-32600)),
            "error_invalid_request",
        );
    }
}

#[test]
fn a_body_over_the_limit_is_refused_while_it_is_sent() {
    let node = Process::serve(&["--shards", "1"]);
    let body = vec![b' '; 16 << 20];
    let head = |framing: &str| plain("").replace("Content-Length: 0", framing);
    let sized = head(&format!("Content-Length: {}", body.len()));
    let chunked = head("Transfer-Encoding: chunked") + &format!("{:x}\r\n", body.len());
    for start in [sized, chunked] {
        let words = ["request refused", "status=413"];
        let before = node.logged(&words);
        let answer = node.beside("refused_framing", || {
            let mut client = node.connect();
            client.send(&start);
            // The node may close before it has read everything; the answer must still arrive.
            let _ = client.stream().write_all(&body);
            let answer = client.answer();
            client.closed();
            answer
        });
        assert_eq!(answer.refusal(), (413, Some(-32600)));
        assert_eq!(answer.field("connection"), Some("close"));
        node.logs(&words, before);
    }
}

#[test]
fn unknown_methods_and_tools_are_refused_in_both_eras() {
    let node = Process::serve(&["--shards", "1"]);
    let session = node.open_session();
    let none = json!({});
    let unknown = modern(1, "no/such", none.clone());
    refused(
        &node,
        unknown,
        (404, Some(-32601)),
        "error_method_not_found",
    );
    let unknown = in_session(&session, "no/such", none.clone());
    refused(
        &node,
        unknown,
        (200, Some(-32601)),
        "error_method_not_found",
    );
    let message = |answer: Value| answer["error"]["message"].as_str().unwrap_or("").to_owned();
    let unknown = call("no-such", none.clone());
    let answer = refused(&node, unknown, (200, Some(-32602)), "error_invalid_params");
    assert_eq!(message(answer), "Unknown tool: no-such");
    let unknown = in_session(&session, "tools/call", json!({"name": "no-such"}));
    let answer = refused(&node, unknown, (200, Some(-32602)), "error_invalid_params");
    assert_eq!(message(answer), "Unknown tool: no-such");
    let list = call("echo", json!([1]));
    refused(&node, list, (200, Some(-32602)), "error_invalid_params");
}

#[test]
fn wrong_argument_types_are_results_that_a_model_can_read() {
    let node = Process::serve(&["--shards", "1"]);
    for (tool, arguments, named) in [
        ("echo", json!({"text": 7}), "text"),
        ("echo", json!({}), "text"),
        ("add", json!({"a": "1", "b": 2}), "a"),
        ("sleep", json!({"ms": -1}), "ms"),
        ("hash", json!({"text": []}), "text"),
    ] {
        let answer = node.beside("modern_tools_call", || {
            node.ask(call(tool, arguments.clone()))
        });
        assert_eq!(
            answer.json()["result"]["isError"],
            true,
            "{tool} {arguments}"
        );
        let text = answer.result_text();
        assert!(text.contains(named), "{text:?} does not name {named}");
    }
}

#[test]
fn headers_that_do_not_mirror_the_body_are_refused() {
    let node = Process::serve(&["--shards", "1"]);
    let good = echo("x");
    let mismatch = (400, Some(-32020));
    for (field, right, wrong) in [
        ("MCP-Protocol-Version", "2026-07-28", "2025-11-25"),
        ("Mcp-Method", "tools/call", "tools/list"),
        ("Mcp-Name", "echo", "add"),
    ] {
        let line = format!("{field}: {right}\r\n");
        for other in [String::new(), format!("{field}: {wrong}\r\n")] {
            let request = good.replacen(&line, &other, 1);
            refused(&node, request, mismatch, "error_header_mismatch");
        }
    }
    let strange = good.replace("2026-07-28", "2099-01-01");
    let unsupported = (400, Some(-32022));
    let answer = refused(&node, strange, unsupported, "error_unsupported_version");
    assert_eq!(answer["error"]["data"]["supported"], json!(["2026-07-28"]));
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list",
        "params": {"_meta": {META: "2026-07-28"}}});
    let incomplete = plain(&body.to_string());
    refused(
        &node,
        incomplete,
        (400, Some(-32602)),
        "error_invalid_params",
    );
}

#[test]
fn requests_that_http_itself_forbids_are_refused() {
    let node = Process::serve(&["--shards", "1"]);
    let accept = "Accept: application/json, text/event-stream\r\n";
    let content = "Content-Type: application/json\r\n";
    let twice = "Transfer-Encoding: chunked\r\nContent-Length";
    for (found, other, status, counter) in [
        (accept, "", 406, "refused_accept"),
        ("text/event-stream", "text/html", 406, "refused_accept"),
        (content, "", 415, "refused_content_type"),
        (
            "application/json\r\n",
            "a/b\r\n",
            415,
            "refused_content_type",
        ),
        ("Host: localhost\r\n", "", 400, "refused_framing"),
        ("HTTP/1.1", "HTTP/2.0", 505, "refused_framing"),
        ("Host", "Host ", 400, "refused_framing"),
        ("Content-Length", twice, 400, "refused_framing"),
    ] {
        let request = echo("x").replacen(found, other, 1);
        refused(&node, request, (status, Some(-32600)), counter);
    }
    let elsewhere = echo("x").replacen("/mcp", "/mcq", 1);
    refused(&node, elsewhere, (404, None), "refused_path");
    let put = echo("x").replacen("POST", "PUT", 1);
    refused(&node, put, (405, None), "refused_verb");
}

#[test]
fn foreign_hosts_and_origins_are_refused() {
    let node = Process::serve(&["--shards", "1", "--allow-origin", "https://app.example.com"]);
    let with = |host: &str, origin: &str| {
        let request = echo("x").replacen("Host: localhost", &format!("Host: {host}"), 1);
        request.replacen("Accept:", &format!("Origin: {origin}\r\nAccept:"), 1)
    };
    let local = "http://localhost:3000";
    let foreign = (403, Some(-32600));
    refused(
        &node,
        with("evil.example.com", local),
        foreign,
        "refused_host",
    );
    refused(
        &node,
        with("localhost", "http://evil.example.com"),
        foreign,
        "refused_origin",
    );
    refused(&node, with("localhost", "null"), foreign, "refused_origin");
    for origin in [local, "https://app.example.com"] {
        assert_eq!(node.ask(with("127.0.0.1:80", origin)).result_text(), "x");
    }
}

#[test]
fn unknown_and_deleted_sessions_are_refused() {
    // [mcp:http-session-gone]
    let node = Process::serve(&["--shards", "1"]);
    let gone = (404, Some(-32001));
    let counter = "error_session_not_found";
    let ping = |session: &str| in_session(session, "ping", json!({}));
    let session = node.open_session();
    let mut forged = session.clone();
    // The last characters are the secret: the route is right, and the actor must not be fooled.
    forged.replace_range(
        30..34,
        if &session[30..34] == "AAAA" {
            "BBBB"
        } else {
            "AAAA"
        },
    );
    for unknown in ["x", &forged, &"A".repeat(43), &"A".repeat(4000)] {
        refused(&node, ping(unknown), gone, counter);
        refused(&node, delete(unknown), gone, counter);
    }
    let missing = legacy(None, &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}));
    refused(&node, missing, (400, Some(-32000)), "error_transport");
    assert_eq!(
        node.ask(ping(&session)).status,
        200,
        "the true session is unharmed"
    );
    assert_eq!(node.ask(delete(&session)).status, 204);
    refused(&node, ping(&session), gone, counter);
    refused(&node, delete(&session), gone, counter);
}
