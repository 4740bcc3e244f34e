//! HTTP framing: every doubt about where a request ends is refused and closes the connection.

use ninefold::http::{Awaiting, HttpError};
use ninefold::limits::Limits;
use serde_json::json;

use crate::harness::{Node, awaiting, frame, modern};

fn status(request: &str) -> Option<u16> {
    frame(request.as_bytes()).map_or_else(|error| Some(error.status()), |_| None)
}

#[test]
fn doubtful_framing_is_refused() {
    let post = |fields: &str| format!("POST /mcp HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\nhello");
    for (fields, wanted) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
        ("Content-Length: 5\r\nContent-Length: 5", 400),
        ("Content-Length: 5\r\nContent-Length: 6", 400),
        ("Content-Length: 5, 5", 400),
        ("Content-Length: +5", 400),
        ("Content-Length: -5", 400),
        ("Content-Length: 0x5", 400),
        ("Content-Length: 5 5", 400),
        ("Content-Length:", 400),
        ("Content-Length: 99999999999999999999999", 400),
        ("Content-Length: 4194305", 413),
        ("Content-Length: 9223372036854775807", 413),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            400,
        ),
        ("Transfer-Encoding: xchunked", 501),
        ("Transfer-Encoding: chunked, identity", 501),
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: \x0bchunked", 400),
        ("Transfer-Encoding : chunked", 400),
        ("Content-Length : 5", 400),
        ("X: a\r\n folded", 400),
        (" X: a", 400),
        ("X: a\nContent-Length: 5", 400),
        ("X: a\rContent-Length: 5", 400),
        ("X: a\0b", 400),
        ("X y: a", 400),
        (": a", 400),
        ("X", 400),
        ("Host: b", 400),
        ("Mcp-Name: a\r\nMcp-Name: b", 400),
        ("Expect: something", 417),
    ] {
        assert_eq!(status(&post(fields)), Some(wanted), "{fields:?}");
    }
    for (request, wanted) in [
        (
            "POST /mcp HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST /mcp HTTP/1.1\r\n\r\n", 400),
        ("POST /mcp HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("POST  /mcp HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("POST /mcp\r\nHost: a\r\n\r\n", 400),
        ("P(ST /mcp HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("POST http://u@a/mcp HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("\n\nPOST /mcp HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("\r\n\r\n\r\n\r\nPOST /mcp HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03\r\n\r\n", 400),
    ] {
        assert_eq!(status(request), Some(wanted), "{request:?}");
    }
}

#[test]
fn clear_framing_is_accepted() {
    for (request, body, rest) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\nNEXT", "", "NEXT"),
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "", ""),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloNEXT",
            "hello",
            "NEXT",
        ),
        (
            "POST / HTTP/1.1\r\nhost:a\r\nCONTENT-LENGTH:\t005 \r\n\r\nhello",
            "hello",
            "",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
             3\r\nhel\r\n2;x\r\nlo\r\n0\r\nT: t\r\n\r\nNEXT",
            "hello",
            "NEXT",
        ),
        ("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", "hi", ""),
    ] {
        let (found, consumed) = frame(request.as_bytes()).expect(request).expect("complete");
        assert_eq!(
            (found.as_slice(), &request[consumed..]),
            (body.as_bytes(), rest)
        );
    }
}

#[test]
fn limits_of_the_head_hold_before_and_after_it_is_complete() {
    let limits = Limits::default();
    let line = format!(
        "GET /{} HTTP/1.1\r\n",
        "x".repeat(limits.request_line_bytes)
    );
    assert_eq!(frame(line.as_bytes()), Err(HttpError::RequestLine(8192)));
    assert_eq!(
        frame(&line.as_bytes()[..line.len() - 20]),
        Ok(None),
        "not yet over"
    );
    assert_eq!(frame(&vec![b'x'; 9000]), Err(HttpError::RequestLine(8192)));
    let head = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}",
        "y".repeat(limits.head_bytes)
    );
    assert_eq!(frame(head.as_bytes()), Err(HttpError::HeadBytes(16_384)));
    assert_eq!(
        frame((head + "\r\n\r\n").as_bytes()),
        Err(HttpError::HeadBytes(16_384))
    );
    let fields = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(count - 1)
        )
    };
    assert!(matches!(frame(fields(64).as_bytes()), Ok(Some(_))));
    assert_eq!(
        frame(fields(65).as_bytes()),
        Err(HttpError::HeaderCount(64))
    );
}

