//! Clients that mean no good, or mean well and do it wrong: each gets one answer, and it is the
//! right one.

use ninefold::ask::AskError;
use ninefold::server::{BuildError, Builder};
use ninefold::{Context, Elicit, NoArguments, Resource, Sample, Server};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::features::features;
use crate::harness::{Answer, Node, initialize, legacy, meta, modern, post, text};
use crate::rounds::talkative;

const V: (&str, &str) = ("MCP-Protocol-Version", "2026-07-28");

/// A modern request of `method` around the body as it is.
fn raw(method: &str, name: &str, body: &[u8]) -> Vec<u8> {
    let fields = [V, ("Mcp-Method", method), ("Mcp-Name", name)];
    let head = post(&fields, "");
    let length = format!("Content-Length: {}", body.len());
    let head = head.replace("Content-Length: 0", &length);
    [head.as_bytes(), body].concat()
}

/// Every order of `members`.
fn orders(members: &[String]) -> Vec<Vec<String>> {
    if members.len() < 2 {
        return vec![members.to_vec()];
    }
    let mut all = Vec::new();
    for at in 0..members.len() {
        let mut others = members.to_vec();
        let first = others.remove(at);
        for mut rest in orders(&others) {
            rest.insert(0, first.clone());
            all.push(rest);
        }
    }
    all
}

#[test]
fn members_may_come_in_any_order() {
    let node = Node::new();
    let object = |members: &[String]| format!("{{{}}}", members.join(","));
    let member = |key: &str, value: &str| format!("\"{key}\":{value}");
    let params = [
        member("_meta", &meta("2026-07-28").to_string()),
        member("arguments", r#"{"text":"x"}"#),
        member("name", "\"echo\""),
    ];
    let mut seen = 0;
    for params in orders(&params) {
        let message = [
            member("id", "7"),
            member("jsonrpc", "\"2.0\""),
            member("method", "\"tools/call\""),
            member("params", &object(&params)),
        ];
        for message in orders(&message) {
            let body = object(&message);
            let answer = node.one(raw("tools/call", "echo", body.as_bytes())).json();
            assert_eq!((text(&answer), &answer["id"]), ("x", &json!(7)), "{body}");
            seen += 1;
        }
    }
    assert_eq!(seen, 6 * 24);
}

#[test]
fn text_that_is_no_unicode_is_refused_and_nul_is_text_like_any_other() {
    let node = Node::new();
    let body = |text: &[u8]| {
        let called = modern(
            "tools/call",
            json!({"name": "echo", "arguments": {"text": "@"}}),
        );
        let (_, body) = called.split_once("\r\n\r\n").expect("a body");
        let (before, after) = body.split_once('@').expect("a place");
        raw(
            "tools/call",
            "echo",
            &[before.as_bytes(), text, after.as_bytes()].concat(),
        )
    };
    let nul = node.one(body(b"a\\u0000b"));
    assert_eq!(text(&nul.json()), "a\0b");
    let pair = node.one(body(b"\\ud83e\\udd80"));
    assert_eq!(text(&pair.json()), "\u{1f980}");
    let wrong: [&[u8]; 9] = [
        b"\\ud800",
        b"\\udc00",
        b"\\udc00\\ud800",
        b"\\ud800x",
        b"a\0b",
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf5\x80\x80\x80",
    ];
    for text in wrong {
        let answer = node.one(body(text));
        assert_eq!(answer.refusal(), (400, Some(-32700)), "{text:?}");
    }
    assert_eq!(node.count("error_parse"), 9);
}

#[test]
fn nothing_is_inferred_from_earlier_requests() {
    // [mcp:stateless]
    let node = Node::new();
    let bare = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"_meta":{}}}"#;
    let method = ("Mcp-Method", "tools/list");
    let both = modern("tools/list", json!({})) + &post(&[V, method], bare);
    let (answers, _) = node.send(both);
    assert_eq!(answers[0].status, 200);
    assert_eq!(answers[1].refusal(), (400, Some(-32602)));
    assert_eq!(answers.len(), 2);
}

#[test]
fn a_session_cannot_be_initialized_again_and_not_be_used_before() {
    // [mcp:http-version-bad] [mcp:tasks-ignored]
    let node = Node::new();
    let (session, _) = node.initialize("2025-11-25");
    // Its id is no part of `initialize`: that opens another, and this one stays what it was.
    let again = node.one(legacy(Some(&session), &initialize("2025-03-26")));
    let other = again
        .field("mcp-session-id")
        .expect("a session id")
        .to_owned();
    assert_ne!(other, session);
    let list = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list"});
    for session in [&session, &other] {
        assert_eq!(node.one(legacy(Some(session), &list)).status, 200);
    }
    let batch = node.one(legacy(
        Some(&other),
        &json!([initialize("2025-03-26"), list]),
    ));
    let batch = batch.json();
    assert_eq!(
        (&batch[0]["error"]["code"], &batch[1]["id"]),
        (&json!(-32601), &json!(3))
    );
    let early = node.one(legacy(None, &list));
    assert_eq!(early.refusal(), (400, Some(-32000)));
    // A batch in the wrong era, and a version that there is not.
    let batch = json!([list]).to_string();
    assert_eq!(node.one(post(&[V], &batch)).refusal(), (400, Some(-32600)));
    let id = ("mcp-session-id", session.as_str());
    let version = ("MCP-Protocol-Version", "1999-01-01");
    assert_eq!(
        node.one(post(&[id, version], &list.to_string())).status,
        400
    );
    let task = json!({"jsonrpc": "2.0", "id": 4, "method": "tools/call",
        "params": {"name": "echo", "arguments": {"text": "x"}, "task": {"ttl": 1000}}});
    assert_eq!(text(&node.one(legacy(Some(&session), &task)).json()), "x");
}

