//! The transport of 2024-11-05: a GET that stays, and POSTs that come in on any shard.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, UNIX_EPOCH};

use ninefold::limits::Limits;
use ninefold::{Context, Elicit, NoArguments, Node, NodeConfig, Server};
use serde_json::{Value, json};

use crate::channel::{PATIENCE, echo, legacy, sleep};

fn start(shards: usize, sse_2024: bool) -> Node {
    start_with(shards, sse_2024, Limits::default())
}

fn start_with(shards: usize, sse_2024: bool, limits: Limits) -> Node {
    let asks = |NoArguments {}, of: Context| async move {
        let form = Elicit::form_of("Who?", json!({"type": "object", "properties": {}}));
        match of.elicit("name", form).await {
            Ok(answer) => answer.content["name"].to_string(),
            Err(error) => error.to_string(),
        }
    };
    let builder = Server::builder("test", "1")
        .limits(limits)
        .builtin_tools(|| UNIX_EPOCH)
        .context_tool("asks", "Asks for a name", asks);
    let mut config = NodeConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        admin: None,
        sse_2024,
        drain: Duration::from_secs(20),
        ..NodeConfig::default()
    };
    config.runtime.shards = Some(shards);
    let server = builder.build().expect("a server");
    Node::start(server, &config).unwrap_or_else(|error| panic!("{error}"))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

