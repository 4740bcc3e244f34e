//! What results are made of beyond their text: structured content and what it is held to, hints,
//! `_meta`; and functions of every kind behind resources, prompts and completions.

use std::time::Duration;

use ninefold::content::{Annotations, Icon, Role, Theme};
use ninefold::server::BuildError;
use ninefold::{
    Completion, Content, Context, Info, IntoToolResult, Json, NoArguments, Resource, Server,
    Template,
};
use ninefold_runtime::{Config, Runtime};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::harness::{Node, legacy, modern};

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON")
}

/// A node with tools that return whatever they are given.
fn promising(schema: &str) -> Node {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Given {
        value: Option<Value>,
    }
    let (now, later) = (raw(schema), raw(schema));
    Node::with(move |it| {
        it.tool(
            Info::new("now").output_schema(now),
            "",
            |Given { value }: Given| value.map(Json).ok_or("it failed"),
        )
        .async_tool(
            Info::new("later").output_schema(later),
            "",
            |Given { value }: Given| async { Json(value) },
        )
        .tool("silent", "", |NoArguments {}| "text")
    })
}

fn in_session(node: &Node, method: &str, params: &Value) -> Value {
    let (session, _) = node.initialize("2025-11-25");
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    node.one(legacy(Some(&session), &body)).json()
}

