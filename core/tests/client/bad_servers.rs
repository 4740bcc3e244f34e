//! Servers that misbehave, byte by byte: each gives a typed error, none a hang.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ninefold::client::limits::Limits;
use ninefold::client::{Blocking, ClientError, EraChoice, Options, Target};
use serde_json::json;

use crate::node::{options, url};

/// Reads a request: its head, and the body that `Content-Length` announces.
fn request(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut chunk).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let lower = head.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|it| it.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |it| it.parse().expect("a length")) {
            return Some(text);
        }
    }
}

/// A server that answers each request with the bytes that `answer` makes of it, then closes. An
/// empty answer keeps the connection open instead.
fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let Some(asked) = request(&mut stream) else {
                continue;
            };
            let bytes = answer(&asked);
            // A client that has seen enough closes; that is its right.
            let _ = stream.write_all(&bytes);
            if bytes.is_empty() {
                held.push(stream);
            }
        }
    });
    url(address).parse().expect("a target")
}

fn http(status: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

fn fails(target: &Target, options: Options) -> ClientError {
    let start = Instant::now();
    let outcome = Blocking::connect(target, options);
    assert!(start.elapsed() < Duration::from_secs(8), "too slow");
    outcome.err().expect("an error")
}

fn short() -> Limits {
    Limits {
        request_ms: 300,
        message_bytes: 4096,
        goodbye_ms: 200,
        probe_ms: 300,
        retry_ms: 10,
        ..Limits::default()
    }
}

#[test]
fn a_server_that_never_answers_is_late() {
    let silent = serve(|_| Vec::new());
    for era in [EraChoice::Auto, EraChoice::Legacy, EraChoice::Modern] {
        let error = fails(&silent, options(era).limits(short()));
        assert!(error.is_late(), "{error:?}");
    }
}

#[test]
fn nobody_at_the_address_is_unreachable() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let free = holder.local_addr().expect("an address");
    drop(holder);
    let error = fails(
        &url(free).parse().expect("a target"),
        options(EraChoice::Auto),
    );
    assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
    let absent = Target::Command(vec!["./absent".to_owned()]);
    let error = fails(&absent, options(EraChoice::Auto));
    assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
}

#[test]
fn a_server_that_speaks_no_tls_is_unreachable_by_https() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let secure = url(listener.local_addr().expect("an address")).replace("http:", "https:");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that has heard enough closes.
            let _ = stream
                .expect("a connection")
                .write_all(b"220 mail.example\r\n");
        }
    });
    let error = fails(&secure.parse().expect("a target"), options(EraChoice::Auto));
    assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
}

#[test]
fn what_is_no_answer_is_a_typed_error() {
    let long = format!("data: {}\n\n", "x".repeat(10_000));
    let odd = r#"{"jsonrpc":"2.0","method":"notifications/message","params":[]}"#;
    let half = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                   Transfer-Encoding: chunked\r\n\r\n8\r\ndata: {}";
    let moved = "HTTP/1.1 307 Moved\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n";
    let denied = "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer x=1\r\nContent-Length: 0\r\n\r\n";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("closes", b"HTTP/1.1".to_vec(), "Closed"),
        ("closes within a body", half.into(), "Closed"),
        ("closes within a stream", chunked.into(), "Closed"),
        (
            "ends a stream early",
            http("200 OK", EVENTS, ": hi\n\n"),
            "Closed",
        ),
        (
            "logs a list, and ends",
            http("200 OK", EVENTS, &format!("data: {odd}\n\n")),
            "Closed",
        ),
        ("is no HTTP", b"SSH-2.0-server\r\n\r\n".to_vec(), ""),
        ("is no JSON", http("200 OK", JSON, "nonsense"), "Garbage"),
        ("is no message", http("200 OK", JSON, "{}"), "Garbage"),
        ("is a page", http("200 OK", "text/html", "<p>"), "Garbage"),
        (
            "is no event",
            http("200 OK", EVENTS, "data: nonsense\n\n"),
            "Garbage",
        ),
        (
            "is too long",
            http("200 OK", JSON, &" ".repeat(5000)),
            "TooMuch",
        ),
        ("has a long event", http("200 OK", EVENTS, &long), "TooMuch"),
        ("redirects", moved.into(), "Redirect"),
        ("refuses", denied.into(), "Unauthorized"),
        (
            "is broken",
            http("500 Broken", "text/plain", "oh"),
            "Status",
        ),
    ];
    for (what, bytes, wanted) in cases {
        let server = serve(move |_| bytes.clone());
        let error = fails(&server, options(EraChoice::Auto).limits(short()));
        assert!(
            format!("{error:?}").starts_with(wanted),
            "{what}: {error:?}"
        );
    }
}

#[test]
fn a_stream_that_ended_early_is_followed_where_it_left_off() {
    // [mcp:http-get-accept]
    let server = serve(|asked| {
        let answer = |id: u64, result: serde_json::Value| {
            json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
        };
        if asked.contains("\"initialize\"") {
            let result = json!({"protocolVersion": "2025-11-25", "capabilities": {},
                "serverInfo": {"name": "s", "version": "1"}});
            return http("200 OK", JSON, &answer(1, result));
        }
        if asked.starts_with("GET") {
            assert!(
                asked.to_ascii_lowercase().contains("last-event-id: 7"),
                "{asked}"
            );
            let data = answer(2, json!({"content": []}));
            return http("200 OK", EVENTS, &format!("id: 8\ndata: {data}\n\n"));
        }
        match asked.contains("tools/call") {
            true => http("200 OK", EVENTS, "id: 7\nretry: 20\ndata:\n\n"),
            false => http("202 Accepted", "text/plain", ""),
        }
    });
    let client = Blocking::connect(&server, options(EraChoice::Legacy)).expect("a conversation");
    let result = client.run(async |client| client.call("any", json!({})).await);
    assert_eq!(result, Ok(json!({"content": []})));
}

