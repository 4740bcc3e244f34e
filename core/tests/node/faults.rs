//! Peers that break off, half close, dribble or read a byte at a time, at every stage of a request:
//! afterwards nothing of them is left, and the node serves as before.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, SockRef, Socket, Type};

use crate::client::{call, delete, echo, get, modern, parse};
use crate::local::Local;
use crate::target::Target;

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until nobody holds anything of the node, and asks it once more.
fn at_rest(node: &Target) {
    assert_eq!(node.ask(echo("after")).result_text(), "after");
    for gauge in [
        "connections_open",
        "arenas_in_use",
        "answers_under_way",
        "sessions_open",
    ] {
        node.until(gauge, |now| now == 0.0);
    }
    for never in ["panics", "error_internal"] {
        assert_eq!(node.metric(never), 0.0, "{never}");
    }
}

/// What peers have sent when something happens to them, by name.
fn stages() -> Vec<(&'static str, Vec<u8>)> {
    let request = echo("in time");
    let head = request.find("\r\n\r\n").expect("a head") + 4;
    let expecting = request.replacen("Host:", "Expect: 100-continue\r\nHost:", 1);
    let chunked =
        request[..head].replace("Content-Length", "Transfer-Encoding: chunked\r\nX-Length");
    let large = call("large", json!({"bytes": 8 << 20}));
    vec![
        ("nothing", Vec::new()),
        ("a byte", b"P".to_vec()),
        ("half a head", request.as_bytes()[..head / 2].to_vec()),
        ("a head", request.as_bytes()[..head].to_vec()),
        (
            "half a body",
            request.as_bytes()[..request.len() - 9].to_vec(),
        ),
        ("an expectation", expecting.as_bytes()[..head + 22].to_vec()),
        ("half a chunk", format!("{chunked}ff\r\n{{").into_bytes()),
        ("a request", request.clone().into_bytes()),
        ("a pipeline", request.repeat(100).into_bytes()),
        ("a slow call", call("sleep", json!({"ms": 50})).into_bytes()),
        ("a large answer", large.repeat(4).into_bytes()),
        ("a refusal", b"POST /mcp HTTP/1.1\r\n bad\r\n\r\n".to_vec()),
        (
            "a stream",
            call("ticks", json!({"count": 100, "ms": 1})).into_bytes(),
        ),
        (
            "a subscription",
            modern(1, "subscriptions/listen", json!({"notifications": {}})).into_bytes(),
        ),
    ]
}

fn reset(stream: &TcpStream) {
    SockRef::from(stream)
        .set_linger(Some(Duration::ZERO))
        .expect("SO_LINGER");
}

#[test]
fn a_reset_in_the_middle_of_anything_leaves_nothing_behind() {
    let node = Local::start();
    for (name, bytes) in stages() {
        for pause_ms in [0, 2, 20] {
            let client = node.connect();
            reset(client.stream());
            // The node may have closed after a refusal.
            let _ = client.stream().write_all(&bytes);
            std::thread::sleep(Duration::from_millis(pause_ms));
            drop(client);
        }
        println!("{name}");
        at_rest(&node);
    }
}

#[test]
fn a_reset_of_a_session_s_stream_leaves_the_session_only() {
    let node = Local::start();
    let session = node.open_session();
    for _ in 0..5 {
        let mut client = node.connect();
        client.send(get(&session, None));
        assert_eq!(client.stream_head().0, 200);
        reset(client.stream());
        drop(client);
        node.until("connections_open", |open| open == 0.0);
        node.until("answers_under_way", |now| now == 0.0);
    }
    node.until("sessions_open", |open| open == 1.0);
    assert_eq!(node.ask(delete(&session)).status, 204);
    at_rest(&node);
}

#[test]
fn a_half_close_at_any_stage_ends_the_connection_and_nothing_else() {
    let node = Local::start();
    // Who has half closed may go on to read a stream that does not end.
    let ending = |name: &&str| *name != "a subscription";
    for (name, bytes) in stages().into_iter().filter(|(name, _)| ending(name)) {
        let client = node.connect();
        client.patience(PATIENCE);
        let _ = client.stream().write_all(&bytes);
        let _ = client.stream().shutdown(Shutdown::Write);
        let mut answers = Vec::new();
        match client.stream().read_to_end(&mut answers) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{name}: neither answered nor closed: {error}"),
        }
        let whole = matches!(name, "a request" | "a slow call" | "a pipeline");
        let last = answers.ends_with(b"}");
        assert!(!whole || last, "{name}: an answer owed was not given");
        drop(client);
        at_rest(&node);
    }
}

/// A connection whose kernel takes as little at a time as it lets itself be told.
fn narrow(node: &Target) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(1).expect("SO_RCVBUF");
    socket.connect(&node.mcp.into()).expect("a connection");
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream
}

#[test]
fn a_peer_that_reads_and_writes_bytes_gets_its_whole_answer() {
    let node = Local::start();
    let mut stream = narrow(&node);
    for byte in call("large", json!({"bytes": 100_000})).as_bytes() {
        stream.write_all(&[*byte]).expect("a peer that reads");
    }
    let (mut answer, mut byte) = (Vec::new(), [0]);
    let text = loop {
        stream.read_exact(&mut byte).expect("a byte");
        answer.push(byte[0]);
        // Its last byte is the end of an object.
        if let (b'}', Some((answer, _))) = (byte[0], parse(&answer)) {
            break answer.result_text();
        }
    };
    assert!(text.len() == 100_000 && text.bytes().all(|it| it == b'x'));
    drop(stream);
    at_rest(&node);
}

#[test]
fn peers_that_never_read_are_let_go_at_the_deadline() {
    let node = Local::with(1, |limits| limits.write_deadline_ms = 200);
    let before = node.metric("connections_slow_reader");
    let large = call("large", json!({"bytes": 4_000_000})).repeat(4);
    let silent: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = narrow(&node);
            stream
                .write_all(large.as_bytes())
                .expect("a peer that reads");
            stream
        })
        .collect();
    node.until("connections_slow_reader", |now| now == before + 4.0);
    at_rest(&node);
    for mut stream in silent {
        let ended = stream.read_to_end(&mut Vec::new());
        let reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
        assert!(ended.is_ok() || ended.is_err_and(|error| reset(&error)));
    }
}
