//! Resources, prompts, completion, pages and changes, in both eras.

use ninefold::limits::Limits;
use ninefold::server::Builder;
use ninefold::tool::ToolAnnotations;
use ninefold::{
    Contents, Features, Icon, Info, Json, NoArguments, PromptMessage, Resource, Template,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::harness::{Node, legacy, meta, post};

#[derive(Deserialize, JsonSchema)]
struct Topic {
    /// What it is about.
    topic: String,
    tone: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Point {
    x: i32,
}

pub(crate) fn features(builder: Builder) -> Builder {
    builder
        .static_resource(
            Resource::new("test://text", "Text").mime_type("text/plain"),
            Contents::text("static"),
        )
        .resource(Resource::new("test://bytes", "Bytes"), || {
            Contents::blob(vec![1, 2]).mime_type("image/png")
        })
        .resource(Resource::new("test://broken", "Broken"), || {
            Err::<String, _>("the disk is on fire")
        })
        .resource(Resource::new("test://panics", "Panics"), || -> String {
            panic!("secret")
        })
        .context_resource(Resource::new("test://later", "Later"), |_| async {
            "later"
        })
        .template(
            Template::new("test://item/{id}", "Item").mime_type("text/plain"),
            |variables| {
                let id = variables.get("id").to_owned();
                (id != "0").then(|| format!("item {id}"))
            },
        )
        .complete_template("test://item/{id}", "id", |_| ["1", "2"])
        .prompt("about", "Writes about a topic.", |Topic { topic, tone }| {
            let tone = tone.unwrap_or_else(|| "plain".into());
            [PromptMessage::user(format!("{topic}, {tone}"))]
        })
        .complete_prompt("about", "topic", |typed| {
            let all = (0..150).map(|n| format!("{}{n}", typed.value));
            all.collect::<Vec<_>>()
        })
        .context_prompt("later", "Is written later.", |NoArguments {}, _| async {
            "done"
        })
        .tool(
            Info::new("point")
                .title("A point")
                .icon(
                    Icon::new("https://example.com/i.png")
                        .mime_type("image/png")
                        .size("48x48"),
                )
                .annotations(ToolAnnotations {
                    read_only_hint: Some(true),
                    ..ToolAnnotations::default()
                })
                .output::<Point>(),
            "Tells a point.",
            |NoArguments {}| Json(Point { x: 1 }),
        )
}

/// Result or error of the same request in both eras.
fn both(node: &Node, method: &str, params: &Value) -> [Value; 2] {
    let (session, _) = node.initialize("2025-11-25");
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let legacy = node.one(legacy(Some(&session), &body)).json();
    [legacy, node.modern(method, params.clone()).json()]
}

fn stamped(result: &Value, cacheable: bool) {
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["ttlMs"].is_u64(), cacheable, "{result}");
    assert_eq!(result["cacheScope"].is_string(), cacheable, "{result}");
}

#[test]
fn resources_are_listed_and_read_in_both_eras() {
    // [mcp:resources-binary] [mcp:resources-list]
    let node = Node::with(features);
    for (method, member, first) in [
        (
            "resources/list",
            "resources",
            json!({"uri": "test://text", "name": "Text", "mimeType": "text/plain"}),
        ),
        (
            "resources/templates/list",
            "resourceTemplates",
            json!({"uriTemplate": "test://item/{id}", "name": "Item", "mimeType": "text/plain"}),
        ),
    ] {
        let [old, new] = both(&node, method, &json!({}));
        assert_eq!(old["result"][member][0], first);
        assert_eq!(new["result"][member], old["result"][member]);
        assert!(old["result"].get("resultType").is_none());
        stamped(&new["result"], true);
    }
    for (uri, wanted) in [
        (
            "test://text",
            json!({"mimeType": "text/plain", "text": "static"}),
        ),
        (
            "test://bytes",
            json!({"mimeType": "image/png", "blob": "AQI="}),
        ),
        ("test://later", json!({"text": "later"})),
        (
            "test://item/7%207",
            json!({"mimeType": "text/plain", "text": "item 7 7"}),
        ),
    ] {
        let mut wanted = wanted;
        wanted["uri"] = uri.into();
        let [old, new] = both(&node, "resources/read", &json!({"uri": uri}));
        assert_eq!(old["result"]["contents"], json!([wanted]));
        assert_eq!(new["result"]["contents"], json!([wanted]));
        stamped(&new["result"], true);
    }
}

#[test]
fn what_cannot_be_read_is_an_error_of_its_era() {
    // [mcp:codes-old] [mcp:resources-missing]
    let node = Node::with(features);
    for (uri, old_code, new_code) in [
        ("test://nothing", -32002, -32602),
        ("test://item/0", -32002, -32602),
        ("test://broken", -32603, -32603),
        ("test://panics", -32603, -32603),
    ] {
        let [old, new] = both(&node, "resources/read", &json!({"uri": uri}));
        assert_eq!(old["error"]["code"], old_code, "{uri}");
        assert_eq!(new["error"]["code"], new_code, "{uri}");
        assert!(!new.to_string().contains("secret"));
        if new_code == -32602 {
            assert_eq!(new["error"]["data"]["uri"], uri);
        }
    }
    let [old, new] = both(&node, "resources/read", &json!({"uri": "test://broken"}));
    assert_eq!(old["error"]["message"], "the disk is on fire");
    assert_eq!(new["error"], old["error"]);
}

#[test]
fn what_is_too_large_is_not_sent() {
    let limits = Limits {
        content_bytes: 1024,
        ..Limits::default()
    };
    let large = || "x".repeat(1025);
    let node = Node::with(|builder| {
        builder
            .limits(limits)
            .resource(Resource::new("test://large", "Large"), large)
            .prompt("large", "Is large.", move |NoArguments {}| large())
    });
    for (method, params) in [
        ("resources/read", json!({"uri": "test://large"})),
        ("prompts/get", json!({"name": "large"})),
    ] {
        for answer in both(&node, method, &params) {
            assert_eq!(answer["error"]["code"], -32603, "{method}");
        }
    }
}

#[test]
fn prompts_are_listed_and_written_in_both_eras() {
    // [mcp:prompts-input] [mcp:prompts-list]
    let node = Node::with(features);
    let [old, new] = both(&node, "prompts/list", &json!({}));
    assert_eq!(old["result"]["prompts"], new["result"]["prompts"]);
    let wanted = json!({"name": "about", "description": "Writes about a topic.", "arguments": [
        {"name": "tone", "required": false},
        {"name": "topic", "description": "What it is about.", "required": true}]});
    assert_eq!(new["result"]["prompts"][0], wanted);
    stamped(&new["result"], true);
    for (name, arguments, text) in [
        ("about", json!({"topic": "rust"}), "rust, plain"),
        (
            "about",
            json!({"topic": "rust", "tone": "odd"}),
            "rust, odd",
        ),
        ("later", json!({}), "done"),
    ] {
        let params = json!({"name": name, "arguments": arguments});
        let [old, new] = both(&node, "prompts/get", &params);
        let message = json!([{"role": "user", "content": {"type": "text", "text": text}}]);
        assert_eq!(old["result"]["messages"], message);
        assert_eq!(new["result"]["messages"], message);
        stamped(&new["result"], false);
    }
    for params in [
        json!({"name": "nothing"}),
        json!({"name": "about"}),
        json!({"name": "about", "arguments": {"topic": 7}}),
        json!({"name": "about", "arguments": []}),
    ] {
        for answer in both(&node, "prompts/get", &params) {
            assert_eq!(answer["error"]["code"], -32602, "{params}");
        }
    }
}

#[test]
fn arguments_are_completed_in_both_eras() {
    // [mcp:completions-input]
    let node = Node::with(features);
    let ask = |what: Value, name: &str, value: &str| {
        let argument = json!({"name": name, "value": value});
        json!({"ref": what, "argument": argument})
    };
    let prompt = json!({"type": "ref/prompt", "name": "about"});
    let template = json!({"type": "ref/resource", "uri": "test://item/{id}"});
    for answer in both(
        &node,
        "completion/complete",
        &ask(prompt.clone(), "topic", "r"),
    ) {
        let completion = &answer["result"]["completion"];
        assert_eq!(completion["values"].as_array().map(Vec::len), Some(100));
        assert_eq!(completion["values"][0], "r0");
        assert_eq!(
            (&completion["total"], &completion["hasMore"]),
            (&json!(150), &json!(true))
        );
    }
    let empty = json!({"values": [], "total": 0, "hasMore": false});
    for answer in both(&node, "completion/complete", &ask(prompt, "tone", "x")) {
        assert_eq!(answer["result"]["completion"], empty);
    }
    for answer in both(&node, "completion/complete", &ask(template, "id", "")) {
        assert_eq!(answer["result"]["completion"]["values"], json!(["1", "2"]));
    }
    for params in [
        json!({}),
        ask(json!({"type": "ref/prompt", "name": "nothing"}), "x", ""),
        ask(json!({"type": "ref/prompt"}), "x", ""),
        ask(json!({"type": "ref/other", "name": "about"}), "x", ""),
        json!({"ref": {"type": "ref/prompt", "name": "about"}, "argument": {"name": "topic"}}),
    ] {
        for answer in both(&node, "completion/complete", &params) {
            assert_eq!(answer["error"]["code"], -32602, "{params}");
        }
    }
}

#[test]
fn what_a_server_does_not_offer_is_no_method_of_it() {
    // [mcp:resources-declared] [mcp:prompts-declared] [mcp:completions-declared]
    let node = Node::new();
    for method in [
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "prompts/list",
        "prompts/get",
        "completion/complete",
    ] {
        let [old, new] = both(&node, method, &json!({"uri": "x", "name": "x"}));
        assert_eq!(old["error"]["code"], -32601, "{method}");
        assert_eq!(new["error"]["code"], -32601, "{method}");
    }
    let (session, _) = node.initialize("2025-11-25");
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe",
        "params": {"uri": "x"}});
    let answer = node.one(legacy(Some(&session), &body));
    assert_eq!(answer.refusal(), (200, Some(-32601)));
}

