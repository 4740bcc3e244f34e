//! Damaged requests by the million, over sockets: each is answered or refused and its connection
//! ends, nothing crashes or hangs, and nothing is left behind.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::client::{call, delete, echo, get, initialize, modern};
use crate::damage::Random;
use crate::local::Local;

/// How many; `just mutants` asks for a million.
const COUNT_VARIABLE: &str = "NINEFOLD_MUTANTS";
const COUNT: usize = 4_000;
const CLIENTS: usize = 4;
/// A peer that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn seeds() -> Vec<String> {
    let request = echo("x");
    let (head, body) = request.split_once("\r\n\r\n").expect("a body");
    let head = head.replacen("Content-Length", "X-Length", 1);
    let length = body.len();
    let chunked = format!(
        "{head}\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\nA: b\r\n\r\n"
    );
    vec![
        request.clone(),
        chunked,
        request.replacen("Host:", "Expect: 100-continue\r\nHost:", 1),
        request.repeat(2),
        call("add", json!({"a": 1, "b": 2.5})),
        modern(1, "server/discover", json!({})),
        modern(2, "tools/list", json!({})),
        modern(3, "resources/list", json!({})),
        modern(4, "prompts/get", json!({"name": "hello"})),
        call("ticks", json!({"count": 2, "ms": 0})),
        initialize(),
        get("none", Some("none-1")),
        delete("none"),
    ]
}

/// Sends one request and nothing more; what came back until the node closed.
fn exchange(to: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = loop {
        match TcpStream::connect(to) {
            Ok(stream) => break stream,
            // Ports of connections that have just ended rest for a while.
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("no connection: {error}"),
        }
    };
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    // Who is refused early is not read to the end.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}: a hang for {:?}", String::from_utf8_lossy(request)),
    }
    answer
}

/// Sends `count` mutants by the seed `seed`; how many were answered with each status first, 0 for
/// none.
fn mutate(to: SocketAddr, seed: u64, count: usize) -> BTreeMap<u16, usize> {
    const KNOWN: [u16; 17] = [
        100, 200, 202, 204, 400, 403, 404, 405, 406, 408, 413, 414, 415, 417, 431, 501, 505,
    ];
    let (seeds, mut random) = (seeds(), Random(seed));
    let mut tally = BTreeMap::new();
    for round in 0..count {
        let mut request = seeds[round % seeds.len()].clone().into_bytes();
        random.damage(&mut request);
        let answer = exchange(to, &request);
        if answer.is_empty() {
            *tally.entry(0).or_default() += 1;
            continue;
        }
        let status = answer.strip_prefix(b"HTTP/1.1 ").and_then(|it| it.get(..3));
        let status = status.and_then(|it| std::str::from_utf8(it).ok()?.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&answer)));
        assert!(
            KNOWN.contains(&status),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        *tally.entry(status).or_default() += 1;
    }
    tally
}

#[test]
fn mutants_crash_nothing_hang_nowhere_and_leave_nothing() {
    let count = std::env::var(COUNT_VARIABLE).map_or(COUNT, |it| it.parse().expect("a number"));
    let node = Local::with(2, |_| {});
    let to = node.mcp;
    let clients: Vec<_> = (0..CLIENTS as u64)
        .map(|client| {
            std::thread::spawn(move || mutate(to, 0x9E37_79B9_7F4A_7C15 ^ client, count / CLIENTS))
        })
        .collect();
    let mut tally = BTreeMap::new();
    for client in clients {
        for (status, times) in client.join().expect("a client") {
            *tally.entry(status).or_default() += times;
        }
    }
    println!("{count} mutants by the status of their first answer: {tally:?}");
    let times = |status: u16| tally.get(&status).copied().unwrap_or(0);
    assert!(times(200) > count / 100 && times(400) > count / 100);
    for never in ["panics", "error_internal", "tool_panic"] {
        assert_eq!(node.metric(never), 0.0, "{never}");
    }
    // Sessions that a mutant has opened outlive it, as they should; nothing else does.
    for gauge in ["connections_open", "arenas_in_use", "answers_under_way"] {
        node.until(gauge, |now| now == 0.0);
    }
    assert_eq!(node.ask(echo("after")).result_text(), "after");
}
