//! How many calls a client may make in a time. The rate here is one a second, so low that calls
//! sent at a stretch are surely beyond it, and no time decides what is expected.

use std::time::{Instant, UNIX_EPOCH};

use ninefold::limits::Limits;
use ninefold::{Resource, Server};
use serde_json::json;

use crate::bounds::from_elsewhere;
use crate::client::{Answer, Client, echo, in_session, initialize, legacy, modern};
use crate::local::Local;
use crate::target::eventually;

/// Sent at a stretch: a minute's worth.
const CALLS: usize = 60;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Hello {
    name: String,
}

/// A node of one shard that serves `burst` calls at once and one a second.
fn node(burst: u64) -> Local {
    let limits = Limits {
        calls_per_s: 1,
        calls_burst: burst,
        ..Limits::default()
    };
    let server = Server::builder("rated", "1")
        .limits(limits)
        .builtin_tools(|| UNIX_EPOCH)
        .resource(Resource::new("test://it", "It"), || "it")
        .prompt("hello", "Says hello", |hello: Hello| hello.name)
        .complete_prompt("hello", "name", |_| ["you"]);
    Local::serving(&server.build().expect("a server"), 1)
}

/// Sends `request` so often at a stretch, and counts those that were served; the others must have
/// been refused as the table of limits says.
fn served(client: &mut Client, request: &str) -> usize {
    client.send(request.repeat(CALLS));
    let answers = (0..CALLS).map(|_| client.answer());
    let is_served = |answer: &Answer| {
        if answer.status == 200 {
            return true;
        }
        assert_eq!(answer.refusal(), (429, Some(-32000)), "{answer:?}");
        assert_eq!(answer.field("retry-after"), Some("1"));
        assert_eq!(answer.json()["id"], 1);
        false
    };
    answers.filter(is_served).count()
}

#[test]
// [mcp:tools-access] [mcp:completions-access]
fn calls_of_each_kind_are_served_at_the_rate_and_refused_beyond_it() {
    let read = modern(1, "resources/read", json!({"uri": "test://it"}));
    let of = json!({"ref": {"type": "ref/prompt", "name": "hello"},
        "argument": {"name": "name", "value": ""}});
    let requests = [
        echo("x"),
        modern(1, "completion/complete", of),
        modern(
            1,
            "prompts/get",
            json!({"name": "hello", "arguments": {"name": "you"}}),
        ),
        read.replace("Mcp-Name: -", "Mcp-Name: test://it"),
    ];
    for request in requests {
        let node = node(3);
        let mut client = node.connect();
        let served = served(&mut client, &request);
        assert!((3..CALLS).contains(&served), "{served} of {request}");
        node.until("refused_rate", |n| n == (CALLS - served) as f64);
        // What is not a call goes on, and with time the calls do too.
        for _ in 0..CALLS {
            assert_eq!(client.ask(modern(1, "tools/list", json!({}))).status, 200);
        }
        let recovered = eventually(|| client.ask(&request).status == 200);
        recovered.expect("a call within the rate");
    }
}

#[test]
fn a_peer_has_one_rate_for_all_its_connections_and_takes_nothing_from_others() {
    let began = Instant::now();
    let node = node(40);
    // The second connection comes when the first has gone.
    let served_in_all: usize = (0..2)
        .map(|_| served(&mut node.connect(), &echo("x")))
        .sum();
    let by_time = began.elapsed().as_secs() + 1;
    let within = (40..=40 + by_time).contains(&(served_in_all as u64));
    assert!(within, "{served_in_all} were served");
    let mut other = Client::over(from_elsewhere(&node));
    let others = served(&mut other, &echo("other"));
    assert!(others >= 40, "{others} of another peer");
}

#[test]
fn each_call_of_a_batch_counts_and_so_do_those_of_sessions() {
    let node = node(3);
    let opened = node.ask(initialize().replace("2025-11-25", "2025-03-26"));
    let session = opened.field("mcp-session-id").expect("a session");
    let call = |id| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": "echo", "arguments": {"text": "x"}}})
    };
    let batch: serde_json::Value = (0..CALLS).map(call).collect();
    let answer = node.ask(legacy(Some(session), &batch)).json();
    let answers = answer.as_array().expect("an array");
    assert_eq!(answers.len(), CALLS);
    let served = answers.iter().filter(|it| it["error"].is_null()).count();
    assert!((3..CALLS).contains(&served), "{served} of a batch");
    for refused in answers.iter().filter(|it| !it["error"].is_null()) {
        assert_eq!(refused["error"]["code"], -32000, "{refused}");
        assert!(refused["id"].is_u64(), "{refused}");
    }
    node.until("refused_rate", |n| n == (CALLS - served) as f64);
    let params = json!({"name": "echo", "arguments": {"text": "x"}});
    let single = in_session(session, "tools/call", params);
    let served = self::served(&mut node.connect(), &single);
    assert!(served < CALLS, "{served} of a session");
}
