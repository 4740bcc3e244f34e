//! The load client against servers that behave, lie, stall, refuse and vanish.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "test servers are threads that may panic"
)]

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ninefold_bench::load::client;
use ninefold_bench::load::floor::{self, FloorReport, FloorSpec, Mechanism};
use ninefold_bench::load::idle::{self, Greeting, IdleSpec};
use ninefold_bench::load::null_target::NullTarget;
use ninefold_bench::load::rolling::{self, RollingSpec};
use ninefold_bench::load::schedule::Arrival;
use ninefold_bench::load::spec::{Answers, LoadResult, LoadSpec, Pace};
use ninefold_bench::load::wire::Wire;
use ninefold_bench::measure::hist::Latency;

/// What the test server does with a request.
#[derive(Clone, Copy)]
enum Act {
    Answer,
    Delay(Duration),
    WrongId,
    WrongText,
    ErrorBody,
    Refuse,
    Silence,
    Hang,
}

/// A blocking echo server; `act` decides by the number of the request, the first request of each
/// connection (the client's full check) is always answered.
fn server(act: impl Fn(u64) -> Act + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (act, count) = (Arc::new(act), Arc::new(AtomicU64::new(0)));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (act, count) = (act.clone(), count.clone());
            std::thread::spawn(move || serve(stream.unwrap(), act.as_ref(), &count));
        }
    });
    address
}

fn serve(stream: TcpStream, act: &dyn Fn(u64) -> Act, count: &AtomicU64) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    let mut first = true;
    loop {
        let body = read_request(&mut reader)?;
        let request: serde_json::Value = serde_json::from_slice(&body).ok()?;
        let (id, text) = (&request["id"], &request["params"]["arguments"]["text"]);
        let act = if first {
            Act::Answer
        } else {
            act(count.fetch_add(1, Ordering::Relaxed))
        };
        first = false;
        let echo = |id: u64, text: &str| {
            serde_json::json!({"jsonrpc": "2.0", "id": id,
                "result": {"content": [{"type": "text", "text": text}]}})
        };
        let (id, text) = (id.as_u64()?, text.as_str()?);
        let (status, reply) = match act {
            Act::Answer => ("200 OK", echo(id, text)),
            Act::Delay(time) => {
                std::thread::sleep(time);
                ("200 OK", echo(id, text))
            }
            Act::WrongId => ("200 OK", echo(id + 1, text)),
            Act::WrongText => ("200 OK", echo(id, &text[1..])),
            Act::ErrorBody => (
                "200 OK",
                serde_json::json!({"jsonrpc": "2.0", "id": id, "error": {}}),
            ),
            Act::Refuse => ("503 Service Unavailable", serde_json::json!({})),
            Act::Silence => continue,
            Act::Hang => return None,
        };
        let reply = reply.to_string();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            reply.len()
        );
        writer.write_all((head + &reply).as_bytes()).ok()?;
    }
}

fn read_request(reader: &mut impl std::io::BufRead) -> Option<Vec<u8>> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            return Some(body);
        }
    }
}

fn null_target() -> SocketAddr {
    let target = NullTarget::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = target.local_addr().unwrap();
    std::thread::spawn(move || target.serve(false));
    address
}

fn spec(target: SocketAddr, pace: Pace) -> LoadSpec {
    LoadSpec {
        target,
        wire: Wire::Modern,
        path: "/mcp".into(),
        message_bytes: 1024,
        answers: Answers::Own,
        connections: 4,
        pipeline: 1,
        pace,
        warmup_seconds: 0.1,
        seconds: 0.5,
        drain_seconds: 1.0,
        deadline_ns: 5_000_000_000,
        cpu: None,
        // Several tests run at once on few cores: a spinning client would starve its server.
        spin: false,
        server_pid: Some(std::process::id()),
    }
}

fn open(rate: f64) -> Pace {
    Pace::Open {
        rate,
        arrival: Arrival::Poisson,
        seed: 3,
    }
}

/// Every trial ends in exactly one of these.
fn assert_accounted(result: &LoadResult) {
    let ends = result.correct + result.shed + result.failed + result.unanswered + result.unsent;
    assert_eq!(ends, result.offered, "{result:?}");
    let wrong = result.offered - result.correct;
    assert_eq!(
        result.misses,
        wrong + result.late,
        "every trial that is not correct is a miss"
    );
}

#[test]
fn every_era_is_spoken_and_every_trial_answered() {
    let target = null_target();
    for wire in [Wire::Modern, Wire::Legacy, Wire::Get] {
        for pipeline in [1, 8] {
            let spec = LoadSpec {
                wire,
                pipeline,
                ..spec(target, open(2_000.0))
            };
            let result = client::run(&spec).unwrap();
            assert_accounted(&result);
            assert_eq!(
                (result.failed, result.unanswered),
                (0, 0),
                "{wire:?} {:?}",
                result.errors
            );
            assert!(
                (800..1200).contains(&result.correct),
                "2,000/s for 0.5 s: {result:?}"
            );
            assert_eq!(
                Latency::from_dump(&result.latency).unwrap().n(),
                result.correct
            );
        }
    }
}

