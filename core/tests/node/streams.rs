//! Answers as streams of events, and what happens when a client leaves one.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, call, delete, echo, get, in_session, legacy, modern, post};
use crate::local::{CUT_OFF, Local};
use crate::target::eventually;

/// A call in a session, with a progress token.
fn calls(session: &str, id: u32, tool: &str, arguments: Value) -> String {
    let params = json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}});
    let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
    legacy(Some(session), &body)
}

fn note(session: &str, body: Value) -> String {
    legacy(Some(session), &body)
}

fn text(message: &Value) -> &str {
    message["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_default()
}

/// Reads progress until the result.
fn ticks(client: &mut Client) -> (Vec<f64>, Value) {
    let mut seen = Vec::new();
    loop {
        let (_, message) = client.event().expect("a result before the end");
        match message["params"]["progress"].as_f64() {
            Some(progress) => seen.push(progress),
            None => return (seen, message),
        }
    }
}

#[test]
fn progress_comes_while_the_call_goes_on_and_the_connection_is_good_for_more() {
    let node = Local::start();
    let mut client = node.connect();
    for _ in 0..2 {
        client.send(call("ticks", json!({"count": 3, "ms": 20})));
        let (status, fields) = client.stream_head();
        assert_eq!(status, 200);
        assert_eq!(fields["content-type"], "text/event-stream");
        assert_eq!(fields["x-accel-buffering"], "no");
        let (seen, result) = ticks(&mut client);
        assert_eq!((seen, text(&result)), (vec![1.0, 2.0, 3.0], "3 ticks"));
        assert_eq!(client.chunk(), None);
        assert_eq!(client.ask(echo("more")).result_text(), "more");
    }
}

#[test]
fn a_client_of_http_1_0_reads_a_stream_to_the_end_of_its_connection() {
    let node = Local::start();
    let mut client = node.connect();
    let request = call("ticks", json!({"count": 2, "ms": 5}));
    client.send(request.replacen("HTTP/1.1", "HTTP/1.0", 1));
    let (status, fields) = client.stream_head();
    assert_eq!((status, fields["connection"].as_str()), (200, "close"));
    assert!(!fields.contains_key("transfer-encoding"));
    assert!(client.closed() > 0);
}

#[test]
fn a_stream_without_news_shows_that_it_lives() {
    let node = Local::with(1, |limits| limits.stream_keep_alive_ms = 30);
    let mut client = node.connect();
    client.send(call("ticks", json!({"count": 1, "ms": 200})));
    client.stream_head();
    let chunks: Vec<_> = std::iter::from_fn(|| client.chunk()).collect();
    let comments = chunks.iter().filter(|it| *it == ":\n\n").count();
    assert!((2..=7).contains(&comments), "{chunks:?}");
    // A call that says nothing lives as well; a short one is still one body.
    client.send(call("sleep", json!({"ms": 100})));
    assert_eq!(client.stream_head().1["content-type"], "text/event-stream");
    assert_eq!(client.chunk().as_deref(), Some(":\n\n"));
    assert_eq!(text(&ticks(&mut client).1), "slept 100 ms");
    assert_eq!(client.chunk(), None);
    let answer = client.ask(call("sleep", json!({"ms": 1})));
    assert_eq!(answer.field("content-type"), Some("application/json"));
}

#[test]
fn a_modern_client_that_leaves_cancels_and_a_legacy_one_does_not() {
    // [mcp:cancel-disconnect] [mcp:http-event-id] [mcp:http-replay]
    let node = Local::start();
    let session = node.open_session();
    let long = json!({"count": 100, "ms": 20});
    let before = CUT_OFF.load(Ordering::SeqCst);
    let mut client = node.connect();
    client.send(call("ticks", long.clone()));
    client.stream_head();
    client.event().expect("a first tick");
    drop(client);
    let cut_off = || CUT_OFF.load(Ordering::SeqCst) - before;
    eventually(|| cut_off() == 1).expect("the call ends with its client");

    let mut client = node.connect();
    client.send(calls(&session, 1, "ticks", json!({"count": 10, "ms": 20})));
    client.stream_head();
    let (id, _) = client.event().expect("a first tick");
    drop(client);
    let mut again = node.connect();
    again.send(get(&session, Some(&id)));
    assert_eq!(again.stream_head().0, 200);
    let (seen, result) = ticks(&mut again);
    assert_eq!(seen, (2..=10).map(f64::from).collect::<Vec<_>>());
    assert_eq!(text(&result), "10 ticks");
    assert_eq!(again.chunk(), None);
    assert_eq!(cut_off(), 1);
    // What has ended is replayed as well.
    again.send(get(&session, Some(&id)));
    again.stream_head();
    assert_eq!(ticks(&mut again).0.len(), 9);
    assert_eq!(again.chunk(), None);
}

#[test]
fn a_legacy_call_is_cancelled_by_a_notification_from_anywhere() {
    // [mcp:cancel-races]
    let node = Local::with(3, |_| {});
    let session = node.open_session();
    for id in 0..4 {
        let mut client = node.connect();
        client.send(calls(
            &session,
            id,
            "ticks",
            json!({"count": 1000, "ms": 20}),
        ));
        client.stream_head();
        client.event().expect("a first tick");
        let cancel = |id: Value| {
            let params = json!({"requestId": id, "reason": "changed my mind"});
            let method = "notifications/cancelled";
            note(
                &session,
                json!({"jsonrpc": "2.0", "method": method, "params": params}),
            )
        };
        // Twice, and what was never asked.
        for id in [json!("nothing"), json!(id), json!(id), json!({})] {
            assert_eq!(node.ask(cancel(id)).status, 202);
        }
        while let Some((_, message)) = client.event() {
            assert!(
                message.get("id").is_none(),
                "an answer to what was taken back"
            );
        }
        assert_eq!(node.ask(cancel(json!(id))).status, 202, "and after its end");
    }
    node.until("answers_under_way", |answers| answers == 0.0);
}

#[test]
fn nothing_is_answered_twice_nor_cancelled_by_others() {
    let node = Local::with(3, |_| {});
    let (session, other) = (node.open_session(), node.open_session());
    let arguments = json!({"count": 3, "ms": 50});
    let begin = |request: String| {
        let mut client = node.connect();
        client.send(request);
        client.stream_head();
        client.event().expect("a first tick");
        client
    };
    let mut stream = node.connect();
    stream.send(get(&session, None));
    stream.stream_head();
    // One id twice at a time is the client's mistake; each request has its one answer still.
    let twins = [1, 1].map(|id| begin(calls(&session, id, "ticks", arguments.clone())));
    let modern_one = begin(call("ticks", arguments.clone()));
    let method = "notifications/cancelled";
    let params = json!({"requestId": 1});
    let cancel = json!({"jsonrpc": "2.0", "method": method, "params": params});
    assert_eq!(node.ask(note(&other, cancel.clone())).status, 202);
    let fields = [
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", method),
    ];
    assert_eq!(node.ask(post(&fields, &cancel.to_string())).status, 202);
    for mut client in twins.into_iter().chain([modern_one]) {
        let (seen, result) = ticks(&mut client);
        assert_eq!((seen.len(), text(&result)), (2, "3 ticks"));
        assert_eq!(client.chunk(), None, "nothing behind the answer");
    }
    assert_eq!(node.ask(note(&session, cancel)).status, 202);
    assert_eq!(node.ask(delete(&session)).status, 204);
    let on_stream = std::iter::from_fn(|| stream.event()).count();
    assert_eq!(
        on_stream, 0,
        "an answer is sent on the stream of its request only"
    );
}

#[test]
fn a_question_is_answered_by_another_request_from_anywhere() {
    let node = Local::with(3, |_| {});
    let session = node.open_session();
    for id in 0..6 {
        let mut client = node.connect();
        client.send(calls(&session, id, "asks", json!({})));
        client.stream_head();
        let (_, question) = client.event().expect("a question");
        assert_eq!(question["method"], "elicitation/create");
        let reply = |id: &Value, name: &str| {
            let result = json!({"action": "accept", "content": {"name": name}});
            note(
                &session,
                json!({"jsonrpc": "2.0", "id": id, "result": result}),
            )
        };
        for wrong in [json!("made up"), json!(7), json!("A".repeat(43))] {
            assert_eq!(node.ask(reply(&wrong, "Eve")).status, 202);
        }
        assert_eq!(node.ask(reply(&question["id"], "Ada")).status, 202);
        let (_, result) = client.event().expect("a result");
        assert_eq!(text(&result), "Accept \"Ada\"");
        assert_eq!(client.chunk(), None);
        assert_eq!(
            node.ask(reply(&question["id"], "Eve")).status,
            202,
            "too late"
        );
    }
    // An error is an answer, too.
    let mut client = node.connect();
    client.send(calls(&session, 9, "asks", json!({})));
    client.stream_head();
    let (_, question) = client.event().expect("a question");
    let error = json!({"code": -1, "message": "no"});
    let refusal = json!({"jsonrpc": "2.0", "id": question["id"], "error": error});
    assert_eq!(node.ask(note(&session, refusal)).status, 202);
    let (_, result) = client.event().expect("a result");
    assert_eq!(text(&result), "the client answered with error -1: no");
}

#[test]
fn a_question_that_nobody_answers_fails_in_time() {
    let node = Local::with(1, |limits| {
        limits.client_answer_ms = 100;
        limits.tool_deadline_ms = 10;
    });
    let session = node.open_session();
    let mut client = node.connect();
    client.send(calls(&session, 1, "asks", json!({})));
    client.stream_head();
    client.event().expect("a question");
    // The tool's own deadline stood still while the person was asked.
    let (_, result) = client.event().expect("a result");
    assert_eq!(text(&result), "the client did not answer in time");
}

#[test]
fn a_stream_that_ended_early_is_come_back_to() {
    // [mcp:http-get-responses]
    let node = Local::with(2, |limits| limits.stream_retry_ms = 70);
    let session = node.open_session();
    let mut client = node.connect();
    client.send(calls(&session, 1, "polls", json!({"ms": 100})));
    client.stream_head();
    let prime = client.chunk().expect("a priming event");
    assert!(
        prime.contains("retry: 70\n") && prime.ends_with("data: \n\n"),
        "{prime}"
    );
    assert_eq!(client.chunk(), None);
    let id = prime
        .lines()
        .find_map(|it| it.strip_prefix("id: "))
        .expect("an id");
    client.send(get(&session, Some(id)));
    client.stream_head();
    let (_, result) = client.event().expect("the result");
    assert_eq!((text(&result), &result["id"]), ("late", &json!(1)));
    assert_eq!(client.chunk(), None);
}

#[test]
fn a_session_has_one_stream_which_ends_with_it() {
    let node = Local::with(2, |_| {});
    let session = node.open_session();
    let mut first = node.connect();
    first.send(get(&session, None));
    assert_eq!(first.stream_head().0, 200);
    assert!(first.chunk().expect("a priming event").contains("retry: "));
    assert_eq!(node.ask(get(&session, None)).refusal(), (409, Some(-32000)));
    assert_eq!(
        node.ask(get("nothing", None)).refusal(),
        (404, Some(-32001))
    );
    drop(first);
    // Its place is free once the node has seen that it is gone.
    let mut second = node.connect();
    eventually(|| second.ask(get(&session, None)).status == 200).expect("a stream");
    assert_eq!(node.ask(delete(&session)).status, 204);
    while second.chunk().is_some() {}
    assert_eq!(node.ask(get(&session, None)).refusal(), (404, Some(-32001)));
}

#[test]
// [mcp:cancel-listen]
fn a_drain_ends_streams_in_order() {
    let node = Local::start();
    let session = node.open_session();
    let mut reader = node.connect();
    reader.send(get(&session, None));
    reader.stream_head();
    let mut listener = node.connect();
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    listener.send(modern(1, "subscriptions/listen", wanted));
    listener.stream_head();
    listener.event().expect("an acknowledgement");
    let mut busy = node.connect();
    busy.send(call("ticks", json!({"count": 3, "ms": 50})));
    busy.stream_head();
    busy.event().expect("a first tick");
    assert_eq!(node.shutdown(), 0);
    while reader.chunk().is_some() {}
    let (_, notice) = listener.event().expect("a notice");
    assert_eq!(notice["method"], "notifications/cancelled");
    assert_eq!(notice["params"]["requestId"], 1);
    let id = "io.modelcontextprotocol/subscriptionId";
    assert_eq!(notice["params"]["_meta"][id], 1);
    let (_, end) = listener.event().expect("a result");
    assert_eq!(end["result"]["resultType"], "complete");
    assert_eq!(listener.chunk(), None);
    assert_eq!(text(&ticks(&mut busy).1), "3 ticks");
}

#[test]
fn a_drain_ends_the_stream_of_a_client_that_only_reads() {
    let node = Local::with(1, |limits| limits.stream_keep_alive_ms = 3_600_000);
    let session = node.open_session();
    let mut reader = node.connect();
    reader.send(get(&session, None));
    reader.stream_head();
    reader.chunk().expect("a priming event");
    reader.finish();
    // The node has seen it, and looks whether there is still somebody.
    assert_eq!(reader.chunk().as_deref(), Some(":\n\n"));
    assert_eq!(node.shutdown(), 0);
    while reader.chunk().is_some() {}
}

#[test]
fn a_client_that_does_not_read_its_stream_is_closed() {
    let node = Local::with(1, |limits| limits.write_deadline_ms = 200);
    let mut client = node.connect();
    // Nothing is read, and the answers behind the stream fill every buffer on the way.
    let large = call("large", json!({"bytes": 4_000_000}));
    client.send([call("ticks", json!({"count": 1, "ms": 1})), large.repeat(4)].concat());
    let closed = node.until("connections_slow_reader", |count| count >= 1.0);
    assert!(closed >= 1.0);
    assert_eq!(
        node.ask(in_session(&node.open_session(), "ping", json!({})))
            .status,
        200
    );
    std::thread::sleep(Duration::from_millis(10));
}

#[test]
fn the_end_of_a_visit_is_told_to_the_session_that_was_asked() {
    // [mcp:elicit-complete]
    let node = Local::with(2, |_| {});
    let open = || {
        let able = json!({"elicitation": {"url": {}}});
        let info = json!({"name": "test", "version": "1"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": able,
            "clientInfo": info});
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let answer = node.ask(legacy(None, &body));
        let session = answer
            .field("mcp-session-id")
            .expect("a session")
            .to_owned();
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(node.ask(note(&session, ready)).status, 202);
        let mut stream = node.connect();
        stream.send(get(&session, None));
        assert_eq!(stream.stream_head().0, 200);
        (session, stream)
    };
    let mut sessions = [open(), open()];
    // Each hears its own first: nothing was told to all.
    for (at, (session, stream)) in sessions.iter_mut().enumerate() {
        let id = format!("visit {at}");
        let mut client = node.connect();
        client.send(calls(session, 1, "sends", json!({"id": id})));
        client.stream_head();
        let (_, question) = client.event().expect("a question");
        assert_eq!(question["params"]["elicitationId"], json!(id));
        let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result":
            {"action": "accept"}});
        assert_eq!(node.ask(note(session, answer)).status, 202);
        let (_, result) = client.event().expect("a result");
        assert_eq!(text(&result), "Accept");
        let (_, told) = stream.event().expect("a notification");
        let wanted = json!({"jsonrpc": "2.0", "method": "notifications/elicitation/complete",
            "params": {"elicitationId": id}});
        assert_eq!(told, wanted);
    }
    // That of a task names the task.
    let [(session, stream), _] = &mut sessions;
    let params = json!({"name": "sends", "arguments": {"id": "of a task"}, "task": {}});
    let begun = node.ask(in_session(session, "tools/call", params)).json();
    let task = json!({"taskId": begun["result"]["task"]["taskId"]});
    let mut client = node.connect();
    client.send(in_session(session, "tasks/result", task.clone()));
    client.stream_head();
    let (_, question) = client.event().expect("a question");
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}});
    assert_eq!(node.ask(note(session, answer)).status, 202);
    let mut all = std::iter::from_fn(|| stream.event()).map(|(_, told)| told);
    let told = all.find(|told| told["method"] == "notifications/elicitation/complete");
    let meta = json!({"io.modelcontextprotocol/related-task": task});
    let wanted = json!({"elicitationId": "of a task", "_meta": meta});
    assert_eq!(told.expect("a notification")["params"], wanted);
}