// [mcp:tools-output]
#[test]
fn structured_content_that_breaks_a_promise_is_never_sent() {
    let node = promising(r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#);
    for tool in ["now", "later"] {
        let good = node.call(tool, json!({"value": {"n": 1}})).json();
        assert_eq!(good["result"]["structuredContent"], json!({"n": 1}));
        for wrong in [json!({"n": "secret"}), json!([1]), json!("secret")] {
            let answer = node.call(tool, json!({"value": wrong}));
            assert_eq!(answer.refusal(), (200, Some(-32603)), "{tool} {wrong}");
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(!text.contains("secret") && !text.contains("[1]"), "{text}");
            let params = json!({"name": tool, "arguments": {"value": wrong}});
            let legacy = in_session(&node, "tools/call", &params);
            assert_eq!(legacy["error"]["code"], -32603, "{legacy}");
        }
    }
    assert_eq!(node.count("tool_output_unfit"), 12);
    // What says that it failed promises nothing.
    let failed = node.call("now", json!({})).json();
    assert_eq!(failed["result"]["isError"], true);
    let without = Node::with(|it| {
        let schema = raw(r#"{"type":"object"}"#);
        it.tool(
            Info::new("text").output_schema(schema),
            "",
            |NoArguments {}| "text",
        )
    });
    assert_eq!(
        without.call("text", json!({})).refusal(),
        (200, Some(-32603))
    );
}

#[test]
fn any_value_is_structured_content_in_the_modern_era_only() {
    let schema = r#"{ "type":["array","null","string"] }"#;
    let node = promising(schema);
    let list = String::from_utf8(node.modern("tools/list", json!({})).body).expect("text");
    assert!(list.contains(schema), "every byte of it");
    let tools = in_session(&node, "tools/list", &json!({}));
    let tools = tools["result"]["tools"].as_array().expect("tools");
    assert!(
        tools.iter().all(|it| it.get("outputSchema").is_none()),
        "{tools:?}"
    );
    for value in [json!([1, 2]), json!("x")] {
        for tool in ["now", "later"] {
            let new = node.call(tool, json!({"value": value})).json();
            assert_eq!(new["result"]["structuredContent"], value);
            let params = json!({"name": tool, "arguments": {"value": value}});
            let old = in_session(&node, "tools/call", &params);
            assert!(old["result"].get("structuredContent").is_none(), "{old}");
            assert_eq!(old["result"]["content"][0]["text"], value.to_string());
        }
    }
    let null = node.call("later", json!({})).json();
    assert_eq!(null["result"].get("structuredContent"), Some(&Value::Null));
    let broken = Server::builder("t", "1").tool(
        Info::new("x").output_schema(raw(r#"{"$ref":"https://example.com/x"}"#)),
        "",
        |NoArguments {}| "",
    );
    assert!(matches!(broken.build(), Err(BuildError::Schema { .. })));
}

/// A node whose features have hints, icons and `_meta`.
fn adorned() -> Node {
    let hints = || Annotations::new().audience(Role::Assistant).priority(0.5);
    let icon = || Icon::new("https://example.com/i.png").theme(Theme::Light);
    Node::with(|it| {
        it.tool(
            Info::new("hints")
                .icon(icon())
                .meta("example.com/k", "tool"),
            "",
            move |NoArguments {}| {
                [
                    Content::text("x").annotations(hints()),
                    Content::link(Resource::new("test://r", "R").icon(icon())).annotations(hints()),
                ]
                .with_meta("example.com/k", json!({"deep": [1]}))
            },
        )
        .async_tool("later", "", |NoArguments {}| async {
            "x".with_meta("example.com/k", 1)
        })
        .resource(
            Resource::new("test://r", "R")
                .annotations(hints())
                .meta("example.com/k", 2),
            || "r",
        )
        .template(Template::new("test://t/{x}", "T").icon(icon()), |_| "t")
        .prompt(
            Info::new("p").icon(icon()).meta("example.com/k", 3),
            "",
            |NoArguments {}| "p",
        )
    })
}

#[test]
fn hints_icons_and_meta_reach_the_client_in_both_eras() {
    let node = adorned();
    let shown = json!({"audience": ["assistant"], "priority": 0.5});
    let icons = json!([{"src": "https://example.com/i.png", "theme": "light"}]);
    let ask = |method: &str, params: Value| {
        let modern = node.modern(method, params.clone()).json()["result"].clone();
        [modern, in_session(&node, method, &params)["result"].clone()]
    };
    for result in ask("tools/call", json!({"name": "hints"})) {
        for block in result["content"].as_array().expect("content") {
            assert_eq!(block["annotations"], shown);
        }
        assert_eq!(result["content"][1]["icons"], icons);
        assert_eq!(result["_meta"]["example.com/k"], json!({"deep": [1]}));
    }
    let [new, old] = ask("tools/call", json!({"name": "later"}));
    assert_eq!(
        (&new["_meta"]["example.com/k"], &old["_meta"]),
        (&json!(1), &json!({"example.com/k": 1}))
    );
    assert!(new["_meta"]["io.modelcontextprotocol/serverInfo"].is_object());
    for (method, list, meta, has_icon) in [
        ("tools/list", "tools", json!("tool"), true),
        ("resources/list", "resources", json!(2), false),
        (
            "resources/templates/list",
            "resourceTemplates",
            Value::Null,
            true,
        ),
        ("prompts/list", "prompts", json!(3), true),
    ] {
        for result in ask(method, json!({})) {
            let entries = result[list].as_array().expect("a list");
            let named = ["hints", "R", "T", "p"];
            let mut ours = entries.iter().filter(|it| {
                let name = it["name"].as_str().unwrap_or_default();
                named.contains(&name)
            });
            let entry = ours.next().expect("an entry");
            assert_eq!(entry["_meta"]["example.com/k"], meta, "{method}");
            assert_eq!(entry["icons"] == icons, has_icon, "{method}");
        }
    }
}

#[test]
fn documentation_becomes_descriptions() {
    /// Adds to what is there.
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct More {
        /// How much.
        amount: Option<String>,
    }
    let node = Node::with(|it| {
        it.tool("more", "", |More { amount }: More| {
            amount.unwrap_or_default()
        })
        .tool("said", "Says so.", |More { .. }: More| "")
        .prompt("more", "", |More { .. }: More| "")
    });
    let tools = node.modern("tools/list", json!({})).json();
    let tools = tools["result"]["tools"].as_array().expect("tools").clone();
    let named = |name: &str| tools.iter().find(|it| it["name"] == name).expect("a tool");
    assert_eq!(named("more")["description"], "Adds to what is there.");
    assert_eq!(named("said")["description"], "Says so.");
    let amount = &named("more")["inputSchema"]["properties"]["amount"];
    assert_eq!(amount["description"], "How much.");
    let prompts = node.modern("prompts/list", json!({})).json();
    let prompt = &prompts["result"]["prompts"][0];
    assert_eq!(prompt["description"], "Adds to what is there.");
    assert_eq!(prompt["arguments"][0]["description"], "How much.");
}

/// Functions that wait and functions that block, behind what is no tool.
fn every_kind() -> Node {
    Node::with_on_runtime(|it| {
        let thread = || std::thread::current().name().unwrap_or_default().to_owned();
        it.context_resource(Resource::new("test://later", "l"), |_: Context| async {
            "later"
        })
        .blocking_resource(Resource::new("test://blocks", "b"), thread)
        .context_template(
            Template::new("test://later/{x}", "l"),
            |of, _: Context| async move { of.get("x").to_owned() },
        )
        .blocking_template(Template::new("test://blocks/{x}", "b"), move |of| {
            format!("{} {}", of.get("x"), thread())
        })
        .blocking_resource(Resource::new("test://panics", "p"), || -> String {
            panic!("secret")
        })
        .context_prompt("later", "Waits", |Named { .. }: Named, _: Context| async {
            "later"
        })
        .blocking_prompt("blocks", "Blocks", move |Named { name }: Named| {
            format!("{name} {}", thread())
        })
        .completion(
            Completion::prompt("later", "name")
                .by_async(|asked| async move { [format!("{}!", asked.value)] }),
        )
        .completion(
            Completion::prompt("blocks", "name").by_blocking(move |asked| [asked.value, thread()]),
        )
        .completion(Completion::template("test://later/{x}", "x").by(|_| ["now"]))
    })
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Named {
    name: String,
}

#[test]
fn functions_of_every_kind_read_write_and_complete() {
    let config = Config {
        shards: Some(1),
        ..Config::default()
    };
    let runtime = Runtime::start(&config).expect("a shard");
    let answered = runtime.handle().run_on(0, || async {
        let node = every_kind();
        let mut answers = Vec::new();
        for (method, params) in [
            ("resources/read", json!({"uri": "test://later"})),
            ("resources/read", json!({"uri": "test://blocks"})),
            ("resources/read", json!({"uri": "test://later/a"})),
            ("resources/read", json!({"uri": "test://blocks/a"})),
            ("resources/read", json!({"uri": "test://panics"})),
            (
                "prompts/get",
                json!({"name": "later", "arguments": {"name": "a"}}),
            ),
            (
                "prompts/get",
                json!({"name": "blocks", "arguments": {"name": "a"}}),
            ),
            (
                "completion/complete",
                completing("ref/prompt", "name", "later", "name"),
            ),
            (
                "completion/complete",
                completing("ref/prompt", "name", "blocks", "name"),
            ),
            (
                "completion/complete",
                completing("ref/resource", "uri", "test://later/{x}", "x"),
            ),
        ] {
            answers.push(node.answer(&modern(method, params)).await.json());
        }
        (answers, node.count("tool_panic"))
    });
    runtime.shutdown(Duration::from_secs(20));
    let (answers, panics) = answered.expect("answers");
    let text = |at: usize, path: &str| {
        let found = answers[at]["result"].pointer(path).and_then(Value::as_str);
        found
            .unwrap_or_else(|| panic!("{}", answers[at]))
            .to_owned()
    };
    assert_eq!(text(0, "/contents/0/text"), "later");
    assert!(text(1, "/contents/0/text").starts_with("blocking-"));
    assert_eq!(text(2, "/contents/0/text"), "a");
    assert!(text(3, "/contents/0/text").starts_with("a blocking-"));
    assert_eq!((&answers[4]["error"]["code"], panics), (&json!(-32603), 1));
    assert_eq!(text(5, "/messages/0/content/text"), "later");
    assert!(text(6, "/messages/0/content/text").starts_with("a blocking-"));
    assert_eq!(text(7, "/completion/values/0"), "v!");
    assert!(text(8, "/completion/values/1").starts_with("blocking-"));
    assert_eq!(text(9, "/completion/values/0"), "now");
}

fn completing(kind: &str, key: &str, of: &str, argument: &str) -> Value {
    json!({"ref": {"type": kind, key: of}, "argument": {"name": argument, "value": "v"}})
}
