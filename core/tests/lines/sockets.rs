//! Lines over TCP and Unix sockets, beside HTTP, in one node.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

use ninefold::limits::Limits;
use ninefold::{Node, NodeConfig, NodeError, Server};
use serde_json::{Value, json};

use crate::channel::{Channel, PATIENCE, echo, legacy, modern, request, sleep};

fn server(adjust: impl FnOnce(&mut Limits)) -> Server {
    let mut limits = Limits::default();
    adjust(&mut limits);
    let builder = Server::builder("test", "1").limits(limits);
    builder
        .builtin_tools(|| UNIX_EPOCH)
        .build()
        .expect("a server")
}

fn config(shards: usize) -> NodeConfig {
    let mut config = NodeConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        lines: Some(([127, 0, 0, 1], 0).into()),
        admin: None,
        drain: Duration::from_secs(20),
        ..NodeConfig::default()
    };
    config.runtime.shards = Some(shards);
    config
}

fn start(config: &NodeConfig, adjust: impl FnOnce(&mut Limits)) -> Node {
    Node::start(server(adjust), config).unwrap_or_else(|error| panic!("{error}"))
}

fn tcp(node: &Node) -> Channel<TcpStream> {
    let address = node.lines_address().expect("a listener");
    let stream = TcpStream::connect(address).expect("a connection");
    Channel::new(stream.try_clone().expect("a stream"), stream)
}

/// A Unix socket in a folder of its own.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mcp.sock");
    (folder, path)
}

#[test]
fn many_channels_are_served_on_every_shard_beside_each_other() {
    let node = start(&config(2), |_| {});
    let mut channels: Vec<_> = (0..50).map(|_| tcp(&node)).collect();
    for channel in &mut channels[..25] {
        channel.initialize("2025-11-25", &json!({}));
    }
    for (nth, channel) in channels.iter_mut().enumerate() {
        let is_legacy = nth < 25;
        channel.say(&request(is_legacy, 1, "tools/call", sleep(50)));
        channel.say(&request(is_legacy, 2, "tools/call", echo(&nth.to_string())));
    }
    for (nth, channel) in channels.iter().enumerate() {
        let said = channel.hear();
        assert_eq!(said["result"]["content"][0]["text"], nth.to_string());
        assert_eq!(channel.hear()["id"], 1);
    }
    // A client that says no more gets what it is owed, then the end.
    let mut last = channels.pop().expect("a channel");
    last.say(&modern(3, "tools/call", sleep(100)));
    let stream = last.write.take().expect("a stream");
    stream.shutdown(Shutdown::Write).expect("a socket");
    assert_eq!(last.hear()["id"], 3);
    assert_eq!(last.drain(), 0);
    assert_eq!(node.shutdown().tasks_dropped, 0);
}

#[test]
fn a_web_page_cannot_have_lines_read() {
    let node = start(&config(1), |_| {});
    let mut browser = tcp(&node);
    let body = modern(1, "tools/call", echo("from a page"));
    let post = format!("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n{body}\n");
    browser.write(post.as_bytes());
    let refused = browser.hear();
    assert_eq!(
        (&refused["error"]["code"], refused.get("id")),
        (&json!(-32700), None)
    );
    assert_eq!(browser.drain(), 0);
    // Nor by a first line too long to be looked at, whether its end has come or not.
    let node = start(&config(1), |limits| limits.body_bytes = 1024);
    for filler in [2000, 20_000] {
        let mut browser = tcp(&node);
        let path = "x".repeat(filler);
        let body = modern(1, "tools/call", echo("from a page"));
        let post = format!("POST /{path} HTTP/1.1\r\n\r\n{body}\n");
        browser.write(post.as_bytes());
        assert_eq!(browser.hear()["error"]["code"], -32700);
        assert_eq!(browser.drain(), 0);
    }
}

