//! Handlers that speak with their client: streams of events, and calls in rounds.

use ninefold::ask::{Action, AskError};
use ninefold::server::Builder;
use ninefold::{Context, Elicit, Level, NoArguments, Sample};
use serde_json::{Value, json};

use crate::harness::{Answer, Node, meta, post, text};

pub(crate) fn talkative(builder: Builder) -> Builder {
    builder
        .context_tool(
            "talks",
            "Says much.",
            |NoArguments {}, to: Context| async move {
                to.log(Level::Debug, "unheard");
                to.log(Level::Warning, json!({"a": 1}));
                for done in [1.0, 1.0, 2.0] {
                    to.progress(done, Some(2.0), None);
                }
                "said"
            },
        )
        .context_tool(
            "asks",
            "Asks a name.",
            |NoArguments {}, of: Context| async move {
                let answer = of.elicit("name", name()).await?;
                if answer.action != Action::Accept {
                    return Ok("nobody".into());
                }
                let name = answer.content["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                let color = of.elicit("color", name_of("color")).await?;
                Ok::<_, AskError>(format!("{name} {}", color.content["color"]))
            },
        )
        .context_tool(
            "samples",
            "Asks a model.",
            |NoArguments {}, of: Context| async move {
                let answer = of.sample("answer", Sample::new(5).user("?")).await?;
                Ok::<_, AskError>(answer.text())
            },
        )
}

fn name() -> Elicit {
    name_of("name")
}

fn name_of(field: &str) -> Elicit {
    Elicit::form_of(
        "Which?",
        json!({"type": "object", "properties": {field: {"type": "string"}}}),
    )
}

/// A modern call of `tool` with more in `params` and in `_meta`.
fn call(node: &Node, tool: &str, more: Value, more_meta: Value) -> Answer {
    let mut params = json!({"name": tool, "arguments": {}, "_meta": meta("2026-07-28")});
    merge(&mut params["_meta"], more_meta);
    merge(&mut params, more);
    let fields = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", tool),
    ];
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    node.one(post(&fields, &body.to_string()))
}

fn merge(into: &mut Value, from: Value) {
    if let Value::Object(members) = from {
        for (key, value) in members {
            into[key] = value;
        }
    }
}

