//! One channel in both eras: what decides between them, sessions, cancellation, batches, the end.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::channel::{Process, echo, legacy, modern, request, sleep};

fn code(answer: &Value) -> i64 {
    answer["error"]["code"].as_i64().unwrap_or_default()
}

#[test]
fn both_eras_are_served_on_one_channel_which_ends_with_its_input() {
    let mut process = Process::start(&[]);
    let channel = &mut process.channel;
    let found = channel.ask(&modern(1, "server/discover", json!({})));
    assert_eq!(found["result"]["supportedVersions"], json!(["2026-07-28"]));
    let said = channel.ask(&modern("two", "tools/call", echo("a\nb")));
    assert_eq!(said["id"], "two");
    assert_eq!(said["result"]["content"][0]["text"], "a\nb");
    // On a channel that speaks the modern way, a request without metadata has forgotten it.
    let bare = channel.ask(&legacy(3, "tools/list", json!({})));
    assert_eq!((code(&bare), &bare["id"]), (-32602, &json!(3)));
    let welcome = channel.initialize("2025-11-25", &json!({}));
    assert_eq!(welcome["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(
        channel.ask(&legacy(4, "ping", json!({})))["result"],
        json!({})
    );
    let said = channel.ask(&legacy(5, "tools/call", echo("legacy")));
    assert_eq!(said["result"]["content"][0]["text"], "legacy");
    let said = channel.ask(&modern(6, "tools/call", echo("modern")));
    assert_eq!(said["result"]["resultType"], "complete");
    let again = channel.ask(&legacy(7, "initialize", json!({})));
    assert_eq!((code(&again), &again["id"]), (-32600, &json!(7)));
    channel.write.take();
    assert_eq!(channel.drain(), 0);
    let (status, log) = process.end();
    assert!(status.success(), "{log}");
}

#[test]
fn before_its_handshake_a_legacy_client_may_ping_and_nothing_else() {
    let mut process = Process::start(&[]);
    let channel = &mut process.channel;
    assert_eq!(
        channel.ask(&legacy(1, "ping", json!({})))["result"],
        json!({})
    );
    let early = channel.ask(&legacy(2, "tools/list", json!({})));
    assert_eq!(code(&early), -32600);
    let message = early["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("initialize first"), "{message}");
    let unasked = channel.ask(&json!({"jsonrpc": "2.0", "id": "q", "result": {}}));
    assert_eq!((code(&unasked), unasked.get("id")), (-32600, None));
    let modern_hello = channel.ask(&modern(3, "initialize", json!({})));
    assert_eq!(code(&modern_hello), -32601);
    let unknown = json!({"jsonrpc": "2.0", "id": 4, "method": "server/discover", "params": {"_meta":
        {"io.modelcontextprotocol/protocolVersion": "2099-01-01",
         "io.modelcontextprotocol/clientCapabilities": {}}}});
    assert_eq!(code(&channel.ask(&unknown)), -32022);
    // A client that finds no version of its own falls back.
    let welcome = channel.initialize("2024-11-05", &json!({}));
    assert_eq!(welcome["result"]["protocolVersion"], "2024-11-05");
}

#[test]
fn a_cancelled_request_gets_no_answer_in_either_era() {
    for is_legacy in [false, true] {
        let mut process = Process::start(&[]);
        let channel = &mut process.channel;
        if is_legacy {
            channel.initialize("2025-11-25", &json!({}));
        }
        channel.say(&request(is_legacy, 1, "tools/call", sleep(30_000)));
        channel.say(&request(is_legacy, "1", "tools/call", sleep(30_000)));
        // An id in use is refused without it, or it would be taken for the first one's answer.
        let twice = channel.ask(&request(is_legacy, 1, "tools/call", echo("again")));
        assert_eq!((code(&twice), twice.get("id")), (-32600, None));
        for id in [json!(1), json!("1"), json!("never used")] {
            channel.say(
                &json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
                "params": {"requestId": id, "reason": "test"}}),
            );
        }
        let next = channel.ask(&request(is_legacy, 1, "tools/call", echo("free again")));
        assert_eq!(next["result"]["content"][0]["text"], "free again");
        assert!(channel.is_silent());
    }
}

#[test]
fn calls_under_way_are_answered_when_they_are_done_and_in_no_order() {
    let mut process = Process::start(&[]);
    let channel = &mut process.channel;
    channel.say(&modern(1, "tools/call", sleep(400)));
    let second = channel.ask(&modern(2, "tools/call", echo("first")));
    assert_eq!(second["id"], 2);
    // The end of the input does not end them.
    channel.write.take();
    assert_eq!(channel.hear()["id"], 1);
    assert!(process.end().0.success());
}

