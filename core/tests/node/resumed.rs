//! Streams that a client comes back for: each ends, and what had no room on its way is not lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ninefold::limits::Limits;
use ninefold::{Context, Elicit, NoArguments, Resource, Server};
use ninefold_runtime::sleep;
use serde_json::{Value, json};

use crate::client::{Client, call, echo, get, in_session, initialize, legacy};
use crate::local::Local;
use crate::target::eventually;

/// A call that says something and then goes on until it is ended.
fn endless(id: u32) -> Value {
    let arguments = json!({"count": 1_000_000, "ms": 20});
    let params = json!({"name": "ticks", "arguments": arguments, "_meta": {"progressToken": id}});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
}

/// Begins `body`, leaves after its first event and comes back for what is behind that.
fn leave_and_come_back(node: &Local, session: &str, body: &Value) -> (Client, String) {
    let mut client = node.connect();
    client.send(legacy(Some(session), body));
    client.stream_head();
    let (id, _) = client.event().expect("a first event");
    assert!(!id.is_empty(), "an event that can be come back for");
    drop(client);
    (come_back(node, session, &id), id)
}

fn come_back(node: &Local, session: &str, after: &str) -> Client {
    let mut client = node.connect();
    client.send(get(session, Some(after)));
    assert_eq!(client.stream_head().0, 200);
    client
}

/// What is left of a stream.
fn rest(client: &mut Client) -> Vec<Value> {
    std::iter::from_fn(|| client.event())
        .map(|(_, message)| message)
        .collect()
}

#[test]
fn the_stream_of_a_call_that_is_cancelled_ends_for_who_came_back() {
    let node = Local::with(3, |_| {});
    let session = node.open_session();
    for id in 0..3 {
        let (mut again, after) = leave_and_come_back(&node, &session, &endless(id));
        again.event().expect("a tick that came later");
        let params = json!({"requestId": id});
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": params});
        assert_eq!(node.ask(legacy(Some(&session), &cancel)).status, 202);
        assert!(rest(&mut again).iter().all(|it| it.get("id").is_none()));
        // And for who comes later.
        rest(&mut come_back(&node, &session, &after));
    }
}

#[test]
fn the_stream_of_a_call_that_may_not_go_on_alone_ends_for_who_came_back() {
    let node = Local::with(2, |limits| limits.calls_alone_per_shard = 0);
    let session = node.open_session();
    let (mut again, _) = leave_and_come_back(&node, &session, &endless(1));
    rest(&mut again);
}

