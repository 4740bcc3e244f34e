//! More connections than a node likes: silent ones by the thousand, and fewer descriptors than
//! peers.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::echo;
use crate::process::{BINARY, ON_FREE_PORTS, Process};
use crate::target::eventually;

/// Raises the soft limit of descriptors to the hard one; whether `wanted` fit then.
fn may_open(wanted: u64) -> bool {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .expect("a raised limit");
    maximum.is_none_or(|maximum| maximum >= wanted)
}

#[test]
fn ten_thousand_silent_connections_harm_nobody() {
    const SILENT: usize = 10_000;
    // The node's own and some for the tests beside this one.
    if !may_open(SILENT as u64 + 1000) {
        println!(
            "skipped: needs {} descriptors (`ulimit -Hn`)",
            SILENT + 1000
        );
        return;
    }
    let node = Process::serve(&["--shards", "1"]);
    let mut other = node.connect();
    assert_eq!(other.ask(echo("before")).result_text(), "before");
    let before = node.descriptors();
    let mut silent = Vec::with_capacity(SILENT);
    for n in 0..SILENT {
        silent.push(TcpStream::connect(node.mcp).expect("a connection"));
        // Also lets the node keep up: see the burst below.
        if n % 100 == 0 {
            assert_eq!(other.ask(echo("during")).result_text(), "during");
        }
    }
    node.until("connections_open", |open| open >= SILENT as f64);
    let asked = Instant::now();
    assert_eq!(other.ask(echo("beside")).result_text(), "beside");
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(node.ask(echo("new")).result_text(), "new");
    for mut stream in &silent {
        stream.set_nonblocking(true).expect("an open socket");
        let heard = stream.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(
            heard,
            Err(ErrorKind::WouldBlock),
            "a silent peer is kept until it idles out"
        );
    }
    drop(silent);
    node.until("connections_open", |open| open <= 1.0);
    eventually(|| node.descriptors() <= before)
        .unwrap_or_else(|()| panic!("{} descriptors, {before} before", node.descriptors()));
    assert_eq!(other.ask(echo("after")).result_text(), "after");
}

#[test]
fn a_burst_of_connections_is_accepted_whole() {
    const BURST: usize = 4000;
    if !may_open(BURST as u64 + 1000) {
        println!("skipped: needs {} descriptors (`ulimit -Hn`)", BURST + 1000);
        return;
    }
    let node = Process::serve(&["--shards", "1"]);
    let connect = |_| TcpStream::connect(node.mcp).expect("a connection");
    let _burst: Vec<_> = (0..BURST).map(connect).collect();
    node.until("connections_open", |open| open == BURST as f64);
    assert_eq!(node.ask(echo("after")).result_text(), "after");
}

#[test]
fn too_few_descriptors_are_survived() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\"", BINARY]);
    let node = Process::spawn(command.args(ON_FREE_PORTS).args(["--shards", "1"]));
    let mut clients: Vec<_> = (0..100).map(|_| node.connect()).collect();
    for client in &mut clients {
        client.send(echo("in"));
        client.patience(Duration::from_millis(20));
    }
    node.logs(&["accept failed", "ulimit -n"], 0);
    let (mut served, mut waiting): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for mut client in clients {
        match client.try_answer() {
            Ok(answer) => {
                assert_eq!(answer.result_text(), "in");
                served.push(client);
            }
            Err(_) => waiting.push(client),
        }
    }
    assert!(
        served.len() >= 10,
        "only {} of 100 connections were served",
        served.len()
    );
    assert!(
        waiting.len() >= 30,
        "{} of 100 connections fit into 64 descriptors",
        served.len()
    );
    for client in &mut served {
        client.patience(Duration::from_secs(5));
        assert_eq!(client.ask(echo("still")).result_text(), "still");
    }
    // Each that leaves makes room for one that waits; in the end all have been served.
    for mut client in waiting {
        served.pop();
        client.patience(Duration::from_secs(5));
        assert_eq!(client.answer().result_text(), "in");
    }
    drop(served);
    assert!(node.metric("accept_errors") > 0.0);
    assert_eq!(node.ask(echo("recovered")).result_text(), "recovered");
}
