//! Legacy sessions: found from every shard, ended for every shard, limited in number and time.

use std::time::Duration;

use ninefold::limits::Limits;
use ninefold::{Context, NoArguments, Server};
use serde_json::json;

use crate::client::{delete, in_session, initialize};
use crate::local::Local;

const PING: &str = "ping";

#[test]
fn a_session_is_found_from_every_shard_until_it_is_deleted() {
    let node = Local::with(3, |_| {});
    let sessions: Vec<_> = (0..6).map(|_| node.open_session()).collect();
    let mut clients: Vec<_> = (0..24).map(|_| node.connect()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        for session in &sessions {
            let arguments = json!({"name": "add", "arguments": {"a": n, "b": 1}});
            let answer = client.ask(in_session(session, "tools/call", arguments));
            assert_eq!(answer.result_text(), (n + 1).to_string());
        }
    }
    let busy = node
        .shards("requests")
        .iter()
        .filter(|requests| **requests > 0.0)
        .count();
    assert!(
        busy > 1,
        "the kernel spread 24 connections over one shard of three"
    );
    assert!(
        node.metric("mesh_sent") > 0.0,
        "no request crossed to the shard of its session"
    );
    node.until("sessions_open", |open| open == 6.0);

    let [ended, living @ ..] = sessions.as_slice() else {
        panic!("six sessions")
    };
    assert_eq!(clients[7].ask(delete(ended)).status, 204);
    for client in &mut clients {
        let answer = client.ask(in_session(ended, PING, json!({})));
        assert_eq!(answer.refusal(), (404, Some(-32001)));
        for session in living {
            assert_eq!(client.ask(in_session(session, PING, json!({}))).status, 200);
        }
    }
    node.until("sessions_open", |open| open == 5.0);
}

#[test]
fn sessions_beyond_the_limit_are_told_when_to_come_back() {
    let node = Local::with(1, |limits| limits.sessions_per_shard = 2);
    let (first, _second) = (node.open_session(), node.open_session());
    let answer = node.beside("refused_session_capacity", || node.ask(initialize()));
    assert_eq!(answer.refusal(), (503, Some(-32000)));
    assert_eq!(answer.field("retry-after"), Some("1"));
    assert_eq!(answer.json()["id"], 0);
    assert_eq!(node.ask(delete(&first)).status, 204);
    node.open_session();
}

#[test]
fn a_session_ends_when_it_is_not_used() {
    let node = Local::with(1, |limits| limits.session_idle_ms = 1000);
    let (used, unused) = (node.open_session(), node.open_session());
    let ping = |session| node.ask(in_session(session, PING, json!({})));
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(ping(&used).status, 200);
    }
    assert_eq!(ping(&unused).refusal(), (404, Some(-32001)));
    node.until("sessions_open", |open| open == 1.0);
}

#[test]
fn a_session_ends_although_its_call_said_more_than_its_mailbox_holds() {
    let bursts = |NoArguments {}, to: Context| async move {
        for n in 0..2_000 {
            to.progress(n.into(), None, None);
        }
        "all said"
    };
    let limits = Limits {
        session_idle_ms: 1000,
        ..Limits::default()
    };
    let server = Server::builder("bursting", "1")
        .limits(limits)
        .context_tool("bursts", "Says much at once", bursts);
    let node = Local::serving(&server.build().expect("a server"), 1);
    let session = node.open_session();
    node.until("sessions_open", |open| open == 1.0);
    let params = json!({"name": "bursts", "arguments": {}, "_meta": {"progressToken": 1}});
    assert_eq!(
        node.ask(in_session(&session, "tools/call", params)).status,
        200
    );
    node.until("sessions_open", |open| open == 0.0);
}