/// One request on a connection of its own; its status.
fn status(address: SocketAddr, head: &str, body: &str) -> u16 {
    let mut stream = connect(address);
    let length = body.len();
    let text = format!("{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).expect("room");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
    status.unwrap_or_else(|| panic!("{answer}"))
}

const JSON: &str = "Host: localhost\r\nContent-Type: application/json\r\n";

fn post(address: SocketAddr, to: &str, message: &Value) -> u16 {
    let head = format!("POST {to} HTTP/1.1\r\n{JSON}");
    status(address, &head, &message.to_string())
}

/// The stream of one client.
struct Stream(BufReader<TcpStream>);

impl Stream {
    /// Opens it; also the address that it names.
    fn open(address: SocketAddr) -> (Self, String) {
        let mut stream = connect(address);
        let head = "GET /sse HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("room");
        let mut stream = Self(BufReader::new(stream));
        let endpoint = stream.event("endpoint").expect("a first event");
        (stream, endpoint)
    }

    /// The data of the next event, which must be called `name`; `None` at the end.
    fn event(&mut self, name: &str) -> Option<String> {
        let mut found = None;
        for line in self.0.by_ref().lines().map_while(Result::ok) {
            if let Some(event) = line.strip_prefix("event: ") {
                found = Some(event.to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                assert_eq!(found.as_deref(), Some(name), "{data}");
                return Some(data.to_owned());
            }
        }
        None
    }

    fn hear(&mut self) -> Value {
        let data = self.event("message").expect("a message");
        serde_json::from_str(&data).expect("JSON")
    }
}

fn hello() -> Value {
    legacy(
        0,
        "initialize",
        json!({"protocolVersion": "2024-11-05", "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "old", "version": "1"}}),
    )
}

#[test]
fn an_old_client_is_answered_on_its_stream_wherever_it_posts() {
    let node = start(2, true);
    let address = node.address();
    let (mut stream, to) = Stream::open(address);
    let (mut other, other_to) = Stream::open(address);
    assert_eq!(post(address, &to, &hello()), 202);
    let welcome = stream.hear();
    assert_eq!(welcome["result"]["protocolVersion"], "2024-11-05");
    // Each is a new connection, and the kernel spreads them over the shards.
    for id in 1..=20 {
        let call = legacy(id, "tools/call", echo(&id.to_string()));
        assert_eq!(post(address, &to, &call), 202);
        let said = stream.hear();
        assert_eq!(said["id"], id);
        assert_eq!(said["result"]["content"][0]["text"], id.to_string());
    }
    assert_eq!(post(address, &to, &json!("no request")), 202);
    assert_eq!(stream.hear()["error"]["code"], -32600);
    // What one asks, the other does not hear.
    assert_eq!(post(address, &other_to, &legacy(9, "ping", json!({}))), 202);
    assert_eq!(other.hear()["id"], 9);
    // A drain lets the call end, and then the streams.
    assert_eq!(
        post(address, &to, &legacy(99, "tools/call", sleep(300))),
        202
    );
    assert_eq!(post(address, &to, &legacy(98, "ping", json!({}))), 202);
    assert_eq!(stream.hear()["id"], 98);
    assert_eq!(node.shutdown().tasks_dropped, 0);
    assert_eq!(stream.hear()["id"], 99);
    assert_eq!(
        (stream.event("message"), other.event("message")),
        (None, None)
    );
}

#[test]
fn its_guards_are_those_of_http_and_without_its_switch_it_is_not_there() {
    let node = start(1, true);
    let address = node.address();
    let (_stream, to) = Stream::open(address);
    let get = |more: &str| format!("GET /sse HTTP/1.1\r\n{more}");
    let post_to = |path: &str, more: &str| format!("POST {path} HTTP/1.1\r\n{more}");
    let sse = "Accept: text/event-stream\r\n";
    let evil = "Origin: http://evil.example.com\r\n";
    let local = "Host: localhost\r\n";
    for (head, wanted) in [
        (get(&format!("Host: evil.example.com\r\n{sse}")), 403),
        (get(&format!("{local}{sse}{evil}")), 403),
        (get(local), 406),
        (post_to("/sse", JSON), 405),
        (post_to("/sse/", JSON), 404),
        (post_to("/sse/unknown", JSON), 404),
        (post_to("/ssex", JSON), 404),
        (post_to(&to, local), 415),
        (post_to(&to, &format!("{JSON}{evil}")), 403),
    ] {
        assert_eq!(status(address, &head, "{}"), wanted, "{head}");
    }
    let node = start(1, false);
    assert_eq!(
        status(node.address(), &get(&format!("{local}{sse}")), ""),
        404
    );
}

#[test]
fn a_drain_waits_for_no_answer_that_it_would_not_take() {
    let node = start(1, true);
    let address = node.address();
    let (mut stream, to) = Stream::open(address);
    assert_eq!(post(address, &to, &hello()), 202);
    stream.hear();
    let call = legacy(1, "tools/call", json!({"name": "asks", "arguments": {}}));
    assert_eq!(post(address, &to, &call), 202);
    assert_eq!(stream.hear()["method"], "elicitation/create");
    assert_eq!(node.shutdown().tasks_dropped, 0);
    let said = stream.hear();
    let result = match said["method"].as_str() {
        Some("notifications/cancelled") => stream.hear(),
        _ => said,
    };
    assert_eq!(result["id"], 1);
}

#[test]
fn messages_that_a_stream_does_not_take_are_bounded_for_its_shard() {
    let limits = Limits {
        inbox_bytes_per_shard: 1 << 20,
        stream_bytes: 8 << 20,
        calls_per_channel: 1,
        ..Limits::default()
    };
    let node = start_with(1, true, limits);
    let address = node.address();
    let (mut busy, busy_to) = Stream::open(address);
    assert_eq!(post(address, &busy_to, &hello()), 202);
    busy.hear();
    let call = legacy(1, "tools/call", sleep(30_000));
    assert_eq!(post(address, &busy_to, &call), 202);
    let large = legacy(2, "tools/call", echo(&"x".repeat(300 << 10)));
    let posted = [(); 4].map(|()| post(address, &busy_to, &large));
    assert_eq!(posted, [202, 202, 202, 503]);
    // They go with their stream.
    let (_other, other_to) = Stream::open(address);
    assert_eq!(post(address, &other_to, &large), 503);
    drop(busy);
    let begun = Instant::now();
    while post(address, &other_to, &large) != 202 {
        assert!(begun.elapsed() < PATIENCE, "there never was room again");
    }
}

#[test]
fn the_calls_of_an_old_client_are_held_to_the_rate_of_its_peer() {
    let limits = Limits {
        calls_per_s: 1,
        calls_burst: 1,
        ..Limits::default()
    };
    let node = start_with(1, true, limits);
    let (mut stream, to) = Stream::open(node.address());
    assert_eq!(post(node.address(), &to, &hello()), 202);
    assert_eq!(stream.hear()["id"], 0);
    let mut call = |id: u64| {
        let call = legacy(id, "tools/call", echo("x"));
        assert_eq!(post(node.address(), &to, &call), 202);
        stream.hear()
    };
    assert!(call(1)["error"].is_null());
    let mut more = (2..100).map(&mut call);
    let refused = more.find(|it| !it["error"].is_null());
    assert_eq!(refused.expect("a refusal")["error"]["code"], -32000);
}