#[test]
fn the_end_of_the_input_waits_for_no_call_longer_than_its_limit() {
    let mut process = Process::start(&[]);
    let start = Instant::now();
    process.channel.say(&modern(1, "tools/call", sleep(30_000)));
    process.channel.write(b"{\"jsonrpc\":\"2.0\",\"id\":2,");
    process.channel.write.take();
    let torn = process.channel.hear();
    assert_eq!(code(&torn), -32700, "the last line was cut off");
    let (status, log) = process.end();
    assert!(status.success(), "{log}");
    assert!(
        start.elapsed() < Duration::from_secs(25),
        "the call was waited for"
    );
    assert!(log.contains("calls end with their client"), "{log}");
}

#[test]
fn a_signal_drains() {
    let mut process = Process::start(&["--drain", "60"]);
    process.channel.say(&modern(1, "tools/call", sleep(5000)));
    process
        .channel
        .ask(&modern(2, "tools/call", echo("it runs")));
    process.channel.say(&modern(
        "s",
        "subscriptions/listen",
        json!({"notifications": {"toolsListChanged": true}}),
    ));
    let begun = process.channel.hear();
    assert_eq!(begun["method"], "notifications/subscriptions/acknowledged");
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), Signal::TERM).expect("a signal");
    let notice = process.channel.hear();
    assert_eq!(notice["method"], "notifications/cancelled");
    assert_eq!(notice["params"]["requestId"], "s");
    let result = process.channel.hear();
    assert_eq!(
        (&result["id"], &result["result"]["resultType"]),
        (&json!("s"), &json!("complete"))
    );
    assert_eq!(process.channel.hear()["id"], 1);
    let (status, log) = process.end();
    assert!(status.success() && log.contains("draining"), "{log}");
}

#[test]
fn a_subscription_is_told_of_changes_until_it_is_cancelled() {
    let mut process = Process::start(&["--fixtures", "conformance"]);
    let channel = &mut process.channel;
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    let begun = channel.ask(&modern("s", "subscriptions/listen", wanted));
    let id = "io.modelcontextprotocol/subscriptionId";
    assert_eq!(begun["params"]["_meta"][id], "s");
    let change = json!({"name": "test_trigger_tool_change", "arguments": {}});
    let mut heard = [
        channel.ask(&modern(1, "tools/call", change.clone())),
        channel.hear(),
    ];
    heard.sort_by_key(|it| it.get("id").is_some());
    assert_eq!(heard[0]["method"], "notifications/tools/list_changed");
    assert_eq!(heard[0]["params"]["_meta"][id], "s");
    channel.say(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": {"requestId": "s"}}),
    );
    assert_eq!(channel.ask(&modern(2, "tools/call", change))["id"], 2);
    assert!(channel.is_silent());
}

#[test]
fn batches_are_for_the_revision_that_has_them() {
    let batch = json!([legacy(1, "ping", json!({})), legacy(2, "tools/call", sleep(100)),
        {"jsonrpc": "2.0", "method": "notifications/initialized"}, 7]);
    for version in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let mut process = Process::start(&[]);
        process.channel.initialize(version, &json!({}));
        let refused = process.channel.ask(&batch);
        assert_eq!(
            (code(&refused), refused.get("id")),
            (-32600, None),
            "{version}"
        );
    }
    let mut process = Process::start(&[]);
    let channel = &mut process.channel;
    channel.initialize("2025-03-26", &json!({}));
    let answers = channel.ask(&batch);
    let answers = answers.as_array().expect("an array");
    assert_eq!(answers.len(), 3, "{answers:?}");
    let of = |id: Value| answers.iter().find(|it| it.get("id") == Some(&id));
    assert_eq!(of(json!(1)).expect("an answer")["result"], json!({}));
    assert!(of(json!(2)).expect("an answer")["result"]["content"].is_array());
    assert!(answers.iter().any(|it| code(it) == -32600));
    assert_eq!(code(&channel.ask(&json!([]))), -32600);
    // Nothing but notifications: nothing to say.
    channel.say(&json!([{"jsonrpc": "2.0", "method": "notifications/initialized"}]));
    assert!(channel.is_silent());
}

#[test]
fn a_question_that_is_not_waited_for_any_more_is_taken_back() {
    let mut process = Process::start(&["--fixtures", "conformance"]);
    let channel = &mut process.channel;
    channel.initialize("2025-11-25", &json!({"elicitation": {}}));
    let call = json!({"name": "test_elicitation", "arguments": {"message": "Who?"}});
    let question = channel.ask(&legacy(1, "tools/call", call));
    assert_eq!(question["method"], "elicitation/create");
    let notice = channel.ask(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": {"requestId": 1}}),
    );
    assert_eq!(notice["method"], "notifications/cancelled");
    assert_eq!(notice["params"]["requestId"], question["id"]);
    // A late answer is nobody's fault.
    channel.say(&json!({"jsonrpc": "2.0", "id": question["id"],
        "result": {"action": "accept", "content": {}}}));
    assert_eq!(channel.ask(&legacy(2, "ping", json!({})))["id"], 2);
}