/// Sends sixty calls at a stretch where one a second is served; how many were served.
fn served<W: Write>(channel: &mut Channel<W>) -> usize {
    for id in 0..60 {
        channel.say(&modern(id, "tools/call", echo("x")));
    }
    let answers = (0..60).map(|_| channel.hear());
    answers.filter(is_served).count()
}

fn is_served(answer: &Value) -> bool {
    let error = &answer["error"];
    assert!(error.is_null() || error["code"] == -32000, "{answer}");
    error.is_null()
}

#[test]
fn a_channel_has_a_rate_of_its_own_and_a_peer_one_for_all() {
    let (_folder, path) = folder();
    let mut config = config(1);
    config.unix = Some(path.clone());
    let began = Instant::now();
    let node = start(&config, |limits| {
        (limits.calls_per_s, limits.calls_burst) = (1, 40);
    });
    let unix = || {
        let stream = UnixStream::connect(&path).expect("a connection");
        Channel::new(stream.try_clone().expect("a stream"), stream)
    };
    for mut channel in [unix(), unix()] {
        let served = served(&mut channel);
        assert!((40..60).contains(&served), "{served}");
        let say = || channel.ask(&modern("again", "tools/call", echo("x")));
        let recovered = std::iter::repeat_with(say).any(|it| {
            std::thread::sleep(Duration::from_millis(20));
            is_served(&it) || began.elapsed() > PATIENCE
        });
        assert!(recovered && began.elapsed() < PATIENCE);
    }
    let mut batching = unix();
    batching.initialize("2025-03-26", &json!({}));
    let batch: Value = (0..60)
        .map(|id| legacy(id, "tools/call", echo("x")))
        .collect();
    let answer = batching.ask(&batch);
    let answers = answer.as_array().expect("an array");
    let served_of_batch = answers.iter().filter(|it| is_served(it)).count();
    assert_eq!(answers.len(), 60);
    assert!((40..60).contains(&served_of_batch), "{served_of_batch}");
    let of_peer = served(&mut tcp(&node)) + served(&mut tcp(&node));
    let by_time = began.elapsed().as_secs() + 1;
    assert!((40..=40 + by_time).contains(&(of_peer as u64)), "{of_peer}");
}

#[test]
fn deadlines_are_kept_and_a_limit_of_connections() {
    let node = start(&config(1), |limits| {
        limits.keep_alive_idle_ms = 300;
        limits.body_deadline_ms = 300;
        limits.write_deadline_ms = 300;
    });
    let silent = tcp(&node);
    assert_eq!(silent.drain(), 0);
    let mut torn = tcp(&node);
    torn.write(b"{\"jsonrpc\":");
    assert_eq!(torn.hear()["error"]["code"], -32700);
    assert_eq!(torn.drain(), 0);
    let address = node.lines_address().expect("a listener");
    let mut deaf = TcpStream::connect(address).expect("a connection");
    deaf.set_write_timeout(Some(PATIENCE)).expect("a socket");
    let line = format!("{}\n", modern(1, "tools/call", echo(&"x".repeat(100_000))));
    let begun = Instant::now();
    // It never reads, and is dropped for it.
    while deaf.write_all(line.as_bytes()).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it was never dropped");
    }
    drop(deaf);
    let node = start(&config(1), |limits| limits.connections_per_shard = 3);
    let mut kept: Vec<_> = (0..3).map(|_| tcp(&node)).collect();
    for channel in &mut kept {
        assert_eq!(channel.ask(&modern(1, "tools/call", echo("in")))["id"], 1);
    }
    assert_eq!(tcp(&node).drain(), 0, "a fourth is closed at once");
}

#[test]
fn who_sends_ahead_of_its_calls_leaves_others_their_buffers() {
    // More connections than it takes to pin every receive buffer of a shard.
    const AHEAD: usize = 80;
    let mut config = config(1);
    config.drain = Duration::from_millis(100);
    let node = start(&config, |limits| limits.calls_per_channel = 1);
    let line = format!("{}\n", modern(2, "tools/call", echo(&"x".repeat(1000))));
    let mut ahead: Vec<_> = (0..AHEAD).map(|_| tcp(&node)).collect();
    for channel in &mut ahead {
        channel.say(&modern(1, "tools/call", sleep(30_000)));
    }
    for channel in &mut ahead {
        channel.write(line.repeat(60).as_bytes());
    }
    let said = tcp(&node).ask(&modern(1, "tools/call", echo("in time")));
    assert_eq!(said["result"]["content"][0]["text"], "in time");
    assert!(ahead[0].is_silent(), "it was served only when a call ended");
}

