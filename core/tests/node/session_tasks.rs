//! Tasks of 2025-11-25: the client says which call is one, and each belongs to its session.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::client::{Client, call, delete, get, in_session, legacy, modern, modern_with};
use crate::local::{CUT_OFF, Local};
use crate::target::eventually;

const RELATED: &str = "io.modelcontextprotocol/related-task";

/// Asks in a session, on a connection of its own: the result.
fn ask(node: &Local, session: &str, method: &str, params: Value) -> Value {
    let answer = node.ask(in_session(session, method, params)).json();
    assert!(answer["result"].is_object(), "{method}: {answer}");
    answer["result"].clone()
}

fn refusal(node: &Local, session: &str, method: &str, params: Value) -> (u16, Option<i64>) {
    node.ask(in_session(session, method, params)).refusal()
}

/// Begins a task of `tool`, and returns it.
fn begin(node: &Local, session: &str, tool: &str, arguments: Value) -> Value {
    let params = json!({"name": tool, "arguments": arguments, "task": {"ttl": 60_000}});
    let task = ask(node, session, "tools/call", params)["task"].clone();
    assert_eq!(
        (&task["status"], &task["ttl"]),
        (&json!("working"), &json!(60_000))
    );
    assert!(task["pollInterval"].is_u64() && task["createdAt"].is_string());
    assert!(task["lastUpdatedAt"].is_string() && task.get("ttlMs").is_none());
    task
}

fn of(task: &Value) -> Value {
    json!({"taskId": task["taskId"]})
}

fn until(node: &Local, session: &str, task: &Value, status: &str) {
    let mut found = Value::Null;
    eventually(|| {
        found = ask(node, session, "tasks/get", of(task));
        found["status"] == status
    })
    .unwrap_or_else(|()| panic!("wanted {status}, found {found}"));
}

// [mcp:tasks-states] [mcp:tasks-times] [mcp:tasks-result] [mcp:tasks-related]
#[test]
fn a_task_is_found_from_every_shard_until_its_result_is_had() {
    let node = Local::with(3, |_| {});
    let session = node.open_session();
    let tools = ask(&node, &session, "tools/list", json!({}));
    let tools = tools["tools"].as_array().expect("tools");
    let works = tools.iter().find(|it| it["name"] == "works");
    assert_eq!(
        works.expect("a tool")["execution"],
        json!({"taskSupport": "optional"})
    );
    let modern = node.ask(modern(1, "tools/list", json!({}))).text();
    assert!(!modern.contains("taskSupport"));

    let tasks: Vec<_> = (0..6)
        .map(|_| begin(&node, &session, "works", json!({"ms": 50})))
        .collect();
    let listed = ask(&node, &session, "tasks/list", json!({}));
    let listed = listed["tasks"].as_array().expect("tasks");
    for task in &tasks {
        let named = |it: &&Value| it["taskId"] == task["taskId"];
        assert!(listed.iter().any(|it| named(&it)), "{listed:?}");
        // The request waits for what it asks for.
        let result = ask(&node, &session, "tasks/result", of(task));
        assert_eq!(result["content"][0]["text"], "true");
        assert_eq!(result["_meta"][RELATED], of(task));
        assert!(result.get("resultType").is_none());
        until(&node, &session, task, "completed");
    }
    // One that has ended answers at once, and as often as it is asked.
    let again = ask(&node, &session, "tasks/result", of(&tasks[0]));
    assert_eq!(again["content"][0]["text"], "true");

    let broken = begin(&node, &session, "breaks", json!({}));
    let code = refusal(&node, &session, "tasks/result", of(&broken));
    assert_eq!(code, (200, Some(-32603)));
    until(&node, &session, &broken, "failed");
    // A call that nobody wants as a task is none.
    let params = json!({"name": "works", "arguments": {"ms": 1}});
    let result = ask(&node, &session, "tools/call", params);
    assert_eq!(result["content"][0]["text"], "false");
}