fn able() -> Value {
    json!({"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}})
}

#[test]
fn what_is_said_before_the_result_makes_the_answer_a_stream() {
    // [mcp:progress-increases] [mcp:progress-known] [mcp:logging-asked] [mcp:http-stream-notes]
    let node = Node::with(talkative);
    let answer = call(&node, "talks", json!({}), json!({}));
    assert_eq!(
        text(&answer.json()),
        "said",
        "nothing to say to a client that asks for nothing"
    );
    let wants = json!({"progressToken": 7, "io.modelcontextprotocol/logLevel": "info"});
    let answer = call(&node, "talks", json!({}), wants);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("cache-control"), Some("no-cache"));
    let events = answer.events();
    let params: Vec<_> = events[..3].iter().map(|it| it["params"].clone()).collect();
    assert_eq!(
        params,
        [
            json!({"level": "warning", "data": {"a": 1}}),
            json!({"progressToken": 7, "progress": 1.0, "total": 2.0}),
            json!({"progressToken": 7, "progress": 2.0, "total": 2.0}),
        ]
    );
    assert_eq!(events.len(), 4);
    assert_eq!((text(&events[3]), &events[3]["id"]), ("said", &json!(1)));
    assert_eq!(events[3]["result"]["resultType"], "complete");
}

#[test]
fn a_call_goes_on_in_rounds_until_all_is_answered() {
    // [mcp:mrtr-no-requests] [mcp:mrtr-no-wait] [mcp:mrtr-shape] [mcp:cache-rounds]
    let node = Node::with(talkative);
    let first = call(&node, "asks", json!({}), able()).json()["result"].clone();
    assert_eq!(first["resultType"], "input_required");
    assert!(first.get("ttlMs").is_none());
    let asked = &first["inputRequests"]["name"];
    assert_eq!(asked["method"], "elicitation/create");
    assert_eq!(asked["params"]["message"], "Which?");
    assert!(asked.get("id").is_none());

    let state = first["requestState"].clone();
    let answered = json!({"requestState": state, "inputResponses": {
        "name": {"action": "accept", "content": {"name": "Ada"}}, "unknown": {}}});
    let second = call(&node, "asks", answered, able()).json()["result"].clone();
    assert_eq!(second["resultType"], "input_required");
    assert!(second["inputRequests"].get("name").is_none(), "{second}");
    assert_ne!(second["requestState"], state);

    let answered = json!({"requestState": second["requestState"], "inputResponses": {
        "color": {"action": "accept", "content": {"color": "red"}}}});
    let third = call(&node, "asks", answered, able()).json();
    assert_eq!(text(&third), "Ada \"red\"");
    assert_eq!(third["result"]["resultType"], "complete");
}

#[test]
fn answers_that_do_not_fit_are_asked_for_again_or_refused() {
    // [mcp:mrtr-hostile]
    let node = Node::with(talkative);
    let first = call(&node, "asks", json!({}), able()).json()["result"].clone();
    let state = first["requestState"].as_str().expect("a state").to_owned();
    let other = json!({"requestState": state, "inputResponses": {"other": {"action": "accept"}}});
    let again = call(&node, "asks", other, able()).json();
    assert_eq!(again["result"]["resultType"], "input_required");
    let declined = json!({"inputResponses": {"name": {"action": "decline"}}});
    assert_eq!(
        text(&call(&node, "asks", declined, able()).json()),
        "nobody"
    );
    for more in [
        json!({"inputResponses": {"name": 7}}),
        json!({"inputResponses": {"name": null}}),
        json!({"inputResponses": {"name": {"action": "think"}}}),
        json!({"inputResponses": [1]}),
        json!({"requestState": format!("{state}-TAMPERED")}),
        json!({"requestState": ""}),
        json!({"requestState": 7}),
        json!({"requestState": state, "arguments": {"other": "call"}}),
    ] {
        let answer = call(&node, "asks", more.clone(), able());
        assert_eq!(answer.refusal(), (200, Some(-32602)), "{more}");
    }
    // A state that was given for one tool says nothing to another.
    let stolen = json!({"requestState": state});
    assert_eq!(
        call(&node, "talks", stolen, able()).refusal(),
        (200, Some(-32602))
    );
}

#[test]
fn a_client_is_asked_only_what_it_declared() {
    // [mcp:capability-need] [mcp:mrtr-declared] [mcp:elicit-mode]
    let node = Node::with(talkative);
    for (tool, missing) in [
        ("samples", json!({"sampling": {}})),
        ("asks", json!({"elicitation": {"form": {}}})),
    ] {
        let answer = call(&node, tool, json!({}), json!({}));
        assert_eq!(answer.refusal(), (400, Some(-32021)));
        assert_eq!(
            answer.json()["error"]["data"]["requiredCapabilities"],
            missing
        );
        assert_eq!(answer.json()["id"], 1);
    }
    let url_only = json!({"io.modelcontextprotocol/clientCapabilities":
        {"elicitation": {"url": {}}}});
    assert_eq!(
        call(&node, "asks", json!({}), url_only).refusal(),
        (400, Some(-32021))
    );
}

#[test]
fn arguments_that_are_mirrored_are_compared() {
    // [mcp:http-param-match] [mcp:http-param-chars]
    let schema = r#"{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"R"}}}"#;
    let schema = serde_json::value::RawValue::from_string(schema.into()).expect("JSON");
    let node = Node::with(|builder| builder.raw_tool("m", "", schema, |it| it.to_string()));
    for (header, value, code) in [
        (Some("x"), json!({"r": "x"}), None),
        (Some("=?base64?eA==?="), json!({"r": "x"}), None),
        (None, json!({}), None),
        (None, json!({"r": "x"}), Some(-32020)),
        (Some("y"), json!({"r": "x"}), Some(-32020)),
        (Some("=?base64?eA=?="), json!({"r": "x"}), Some(-32020)),
    ] {
        let mut fields = vec![
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", "m"),
        ];
        fields.extend(header.map(|value| ("mcp-PARAM-r", value)));
        let params = json!({"name": "m", "arguments": value, "_meta": meta("2026-07-28")});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let answer = node.one(post(&fields, &body.to_string()));
        assert_eq!(answer.refusal().1, code, "{header:?} {value}");
        assert_eq!(answer.status, if code.is_some() { 400 } else { 200 });
    }
}

#[test]
fn integers_that_no_header_can_say_are_refused() {
    // [mcp:http-param-integers]
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"},
        "free":{"type":"integer"}}}"#;
    let schema = serde_json::value::RawValue::from_string(schema.into()).expect("JSON");
    let node = Node::with(|builder| builder.raw_tool("m", "", schema, |it| it.to_string()));
    let most = 9_007_199_254_740_991_i64;
    for (n, good) in [
        (json!(most), true),
        (json!(-most), true),
        (json!(most + 1), false),
        (json!(-most - 1), false),
        (json!(i64::MIN), false),
        (json!(u64::MAX), false),
        (json!(1e300), false),
    ] {
        let header = n.to_string();
        let fields = [
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", "m"),
            ("Mcp-Param-N", &header),
        ];
        let arguments = json!({"n": n, "free": u64::MAX});
        let params = json!({"name": "m", "arguments": arguments, "_meta": meta("2026-07-28")});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let answer = node.one(post(&fields, &body.to_string()));
        let wanted = if good {
            (200, None)
        } else {
            (400, Some(-32602))
        };
        assert_eq!(answer.refusal(), wanted, "{n}");
    }
}

#[test]
fn what_is_kept_for_a_client_is_bounded() {
    let node = Node::with(talkative);
    let large = "x".repeat(70_000);
    let answered = json!({"inputResponses": {"name":
        {"action": "accept", "content": {"name": large}}}});
    let answer = call(&node, "asks", answered, able());
    assert_eq!(answer.refusal(), (200, Some(-32602)));
    let body = json!({"jsonrpc": "2.0", "id": large, "method": "tools/list"});
    let answer = node.one(post(&[], &body.to_string()));
    assert_eq!(answer.refusal(), (400, Some(-32600)));
    assert!(answer.json().get("id").is_none());
    // A token that long is no token.
    let answer = call(&node, "talks", json!({}), json!({"progressToken": large}));
    assert_eq!(text(&answer.json()), "said");
}

#[test]
fn a_tool_use_without_its_result_is_an_error_of_the_handler_and_is_not_asked() {
    // [mcp:sampling-turns]
    let node = Node::with(|builder| {
        builder.context_tool(
            "forgets",
            "Forgets a result.",
            |NoArguments {}, of: Context| async move {
                let used = json!({"type": "tool_use", "id": "7", "name": "t", "input": {}});
                let question = Sample::new(5).message("assistant", used).user("And?");
                let answer = of.sample("answer", question).await?;
                Ok::<_, AskError>(answer.text())
            },
        )
    });
    let able = json!({"io.modelcontextprotocol/clientCapabilities": {"sampling": {}}});
    let answer = call(&node, "forgets", json!({}), able).json();
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let told = text(&answer);
    assert!(
        told.contains("messages[0]") && told.contains("`7`"),
        "{told}"
    );
}
