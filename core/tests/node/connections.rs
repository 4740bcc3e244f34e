//! Connections: kept, pipelined, in pieces, half closed, and no more of them than the limit.

use std::time::Duration;

use serde_json::json;

use crate::client::{call, echo, modern};
use crate::local::Local;
use crate::target::eventually;

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let node = Local::start();
    let mut client = node.connect();
    for n in 0..200 {
        let text = n.to_string();
        assert_eq!(client.ask(echo(&text)).result_text(), text);
    }
    node.until("connections_open", |open| open == 1.0);
    let asked = client.ask(echo("bye").replacen("Host:", "Connection: close\r\nHost:", 1));
    assert_eq!(asked.field("connection"), Some("close"));
    assert_eq!(client.closed(), 0);
    let mut old = node.connect();
    assert_eq!(
        old.ask(echo("old").replacen("HTTP/1.1", "HTTP/1.0", 1))
            .result_text(),
        "old"
    );
    assert_eq!(old.closed(), 0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let node = Local::start();
    let request = |id: usize| match id % 4 {
        // Refused, slow and elsewhere: none may overtake or be overtaken.
        1 => modern(id, "no/such", json!({})),
        2 if id % 20 == 2 => modern(
            id,
            "tools/call",
            json!({"name": "sleep", "arguments": {"ms": 5}}),
        ),
        3 => modern(
            id,
            "tools/call",
            json!({"name": "hash", "arguments": {"text": "x"}}),
        ),
        _ => modern(id, "tools/list", json!({})),
    };
    let mut client = node.connect();
    client.send((0..100).map(request).collect::<String>());
    for id in 0..100 {
        assert_eq!(client.answer().json()["id"], id);
    }
}

#[test]
fn a_request_may_arrive_in_any_two_pieces_or_byte_by_byte() {
    let node = Local::start();
    let mut client = node.connect();
    let request = echo("in pieces");
    for at in 1..request.len() {
        client.send(&request.as_bytes()[..at]);
        std::thread::sleep(Duration::from_micros(100));
        client.send(&request.as_bytes()[at..]);
        assert_eq!(client.answer().result_text(), "in pieces", "split at {at}");
    }
    for byte in [request.as_bytes(), request.as_bytes()].concat().chunks(1) {
        client.send(byte);
    }
    assert_eq!(client.answer().result_text(), "in pieces");
    assert_eq!(client.answer().result_text(), "in pieces");
}

#[test]
fn large_bodies_arrive_whole_and_leave_no_memory_behind() {
    let node = Local::start();
    let mut client = node.connect();
    let text = "0123456789abcdef".repeat(200_000);
    for _ in 0..3 {
        assert!(
            client.ask(echo(&text)).result_text() == text,
            "an echo of 3.2 MB differs"
        );
    }
    node.until("arena_pooled_bytes", |bytes| bytes < 1e6);
}

#[test]
fn a_client_that_has_finished_sending_still_gets_its_answers() {
    let node = Local::start();
    for _ in 0..20 {
        let mut client = node.connect();
        client.send([echo("first"), call("sleep", json!({"ms": 5})), echo("last")].concat());
        client.finish();
        assert_eq!(client.answer().result_text(), "first");
        assert_eq!(client.answer().result_text(), "slept 5 ms");
        assert_eq!(client.answer().result_text(), "last");
        assert_eq!(client.closed(), 0);
    }
}

#[test]
fn a_client_that_waits_for_continue_is_told_to_go_on() {
    let node = Local::start();
    let request = echo("patient").replacen("Host:", "Expect: 100-continue\r\nHost:", 1);
    let (head, body) = request.split_at(request.find("\r\n\r\n").expect("a head") + 4);
    let mut client = node.connect();
    for _ in 0..2 {
        assert_eq!(client.ask(head).status, 100);
        assert_eq!(client.ask(body).result_text(), "patient");
    }
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let node = Local::with(1, |limits| limits.connections_per_shard = 4);
    let mut held: Vec<_> = (0..4).map(|_| node.connect()).collect();
    for client in &mut held {
        assert_eq!(client.ask(echo("held")).result_text(), "held");
    }
    let refused = node.metric("connections_refused");
    for _ in 0..3 {
        assert_eq!(node.connect().closed(), 0);
    }
    assert_eq!(node.metric("connections_refused"), refused + 3.0);
    for client in &mut held {
        assert_eq!(client.ask(echo("still")).result_text(), "still");
    }
    held.pop();
    let admitted = || {
        let mut client = node.connect();
        // Written into a connection that may be closed already.
        let _ = std::io::Write::write_all(&mut client.stream(), echo("in").as_bytes());
        client
            .try_answer()
            .is_ok_and(|answer| answer.result_text() == "in")
    };
    eventually(admitted).expect("the place of a connection that has ended is free again");
}