#[test]
fn a_unix_socket_is_its_owners_is_not_taken_from_a_living_node_and_goes_with_it() {
    let (_folder, path) = folder();
    let mut config = config(2);
    config.lines = None;
    config.unix = Some(path.clone());
    let node = start(&config, |_| {});
    let mode = std::fs::metadata(&path)
        .expect("a socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let connect = || {
        let stream = UnixStream::connect(&path).expect("a connection");
        Channel::new(stream.try_clone().expect("a stream"), stream)
    };
    let mut channels: Vec<_> = (0..10).map(|_| connect()).collect();
    for (nth, channel) in channels.iter_mut().enumerate() {
        let said = channel.ask(&modern(nth, "tools/call", echo("unix")));
        assert_eq!(said["result"]["content"][0]["text"], "unix");
    }
    match Node::start(server(|_| {}), &config) {
        Err(error @ NodeError::Unix { .. }) => {
            assert!(
                error.to_string().contains("somebody listens there"),
                "{error}"
            );
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two nodes share a socket"),
    }
    assert!(path.exists());
    drop(channels);
    node.shutdown();
    assert!(!path.exists());
}

#[test]
fn http_is_spoken_on_a_unix_socket_too() {
    let (_folder, path) = folder();
    let mut config = config(1);
    config.unix_http = Some(path.clone());
    let node = start(&config, |_| {});
    let mut stream = UnixStream::connect(&path).expect("a connection");
    let body = modern(1, "tools/list", json!({})).to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
         Mcp-Method: tools/list\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("room");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("echo"),
        "{answer}"
    );
    node.shutdown();
}

#[test]
fn a_channel_has_a_limit_of_subscriptions() {
    let node = start(&config(1), |limits| limits.calls_per_channel = 2);
    let mut channel = tcp(&node);
    let wanted = || json!({"notifications": {"toolsListChanged": true}});
    for id in [1, 2] {
        let heard = channel.ask(&modern(id, "subscriptions/listen", wanted()));
        assert_eq!(heard.get("error"), None, "{heard}");
    }
    let refused = channel.ask(&modern(3, "subscriptions/listen", wanted()));
    assert_eq!((&refused["id"], refused.get("result")), (&json!(3), None));
    let said = refused["error"]["message"].as_str().unwrap_or_default();
    assert!(said.starts_with("Too many subscriptions"), "{refused}");
    assert_eq!(channel.ask(&modern(4, "tools/list", json!({})))["id"], 4);
}

#[test]
fn a_drain_ends_a_subscription_whose_client_says_no_more() {
    let node = start(&config(1), |limits| limits.input_end_ms = 30_000);
    let mut channel = tcp(&node);
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    channel.ask(&modern("s", "subscriptions/listen", wanted));
    channel.say(&modern(1, "tools/call", sleep(2000)));
    let stream = channel.write.take().expect("a stream");
    stream.shutdown(Shutdown::Write).expect("a socket");
    // Who comes later is served later: by then the end has been seen.
    tcp(&node).ask(&modern(1, "tools/call", echo("x")));
    assert_eq!(node.shutdown().tasks_dropped, 0);
    let mut heard = [channel.hear(), channel.hear(), channel.hear()];
    heard.sort_by_key(|it| it["id"].to_string());
    assert_eq!((&heard[0]["id"], &heard[1]["id"]), (&json!("s"), &json!(1)));
    assert_eq!(heard[2]["method"], "notifications/cancelled");
    assert_eq!(channel.drain(), 0);
}
