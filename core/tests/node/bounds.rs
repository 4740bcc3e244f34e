//! What a request and a connection may have: at the limit it is served, one beyond and ten times it
//! gets the refusal of the table.

use std::net::TcpStream;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::client::{Client, echo};
use crate::local::Local;
use crate::target::Target;

/// Sends what `with` makes of the limit, one more, and ten times as much.
fn at_and_beyond(node: &Target, limit: usize, status: u16, with: impl Fn(usize) -> String) {
    let answer = node.ask(with(limit));
    assert_eq!(answer.status, 200, "at {limit}: {answer:?}");
    for beyond in [limit + 1, limit * 10] {
        node.beside("refused_framing", || {
            let mut client = node.connect();
            client.send(with(beyond));
            let answer = client.answer();
            assert_eq!(answer.status, status, "{beyond}: {answer:?}");
            assert_eq!(answer.field("connection"), Some("close"));
            assert_eq!(client.closed(), 0);
        });
    }
}

fn head_length(request: &str) -> usize {
    request.find("\r\n\r\n").expect("a head") + 4
}

#[test]
fn the_request_line_is_bounded() {
    let node = Local::with(1, |limits| limits.request_line_bytes = 256);
    at_and_beyond(&node, 256, 414, |bytes| {
        let filler = "x".repeat(bytes - "POST /mcp? HTTP/1.1\r\n".len());
        echo("x").replacen("/mcp", &format!("/mcp?{filler}"), 1)
    });
}

#[test]
fn the_head_is_bounded() {
    let node = Local::with(1, |limits| limits.head_bytes = 1024);
    at_and_beyond(&node, 1024, 431, |bytes| {
        let with = |filler: &str| echo("x").replacen("Host:", &format!("X: {filler}\r\nHost:"), 1);
        with(&"y".repeat(bytes - head_length(&with(""))))
    });
}

#[test]
fn the_number_of_fields_is_bounded() {
    let node = Local::with(1, |limits| limits.header_count = 16);
    let own = echo("x")[..head_length(&echo("x"))].matches("\r\n").count() - 2;
    at_and_beyond(&node, 16, 431, |fields| {
        let filler = "X: y\r\n".repeat(fields - own);
        echo("x").replacen("Host:", &format!("{filler}Host:"), 1)
    });
}

#[test]
fn the_body_is_bounded_however_it_is_framed() {
    let node = Local::with(1, |limits| limits.body_bytes = 1024);
    let body = |request: &str| request.len() - head_length(request);
    let sized = |bytes: usize| echo(&"x".repeat(bytes - body(&echo(""))));
    at_and_beyond(&node, 1024, 413, sized);
    at_and_beyond(&node, 1024, 413, |bytes| {
        let request = sized(bytes);
        let (head, body) = request.split_at(head_length(&request));
        let head = head.replace("Content-Length", "Transfer-Encoding: chunked\r\nX-Length");
        let (one, two) = body.split_at(500);
        format!(
            "{head}{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
            one.len(),
            two.len()
        )
    });
}

/// A connection from another address of this host.
pub(crate) fn from_elsewhere(node: &Target) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let elsewhere = std::net::SocketAddr::from(([127, 0, 0, 2], 0));
    socket.bind(&elsewhere.into()).expect("another address");
    socket.connect(&node.mcp.into()).expect("a connection");
    socket.into()
}

#[test]
fn the_connections_of_one_peer_are_bounded_and_leave_room_for_others() {
    let node = Local::with(1, |limits| limits.peer_connections_per_shard = 4);
    let mut held: Vec<_> = (0..4).map(|_| node.connect()).collect();
    for client in &mut held {
        assert_eq!(client.ask(echo("held")).result_text(), "held");
    }
    for _ in 0..36 {
        assert_eq!(node.connect().closed(), 0);
    }
    assert_eq!(node.metric("connections_refused_peer"), 36.0);
    let mut other = Client::over(from_elsewhere(&node));
    assert_eq!(other.ask(echo("other")).result_text(), "other");
    for client in &mut held {
        assert_eq!(client.ask(echo("still")).result_text(), "still");
    }
    drop(held);
    node.until("connections_open", |open| open == 1.0);
    assert_eq!(node.ask(echo("again")).result_text(), "again");
}

#[test]
fn the_requests_of_one_connection_are_bounded() {
    let node = Local::with(1, |limits| limits.requests_per_connection = 3);
    for asked in [3, 4, 30] {
        let mut client = node.connect();
        client.send(echo("one of them").repeat(asked));
        for n in 1..=3 {
            let answer = client.answer();
            assert_eq!(answer.result_text(), "one of them");
            let last = answer.field("connection") == Some("close");
            assert_eq!(last, n == 3, "answer {n} of {asked}");
        }
        assert_eq!(client.closed(), 0, "{asked} were asked, three are answered");
    }
}

#[test]
fn a_body_that_comes_too_slowly_is_refused_long_before_its_deadline() {
    let node = Local::with(1, |limits| {
        limits.body_deadline_ms = 3_600_000;
        limits.body_grace_ms = 300;
        limits.body_bytes_per_s = 1000;
    });
    let request = echo(&"x".repeat(100_000));
    let (head, body) = request.as_bytes().split_at(head_length(&request));
    node.beside("refused_late", || {
        let mut client = node.connect();
        client.send(head);
        // A byte every 10 ms is a tenth of the rate.
        let refused = body.iter().find_map(|byte| {
            // Who has been refused may find the connection closed.
            let _ = std::io::Write::write_all(&mut client.stream(), &[*byte]);
            client.patience(Duration::from_millis(10));
            client.try_answer().ok()
        });
        assert_eq!(refused.expect("a refusal").status, 408);
    });
    // What has come buys time beyond the grace: 60 kB are a minute.
    let mut client = node.connect();
    client.send(head);
    client.send(&body[..60_000]);
    std::thread::sleep(Duration::from_millis(900));
    client.send(&body[60_000..]);
    assert_eq!(client.answer().result_text().len(), 100_000);
}
