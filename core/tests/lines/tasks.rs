//! Tasks on a channel of lines: those of 2025-11-25 belong to the session of the channel, and end
//! with it; those of the modern era are told of to who subscribes.

use serde_json::{Value, json};

use crate::channel::{Channel, Process, legacy, modern};

const TASKS: &str = "io.modelcontextprotocol/tasks";

fn process() -> Process {
    Process::start(&["--fixtures", "conformance"])
}

/// Waits for a message, and keeps what comes before it for who asks next.
fn find<W: std::io::Write>(
    channel: &Channel<W>,
    early: &mut Vec<Value>,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    if let Some(at) = early.iter().position(&wanted) {
        return early.remove(at);
    }
    loop {
        let message = channel.hear();
        if wanted(&message) {
            return message;
        }
        early.push(message);
    }
}

#[test]
fn a_task_of_2025_11_25_is_begun_listed_answered_and_ended_on_its_channel() {
    let mut process = process();
    let channel = &mut process.channel;
    let early = &mut Vec::new();
    let welcome = channel.initialize("2025-11-25", &json!({"elicitation": {}}));
    assert!(welcome["result"]["capabilities"]["tasks"].is_object());
    let begin = |tool: &str, arguments: Value| {
        let task = json!({"ttl": 60_000});
        json!({"name": tool, "arguments": arguments, "task": task})
    };
    let params = begin("confirm_delete", json!({"filename": "f"}));
    channel.say(&legacy(1, "tools/call", params));
    let task = find(channel, early, |it| it["id"] == 1)["result"]["task"].clone();
    let of = json!({"taskId": task["taskId"]});
    let stands = find(channel, early, |it| {
        it["method"] == "notifications/tasks/status"
    });
    assert_eq!(stands["params"]["status"], "input_required");
    channel.say(&legacy(2, "tasks/list", json!({})));
    let listed = find(channel, early, |it| it["id"] == 2);
    assert_eq!(listed["result"]["tasks"][0]["taskId"], task["taskId"]);

    channel.say(&legacy(3, "tasks/result", of.clone()));
    let question = find(channel, early, |it| it["method"] == "elicitation/create");
    let related = &question["params"]["_meta"]["io.modelcontextprotocol/related-task"];
    assert_eq!(related, &of);
    channel.say(&json!({"jsonrpc": "2.0", "id": question["id"],
        "result": {"action": "accept", "content": {"confirm": true}}}));
    let done = find(channel, early, |it| it["id"] == 3);
    assert_eq!(done["result"]["content"][0]["text"], "f deleted: true");

    // The end of the channel waits for no task.
    let params = begin("slow_compute", json!({"seconds": 600.0}));
    channel.say(&legacy(4, "tools/call", params));
    let task = find(channel, early, |it| it["id"] == 4);
    assert_eq!(task["result"]["task"]["status"], "working");
    channel.write.take();
    channel.drain();
    let (status, log) = process.end();
    assert!(status.success(), "{log}");
}

#[test]
fn a_subscription_on_a_channel_tells_how_a_task_stands() {
    let mut process = process();
    let channel = &mut process.channel;
    let early = &mut Vec::new();
    let able = |id: u64, method: &str, params: Value| {
        let mut message = modern(id, method, params);
        let meta = &mut message["params"]["_meta"];
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({"extensions": {TASKS: {}}});
        message
    };
    let params = json!({"name": "slow_compute", "arguments": {"seconds": 600.0}});
    let begun = channel.ask(&able(1, "tools/call", params));
    assert_eq!(begun["result"]["resultType"], "task", "{begun}");
    let id = &begun["result"]["taskId"];
    let params = json!({"notifications": {"taskIds": [id]}});
    let agreed = channel.ask(&able(2, "subscriptions/listen", params));
    assert_eq!(agreed["params"]["notifications"]["taskIds"], json!([id]));
    let told = channel.hear();
    assert_eq!(told["method"], "notifications/tasks");
    assert_eq!(told["params"]["status"], "working");
    channel.say(&able(3, "tasks/cancel", json!({"taskId": id})));
    find(channel, early, |it| it["id"] == 3);
    let told = find(channel, early, |it| it["method"] == "notifications/tasks");
    assert_eq!(told["params"]["status"], "cancelled");
}