#[test]
fn the_closed_loop_keeps_every_connection_busy() {
    let result = client::run(&spec(null_target(), Pace::Closed)).unwrap();
    assert!(result.correct > 500 && result.failed == 0, "{result:?}");
    assert!(result.offered_per_s.is_none() && result.lag.is_none() && result.misses == 0);
    assert!(result.server_cpu.is_some());
}

#[test]
fn the_same_seed_offers_the_same_trials() {
    let target = null_target();
    let offered = |_| client::run(&spec(target, open(1_000.0))).unwrap().offered;
    let offered: Vec<u64> = (0..2).map(offered).collect();
    assert_eq!(offered[0], offered[1]);
}

#[test]
fn wrong_answers_are_failures_and_refusals_are_shed() {
    let act = |request| match request % 10 {
        1 => Act::WrongId,
        3 => Act::WrongText,
        5 => Act::ErrorBody,
        7 => Act::Refuse,
        _ => Act::Answer,
    };
    let result = client::run(&spec(server(act), open(1_000.0))).unwrap();
    assert_accounted(&result);
    let share = |count: u64| count as f64 / result.offered as f64;
    assert!((share(result.failed) - 0.3).abs() < 0.05, "{result:?}");
    assert!((share(result.shed) - 0.1).abs() < 0.03, "{result:?}");
    assert!(!result.errors.is_empty());
}

/// One stall of 150 ms: the service time shows it once per connection, the latency from the
/// intended start shows it for everything that was due meanwhile.
#[test]
fn a_stall_is_charged_to_all_that_were_due() {
    let stall = Duration::from_millis(150);
    let act = move |request| {
        if request == 300 {
            Act::Delay(stall)
        } else {
            Act::Answer
        }
    };
    let mut spec = spec(server(act), open(1_000.0));
    (spec.connections, spec.deadline_ns) = (1, 20_000_000);
    let result = client::run(&spec).unwrap();
    assert_accounted(&result);
    let late = |dump| {
        let latency = Latency::from_dump(dump).unwrap();
        latency
            .recorded()
            .filter(|&(ns, _)| ns > 20_000_000)
            .map(|(_, n)| n)
            .sum::<u64>()
    };
    let (intended, sent) = (late(&result.latency), late(&result.service));
    assert!(
        intended >= 60,
        "about 130 arrivals wait over 20 ms of 150, found {intended}"
    );
    assert!(
        sent < intended / 4,
        "only the stalled request itself is slow: {sent}"
    );
    assert!(
        result.episodes >= 1 && result.longest_episode_seconds > 0.05,
        "{result:?}"
    );
    assert!(result.backlog_max > 50, "{}", result.backlog_max);
}

#[test]
fn what_is_never_answered_is_a_miss() {
    let act = |request| {
        if request > 200 {
            Act::Silence
        } else {
            Act::Answer
        }
    };
    let mut spec = spec(server(act), open(1_000.0));
    spec.drain_seconds = 0.1;
    let result = client::run(&spec).unwrap();
    assert_accounted(&result);
    assert_eq!(result.unanswered, 4, "one per connection");
    assert!(
        result.unsent > 100 && result.misses >= result.unsent + 4,
        "{result:?}"
    );
}

#[test]
fn lost_connections_fail_what_was_on_them_and_the_run_ends() {
    let act = |request| {
        if request >= 100 {
            Act::Hang
        } else {
            Act::Answer
        }
    };
    let result = client::run(&spec(server(act), open(1_000.0))).unwrap();
    assert_accounted(&result);
    assert!(
        result.failed > 0 && result.errors.iter().any(|e| e.contains("closed")),
        "{result:?}"
    );
}

#[test]
fn a_server_that_speaks_something_else_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"220 mail ready\r\n\r\n");
        }
    });
    let error = client::run(&spec(address, Pace::Closed))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("handshake") || error.contains("reply"),
        "{error}"
    );
    let refused = client::run(&spec("127.0.0.1:1".parse().unwrap(), Pace::Closed)).unwrap_err();
    assert!(refused.to_string().contains("connect"), "{refused}");
    let zero = LoadSpec {
        connections: 0,
        ..spec(address, Pace::Closed)
    };
    assert!(
        client::run(&zero)
            .unwrap_err()
            .to_string()
            .contains("at least one connection")
    );
}

fn crowd(target: SocketAddr, connections: u64, greeting: Greeting) -> IdleSpec {
    IdleSpec {
        target,
        path: "/mcp".into(),
        connections,
        sources: vec!["127.0.0.7".parse().unwrap(), "127.0.0.8".parse().unwrap()],
        greeting,
    }
}

