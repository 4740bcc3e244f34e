//! The schemas of both revisions: their examples are read as they stand, and what this server
//! sends is what they say.
//!
//! The files of the specification are no part of this repository. Where they lie beside it, as in
//! CI, these tests run; elsewhere they say that they do not.

use std::path::PathBuf;

use bumpalo::Bump;
use jsonschema::Validator;
use ninefold::limits::Limits;
use ninefold::rpc::{JsonParser, Message};
use serde_json::{Value, json};

use crate::features::features;
use crate::harness::{Answer, META, Node, initialize, legacy, meta, modern, post};
use crate::rounds::talkative;

const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-11-25";

/// A file or folder of the specification's schemas; `None`, and a word about it, if it is absent.
fn specification(path: &str) -> Option<PathBuf> {
    let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/mcp/schema");
    let found = PathBuf::from(schemas).join(path);
    if !found.exists() {
        println!("skipped: the specification's {path} is not beside this repository");
        return None;
    }
    Some(found)
}

/// The schema of one revision.
struct Schema(Value);

impl Schema {
    fn of(revision: &str) -> Option<Self> {
        let path = specification(&format!("{revision}/schema.json"))?;
        let text = std::fs::read_to_string(path).expect("a readable schema");
        Some(Self(serde_json::from_str(&text).expect("JSON")))
    }

    fn has(&self, definition: &str) -> bool {
        self.0["$defs"].get(definition).is_some()
    }

    fn validator(&self, definition: &str) -> Validator {
        assert!(self.has(definition), "no {definition} in the schema");
        let mut schema = self.0.clone();
        schema["$ref"] = json!(format!("#/$defs/{definition}"));
        jsonschema::validator_for(&schema).expect("a valid schema")
    }

    /// `value` must be what `definition` says.
    fn check(&self, definition: &str, value: &Value) {
        let validator = self.validator(definition);
        let errors: Vec<_> = validator
            .iter_errors(value)
            .map(|it| it.to_string())
            .collect();
        assert!(errors.is_empty(), "no {definition}: {value:#}: {errors:#?}");
    }
}

/// Every example of the modern revision: its folder, which names its type, and its text.
fn examples() -> Vec<(String, Vec<u8>)> {
    let Some(root) = specification(&format!("{MODERN}/examples")) else {
        return Vec::new();
    };
    let entries = |folder| {
        let entries = std::fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path())
    };
    let mut found = Vec::new();
    for folder in entries(root) {
        let name = folder.file_name().expect("a name").to_string_lossy();
        let texts = entries(folder.clone()).map(|file| std::fs::read(file).expect("a text"));
        found.extend(texts.map(|text| (name.to_string(), text)));
    }
    found
}

#[test]
fn every_example_is_read_as_it_stands() {
    // [mcp:rpc-form]
    let Some(schema) = Schema::of(MODERN) else {
        return;
    };
    let (mut parser, mut messages, mut read) = (JsonParser::new(&Limits::default()), 0, 0);
    for (name, mut text) in examples() {
        let wanted: Value = serde_json::from_slice(&text).expect("JSON");
        let arena = Bump::new();
        let root = parser.parse(&mut text, &arena).expect("JSON");
        let same = <Value as serde::Deserialize>::deserialize(root).expect("any value");
        assert_eq!(same, wanted, "{name}");
        schema.check(&name, &wanted);
        read += 1;
        // Inside inputRequests there is no envelope.
        if wanted.get("jsonrpc").is_none() {
            continue;
        }
        match (Message::read(root), name.as_str()) {
            (Ok(Message::Request(..)), it) if it.ends_with("Request") => {}
            (Ok(Message::Notification(..)), it) if it.ends_with("Notification") => {}
            (Ok(Message::Response(..)), it)
                if it.ends_with("Response") || it.ends_with("Error") => {}
            (other, _) => panic!("{name} is read as {other:?}"),
        }
        messages += 1;
    }
    println!("{read} examples read and valid, {messages} of them messages");
    assert_eq!(read, 129);
    assert_eq!(messages, 32);
}