#[test]
fn rounds_and_pages_have_an_end() {
    // [mcp:cursor-empty]
    let server = serve(|asked| {
        let id = id_of(asked);
        let result = if asked.contains("server/discover") {
            json!({"resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": {}})
        } else if asked.contains("tools/list") {
            json!({"resultType": "complete", "tools": [{"name": "t"}], "nextCursor": ""})
        } else {
            json!({"resultType": "input_required", "requestState": "again"})
        };
        let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
        http("200 OK", JSON, &answer.to_string())
    });
    let limits = Limits {
        round_count: 3,
        page_count: 4,
        ..Limits::default()
    };
    let client = Blocking::connect(&server, options(EraChoice::Auto).limits(limits));
    client.expect("a conversation").run(async |client| {
        let rounds = client.call("t", json!({})).await;
        assert_eq!(rounds, Err(ClientError::TooMuch("round_count")));
        let pages = client.tools().await;
        assert_eq!(pages, Err(ClientError::TooMuch("page_count")));
    });
    let limits = Limits {
        list_bytes: 1024,
        ..Limits::default()
    };
    let client = Blocking::connect(&server, options(EraChoice::Auto).limits(limits));
    client.expect("a conversation").run(async |client| {
        let pages = client.tools().await;
        assert_eq!(pages, Err(ClientError::TooMuch("list_bytes")));
    });
}

#[test]
fn a_child_that_ends_or_says_nothing_is_told_apart() {
    let ends = Target::Command(vec!["true".to_owned()]);
    let error = fails(&ends, options(EraChoice::Auto).limits(short()));
    assert_eq!(error, ClientError::Closed);
    let silent = Target::Command(vec!["sleep".to_owned(), "60".to_owned()]);
    let error = fails(&silent, options(EraChoice::Auto).limits(short()));
    assert!(error.is_late(), "{error:?}");
    let garbage = Target::Command(vec!["yes".to_owned(), "nonsense".to_owned()]);
    let error = fails(&garbage, options(EraChoice::Auto).limits(short()));
    assert!(matches!(error, ClientError::Garbage(_)), "{error:?}");
}

/// The id of a request, found in its text.
fn id_of(asked: &str) -> u64 {
    let after = asked.split("\"id\":").nth(1).expect("an id");
    let id = after.split([',', '}']).next();
    id.and_then(|it| it.parse().ok()).expect("a number")
}

#[test]
fn the_type_of_a_result_is_looked_at() {
    // [mcp:result-type-unknown] [mcp:result-type-absent]
    let server = serve(|asked| {
        let result = if asked.contains("server/discover") {
            json!({"supportedVersions": ["2026-07-28"], "capabilities": {}})
        } else if asked.contains("strange") {
            json!({"resultType": "strange", "content": []})
        } else {
            json!({"content": []})
        };
        let answer = json!({"jsonrpc": "2.0", "id": id_of(asked), "result": result});
        http("200 OK", JSON, &answer.to_string())
    });
    let client = Blocking::connect(&server, options(EraChoice::Auto));
    client.expect("a conversation").run(async |client| {
        let plain = client.call("plain", json!({})).await;
        assert_eq!(plain, Ok(json!({"content": []})));
        let strange = client.call("strange", json!({})).await;
        assert_eq!(strange, Err(ClientError::ResultType("strange".to_owned())));
    });
}

#[test]
fn a_child_is_written_messages_line_by_line_and_nothing_else() {
    // [mcp:stdio-lines] [mcp:stdio-client-clean] [mcp:stdio-fallback] [mcp:roots-declared]
    // [mcp:cancel-stdio] [mcp:cancel-initialize]
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("heard");
    let keep = format!("cat > '{}'", file.display());
    let deaf = Target::Command(["sh", "-c", &keep].map(str::to_owned).to_vec());
    let options = options(EraChoice::Auto).roots(&["file:///a"]);
    let error = fails(&deaf, options.limits(short()));
    assert!(error.is_late(), "{error:?}");
    let heard = std::fs::read_to_string(&file).expect("what was written");
    let messages: Vec<serde_json::Value> = heard
        .lines()
        .map(|line| serde_json::from_str(line).expect("a message a line"))
        .collect();
    let of = |method: &str| {
        let mut found = messages.iter().filter(|it| it["method"] == method);
        let only = found
            .next()
            .unwrap_or_else(|| panic!("no {method} in {heard}"));
        assert!(found.next().is_none(), "{method} twice in {heard}");
        only
    };
    // It fell back although there was no error at all, took back what it could, and no more.
    let (discover, initialize) = (of("server/discover"), of("initialize"));
    let cancelled = of("notifications/cancelled");
    assert_eq!(cancelled["params"]["requestId"], discover["id"]);
    assert_eq!(messages.len(), 3, "{heard}");
    let meta = &discover["params"]["_meta"];
    let declared = &meta["io.modelcontextprotocol/clientCapabilities"];
    assert_eq!(declared, &json!({"roots": {}}));
    assert_eq!(initialize["params"]["capabilities"], json!({"roots": {}}));
    assert!(messages.iter().all(|it| it["jsonrpc"] == "2.0"));
}