// [mcp:tasks-id] [mcp:tasks-support] [mcp:tasks-states] [mcp:tasks-cancel] [mcp:tasks-list]
#[test]
fn a_task_is_its_sessions_alone_and_each_misuse_has_its_code() {
    let node = Local::with(2, |limits| limits.tasks_per_session = 2);
    let (session, other) = (node.open_session(), node.open_session());
    let task = begin(&node, &session, "works", json!({"ms": 60_000}));
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        for wrong in [json!("nothing"), json!(""), json!("A".repeat(43))] {
            let code = refusal(&node, &session, method, json!({"taskId": wrong}));
            assert_eq!(code, (200, Some(-32602)), "{method} {wrong}");
        }
        let code = refusal(&node, &session, method, json!({"taskId": 7}));
        assert_eq!(code, (200, Some(-32602)), "{method}");
        let code = refusal(&node, &other, method, of(&task));
        assert_eq!(code, (200, Some(-32602)), "another session's");
    }
    let able = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    let asked = node.ask(modern_with(1, "tasks/get", of(&task), able));
    assert_eq!(asked.refusal(), (200, Some(-32602)), "another era's");
    assert_eq!(
        ask(&node, &other, "tasks/list", json!({}))["tasks"],
        json!([])
    );
    let code = refusal(&node, &session, "tasks/list", json!({"cursor": "x"}));
    assert_eq!(code, (200, Some(-32602)));

    let call = |tool: &str, task: Value| {
        let params = json!({"name": tool, "arguments": {"ms": 60_000}, "task": task});
        refusal(&node, &session, "tools/call", params)
    };
    assert_eq!(call("sleep", json!({})), (200, Some(-32601)), "forbidden");
    assert_eq!(
        call("confirms", Value::Null),
        (200, Some(-32601)),
        "required"
    );
    assert_eq!(call("works", json!(7)), (200, Some(-32602)));
    assert_eq!(call("works", json!({"ttl": -1})), (200, Some(-32602)));

    let cancelled = ask(&node, &session, "tasks/cancel", of(&task));
    assert_eq!(cancelled["status"], "cancelled");
    for method in ["tasks/cancel", "tasks/result"] {
        let code = refusal(&node, &session, method, of(&task)).1;
        assert_eq!(
            code,
            Some(if method == "tasks/cancel" {
                -32602
            } else {
                -32603
            })
        );
    }
    until(&node, &session, &task, "cancelled");
    begin(&node, &session, "works", json!({"ms": 60_000}));
    assert_eq!(call("works", json!({})), (200, Some(-32603)), "too many");
}

