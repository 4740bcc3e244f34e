//! The modern era: answers and their stamp, and every check in the order of the specification.

use serde_json::{Value, json};

use crate::harness::{META, Node, meta, post, text};

#[test]
fn modern_calls_are_answered_and_stamped() {
    // [mcp:result-type] [mcp:http-answer-kind]
    let node = Node::new();
    let answer = node.call("add", json!({"a": 2, "b": 3}));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), Some("application/json"));
    let info = json!({"name": "test \"node\"", "version": "1.2.3"});
    let wanted = json!({"jsonrpc": "2.0", "id": 1, "result": {
        "content": [{"type": "text", "text": "5"}],
        "resultType": "complete",
        "_meta": {"io.modelcontextprotocol/serverInfo": info}}});
    assert_eq!(answer.json(), wanted);
    for (tool, arguments, wanted) in [
        (
            "echo",
            json!({"text": "a\u{0}\n\"é\u{2028}"}),
            "a\u{0}\n\"é\u{2028}",
        ),
        ("add", json!({"a": 0.5, "b": 3}), "3.5"),
        ("time", json!({}), "1970-01-01T00:00:00.000Z"),
        ("ready", json!({}), "done"),
    ] {
        assert_eq!(text(&node.call(tool, arguments).json()), wanted);
    }
    assert_eq!(node.count("modern_tools_call"), 5);
}

#[test]
fn modern_discovery_and_list_are_cacheable() {
    // [mcp:discover] [mcp:cache-hints] [mcp:tools-declared] [mcp:tools-list] [mcp:logging-declared]
    let node = Node::new();
    let found = node.modern("server/discover", json!({})).json();
    let result = &found["result"];
    assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
    let wanted = json!({"logging": {}, "tools": {"listChanged": true}});
    assert_eq!(result["capabilities"], wanted);
    assert_eq!(result["instructions"], "Use it.");
    let list = node.modern("tools/list", json!({})).json();
    for result in [result, &list["result"]] {
        assert_eq!(result["resultType"], "complete");
        assert_eq!(result["ttlMs"], 300_000);
        assert_eq!(result["cacheScope"], "public");
        assert_eq!(
            result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
            "test \"node\""
        );
    }
    let tools = list["result"]["tools"].as_array().expect("tools");
    let names: Vec<_> = tools
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    assert_eq!(names[..5], ["echo", "add", "time", "sleep", "hash"]);
    for tool in tools {
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        assert!(tool["description"].is_string());
    }
    assert_eq!(tools[1]["inputSchema"]["properties"]["a"]["type"], "number");
    assert_eq!(tools[1]["inputSchema"]["required"], json!(["a", "b"]));
}

/// Status and error code of a request with id 7, the header lines `headers` and the given body.
fn verdict(headers: &[&str], method: &str, params: Value) -> (u16, Option<i64>) {
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    let fields: Vec<_> = headers
        .iter()
        .filter_map(|line| line.split_once(':'))
        .collect();
    let answer = Node::new().one(post(&fields, &body.to_string()));
    assert_eq!(answer.json()["id"], 7, "the id is echoed");
    assert!(
        answer.field("mcp-session-id").is_none(),
        "no session is minted"
    );
    answer.refusal()
}

const V: &str = "MCP-Protocol-Version: 2026-07-28";
const LIST: &str = "Mcp-Method: tools/list";
const CALL: &str = "Mcp-Method: tools/call";
const MISMATCH: (u16, Option<i64>) = (400, Some(-32020));
const INVALID_PARAMS: (u16, Option<i64>) = (400, Some(-32602));
const UNSUPPORTED: (u16, Option<i64>) = (400, Some(-32022));
const NOT_FOUND: (u16, Option<i64>) = (404, Some(-32601));
const SERVED: (u16, Option<i64>) = (200, None);

fn list(version: &str) -> Value {
    json!({"_meta": meta(version)})
}

fn call(tool: &str) -> Value {
    json!({"_meta": meta("2026-07-28"), "name": tool, "arguments": {"text": ""}})
}

#[test]
fn first_the_version_header_is_looked_for() {
    assert_eq!(verdict(&[LIST], "tools/list", list("2026-07-28")), MISMATCH);
    assert_eq!(verdict(&[LIST], "tools/list", list("v999.0.0")), MISMATCH);
    let bare = json!({"_meta": {META: "2026-07-28"}});
    assert_eq!(verdict(&[], "tools/list", bare), MISMATCH);
}