#[test]
fn a_list_comes_in_pages_and_a_cursor_cannot_be_made_up() {
    // [mcp:cache-pages]
    let limits = Limits {
        page_entries: 2,
        ..Limits::default()
    };
    let node = Node::with(|builder| builder.limits(limits));
    let (mut names, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let params = cursor.map_or(json!({}), |cursor| json!({"cursor": cursor}));
        let [old, new] = both(&node, "tools/list", &params);
        assert_eq!(old["result"]["tools"], new["result"]["tools"]);
        let tools = new["result"]["tools"].as_array().expect("tools").clone();
        assert!((1..=2).contains(&tools.len()));
        names.extend(
            tools
                .iter()
                .map(|it| it["name"].as_str().expect("a name").to_owned()),
        );
        stamped(&new["result"], true);
        match new["result"]["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(names.len(), 10);
    assert_eq!(names[..2], ["echo", "add"]);
    for cursor in [
        json!("x"),
        json!(""),
        json!(1),
        json!("AQAAAAAAAAAAAAAAAAAAAA"),
    ] {
        for answer in both(&node, "tools/list", &json!({"cursor": cursor})) {
            assert_eq!(answer["error"]["code"], -32602);
        }
    }
}

#[test]
fn what_a_tool_says_of_itself_is_listed() {
    let node = Node::with(features);
    let [old, new] = both(&node, "tools/list", &json!({}));
    let tools = new["result"]["tools"].as_array().expect("tools");
    let point = tools.iter().find(|it| it["name"] == "point").expect("it");
    assert_eq!(point["title"], "A point");
    assert_eq!(point["icons"][0]["sizes"], json!(["48x48"]));
    assert_eq!(point["annotations"], json!({"readOnlyHint": true}));
    assert_eq!(point["outputSchema"]["properties"]["x"]["type"], "integer");
    assert_eq!(old["result"]["tools"], new["result"]["tools"]);
    let result = &node.call("point", json!({})).json()["result"];
    assert_eq!(result["structuredContent"], json!({"x": 1}));
}

#[test]
fn what_is_added_and_removed_while_it_runs_is_seen_by_the_next_request() {
    let node = Node::with(features);
    let server = node.service.server().clone();
    let named = || Features::new().tool("late", "Comes late.", |NoArguments {}| "here");
    assert_eq!(node.call("late", json!({})).json()["error"]["code"], -32602);
    server.add(named()).expect("a free name");
    assert!(server.add(named()).is_err(), "a name that is taken");
    assert_eq!(
        crate::harness::text(&node.call("late", json!({})).json()),
        "here"
    );
    assert!(server.remove_tool("late"));
    assert_eq!(node.call("late", json!({})).json()["error"]["code"], -32602);
    assert!(server.remove_resource("test://text"));
    let [old, _] = both(&node, "resources/read", &json!({"uri": "test://text"}));
    assert_eq!(old["error"]["code"], -32002);
    assert!(server.remove_prompt("about") && !server.remove_prompt("about"));
}

#[test]
fn the_log_level_is_checked_in_both_eras() {
    let node = Node::new();
    let (session, _) = node.initialize("2025-11-25");
    for (level, code) in [
        (json!("debug"), None),
        (json!("emergency"), None),
        (json!("loud"), Some(-32602)),
        (json!(7), Some(-32602)),
    ] {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel",
            "params": {"level": level}});
        let answer = node.one(legacy(Some(&session), &body));
        assert_eq!(answer.refusal(), (200, code), "{level}");
        let mut meta = meta("2026-07-28");
        meta["io.modelcontextprotocol/logLevel"] = level.clone();
        let fields = [
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", "tools/list"),
        ];
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list",
            "params": {"_meta": meta}});
        let answer = node.one(post(&fields, &body.to_string()));
        assert_eq!(answer.refusal(), (200, code), "{level}");
    }
}
