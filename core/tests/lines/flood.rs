//! Many calls at once, and a reader that does not read.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::channel::{PATIENCE, Process, echo, modern, sleep, spawn};

#[test]
fn ten_thousand_pipelined_calls_are_each_answered_once() {
    const CALLS: u64 = 10_000;
    let mut process = Process::start(&[]);
    let mut input = process.channel.write.take().expect("an input");
    let writer = std::thread::spawn(move || {
        for id in 0..CALLS {
            // Every tenth goes on for a while: more of them than may be under way at once.
            let params = if id % 10 == 0 { sleep(2) } else { echo("x") };
            let line = format!("{}\n", modern(id, "tools/call", params));
            input.write_all(line.as_bytes()).expect("room");
        }
    });
    let mut open: BTreeSet<u64> = (0..CALLS).collect();
    while !open.is_empty() {
        let answer = process.channel.hear();
        assert!(answer["result"]["content"].is_array(), "{answer}");
        let id = answer["id"].as_u64().expect("an id");
        assert!(open.remove(&id), "{id} was answered twice");
    }
    writer.join().expect("a writer");
    assert_eq!(process.channel.drain(), 0);
    assert!(process.end().0.success());
}

/// Resident memory that a process has made, in bytes: not what it maps, such as its own binary,
/// which is read when a stall is reported.
fn made_bytes(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|it| it.starts_with("RssAnon:"));
    let kib = line.and_then(|it| it.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.expect("a size") * 1024
}

#[test]
fn a_reader_that_stalls_stops_the_writer_and_costs_no_memory() {
    const TEXT: usize = 16 << 10;
    const CALLS: usize = 12_000;
    const GROWTH_MAX: usize = 64 << 20;
    const SYMBOLS: usize = 96 << 20;
    let (mut child, log) = spawn(&[]);
    let pid = child.id();
    let (mut input, output) = (child.stdin.take().expect("stdin"), child.stdout.take());
    let mut output = BufReader::new(output.expect("stdout"));
    let first = format!("{}\n", modern("first", "tools/call", echo("x")));
    input.write_all(first.as_bytes()).expect("room");
    let mut line = String::new();
    output.read_line(&mut line).expect("an answer");
    let before = made_bytes(pid);
    let written = Arc::new(AtomicUsize::new(0));
    let counter = written.clone();
    let writer = std::thread::spawn(move || {
        let text = "y".repeat(TEXT);
        for id in 0..CALLS {
            let line = format!("{}\n", modern(id, "tools/call", echo(&text)));
            input.write_all(line.as_bytes()).expect("room");
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    // It has stalled when nothing more was written for a second.
    let (start, mut seen) = (Instant::now(), usize::MAX);
    while written.load(Ordering::SeqCst) != seen {
        seen = written.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_secs(1));
        assert!(start.elapsed() < PATIENCE, "the writer was never stopped");
    }
    assert!(
        seen < CALLS / 10,
        "{seen} calls were taken without a reader"
    );
    let grown = made_bytes(pid).saturating_sub(before);
    // A turn that the host held up is named with its stack: for the first one the symbols of the
    // binary are loaded, and they stay.
    let named = log.lock().expect("a log").contains("stall:");
    let allowed = if named {
        GROWTH_MAX + SYMBOLS
    } else {
        GROWTH_MAX
    };
    assert!(grown < allowed, "{grown} bytes more, log: {log:?}");
    // Once somebody reads, all goes on, and nothing was lost.
    let mut open: BTreeSet<u64> = (0..CALLS as u64).collect();
    while !open.is_empty() {
        line.clear();
        assert_ne!(output.read_line(&mut line).expect("a line"), 0);
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        assert!(open.remove(&answer["id"].as_u64().expect("an id")));
    }
    writer.join().expect("a writer");
    assert!(child.wait().expect("a child").success());
}

#[test]
fn a_parent_that_has_gone_ends_its_child() {
    let (mut child, log) = spawn(&[]);
    let mut input = child.stdin.take().expect("stdin");
    drop(child.stdout.take());
    let line = format!("{}\n", modern(1, "tools/call", echo("nobody hears")));
    // The pipe may be gone by the second line.
    let _ = input.write_all(line.as_bytes());
    let start = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        assert!(start.elapsed() < PATIENCE, "it did not end; {log:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(input);
}

#[test]
fn calls_over_pipes_are_served_at_the_rate_and_refused_beyond_it() {
    let mut process = Process::start(&["--calls-per-s", "1", "--calls-burst", "3"]);
    let started = Instant::now();
    let mut ask = |id: u64| process.channel.ask(&modern(id, "tools/call", echo("x")));
    for id in 0..3 {
        assert!(ask(id)["error"].is_null(), "{id} is within the burst");
    }
    let refused = (3..60).map(&mut ask).find(|it| !it["error"].is_null());
    let refused = refused.expect("a refusal");
    assert_eq!(refused["error"]["code"], -32000, "{refused}");
    while !ask(60)["error"].is_null() {
        assert!(started.elapsed() < PATIENCE, "it is never served again");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(process.channel.write.take());
    assert!(process.end().0.success());
}
