//! Every wait has an end: for a head, a body, the next request, and a peer that does not read.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, call, echo, modern};
use crate::local::Local;

/// The deadline of each test here, and what may come on top of it on a busy machine.
const DEADLINE: Duration = Duration::from_millis(200);
const SLACK: Duration = Duration::from_millis(1500);

/// A node that waits for the next request as long as usual, for all else until the deadline.
fn impatient() -> Local {
    Local::with(1, |limits| {
        limits.header_deadline_ms = 200;
        limits.body_deadline_ms = 200;
        limits.write_deadline_ms = 200;
    })
}

fn assert_in_time(since: Instant) {
    let took = since.elapsed();
    assert!(
        took >= DEADLINE - Duration::from_millis(20),
        "too early: {took:?}"
    );
    assert!(took < DEADLINE + SLACK, "too late: {took:?}");
}

/// Sends the beginning of a request, then nothing.
fn falls_silent(node: &Local, beginning: &[u8]) {
    node.beside("refused_late", || {
        let mut client = node.connect();
        client.send(beginning);
        let since = Instant::now();
        let answer = client.answer();
        assert_in_time(since);
        assert_eq!(answer.status, 408, "{answer:?}");
        assert_eq!(answer.field("connection"), Some("close"));
        assert_eq!(client.closed(), 0);
    });
}

#[test]
fn a_half_sent_request_is_refused_at_its_deadline() {
    let node = impatient();
    let request = echo("x");
    let body = request.find("\r\n\r\n").expect("a head") + 4;
    for length in [1, 20, body - 1] {
        falls_silent(&node, &request.as_bytes()[..length]);
    }
    for length in [body, body + 1, request.len() - 1] {
        falls_silent(&node, &request.as_bytes()[..length]);
    }
    // One whole request and a piece of the next: the first is answered, the second is late.
    let mut client = node.connect();
    client.send([request.as_bytes(), b"POST /m"].concat());
    assert_eq!(client.answer().result_text(), "x");
    assert_eq!(client.answer().status, 408);
}

#[test]
fn a_trickle_does_not_extend_a_deadline() {
    let node = impatient();
    let request = echo(&"x".repeat(1000));
    let body = request.find("\r\n\r\n").expect("a head") + 4;
    for (at_once, rest) in [(0, request.as_bytes()), (body, &request.as_bytes()[body..])] {
        node.beside("refused_late", || {
            let mut client = node.connect();
            client.send(&request.as_bytes()[..at_once]);
            let since = Instant::now();
            for byte in rest.chunks(1) {
                client.send(byte);
                client.patience(Duration::from_millis(10));
                if let Ok(answer) = client.try_answer() {
                    assert_eq!(answer.status, 408);
                    return assert_in_time(since);
                }
            }
            panic!("a byte every 10 ms was served");
        });
    }
}

#[test]
fn a_connection_without_a_request_is_closed_when_it_idles() {
    let node = Local::with(1, |limits| limits.keep_alive_idle_ms = 200);
    let before = node.metric("connections_idle_closed");
    let ends = |client: &mut Client| {
        let since = Instant::now();
        assert_eq!(client.closed(), 0, "nothing is said to who said nothing");
        assert_in_time(since);
    };
    let mut silent = node.connect();
    let mut kept = node.connect();
    // A call that takes longer than the idle time is no idling.
    let mut busy = node.connect();
    busy.send(call("sleep", json!({"ms": 300})));
    ends(&mut silent);
    assert_eq!(busy.answer().result_text(), "slept 300 ms");
    ends(&mut busy);
    assert_eq!(kept.closed(), 0);
    node.until("connections_idle_closed", |now| now == before + 3.0);
    node.until("connections_open", |open| open == 0.0);
}

#[test]
fn a_peer_that_does_not_read_is_closed_and_costs_no_memory() {
    const ASKED: usize = 100;
    const BYTES: usize = 2 << 20;
    let node = impatient();
    let request = |id| {
        let arguments = json!({"bytes": BYTES});
        modern(
            id,
            "tools/call",
            json!({"name": "large", "arguments": arguments}),
        )
    };
    let before = node.metric("modern_tools_call");
    let mut client = node.beside("connections_slow_reader", || {
        let mut client = node.connect();
        client.send((0..ASKED).map(request).collect::<String>());
        node.until("connections_slow_reader", |closed| closed > 0.0);
        client.patience(Duration::from_secs(5));
        client
    });
    // What the kernel's buffers hold was computed, the rest never: nothing piles up behind a peer.
    let computed = node.metric("modern_tools_call") - before;
    assert!(
        computed < 20.0,
        "{computed} answers were computed for a peer that reads none"
    );
    assert!(client.closed() < ASKED * BYTES / 4);
    node.until("arenas_in_use", |arenas| arenas == 0.0);
    assert_eq!(
        node.ask(call("add", json!({"a": 1, "b": 1}))).result_text(),
        "2"
    );
}
