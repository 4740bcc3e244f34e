//! Tools that are called wrongly and tools that misbehave.

use std::time::Duration;

use ninefold::Server;
use ninefold::limits::Limits;
use ninefold::server::BuildError;
use ninefold_runtime::{Config, Runtime};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::harness::{Answer, Node, modern, text};

#[test]
fn wrong_arguments_are_tool_results_that_name_the_field() {
    // [mcp:tools-input]
    let node = Node::new();
    for (tool, arguments, wanted) in [
        (
            "add",
            json!({"a": "1", "b": 2}),
            "argument `a`: invalid type: string \"1\", expected a number",
        ),
        ("add", json!({"a": 1}), "missing field `b`"),
        (
            "echo",
            json!({"text": null}),
            "argument `text`: invalid type: null, expected a string",
        ),
        (
            "sleep",
            json!({"ms": -1}),
            "argument `ms`: invalid value: integer `-1`, expected u64",
        ),
        (
            "sleep",
            json!({"ms": 30_001}),
            "argument `ms`: wanted at most 30000, found 30001",
        ),
    ] {
        let answer = node.call(tool, arguments);
        let json = answer.json();
        assert_eq!(
            (answer.status, &json["result"]["isError"]),
            (200, &json!(true)),
            "{json}"
        );
        assert_eq!(text(&json), wanted);
        assert_eq!(json["result"]["resultType"], "complete");
    }
    for arguments in [json!([]), json!("x"), json!(3)] {
        assert_eq!(node.call("echo", arguments).refusal(), (200, Some(-32602)));
    }
    let absent = node.modern("tools/call", json!({"name": "time"}));
    assert_eq!(absent.json()["result"]["content"][0]["type"], "text");
}

#[test]
fn a_panicking_tool_fails_its_call_alone_and_tells_nothing() {
    let node = Node::new();
    for tool in ["panics", "panics_later"] {
        let pair = modern("tools/call", json!({"name": tool})) + &modern("tools/list", json!({}));
        let (answers, _) = node.send(pair);
        assert_eq!(answers[0].refusal(), (200, Some(-32603)), "{tool}");
        assert_eq!(answers[0].json()["id"], 1);
        assert!(!String::from_utf8_lossy(&answers[0].body).contains("secret"));
        assert_eq!(answers[1].status, 200);
    }
    assert_eq!(node.count("tool_panic"), 2);
    assert_eq!(node.count("error_internal"), 2);
}

#[test]
fn tools_are_held_to_their_deadline_and_their_output() {
    let node = Node::new();
    let late = node.call("never", json!({})).json();
    assert_eq!(late["result"]["isError"], true);
    assert_eq!(text(&late), "the tool did not finish within 60s");
    assert_eq!(node.count("tool_late"), 1);

    let node = Node::limited(Limits {
        tool_output_bytes: 1024,
        ..Limits::default()
    });
    let large = node.call("echo", json!({"text": "x".repeat(2000)})).json();
    assert_eq!(large["result"]["isError"], true);
    assert!(text(&large).ends_with("over the limit of 1024"));
}

#[test]
fn without_a_runtime_blocking_work_is_refused_as_a_result() {
    let answer = Node::new().call("hash", json!({"text": "abc"})).json();
    assert_eq!(answer["result"]["isError"], true);
    assert!(
        text(&answer).starts_with("there is no blocking pool here"),
        "{answer}"
    );
}

/// Calls `tool` on a shard of a real runtime: the status, the result and the count of panics.
fn on_a_shard(tool: &'static str, arguments: Value) -> (Answer, u64) {
    let config = Config {
        shards: Some(1),
        ..Config::default()
    };
    let runtime = Runtime::start(&config).expect("a shard");
    let answered = runtime.handle().run_on(0, move || async move {
        let node = Node::on_runtime();
        let params = json!({"name": tool, "arguments": arguments});
        let answer = node.answer(&modern("tools/call", params)).await;
        (answer, node.count("tool_panic"))
    });
    runtime.shutdown(Duration::from_secs(5));
    answered.expect("an answer")
}

#[test]
fn tools_wait_and_block_without_holding_their_shard() {
    let (hashed, _) = on_a_shard("hash", json!({"text": "abc", "rounds": 2}));
    let twice = "4f8b42c22dd3729b519ba6f68d2da7cc5b2d606d05daed5ad5128cc03e6c6358";
    assert_eq!(text(&hashed.json()), twice);
    let (slept, _) = on_a_shard("sleep", json!({"ms": 5}));
    assert_eq!(text(&slept.json()), "slept 5 ms");
    let (panicked, panics) = on_a_shard("panics_elsewhere", json!({}));
    assert_eq!((panicked.refusal(), panics), ((200, Some(-32603)), 1));
}

#[test]
fn a_schema_written_by_hand_is_kept_and_kept_to() {
    // [mcp:schema-dialect] [mcp:schema-valid]
    let schema = r##"{ "type":"object", "$defs":{"n":{"$anchor":"n","type":"integer"}},
        "properties":{"n":{"$ref":"#n"},"p":{"type":"string","pattern":"^(a+)+$"}},
        "allOf":[{"anyOf":[{"required":["n"]},{"required":["p"]}]}],
        "additionalProperties":false }"##;
    let raw = |text: &str| RawValue::from_string(text.to_owned()).expect("JSON");
    let node = Node::with(|it| it.raw_tool("raw", "", raw(schema), |it| it.to_string()));
    let list = node.modern("tools/list", json!({}));
    let sent = String::from_utf8(list.body).expect("text");
    assert!(sent.contains(schema), "every byte of it");
    for (arguments, good) in [
        (json!({"n": 1}), true),
        (json!({"n": 2.0}), true),
        (json!({"p": "aaa"}), true),
        (json!({}), false),
        (json!({"n": "1"}), false),
        (json!({"n": 1, "x": 1}), false),
        // A pattern that would take for ever with backtracking.
        (json!({"p": format!("{}!", "a".repeat(10_000))}), false),
    ] {
        let answer = node.call("raw", arguments.clone()).json();
        assert_eq!(answer["result"]["isError"].is_null(), good, "{answer}");
        assert!(text(&answer).len() < 1000);
        assert_eq!(text(&answer).starts_with("arguments do not fit: "), !good);
    }
}

#[test]
fn a_schema_that_needs_another_document_is_refused_at_build_time() {
    // [mcp:schema-no-fetch]
    for schema in [
        r#"{"type":"object","properties":{"a":{"$ref":"https://example.com/schema.json"}}}"#,
        r#"{"type":"object","properties":{"a":{"$ref":"file:///schema.json"}}}"#,
        r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/nothing"}}}"##,
        r#"{"type":"object","properties":{"a":{"type":"nothing"}}}"#,
        r#"{"type":"object","properties":{"a":{"pattern":"("}}}"#,
        r#"{"$schema":"https://example.com/dialect","type":"object"}"#,
    ] {
        let schema = RawValue::from_string(schema.to_owned()).expect("JSON");
        let server = Server::builder("t", "1").raw_tool("raw", "", schema, |_| ());
        assert!(matches!(server.build(), Err(BuildError::Schema { .. })));
    }
}
