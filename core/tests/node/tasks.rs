//! Calls that go on as tasks, found from every shard.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ninefold::{Context, NoArguments, Server};
use serde_json::{Value, json};

use crate::client::{call, in_session, modern, modern_with};
use crate::local::{CUT_OFF, Local};
use crate::target::eventually;

/// A request of a client that knows tasks.
fn able(method: &str, params: Value) -> String {
    let extensions = json!({"io.modelcontextprotocol/tasks": {}});
    let capabilities = json!({"extensions": extensions, "elicitation": {}});
    modern_with(1, method, params, capabilities)
}

/// Begins a task of `tool` and returns its id.
fn begin(node: &Local, tool: &str, arguments: Value) -> String {
    let params = json!({"name": tool, "arguments": arguments});
    let task = node.ask(able("tools/call", params)).json()["result"].clone();
    assert_eq!(task["resultType"], "task", "{task}");
    assert_eq!(task["status"], "working");
    assert!(task["ttlMs"].is_u64() && task["createdAt"].is_string());
    for member in [
        "result",
        "error",
        "inputRequests",
        "requestState",
        "content",
    ] {
        assert!(task.get(member).is_none(), "{task}");
    }
    task["taskId"].as_str().expect("an id").to_owned()
}

fn get(node: &Local, id: &str) -> Value {
    let task = node.ask(able("tasks/get", json!({"taskId": id}))).json();
    let task = task["result"].clone();
    assert_eq!(
        (&task["resultType"], &task["taskId"]),
        (&json!("complete"), &json!(id))
    );
    task
}

fn until(node: &Local, id: &str, status: &str) -> Value {
    let mut task = Value::Null;
    eventually(|| {
        task = get(node, id);
        task["status"] == status
    })
    .unwrap_or_else(|()| panic!("wanted {status}, found {task}"));
    task
}

#[test]
fn a_task_is_found_from_every_shard_until_it_is_done() {
    // [mcp:state-by-handle]
    let node = Local::with(3, |_| {});
    let tasks: Vec<_> = (0..9)
        .map(|_| begin(&node, "works", json!({"ms": 100})))
        .collect();
    for id in &tasks {
        let task = until(&node, id, "completed");
        assert_eq!(task["result"]["content"][0]["text"], "true");
        assert!(task.get("error").is_none());
    }
    // Who knows no tasks gets the result of the call itself.
    let answer = node.ask(call("works", json!({"ms": 1})));
    assert_eq!(answer.result_text(), "false");
    let broken = begin(&node, "breaks", json!({}));
    let task = until(&node, &broken, "failed");
    assert_eq!(task["error"]["code"], -32603);
    assert!(!task.to_string().contains("secret") && task.get("result").is_none());
    node.until("tool_panic", |panics| panics == 1.0);
}

#[test]
fn a_call_goes_on_where_a_server_has_no_tasks() {
    // [mcp:result-type-extension] [mcp:extensions-fallback]
    let wish = |NoArguments {}, to: Context| async move { to.become_task().await.to_string() };
    let server = Server::builder("without", "1").context_tool("wishes", "Would be a task", wish);
    let node = Local::serving(&server.build().expect("a server"), 1);
    let params = json!({"name": "wishes", "arguments": {}});
    assert_eq!(node.ask(able("tools/call", params)).result_text(), "false");
}

#[test]
fn a_task_that_asks_goes_on_when_it_is_answered() {
    let node = Local::with(2, |_| {});
    let id = begin(&node, "confirms", json!({}));
    let task = until(&node, &id, "input_required");
    assert_eq!(
        task["inputRequests"]["sure"]["method"],
        "elicitation/create"
    );
    let update = |answers: Value| {
        let params = json!({"taskId": id, "inputResponses": answers});
        let answer = node.ask(able("tasks/update", params)).json();
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        assert!(answer["result"].get("taskId").is_none());
    };
    update(json!({"other": {"action": "accept"}}));
    assert_eq!(get(&node, &id)["status"], "input_required");
    update(json!({"sure": {"action": "decline"}}));
    let task = until(&node, &id, "completed");
    assert_eq!(task["result"]["content"][0]["text"], "Decline");
    update(json!({"sure": {"action": "accept"}}));
}

#[test]
fn a_task_that_is_cancelled_ends_at_once_and_once() {
    let node = Local::with(2, |_| {});
    let id = begin(&node, "works", json!({"ms": 60_000}));
    let before = CUT_OFF.load(Ordering::SeqCst);
    for _ in 0..2 {
        let answer = node.ask(able("tasks/cancel", json!({"taskId": id}))).json();
        assert_eq!(answer["result"]["resultType"], "complete");
        assert_eq!(until(&node, &id, "cancelled")["status"], "cancelled");
    }
    eventually(|| CUT_OFF.load(Ordering::SeqCst) > before).expect("its call has ended");
}

#[test]
fn what_is_no_task_of_this_client_is_refused() {
    let node = Local::with(1, |limits| {
        limits.tasks_per_shard = 1;
        limits.task_ttl_ms = 1000;
    });
    let id = begin(&node, "works", json!({"ms": 60_000}));
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let params = |id: &str| json!({"taskId": id, "inputResponses": {}});
        for wrong in ["", "nothing", &id[1..], &"A".repeat(43)] {
            let answer = node.ask(able(method, params(wrong)));
            assert_eq!(answer.refusal(), (200, Some(-32602)), "{method} {wrong}");
        }
        let answer = node.ask(modern(1, method, params(&id)));
        assert_eq!(answer.refusal(), (400, Some(-32021)), "{method}");
        let missing = &answer.json()["error"]["data"]["requiredCapabilities"]["extensions"];
        assert_eq!(missing, &json!({"io.modelcontextprotocol/tasks": {}}));
    }
    let answer = node.ask(able("tasks/list", json!({})));
    assert_eq!(answer.refusal(), (404, Some(-32601)));
    let unable = node.ask(call("confirms", json!({})));
    assert_eq!(unable.refusal(), (400, Some(-32021)));
    // Without room for one more task a call stays a call.
    let params = json!({"name": "works", "arguments": {"ms": 1}});
    assert_eq!(node.ask(able("tools/call", params)).result_text(), "false");
    std::thread::sleep(Duration::from_millis(1100));
    let answer = node.ask(able("tasks/get", json!({"taskId": id})));
    assert_eq!(answer.refusal(), (200, Some(-32602)), "its time is over");
}

#[test]
fn a_drain_does_not_wait_for_tasks_nor_for_calls_whose_client_has_gone() {
    let node = Local::with(2, |_| {});
    begin(&node, "works", json!({"ms": 60_000}));
    begin(&node, "confirms", json!({}));
    let session = node.open_session();
    let params = json!({"name": "works", "arguments": {"ms": 60_000}});
    let mut client = node.connect();
    client.send(in_session(&session, "tools/call", params));
    node.until("answers_under_way", |answers| answers == 1.0);
    drop(client);
    node.until("answers_under_way", |answers| answers == 0.0);
    let before = Instant::now();
    assert_eq!(node.shutdown(), 0);
    assert!(before.elapsed() < Duration::from_secs(5));
}