// [mcp:tasks-declared]
#[test]
fn versions_without_tasks_are_told_of_none() {
    let node = Local::with(1, |_| {});
    let hello = |version: &str| {
        legacy(
            None,
            &json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": version, "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}}}),
        )
    };
    let new = node.ask(hello("2025-11-25")).json();
    assert_eq!(
        new["result"]["capabilities"]["tasks"],
        json!({"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}})
    );
    let old = node.ask(hello("2025-06-18"));
    assert!(old.json()["result"]["capabilities"].get("tasks").is_none());
    let session = old.field("mcp-session-id").expect("a session").to_owned();
    let code = refusal(&node, &session, "tasks/list", json!({}));
    assert_eq!(code, (200, Some(-32601)));
    // Who does not know tasks cannot wish for one.
    let params = json!({"name": "works", "arguments": {"ms": 1}, "task": {}});
    let result = ask(&node, &session, "tools/call", params);
    assert_eq!(result["content"][0]["text"], "false");
}

/// The question that comes on the stream of a request for a result.
fn question(client: &mut Client, task: &Value) -> Value {
    assert_eq!(client.stream_head().0, 200);
    let (_, question) = client.event().expect("a question");
    assert_eq!(question["method"], "elicitation/create");
    assert_eq!(question["params"]["_meta"][RELATED], of(task));
    question
}

// [mcp:tasks-related]
#[test]
fn what_a_task_asks_comes_with_the_request_for_its_result() {
    let node = Local::with(3, |_| {});
    let session = node.open_session();
    let mut stream = node.connect();
    stream.send(get(&session, None));
    stream.stream_head();
    let task = begin(&node, &session, "confirms", json!({}));
    let (_, told) = stream.event().expect("how it stands");
    assert_eq!(told["method"], "notifications/tasks/status");
    assert_eq!(told["params"]["taskId"], task["taskId"]);
    assert_eq!(told["params"]["status"], "input_required");
    until(&node, &session, &task, "input_required");

    let mut lost = node.connect();
    lost.send(in_session(&session, "tasks/result", of(&task)));
    let asked = question(&mut lost, &task);
    // Whoever asks beside it waits for the result alone.
    let mut second = node.connect();
    second.send(in_session(&session, "tasks/result", of(&task)));
    let answer = json!({"jsonrpc": "2.0", "id": asked["id"],
        "result": {"action": "decline"}});
    assert_eq!(node.ask(legacy(Some(&session), &answer)).status, 202);
    let (_, done) = lost.event().expect("a result");
    assert_eq!(done["result"]["content"][0]["text"], "Decline");
    assert_eq!(second.answer().result_text(), "Decline");
    let (_, told) = stream.event().expect("how it stands");
    assert_eq!(told["params"]["status"], "completed");
}

// [mcp:tasks-progress] [mcp:tasks-related]
#[test]
fn the_progress_of_a_task_keeps_its_token_and_stops_with_it() {
    let node = Local::with(2, |_| {});
    let session = node.open_session();
    let mut stream = node.connect();
    stream.send(get(&session, None));
    stream.stream_head();
    let params = json!({"name": "ticks", "arguments": {"count": 100_000, "ms": 5}, "task": {},
        "_meta": {"progressToken": "mine"}});
    let task = ask(&node, &session, "tools/call", params)["task"].clone();
    for n in 1..=3 {
        let (_, told) = stream.event().expect("its progress");
        assert_eq!(told["method"], "notifications/progress", "{told}");
        let params = &told["params"];
        assert_eq!(
            (&params["progressToken"], &params["progress"]),
            (&json!("mine"), &json!(f64::from(n)))
        );
        assert_eq!(params["_meta"][RELATED], of(&task));
    }
    ask(&node, &session, "tasks/cancel", of(&task));
    let told = loop {
        let (_, told) = stream.event().expect("how it stands");
        if told["method"] != "notifications/progress" {
            break told;
        }
    };
    assert_eq!(told["params"]["status"], "cancelled");
    let other = begin(&node, &session, "works", json!({"ms": 100}));
    let (_, told) = stream.event().expect("how the other stands");
    assert_eq!(told["params"]["taskId"], other["taskId"], "{told}");
    assert_eq!(told["params"]["status"], "completed");
}

#[test]
fn the_end_of_a_session_ends_its_tasks() {
    let node = Local::with(2, |limits| limits.task_watch_count = 1);
    let session = node.open_session();
    let task = begin(&node, &session, "works", json!({"ms": 60_000}));
    let mut waits = node.connect();
    waits.send(in_session(&session, "tasks/result", of(&task)));
    node.until("answers_under_way", |answers| answers == 1.0);
    let mut code = None;
    eventually(|| {
        code = refusal(&node, &session, "tasks/result", of(&task)).1;
        code.is_some()
    })
    .expect("there is room for one to wait");
    assert_eq!(code, Some(-32000));
    let before = CUT_OFF.load(Ordering::SeqCst);
    assert_eq!(node.ask(delete(&session)).status, 204);
    eventually(|| CUT_OFF.load(Ordering::SeqCst) > before).expect("its call has ended");
    assert_eq!(
        node.ask(call("echo", json!({"text": "x"}))).result_text(),
        "x"
    );
}
