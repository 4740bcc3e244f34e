//! Tools that misbehave: a panic fails one call, a tool that blocks delays whom it must.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{call, echo, in_session};
use crate::local::{Local, log};

#[test]
fn a_tool_that_panics_fails_its_call_and_nothing_else() {
    let node = Local::start();
    let session = node.open_session();
    for tool in ["panics", "panics_later", "panics_elsewhere"] {
        let legacy = in_session(&session, "tools/call", json!({"name": tool}));
        for request in [call(tool, json!({})), legacy] {
            let mut client = node.connect();
            let answer = node.beside("tool_panic", || client.ask(&request));
            assert_eq!(answer.refusal(), (200, Some(-32603)), "{tool}");
            assert_eq!(answer.json()["id"], 1);
            assert!(
                !answer.text().contains("secret"),
                "{tool} lets a client look inside"
            );
            assert_eq!(client.ask(echo("alive")).result_text(), "alive");
        }
        let cause = format!("secret of {tool}");
        let line = |line: &str| line.contains("tool panicked") && line.contains(&cause);
        assert_eq!(
            log().lines().filter(|it| line(it)).count(),
            2,
            "{tool} in the log"
        );
    }
    assert_eq!(node.metric("tool_panic"), 6.0);
    assert_eq!(
        node.metric("tasks_panicked"),
        0.0,
        "the connection's own task is unharmed"
    );
    node.until("arenas_in_use", |arenas| arenas == 0.0);
}

#[test]
fn a_tool_that_holds_its_shard_does_not_hold_the_control_plane() {
    let node = Local::start();
    let stalls = node.metric("turns_over_budget");
    let mut client = node.connect();
    client.send(call("blocks", json!({"ms": 300})));
    // Until it has begun.
    std::thread::sleep(Duration::from_millis(30));
    for path in ["/health", "/ready", "/metrics"] {
        let asked = Instant::now();
        assert_eq!(node.admin(path).status, 200, "{path}");
        assert!(
            asked.elapsed() < Duration::from_millis(200),
            "{path}: {:?}",
            asked.elapsed()
        );
    }
    assert_eq!(client.answer().status, 200);
    node.until("turns_over_budget", |now| now > stalls);
}

#[test]
fn a_shard_that_is_held_for_long_is_unhealthy() {
    let node = Local::start();
    let mut client = node.connect();
    client.send(call("blocks", json!({"ms": 1600})));
    std::thread::sleep(Duration::from_millis(1300));
    let answer = node.admin("/health");
    assert_eq!(
        (answer.status, &answer.json()["shards"][0]["status"]),
        (503, &json!("stuck"))
    );
    assert_eq!(client.answer().status, 200);
    assert_eq!(node.admin("/health").status, 200);
}

#[test]
fn a_tool_on_the_blocking_pool_delays_nobody() {
    let node = Local::start();
    let mut held = node.connect();
    let since = Instant::now();
    held.send(call("blocks_elsewhere", json!({"ms": 500})));
    let mut client = node.connect();
    for n in 0..100 {
        let text = n.to_string();
        assert_eq!(client.ask(echo(&text)).result_text(), text);
    }
    let took = since.elapsed();
    assert!(
        took < Duration::from_millis(450),
        "100 echoes waited for the pool: {took:?}"
    );
    assert_eq!(held.answer().status, 200);
    assert!(since.elapsed() >= Duration::from_millis(500));
}

#[test]
fn a_tool_is_stopped_at_its_deadline_and_cut_off_at_its_limit() {
    let node = Local::with(1, |limits| {
        limits.tool_deadline_ms = 50;
        limits.tool_output_bytes = 2000;
    });
    let failed = |counter: &str, request: String| {
        let answer = node.beside(counter, || node.ask(request));
        assert_eq!(answer.json()["result"]["isError"], true);
        answer.result_text()
    };
    let late = failed("tool_late", call("sleep", json!({"ms": 5000})));
    assert_eq!(late, "the tool did not finish within 50ms");
    let large = failed(
        "tool_output_over_limit",
        call("large", json!({"bytes": 3000})),
    );
    assert!(large.contains("over the limit of 2000"), "{large}");
}