/// Posts an example as a client would: with the headers that mirror it.
fn posted(message: &Value) -> String {
    let text = |of: &Value| of.as_str().unwrap_or("-").to_owned();
    let params = &message["params"];
    let name = [&params["name"], &params["uri"]];
    let name = name.into_iter().find(|it| it.is_string());
    let fields = [
        ("MCP-Protocol-Version", text(&params["_meta"][META])),
        ("Mcp-Method", text(&message["method"])),
        ("Mcp-Name", name.map_or("-".into(), text)),
    ];
    let fields = fields
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    post(&fields, &message.to_string())
}

#[test]
fn every_example_of_a_request_passes_the_checks_before_its_method() {
    let node = Node::with(|builder| talkative(features(builder)));
    let mut served = 0;
    for (name, text) in examples() {
        let message: Value = serde_json::from_slice(&text).expect("JSON");
        if !name.ends_with("Request") || message.get("jsonrpc").is_none() {
            continue;
        }
        if name == "SubscriptionsListenRequest" {
            // Its answer has no end; `subscriptions` listens to real ones.
            continue;
        }
        let answer = node.one(posted(&message)).json();
        assert_eq!(answer["id"], message["id"], "{name}: {answer}");
        // What it asks for is another server's: that alone may be wrong.
        let code = answer["error"]["code"].as_i64();
        let of_its_method = matches!(code, None | Some(-32602));
        assert!(of_its_method, "{name}: {answer}");
        let text = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(!text.contains("_meta"), "{name}: {answer}");
        served += 1;
    }
    println!("{served} examples of requests answered");
    assert!(served == 0 || served >= 9, "only {served} requests");
}

/// What this server can be asked, with the type of its result.
fn questions() -> Vec<(&'static str, Value, &'static str)> {
    let completion = json!({"ref": {"type": "ref/prompt", "name": "about"},
        "argument": {"name": "topic", "value": "x"}});
    let item = json!({"uri": "test://item/7"});
    let about = json!({"name": "about", "arguments": {"topic": "x"}});
    let point = json!({"name": "point", "arguments": {}});
    let wrong = json!({"name": "add", "arguments": {"a": "x"}});
    vec![
        ("tools/list", json!({}), "ListToolsResult"),
        ("tools/call", point, "CallToolResult"),
        ("tools/call", wrong, "CallToolResult"),
        ("resources/list", json!({}), "ListResourcesResult"),
        (
            "resources/templates/list",
            json!({}),
            "ListResourceTemplatesResult",
        ),
        ("resources/read", item, "ReadResourceResult"),
        (
            "resources/read",
            json!({"uri": "test://bytes"}),
            "ReadResourceResult",
        ),
        ("prompts/list", json!({}), "ListPromptsResult"),
        ("prompts/get", about, "GetPromptResult"),
        ("completion/complete", completion, "CompleteResult"),
    ]
}

/// What is wrong in each era.
fn mistakes() -> Vec<(&'static str, Value)> {
    vec![
        ("no/such", json!({})),
        ("tools/call", json!({"name": "absent"})),
        ("tools/call", json!({})),
        ("tools/list", json!({"cursor": "made up"})),
        ("resources/read", json!({"uri": "test://absent"})),
        ("resources/read", json!({"uri": "test://broken"})),
        ("prompts/get", json!({"name": "absent"})),
    ]
}

fn result(answer: &Answer) -> Value {
    let message = answer.json();
    assert!(message.get("error").is_none(), "{message}");
    message["result"].clone()
}