#[test]
fn idle_connections_are_held_and_counted() {
    for greeting in [Greeting::Silent, Greeting::Call, Greeting::Session] {
        let held = idle::open(&crowd(null_target(), 300, greeting)).unwrap();
        let report = held.report();
        let answered = if greeting == Greeting::Silent { 0 } else { 300 };
        assert_eq!(
            (report.open, report.answered, report.failed),
            (300, answered, 0),
            "{greeting:?}: {report:?}"
        );
    }

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let closer = std::thread::spawn(move || {
        let streams: Vec<_> = listener.incoming().take(5).map(Result::unwrap).collect();
        drop(streams);
    });
    let held = idle::open(&crowd(target, 5, Greeting::Silent)).unwrap();
    closer.join().unwrap();
    assert_eq!(
        (held.report().open, held.report().failed),
        (0, 0),
        "the server closed them"
    );
}

#[test]
fn a_dead_target_is_named_and_ends_the_attempt() {
    let dead = "127.0.0.1:1".parse().unwrap();
    let report = idle::open(&crowd(dead, 10_000, Greeting::Call))
        .unwrap()
        .report();
    assert_eq!((report.open, report.answered), (0, 0));
    assert!((100..1_000).contains(&report.failed), "{report:?}");
    let why = report.first_error.unwrap();
    assert!(
        why.contains("127.0.0.1:1") && why.contains("refused"),
        "{why}"
    );
}

#[test]
fn calls_roll_over_connections_chosen_at_random() {
    let held = idle::open(&crowd(null_target(), 50, Greeting::Call)).unwrap();
    let result = rolling::roll(&held, &rolling_calls()).unwrap();
    assert!((300..700).contains(&result.offered), "{result:?}");
    assert_eq!(result.correct, result.offered, "{result:?}");
    let both = rolling::together(&[result.clone(), result.clone()])
        .unwrap()
        .unwrap();
    assert_eq!(
        (both.offered, both.latency.n),
        (2 * result.offered, 2 * result.latency.n)
    );

    let silent = idle::open(&crowd(null_target(), 5, Greeting::Silent)).unwrap();
    let refused = rolling::roll(&silent, &rolling_calls())
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("wanted connections that have made a call"),
        "{refused}"
    );
}

fn rolling_calls() -> RollingSpec {
    RollingSpec {
        rate: 1_000.0,
        warmup_seconds: 0.1,
        seconds: 0.5,
        drain_seconds: 20.0,
        deadline_ns: 1_000_000_000,
        seed: 1,
    }
}

/// What a floor answers here is right once and wrong ever after: every answer has the same id.
fn answer() -> String {
    let body =
        r#"{"jsonrpc":"2.0","id":1000000000,"result":{"content":[{"type":"text","text":"idle"}]}}"#;
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A floor in this process; what it counted comes when the other end of `stop` is dropped.
fn floor(by: Mechanism) -> (SocketAddr, UnixStream, std::thread::JoinHandle<FloorReport>) {
    let (stop, stopped) = UnixStream::pair().unwrap();
    let (told, address) = std::sync::mpsc::channel();
    let answer = answer();
    let serving = std::thread::spawn(move || {
        floor::serve(&FloorSpec { by, answer }, &stopped, |at| {
            told.send(at).unwrap()
        })
        .unwrap()
    });
    (address.recv().unwrap(), stop, serving)
}

#[test]
fn a_floor_counts_what_its_clients_count() {
    for by in [Mechanism::Epoll, Mechanism::Ring] {
        let (target, stop, serving) = floor(by);
        let prepared = LoadSpec {
            answers: Answers::Prepared,
            pipeline: 4,
            connections: 8,
            warmup_seconds: 0.0,
            ..spec(target, Pace::Closed)
        };
        let result = client::run(&prepared).unwrap();
        assert!(result.correct > 100, "{by:?}: {result:?}");
        assert_eq!(
            (result.failed, result.unanswered),
            (0, 0),
            "{by:?}: {result:?}"
        );
        drop(stop);
        let report = serving.join().unwrap();
        assert_eq!(report.connections, 8, "{by:?}");
        // Each connection has asked once before the measured time, and a few are sent at its end.
        let least = result.correct + 8;
        assert!(
            (least..=least + 8 * 4).contains(&report.requests),
            "{by:?}: {report:?} {result:?}"
        );
    }
}

#[test]
fn a_server_that_answers_wrongly_is_found() {
    let (target, stop, serving) = floor(Mechanism::Epoll);
    let held = idle::open(&crowd(target, 5, Greeting::Call)).unwrap();
    assert_eq!(
        held.report().answered,
        5,
        "the first answer is right: {:?}",
        held.report()
    );
    let result = rolling::roll(&held, &rolling_calls()).unwrap();
    // The one trial of the schedule that has the id of the prepared answer may be right.
    assert!(result.correct <= 1 && result.failed > 300, "{result:?}");
    assert!(
        result.errors[0].contains("wanted id"),
        "{:?}",
        result.errors
    );
    drop((held, stop));
    serving.join().unwrap();
}