#[test]
fn what_is_missing_is_known() {
    let head = "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n";
    assert_eq!(awaiting(b""), Awaiting::Request);
    assert_eq!(awaiting(b"\r\n"), Awaiting::Request);
    assert_eq!(awaiting(b"P"), Awaiting::Head);
    assert_eq!(awaiting(head.as_bytes()), Awaiting::Head);
    let frame_bytes = Some(head.len() + 2 + 10);
    assert_eq!(
        awaiting(format!("{head}\r\n123").as_bytes()),
        Awaiting::Body {
            frame_bytes,
            send_continue: false
        }
    );
    let expect = format!("{head}Expect: 100-continue\r\n\r\n");
    let frame_bytes = Some(expect.len() + 10);
    let asked = Awaiting::Body {
        frame_bytes,
        send_continue: true,
    };
    assert_eq!(awaiting(expect.as_bytes()), asked);
}

#[test]
fn continue_is_asked_for_once() {
    let head =
        b"POST /mcp HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let (mut parser, limits) = (ninefold::http::Parser::new(), Limits::default());
    let mut buffer = head.to_vec();
    let asked: Vec<_> = (0..3)
        .map(|_| match parser.advance(&mut buffer, &limits) {
            Ok(ninefold::http::Progress::Incomplete(Awaiting::Body { send_continue, .. })) => {
                send_continue
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, [true, false, false]);
}

#[test]
fn a_chunked_call_is_answered_however_it_is_cut() {
    let node = Node::new();
    let request = modern(
        "tools/call",
        json!({"name": "echo", "arguments": {"text": "chunky"}}),
    );
    let (head, body) = request.split_once("\r\n\r\n").expect("a body");
    let head = head.rsplit_once("\r\n").expect("fields").0;
    let (one, two) = body.split_at(body.len() / 2);
    let chunked = format!(
        "{head}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{one}\r\n{:X}\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    );
    let twice = [chunked.as_str(), &chunked].concat();
    for size in [1, 7, 64, 100_000] {
        let pieces: Vec<_> = twice.as_bytes().chunks(size).collect();
        let (answers, _) = node.send_in_pieces(&pieces);
        assert_eq!(answers.len(), 2);
        for answer in answers {
            assert_eq!(answer.json()["result"]["content"][0]["text"], "chunky");
        }
    }
}

#[test]
fn a_smuggled_request_is_never_answered() {
    let node = Node::new();
    let inner = modern("tools/list", json!({}));
    for fields in [
        format!(
            "Content-Length: {}\r\nTransfer-Encoding: chunked",
            inner.len() + 5
        ),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity".to_owned(),
        "Transfer-Encoding\t: chunked".to_owned(),
        "Content-Length: 0\r\nContent-Length: 5".to_owned(),
    ] {
        let request = format!("POST /mcp HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n{inner}");
        let (answers, outcome) = node.send(request);
        assert_eq!(answers.len(), 1, "{fields}");
        assert_eq!(
            (answers[0].status, answers[0].field("connection")),
            (400, Some("close"))
        );
        assert!(outcome.expect("an outcome").close);
        assert!(answers[0].json()["error"]["message"].is_string());
    }
    assert_eq!(node.count("refused_framing"), 4);
}

#[test]
fn a_large_body_is_refused_from_its_head_alone() {
    let node = Node::new();
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16777216\r\n\r\n";
    let (answers, outcome) = node.send(head);
    assert_eq!(answers[0].refusal(), (413, Some(-32600)));
    assert!(outcome.expect("an outcome").close);
    let chunked =
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1000000\r\n";
    assert_eq!(node.send(chunked).0[0].status, 413);
}

#[test]
fn a_head_that_drips_in_is_scanned_once() {
    // Quadratic scanning of 16 KiB byte by byte would look at 134 million bytes; the time is not
    // measured here, but the result must not depend on the cut.
    let head = format!(
        "GET /mcp HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "y".repeat(16_000)
    );
    let (mut parser, limits) = (ninefold::http::Parser::new(), Limits::default());
    let mut buffer = Vec::new();
    for (at, byte) in head.bytes().enumerate() {
        buffer.push(byte);
        let progress = parser.advance(&mut buffer, &limits).expect("a valid head");
        let complete = matches!(progress, ninefold::http::Progress::Complete(_));
        assert_eq!(complete, at + 1 == head.len());
    }
}