#[test]
fn then_meta_must_be_complete() {
    // [mcp:meta-check] [mcp:meta-values]
    for meta in [
        json!(7),
        json!({}),
        json!({"io.modelcontextprotocol/clientCapabilities": {}}),
        json!({META: "2026-07-28"}),
        json!({META: "v999.0.0"}),
        json!({META: 7, "io.modelcontextprotocol/clientCapabilities": {}}),
        json!({META: "2026-07-28", "io.modelcontextprotocol/clientCapabilities": []}),
    ] {
        let params = json!({"_meta": meta});
        assert_eq!(
            verdict(&[V, LIST], "tools/list", params),
            INVALID_PARAMS,
            "{meta}"
        );
    }
    assert_eq!(verdict(&[V, LIST], "tools/list", json!({})), INVALID_PARAMS);
    assert_eq!(
        verdict(&[V], "initialize", json!({"capabilities": {}})),
        INVALID_PARAMS
    );
    // All that a server must not insist on is the name of the client.
    let nameless = json!({META: "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    assert_eq!(
        verdict(&[V, LIST], "tools/list", json!({"_meta": nameless})),
        SERVED
    );
}

#[test]
fn then_header_and_meta_must_agree() {
    // [mcp:http-version-header]
    assert_eq!(
        verdict(&[V, LIST], "tools/list", list("v999.0.0")),
        MISMATCH
    );
    assert_eq!(
        verdict(&[V, LIST], "tools/list", list("2025-11-25")),
        MISMATCH
    );
    let old = "MCP-Protocol-Version: 2025-11-25";
    assert_eq!(
        verdict(&[old, LIST], "tools/list", list("2026-07-28")),
        MISMATCH
    );
}

#[test]
fn then_the_version_must_be_implemented() {
    for version in ["v999.0.0", "2025-11-25", "", "2026-07-28x"] {
        let header = format!("MCP-Protocol-Version: {version}");
        assert_eq!(
            verdict(&[&header], "tools/list", list(version)),
            UNSUPPORTED,
            "{version}"
        );
    }
}

#[test]
fn then_the_mirrors_must_match() {
    // [mcp:http-mirrors]
    assert_eq!(verdict(&[V], "tools/list", list("2026-07-28")), MISMATCH);
    for method in ["TOOLS/LIST", "tools/call", ""] {
        let header = format!("Mcp-Method: {method}");
        assert_eq!(
            verdict(&[V, &header], "tools/list", list("2026-07-28")),
            MISMATCH
        );
    }
    assert_eq!(
        verdict(&[V, LIST], "unknown/method", list("2026-07-28")),
        MISMATCH
    );
    assert_eq!(verdict(&[V, CALL], "tools/call", call("echo")), MISMATCH);
    for name in ["add", "Echo", "=?base64?ZWNobw?=", "\"echo\"", ""] {
        let header = format!("Mcp-Name: {name}");
        assert_eq!(
            verdict(&[V, CALL, &header], "tools/call", call("echo")),
            MISMATCH,
            "{name}"
        );
    }
}

#[test]
fn then_the_method_must_be_known() {
    // [mcp:http-method-unknown]
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "x/y",
    ] {
        let header = format!("Mcp-Method: {method}");
        assert_eq!(
            verdict(&[V, &header], method, list("2026-07-28")),
            NOT_FOUND,
            "{method}"
        );
    }
}

#[test]
fn then_the_parameters_must_fit() {
    let name = "Mcp-Name: nope";
    assert_eq!(
        verdict(&[V, CALL, name], "tools/call", call("nope")),
        (200, Some(-32602))
    );
    let cursor = json!({"_meta": meta("2026-07-28"), "cursor": "x"});
    assert_eq!(
        verdict(&[V, LIST], "tools/list", cursor),
        (200, Some(-32602))
    );
}

#[test]
fn what_is_right_is_served_however_the_headers_are_spelled() {
    // [mcp:http-header-case]
    let loose = [
        "mcp-protocol-VERSION:  2026-07-28\t",
        "MCP-METHOD:tools/call ",
        "mcp-name: echo  ",
    ];
    assert_eq!(verdict(&loose, "tools/call", call("echo")), SERVED);
    let encoded = [V, CALL, "Mcp-Name: =?base64?ZWNobw==?="];
    assert_eq!(verdict(&encoded, "tools/call", call("echo")), SERVED);
    let stray = [V, LIST, "Mcp-Session-Id: ignored", "Last-Event-ID: ignored"];
    assert_eq!(verdict(&stray, "tools/list", list("2026-07-28")), SERVED);
}

#[test]
fn an_unsupported_version_is_told_what_is_supported() {
    // [mcp:version-unsupported]
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list",
        "params": list("v999.0.0")});
    let answer = Node::new().one(post(
        &[("MCP-Protocol-Version", "v999.0.0")],
        &body.to_string(),
    ));
    let data = json!({"supported": ["2026-07-28"], "requested": "v999.0.0"});
    assert_eq!(answer.json()["error"]["data"], data);
}

#[test]
fn modern_notifications_and_responses() {
    // [mcp:rpc-note-silent] [mcp:http-accepted]
    let node = Node::new();
    let v = ("MCP-Protocol-Version", "2026-07-28");
    let method = ("Mcp-Method", "notifications/cancelled");
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
    let answer = node.one(post(&[v, method], note));
    assert_eq!((answer.status, answer.body.len()), (202, 0));
    assert_eq!(node.one(post(&[v], note)).refusal(), (400, Some(-32020)));
    let unknown = ("MCP-Protocol-Version", "2027-01-01");
    assert_eq!(
        node.one(post(&[unknown, method], note)).refusal(),
        (400, Some(-32022))
    );
    let response = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    assert_eq!(
        node.one(post(&[v], response)).refusal(),
        (400, Some(-32600))
    );
}