#[test]
fn what_the_server_sends_in_the_modern_era_is_what_the_schema_says() {
    // [mcp:rpc-result] [mcp:rpc-error] [mcp:result-type] [mcp:cache-hints] [mcp:codes-reserved]
    let Some(schema) = Schema::of(MODERN) else {
        return;
    };
    let node = Node::with(|builder| talkative(features(builder)));
    let found = node.modern("server/discover", json!({}));
    schema.check("DiscoverResultResponse", &found.json());
    for (method, params, definition) in questions() {
        let answer = node.modern(method, params);
        schema.check("JSONRPCResultResponse", &answer.json());
        schema.check(definition, &result(&answer));
    }
    for (method, params) in mistakes() {
        let answer = node.modern(method, params).json();
        schema.check("JSONRPCErrorResponse", &answer);
    }
    let other = |from: &str, to: &str| node.one(modern("tools/list", json!({})).replace(from, to));
    let strange = other(MODERN, "2099-01-01").json();
    schema.check("UnsupportedProtocolVersionError", &strange);
    let mismatch = other("Mcp-Method: tools/list", "Mcp-Method: x").json();
    schema.check("HeaderMismatchError", &mismatch);
    let unable = node.call("asks", json!({})).json();
    schema.check("MissingRequiredClientCapabilityError", &unable);
    let broken = node
        .one(post(&[("MCP-Protocol-Version", MODERN)], "{"))
        .json();
    schema.check("JSONRPCErrorResponse", &broken);
    schema.check("ParseError", &broken["error"]);
}

/// A modern call of `tool` whose client declares `capabilities` and wants to hear everything.
fn curious(tool: &str, capabilities: &Value) -> String {
    let mut params = json!({"name": tool, "arguments": {}, "_meta": meta(MODERN)});
    params["_meta"]["progressToken"] = json!("p");
    params["_meta"]["io.modelcontextprotocol/logLevel"] = json!("debug");
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
    posted(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
}

#[test]
fn what_a_call_says_before_its_result_is_what_the_schema_says() {
    let (Some(modern), Some(old)) = (Schema::of(MODERN), Schema::of(LEGACY)) else {
        return;
    };
    let node = Node::with(talkative);
    let all = json!({"elicitation": {}, "sampling": {}});
    let (session, _) = node.initialize(LEGACY);
    let params = json!({"name": "talks", "arguments": {}, "_meta": {"progressToken": 7}});
    let said = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let streams = [
        (&modern, node.one(curious("talks", &all)).events()),
        (&old, node.one(legacy(Some(&session), &said)).events()),
    ];
    for (schema, events) in streams {
        let (last, before) = events.split_last().expect("a result");
        schema.check("JSONRPCResultResponse", last);
        for event in before {
            schema.check("ServerNotification", event);
            schema.check("JSONRPCNotification", event);
        }
        let methods: Vec<_> = before.iter().map(|it| &it["method"]).collect();
        assert!(methods.contains(&&json!("notifications/progress")));
        assert!(methods.contains(&&json!("notifications/message")));
    }
    for tool in ["asks", "samples"] {
        let asked = result(&node.one(curious(tool, &all)));
        assert_eq!(asked["resultType"], "input_required");
        modern.check("InputRequiredResult", &asked);
    }
}

#[test]
fn what_the_server_sends_in_the_legacy_era_is_what_the_schema_says() {
    // [mcp:rpc-result] [mcp:rpc-error] [mcp:init-answer]
    let Some(schema) = Schema::of(LEGACY) else {
        return;
    };
    let node = Node::with(|builder| talkative(features(builder)));
    let welcome = node.one(legacy(None, &initialize(LEGACY)));
    schema.check("JSONRPCResultResponse", &welcome.json());
    schema.check("InitializeResult", &result(&welcome));
    let (session, _) = node.initialize(LEGACY);
    let ask = |method: &str, params: &Value| {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        node.one(legacy(Some(&session), &body))
    };
    let watched = json!({"uri": "test://text"});
    let agreed = [
        ("ping", json!({}), "EmptyResult"),
        ("logging/setLevel", json!({"level": "info"}), "EmptyResult"),
        ("resources/subscribe", watched.clone(), "EmptyResult"),
        ("resources/unsubscribe", watched, "EmptyResult"),
    ];
    for (method, params, definition) in questions().into_iter().chain(agreed) {
        let answer = ask(method, &params);
        schema.check("JSONRPCResultResponse", &answer.json());
        schema.check(definition, &result(&answer));
    }
    for (method, params) in mistakes() {
        schema.check("JSONRPCErrorResponse", &ask(method, &params).json());
    }
}