/// Calls that tick until they may finish, counted while they run.
#[derive(Clone, Default)]
struct Ticking {
    running: Arc<AtomicUsize>,
    finish: Arc<AtomicBool>,
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticking {
    async fn run(self, to: Context) -> &'static str {
        self.running.fetch_add(1, Ordering::SeqCst);
        let _running = Running(self.running);
        for tick in 0.. {
            to.progress(tick.into(), None, None);
            if self.finish.load(Ordering::SeqCst) {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        "done"
    }
}

/// A node, and a session of the version that knows batches.
fn batching(limits: Limits, ticking: &Ticking) -> (Local, String) {
    let ticking = ticking.clone();
    let tool = move |NoArguments {}, to: Context| ticking.clone().run(to);
    let server = Server::builder("batching", "1")
        .limits(limits)
        .context_tool("counted", "Is counted while it runs", tool);
    let node = Local::serving(&server.build().expect("a server"), 2);
    let answer = node.ask(initialize().replace("2025-11-25", "2025-03-26"));
    let session = answer.field("mcp-session-id").expect("a session");
    (node, session.to_owned())
}

fn batch(calls: usize) -> Value {
    let one = |id| {
        let params = json!({"name": "counted", "arguments": {}, "_meta": {"progressToken": id}});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    };
    let ping = json!({"jsonrpc": "2.0", "id": "ping", "method": "ping"});
    std::iter::once(ping).chain((0..calls).map(one)).collect()
}

fn results(messages: &[Value]) -> usize {
    let results = messages.iter().filter(|it| it["result"].is_object());
    results.count()
}

#[test]
fn the_stream_of_a_batch_ends_for_who_came_back() {
    let ticking = Ticking::default();
    let (node, session) = batching(Limits::default(), &ticking);
    let (mut again, after) = leave_and_come_back(&node, &session, &batch(2));
    ticking.finish.store(true, Ordering::SeqCst);
    assert_eq!(results(&rest(&mut again)), 2);
    let mut later = come_back(&node, &session, &after);
    assert_eq!(results(&rest(&mut later)), 2);
}

#[test]
fn each_call_of_a_batch_counts_when_its_client_has_gone() {
    let limits = Limits {
        calls_alone_per_shard: 3,
        ..Limits::default()
    };
    let ticking = Ticking::default();
    let (node, session) = batching(limits, &ticking);
    let (mut again, _) = leave_and_come_back(&node, &session, &batch(8));
    eventually(|| ticking.running.load(Ordering::SeqCst) <= 3)
        .expect("calls beyond the limit end with their client");
    ticking.finish.store(true, Ordering::SeqCst);
    assert_eq!(results(&rest(&mut again)), 3);
}

/// A tool that holds its shard until it is released.
#[derive(Clone, Default)]
struct Hold {
    held: Arc<AtomicBool>,
    released: Arc<AtomicBool>,
}

impl Hold {
    fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
        let until = Instant::now() + Duration::from_secs(60);
        while !self.released.load(Ordering::SeqCst) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Holds the shard of `client`.
    fn shard_of(&self, client: &mut Client) {
        client.send(call("holds", json!({})));
        eventually(|| self.held.load(Ordering::SeqCst)).expect("a held shard");
    }

    fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
    }
}

/// A node of two shards, of which one can be held.
fn holding(limits: Limits) -> (Local, Hold) {
    let hold = Hold::default();
    let holds = hold.clone();
    let asks = |NoArguments {}, of: Context| async move {
        let form = Elicit::form_of("Who?", json!({"type": "object", "properties": {}}));
        match of.elicit("name", form).await {
            Ok(answer) => answer.content["name"].to_string(),
            Err(error) => error.to_string(),
        }
    };
    let server = Server::builder("holding", "1")
        .limits(limits)
        .builtin_tools(|| std::time::UNIX_EPOCH)
        .tool("holds", "Holds its shard", move |NoArguments {}| {
            holds.hold()
        })
        .context_tool("asks", "Asks for a name", asks)
        .resource(Resource::new("test://watched", "Watched"), || "seen");
    (Local::serving(&server.build().expect("a server"), 2), hold)
}

/// A connection that the kernel gave to `shard`.
fn connect_to(node: &Local, shard: usize) -> Client {
    for _ in 0..200 {
        let before = node.shards("requests")[shard];
        let mut client = node.connect();
        assert_eq!(client.ask(echo("here")).status, 200);
        if node.shards("requests")[shard] > before {
            return client;
        }
    }
    panic!("of 200 connections none came to shard {shard}");
}

/// Opens a session on the shard of `client`.
fn open_session(client: &mut Client) -> String {
    let answer = client.ask(initialize());
    let session = answer
        .field("mcp-session-id")
        .expect("a session")
        .to_owned();
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(client.ask(legacy(Some(&session), &note)).status, 202);
    session
}

#[test]
fn an_answer_that_finds_no_room_on_its_way_is_refused_and_can_be_given_again() {
    let (node, hold) = holding(Limits::default());
    let mut here = connect_to(&node, 1);
    let session = open_session(&mut here);
    let mut asker = connect_to(&node, 0);
    let params = json!({"name": "asks", "arguments": {}});
    asker.send(in_session(&session, "tools/call", params));
    asker.stream_head();
    let (_, question) = asker.event().expect("a question");
    hold.shard_of(&mut connect_to(&node, 0));
    let reply = |name: &str| {
        let result = json!({"action": "accept", "content": {"name": name}});
        let body = json!({"jsonrpc": "2.0", "id": question["id"], "result": result});
        legacy(Some(&session), &body)
    };
    // Answers to a question fill the way to the shard that asked.
    let refused = (0..2_000).find_map(|_| {
        let answer = here.ask(reply("Ada"));
        (answer.status != 202).then_some(answer)
    });
    let refused = refused.expect("a refusal, for there was no room for all");
    assert_eq!(refused.refusal(), (503, Some(-32000)));
    assert_eq!(refused.field("retry-after"), Some("1"));
    hold.release();
    let (_, result) = asker.event().expect("a result");
    assert_eq!(result["result"]["content"][0]["text"], "\"Ada\"");
    assert_eq!(asker.chunk(), None);
    eventually(|| here.ask(reply("Ada")).status == 202).expect("room again");
}

#[test]
fn a_reader_that_events_do_not_reach_ends_and_comes_back_for_them() {
    const EVENTS: usize = 700;
    let limits = Limits {
        replay_count: 2_000,
        ..Limits::default()
    };
    let (node, hold) = holding(limits);
    let mut here = connect_to(&node, 1);
    let sessions = [(); 2].map(|()| open_session(&mut here));
    for session in &sessions {
        let wanted = json!({"uri": "test://watched"});
        let answer = here.ask(in_session(session, "resources/subscribe", wanted));
        assert_eq!(answer.status, 200);
    }
    let [read_there, read_here] = &sessions;
    let mut reader = connect_to(&node, 0);
    reader.send(get(read_there, None));
    reader.stream_head();
    reader.chunk().expect("a priming event");
    here.send(get(read_here, None));
    here.stream_head();
    hold.shard_of(&mut connect_to(&node, 0));
    (0..EVENTS).for_each(|_| node.server().resource_updated("test://watched"));
    // The session that is read here is told after the other one.
    (0..EVENTS).for_each(|_| drop(here.event().expect("an update")));
    hold.release();
    let (mut seen, mut last) = (Vec::new(), String::new());
    while seen.len() < EVENTS {
        while let Some((id, _)) = reader.event() {
            let (_, number) = id.split_once('-').expect("stream and number");
            seen.push(number.parse::<usize>().expect("a number"));
            last = id;
            if seen.len() == EVENTS {
                break;
            }
        }
        if seen.len() < EVENTS {
            reader.send(get(read_there, Some(&last)));
            assert_eq!(reader.stream_head().0, 200);
        }
    }
    assert!(seen.into_iter().eq(1..=EVENTS), "each once and in order");
}
