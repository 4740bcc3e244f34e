//! Messages of both eras: ids, and bodies that are no message.

use serde_json::json;

use crate::harness::{Node, modern, post};

#[test]
fn ids_are_echoed_exactly() {
    // [mcp:rpc-id-echo]
    let node = Node::new();
    for id in [
        "0",
        "-1",
        "9223372036854775807",
        "18446744073709551615",
        "\"listen:0\"",
        "\"\"",
    ] {
        let body = modern("tools/list", json!({})).replace("\"id\":1", &format!("\"id\":{id}"));
        let (head, body) = body.split_once("\r\n\r\n").expect("a body");
        let head = head.rsplit_once("\r\n").expect("fields").0;
        let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = node.one(request);
        let wanted = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":");
        assert!(answer.body.starts_with(wanted.as_bytes()), "{answer:?}");
    }
    for id in ["null", "1.5", "{}", "true"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let answer = node.one(post(&[], &body));
        assert_eq!(answer.refusal(), (400, Some(-32600)), "{id}");
        assert!(
            answer.json().get("id").is_none(),
            "an unknown id is left out"
        );
    }
}

#[test]
fn bodies_that_are_no_message_are_refused() {
    let node = Node::new();
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("not json", -32700),
        ("{\"a\":\"\u{1}\"}", -32700),
        (deep.as_str(), -32700),
        ("[]", -32600),
        ("3", -32600),
        ("{}", -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
            -32600,
        ),
    ] {
        let answer = node.one(post(&[], body));
        assert_eq!(answer.refusal(), (400, Some(code)), "{:.40}", body);
    }
    assert_eq!(node.count("error_parse"), 5);
    // The node is as good as before.
    assert_eq!(node.call("add", json!({"a": 1, "b": 1})).status, 200);
}
