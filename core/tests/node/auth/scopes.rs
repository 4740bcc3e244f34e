//! What a token is good for: scopes of tools, prompts and resources, and the way to more of them.

use ninefold::auth::Feature;
use serde_json::json;

use super::issuer::Key;
use super::{METADATA, node_of, with};
use crate::client::{Answer, call, get, initialize, legacy, modern};
use crate::local::Local;

fn node(key: &Key) -> Local {
    node_of(key, |it| {
        it.require_always("mcp")
            .require(Feature::Tool, "hash", ["compute", "slow"])
            .require(Feature::Tool, "s*", ["slow"])
            .require(Feature::Prompt, "hello", ["talk"])
            .require(Feature::Resource, "test://private", ["private"])
            .implies("admin", ["mcp", "compute"])
            .implies("root", ["admin", "slow"])
    })
}

/// Checks that an answer asks for all of `scopes` at once.
fn assert_asks_for(answer: &Answer, scopes: &str) {
    assert_eq!(answer.refusal(), (403, Some(-32600)), "{answer:?}");
    let wanted = [
        r#"Bearer error="insufficient_scope""#.to_owned(),
        format!(r#"scope="{scopes}""#),
        format!(r#"resource_metadata="{METADATA}""#),
        format!(r#"error_description="this request needs the scopes {scopes}""#),
    ];
    let wanted = wanted.join(", ");
    assert_eq!(answer.field("www-authenticate"), Some(wanted.as_str()));
}

#[test]
// [mcp:auth-statuses] [mcp:auth-scopes]
fn a_challenge_names_all_scopes_that_the_request_needs() {
    let key = Key::new("k");
    let node = node(&key);
    let hash = call("hash", json!({"text": "x", "rounds": 1}));
    let ask = |scope: &str, request: &str| node.ask(with(&key.token("me", scope), request));
    let before = node.metric("refused_scope");
    for scope in [
        "",
        "mcp",
        "mcp slow",
        "compute slow",
        "admin",
        "MCP COMPUTE SLOW",
    ] {
        assert_asks_for(&ask(scope, &hash), "compute mcp slow");
    }
    node.until("refused_scope", |now| now == before + 6.0);
    assert_eq!(ask("mcp", &hash).json()["id"], 1);
    for scope in ["mcp compute slow", "admin slow", "root"] {
        assert_eq!(ask(scope, &hash).status, 200, "{scope}");
    }
    assert_asks_for(&ask("mcp", &call("sleep", json!({"ms": 1}))), "mcp slow");
    assert_asks_for(&ask("other", &call("who", json!({}))), "mcp");
    assert_eq!(
        ask("root", &call("who", json!({}))).result_text(),
        "me admin,compute,mcp,root,slow"
    );
}

#[test]
fn prompts_and_resources_need_scopes_however_they_are_reached() {
    let key = Key::new("k");
    let node = node(&key);
    let ask = |scope: &str, request: &str| node.ask(with(&key.token("me", scope), request));
    let hello = modern(1, "prompts/get", json!({"name": "hello"}));
    assert_asks_for(&ask("mcp", &hello), "mcp talk");
    assert_eq!(ask("mcp talk", &hello).status, 200);
    let uri = "test://private";
    let read = modern(1, "resources/read", json!({"uri": uri}));
    let read = read.replace("Mcp-Name: -", &format!("Mcp-Name: {uri}"));
    assert_asks_for(&ask("mcp", &read), "mcp private");
    assert!(ask("mcp private", &read).text().contains("secret"));
    let wanted = json!({"notifications": {"resourceSubscriptions": [uri]}});
    assert_asks_for(
        &ask("mcp", &modern(1, "subscriptions/listen", wanted)),
        "mcp private",
    );
    let of = json!({"ref": {"type": "ref/resource", "uri": uri},
        "argument": {"name": "x", "value": ""}});
    assert_asks_for(
        &ask("mcp", &modern(1, "completion/complete", of)),
        "mcp private",
    );
}

#[test]
fn a_batch_needs_what_its_messages_need_together() {
    let key = Key::new("k");
    let node = node(&key);
    let token = key.token("me", "mcp");
    let old = initialize().replace("2025-11-25", "2025-03-26");
    let opened = node.ask(with(&token, &old));
    let session = opened
        .field("mcp-session-id")
        .expect("a session")
        .to_owned();
    let one = |id: u8, name: &str, arguments: serde_json::Value| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": name, "arguments": arguments}})
    };
    let hash = one(2, "hash", json!({"text": "x", "rounds": 1}));
    let prompt = json!({"jsonrpc": "2.0", "id": 3, "method": "prompts/get",
        "params": {"name": "hello"}});
    let batch = json!([one(1, "echo", json!({"text": "x"})), hash, prompt]);
    let answer = node.ask(with(&token, &legacy(Some(&session), &batch)));
    assert_asks_for(&answer, "compute mcp slow talk");
    assert!(answer.json().get("id").is_none());
    let all = key.token("me", "mcp compute slow talk");
    let answer = node.ask(with(&all, &legacy(Some(&session), &batch)));
    assert_eq!(answer.status, 200, "{answer:?}");
    // Streams and their ends need what everything needs.
    let answer = node.ask(with(&key.token("me", "talk"), &get(&session, None)));
    assert_asks_for(&answer, "mcp");
}

#[test]
// [mcp:cache-public]
fn what_may_be_shared_is_the_same_for_all_who_may_see_it() {
    let key = Key::new("k");
    let node = node(&key);
    let ask = |token: &str, request: &str| node.ask(with(token, request));
    let (much, little) = (
        key.token("me", "root private talk"),
        key.token("you", "mcp"),
    );
    for method in [
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
    ] {
        let request = modern(1, method, json!({}));
        let mine = ask(&much, &request).json();
        assert_eq!(mine["result"]["cacheScope"], "public", "{method}");
        assert_eq!(mine, ask(&little, &request).json(), "{method}");
        // A cache that gives it away does not open the node.
        assert_eq!(node.ask(&request).status, 401, "{method}");
    }
    let uri = "test://private";
    let read = modern(1, "resources/read", json!({"uri": uri}));
    let read = read.replace("Mcp-Name: -", &format!("Mcp-Name: {uri}"));
    let mine = ask(&key.token("me", "mcp private"), &read).json();
    assert_eq!(mine["result"]["cacheScope"], "private");
    assert_asks_for(&ask(&little, &read), "mcp private");
}