fn asking(builder: Builder) -> Builder {
    let form = || Elicit::form_of("Which?", json!({"type": "object", "properties": {}}));
    talkative(builder)
        .context_resource(
            Resource::new("test://asks", "Asks"),
            move |of: Context| async move {
                of.elicit("r", form())
                    .await
                    .map(|_| "told")
                    .map_err(|error| error.to_string())
            },
        )
        .context_prompt(
            "asks",
            "Asks.",
            move |NoArguments {}, of: Context| async move {
                let asked = of.elicit("p", form()).await;
                asked.map(|_| "told").map_err(|error| error.to_string())
            },
        )
        .context_tool(
            "tools",
            "Samples with tools.",
            |NoArguments {}, of: Context| async move {
                let tools = json!([{"name": "t", "inputSchema": {"type": "object"}}]);
                let sample = Sample::new(5).user("?").tools(tools);
                Ok::<_, AskError>(of.sample("s", sample).await?.text())
            },
        )
}

/// A modern request of a client with `capabilities`.
fn able(method: &str, mut params: Value, capabilities: &Value) -> String {
    let name = params["name"].as_str().or(params["uri"].as_str());
    let name = name.unwrap_or("-").to_owned();
    params["_meta"] = meta("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    post(
        &[V, ("Mcp-Method", method), ("Mcp-Name", &name)],
        &body.to_string(),
    )
}

#[test]
fn a_state_is_good_for_one_server_one_method_and_one_call() {
    // [mcp:mrtr-hostile] [mcp:mrtr-methods]
    let (node, other) = (Node::with(asking), Node::with(asking));
    let forms = json!({"elicitation": {}});
    let kinds = [
        ("tools/call", json!({"name": "asks", "arguments": {}})),
        ("prompts/get", json!({"name": "asks", "arguments": {}})),
        ("resources/read", json!({"uri": "test://asks"})),
    ];
    let ask = |node: &Node, method: &str, params: &Value| -> Answer {
        node.one(able(method, params.clone(), &forms))
    };
    for (method, params) in &kinds {
        let first = ask(&node, method, params).json()["result"].clone();
        assert_eq!(first["resultType"], "input_required", "{method}: {first}");
        let with_state = |params: &Value| {
            let mut params = params.clone();
            params["requestState"] = first["requestState"].clone();
            params
        };
        let again = ask(&node, method, &with_state(params)).json();
        assert_eq!(again["result"]["resultType"], "input_required");
        let foreign = ask(&other, method, &with_state(params));
        assert_eq!(foreign.refusal(), (200, Some(-32602)), "another server's");
        for (elsewhere, params) in kinds.iter().filter(|(it, _)| it != method) {
            let answer = ask(&node, elsewhere, &with_state(params));
            assert_eq!(
                answer.refusal(),
                (200, Some(-32602)),
                "{method} at {elsewhere}"
            );
        }
    }
    for method in [
        "tools/list",
        "prompts/list",
        "resources/list",
        "server/discover",
    ] {
        let params = json!({"requestState": "x", "inputResponses": {"r": {}}});
        let result = ask(&node, method, &params).json()["result"].clone();
        assert_eq!(result["resultType"], "complete", "{method}");
    }
    let sampling = |declared: Value| {
        let call = json!({"name": "tools", "arguments": {}});
        node.one(able("tools/call", call, &json!({"sampling": declared})))
            .json()
    };
    // [mcp:sampling-tools]
    let unable = sampling(json!({}));
    let missing = &unable["error"]["data"]["requiredCapabilities"];
    assert_eq!(missing, &json!({"sampling": {"tools": {}}}));
    assert_eq!(
        sampling(json!({"tools": {}}))["result"]["resultType"],
        "input_required"
    );
}

