//! The end of a node: what is under way is finished, nothing new is taken.

use std::io::ErrorKind;
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::json;

use crate::client::{call, echo};
use crate::local::Local;
use crate::process::Process;
use crate::target::eventually;

#[test]
fn sigterm_under_load_answers_what_is_under_way() {
    let mut node = Process::serve(&["--shards", "2"]);
    assert_eq!(node.admin("/ready").status, 200);
    let idle: Vec<_> = (0..20).map(|_| node.connect()).collect();
    let mut busy: Vec<_> = (0..50).map(|_| node.connect()).collect();
    for client in &mut busy {
        client.send([call("sleep", json!({"ms": 300})), echo("behind it")].concat());
    }
    node.until("answers_under_way", |calls| calls == 50.0);
    node.signal(Signal::TERM);
    eventually(|| node.admin("/ready").status == 503).expect("no longer ready");
    assert_eq!(node.admin("/ready").text(), "draining\n");
    assert_eq!(node.admin("/health").status, 200, "draining is no illness");
    for mut client in idle {
        assert_eq!(client.closed(), 0);
    }
    for client in &mut busy {
        assert_eq!(client.answer().result_text(), "slept 300 ms");
        assert_eq!(client.answer().result_text(), "behind it");
        assert_eq!(client.closed(), 0);
    }
    assert_eq!(node.ended(), Some(0));
    node.logs(&["draining"], 0);
    node.logs(&["stopped", "tasks_dropped=0"], 0);
}

#[test]
fn a_draining_node_takes_no_new_connection() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut node = Process::serve(&["--shards", "1"]);
        let mut client = node.connect();
        client.send(call("sleep", json!({"ms": 500})));
        node.until("answers_under_way", |calls| calls == 1.0);
        node.signal(signal);
        let refused = || {
            TcpStream::connect(node.mcp).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
        };
        eventually(refused).expect("new connections are refused");
        assert_eq!(
            node.admin("/ready").status,
            503,
            "refused while it still drains"
        );
        assert_eq!(client.answer().result_text(), "slept 500 ms");
        assert_eq!(node.ended(), Some(0));
    }
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let mut node = Process::serve(&["--shards", "1", "--drain", "0"]);
    let mut client = node.connect();
    client.send(call("sleep", json!({"ms": 20_000})));
    node.until("answers_under_way", |calls| calls == 1.0);
    node.signal(Signal::TERM);
    assert_eq!(client.closed(), 0, "there was no answer to give");
    assert_eq!(node.ended(), Some(0));
}

#[test]
fn a_node_in_process_stops_without_loss_and_frees_its_port() {
    let node = Local::with(2, |_| {});
    let address = node.mcp;
    let mut client = node.connect();
    assert_eq!(client.ask(echo("x")).result_text(), "x");
    assert_eq!(node.shutdown(), 0);
    assert_eq!(client.closed(), 0);
    std::net::TcpListener::bind(address).expect("the port is free");
}
