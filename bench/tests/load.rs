//! The load client against servers that behave, lie, stall, refuse and vanish.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "test servers are threads that may panic"
)]

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ninefold_bench::load::client;
use ninefold_bench::load::idle::{self, IdleRequest, IdleSpec};
use ninefold_bench::load::null_target::NullTarget;
use ninefold_bench::load::schedule::Arrival;
use ninefold_bench::load::spec::{LoadResult, LoadSpec, Pace};
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
    assert!(result.server_cpu_us.is_some());
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

#[test]
fn idle_connections_are_held_and_counted() {
    let order = |target, connections| IdleSpec {
        target,
        connections,
        source: Some("127.0.0.7".parse().unwrap()),
        request: Some(IdleRequest {
            wire: Wire::Legacy,
            path: "/mcp".into(),
        }),
    };
    let held = idle::open(&order(null_target(), 300));
    let report = held.report();
    assert_eq!(
        (report.open, report.answered, report.failed),
        (300, 300, 0),
        "{report:?}"
    );

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let closer = std::thread::spawn(move || {
        let streams: Vec<_> = listener.incoming().take(5).map(Result::unwrap).collect();
        drop(streams);
    });
    let held = idle::open(&IdleSpec {
        request: None,
        ..order(target, 5)
    });
    closer.join().unwrap();
    assert_eq!(
        (held.report().open, held.report().failed),
        (0, 0),
        "the server closed them"
    );
}
