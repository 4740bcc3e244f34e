//! The legacy era: sessions from `initialize` to DELETE, and the statuses that SDKs expect.

use serde_json::{Value, json};

use crate::harness::{Node, initialize, legacy, post};

#[test]
fn legacy_sessions_live_from_initialize_to_delete() {
    // [mcp:init-version] [mcp:init-answer] [mcp:ping] [mcp:http-accepted]
    let node = Node::new();
    for (asked, wanted) in [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2024-11-05"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let result = &node.initialize(asked).1["result"];
        assert_eq!(result["protocolVersion"], wanted);
        let wanted = json!({"logging": {}, "tools": {"listChanged": true}});
        assert_eq!(result["capabilities"], wanted);
        assert_eq!(result["serverInfo"]["version"], "1.2.3");
        assert_eq!(result["instructions"], "Use it.");
        assert!(result.get("resultType").is_none());
    }
    let (session, _) = node.initialize("2025-11-25");
    let send = |body: Value| node.one(legacy(Some(&session), &body));
    let ping = send(json!({"method": "ping", "id": "p", "jsonrpc": "2.0"}));
    assert_eq!(
        ping.json(),
        json!({"jsonrpc": "2.0", "id": "p", "result": {}})
    );
    let list = send(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).json();
    let members: Vec<_> = list["result"]
        .as_object()
        .expect("a result")
        .keys()
        .collect();
    assert_eq!(members, ["tools"]);
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": {"name": "echo", "arguments": {"text": "x"}}});
    let wanted = json!({"content": [{"type": "text", "text": "x"}]});
    assert_eq!(send(call.clone()).json()["result"], wanted);
    assert_eq!(
        send(json!({"jsonrpc": "2.0", "id": 3, "result": {}})).status,
        202
    );

    let delete = format!(
        "DELETE /mcp HTTP/1.1\r\nHost: localhost\r\nMcp-Session-Id: {session}\r\n\
         MCP-Protocol-Version: 2025-11-25\r\n\r\n"
    );
    assert_eq!(node.one(&delete).status, 204);
    assert_eq!(node.one(&delete).refusal(), (404, Some(-32001)));
    assert_eq!(send(call).refusal(), (404, Some(-32001)));
}

#[test]
fn legacy_errors_have_the_status_that_sdks_expect() {
    let node = Node::new();
    let (session, _) = node.initialize("2025-11-25");
    let request = |method: &str, params: Value| {
        let envelope = "2.0";
        json!({"jsonrpc": envelope, "id": 1, "method": method, "params": params})
    };
    let known = Some(session.as_str());
    for (session, body, wanted) in [
        (known, request("nonsense", json!({})), (200, Some(-32601))),
        (
            known,
            request("server/discover", json!({})),
            (200, Some(-32601)),
        ),
        (
            known,
            request("logging/setLevel", json!({"level": "loud"})),
            (200, Some(-32602)),
        ),
        (
            known,
            request("tools/call", json!({"name": "nope"})),
            (200, Some(-32602)),
        ),
        (known, request("tools/call", json!({})), (200, Some(-32602))),
        (
            known,
            request("tools/list", json!({"cursor": "x"})),
            (200, Some(-32602)),
        ),
        (None, request("tools/list", json!({})), (400, Some(-32000))),
        (
            Some("unknown"),
            request("tools/list", json!({})),
            (404, Some(-32001)),
        ),
        (
            Some("é"),
            request("tools/list", json!({})),
            (404, Some(-32001)),
        ),
        (None, request("initialize", json!({})), (200, Some(-32602))),
        (
            None,
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            (400, Some(-32000)),
        ),
        (None, json!([initialize("2025-11-25")]), (400, Some(-32600))),
    ] {
        let answer = node.one(legacy(session, &body));
        assert_eq!(answer.refusal(), wanted, "{body}");
    }
    let header = [("mcp-protocol-version", "2025-11-25")];
    let answer = node.one(post(&header, &initialize("2025-11-25").to_string()));
    assert_eq!(answer.json()["result"]["protocolVersion"], "2025-11-25");
}

#[test]
fn sessions_beyond_the_limit_are_refused_with_retry_after() {
    let mut node = Node::new();
    node.sessions.capacity = Some(1);
    node.initialize("2025-11-25");
    let answer = node.one(legacy(None, &initialize("2025-11-25")));
    assert_eq!(answer.status, 503);
    assert_eq!(answer.field("retry-after"), Some("1"));
    assert_eq!(answer.json()["id"], 0);
    assert_eq!(node.count("refused_session_capacity"), 1);
}

#[test]
fn batches_are_for_the_one_version_that_has_them() {
    let node = Node::new();
    let (session, _) = node.initialize("2025-03-26");
    let request = |id: i32, method: &str| json!({"jsonrpc": "2.0", "id": id, "method": method});
    let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled"});
    let ready = json!({"jsonrpc": "2.0", "id": 4, "method": "tools/call",
        "params": {"name": "ready"}});
    let send = |session: &str, body: Value| node.one(legacy(Some(session), &body));
    let answer = send(
        &session,
        json!([request(1, "ping"), note, request(2, "nothing"), 7]),
    );
    let answers = answer.json();
    let ids: Vec<_> = answers.as_array().expect("a batch").iter().collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(answers[0], json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    assert_eq!(answers[1]["error"]["code"], -32601);
    assert_eq!(answers[2]["error"]["code"], -32600);
    let events = send(&session, json!([request(1, "ping"), ready])).events();
    assert_eq!((&events[0]["id"], &events[1]["id"]), (&json!(1), &json!(4)));
    assert_eq!(send(&session, json!([note])).status, 202);
    let flood: Vec<_> = (0..65).map(|id| request(id, "ping")).collect();
    assert_eq!(send(&session, json!(flood)).refusal(), (400, Some(-32600)));
    assert_eq!(send(&session, json!([])).refusal(), (400, Some(-32600)));
    // An id is bounded in a batch as it is alone, and what goes beyond is not echoed.
    let long = json!({"jsonrpc": "2.0", "id": "x".repeat(1025), "method": "ping"});
    let answers = send(&session, json!([long, request(1, "ping")])).json();
    assert_eq!(answers[0]["error"]["code"], -32600);
    assert!(answers[0]["id"].is_null());
    assert_eq!(answers[1]["id"], 1);
    let (other, _) = node.initialize("2025-11-25");
    let refused = send(&other, json!([request(1, "ping")]));
    assert_eq!(refused.refusal(), (400, Some(-32600)));
}