#[test]
fn what_names_a_thing_must_be_a_name() {
    // [mcp:resources-uri] [mcp:prompts-input]
    let node = Node::with(features);
    for value in [json!(null), json!(7), json!([]), json!({}), json!(true)] {
        for (method, params) in [
            ("resources/read", json!({"uri": value})),
            ("prompts/get", json!({"name": value})),
            ("tools/call", json!({"name": value})),
        ] {
            // No header can mirror what is no text.
            let refused = node.modern(method, params).refusal();
            assert_eq!(refused, (400, Some(-32020)), "{method} {value}");
        }
        let of = json!({"ref": {"type": "ref/prompt", "name": value},
            "argument": {"name": "topic", "value": "x"}});
        let refused = node.modern("completion/complete", of).refusal();
        assert_eq!(refused, (200, Some(-32602)), "{value}");
    }
    let long = "a".repeat(100_000);
    for uri in [long.as_str(), "", "\0", "test://item/%zz"] {
        let (session, _) = node.initialize("2025-11-25");
        let read = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read",
            "params": {"uri": uri}});
        let answer = node.one(legacy(Some(&session), &read));
        assert_eq!(answer.status, 200);
        assert!(
            answer.json()["id"] == 1 && answer.body.len() < 200_000,
            "{uri:.20}"
        );
    }
}

fn with_schema(schema: &str) -> Result<Server, BuildError> {
    let schema = RawValue::from_string(schema.to_owned()).expect("JSON");
    Server::builder("t", "1")
        .raw_tool("raw", "", schema, |_| ())
        .build()
}

#[test]
fn schemas_of_unknown_dialects_are_refused() {
    // [mcp:schema-dialect-unknown] [mcp:tools-schema]
    for (schema, good) in [
        (r#"{"type":"object"}"#, true),
        (
            r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}"#,
            true,
        ),
        (
            r#"{"$schema":"https://example.com/dialect","type":"object"}"#,
            false,
        ),
        (r#"{"$schema":7,"type":"object"}"#, false),
        ("null", false),
        ("true", false),
        (r#"{"type":"string"}"#, false),
    ] {
        let built = with_schema(schema);
        assert_eq!(built.is_ok(), good, "{schema}: {built:?}");
    }
}

/// `depth` definitions, each of which asks for the one below it twice.
fn doubling(depth: usize) -> String {
    let levels = (1..=depth).map(|n| {
        let below = json!({"$ref": format!("#/$defs/d{}", n - 1)});
        (format!("d{n}"), json!({"allOf": [below, below]}))
    });
    let mut definitions: serde_json::Map<_, _> = levels.collect();
    definitions.insert("d0".to_owned(), json!({"required": ["a"]}));
    let top = format!("#/$defs/d{depth}");
    json!({"type": "object", "$defs": definitions, "$ref": top}).to_string()
}

#[test]
fn bombs_in_schemas_and_in_arguments_go_off_nowhere() {
    // [mcp:tools-input]
    let nested = format!(
        "{}{}",
        "{\"not\":".repeat(100),
        "{}".to_owned() + &"}".repeat(100)
    );
    let schemas = [
        r##"{"type":"object","$ref":"#"}"##.to_owned(),
        r##"{"type":"object","allOf":[{"$ref":"#"},{"$ref":"#"}]}"##.to_owned(),
        r##"{"type":"object","additionalProperties":{"$ref":"#"}}"##.to_owned(),
        // Two ways at each level: a walk over all of them would end after 2^100 steps.
        r##"{"type":"object","additionalProperties":{"anyOf":[{"$ref":"#"},{"$ref":"#"}]}}"##
            .to_owned(),
        r#"{"type":"object","properties":{"a":{"pattern":"^(a|a)*$"}}}"#.to_owned(),
        r#"{"type":"object","properties":{"a":{"uniqueItems":true}}}"#.to_owned(),
        r#"{"type":"object","properties":{"a":{"items":{"type":"integer"}}}}"#.to_owned(),
        format!(r#"{{"type":"object","properties":{{"a":{nested}}}}}"#),
    ];
    assert!(with_schema(&doubling(5)).is_ok());
    let refused = with_schema(&doubling(40)).expect_err("a bomb").to_string();
    assert!(refused.contains("at most 4096"), "{refused}");
    let deep = (0..100).fold(json!({}), |inner, _| json!({"a": inner}));
    let wrong_below = (0..100).fold(json!(7), |inner, _| json!({"a": inner}));
    let distinct: Vec<_> = (0..3000).map(|n| json!({"n": n})).collect();
    let arguments = [
        json!({}),
        deep,
        wrong_below,
        json!({"a": format!("{}!", "a".repeat(10_000))}),
        json!({"a": distinct}),
        json!({"a": vec!["x"; 50_000]}),
    ];
    for schema in schemas {
        // Refused when it is built, or harmless for ever after.
        if with_schema(&schema).is_err() {
            continue;
        }
        let text = RawValue::from_string(schema.clone()).expect("JSON");
        let node = Node::with(|it| it.raw_tool("raw", "", text, |_| "done"));
        for arguments in &arguments {
            let answer = node.call("raw", arguments.clone());
            assert_eq!(answer.status, 200, "{schema}");
            assert!(
                answer.body.len() < 1000,
                "{schema}: {} bytes",
                answer.body.len()
            );
        }
    }
}
