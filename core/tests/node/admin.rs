//! The admin listener: shapes that a load balancer and a scraper rely on.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, call, echo};
use crate::local::Local;
use crate::target::eventually;

#[test]
fn health_says_who_runs_where_and_how_they_are() {
    let node = Local::with(2, |_| {});
    let answer = node.admin("/health");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), Some("application/json"));
    let health = answer.json();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["uptime_s"].is_u64());
    assert!(
        health["control"]["cpu"].is_u64() && health["control"]["shared_with_shard"].is_boolean()
    );
    let shards = health["shards"].as_array().expect("shards");
    assert_eq!(shards.len(), 2);
    for (n, shard) in shards.iter().enumerate() {
        assert_eq!(
            (&shard["shard"], &shard["status"]),
            (&json!(n), &json!("ok"))
        );
        for member in ["cpu", "last_turn_ms", "connections"] {
            assert!(shard[member].is_u64(), "{member} in {shard}");
        }
    }
    let ready = node.admin("/ready");
    assert_eq!((ready.status, ready.text().as_str()), (200, "ready\n"));
}

#[test]
fn every_line_of_the_metrics_is_openmetrics() {
    let node = Local::with(2, |_| {});
    assert_eq!(node.ask(echo("x")).status, 200);
    let answer = node.admin("/metrics");
    let kind = answer.field("content-type").expect("a type");
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    let page = answer.text();
    assert!(page.ends_with("\n# EOF\n"), "no end mark");
    let (mut families, mut series) = (HashSet::new(), HashSet::new());
    let (mut family, mut kind) = ("", "");
    for line in page.lines().take_while(|line| *line != "# EOF") {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name) = (words.next().expect("a word"), words.next().expect("a name"));
            match what {
                "HELP" => {
                    assert!(families.insert(name), "{name} is described twice");
                    family = name;
                }
                "TYPE" => kind = words.next().expect("a type"),
                other => assert_eq!(other, "UNIT", "{line}"),
            }
            assert_eq!(name, family, "{line}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a value");
        assert!(value.parse::<f64>().is_ok_and(|it| it >= 0.0), "{line}");
        assert!(series.insert(name), "{name} is there twice");
        let suffix = if kind == "counter" { "_total" } else { "" };
        let Some((name, labels)) = name.split_once('{') else {
            // What is counted for the node as a whole.
            assert_eq!(name.strip_suffix(suffix), Some(family), "{line}");
            let whole = ["stall", "stuck", "process"];
            assert!(whole.iter().any(|it| name.contains(it)), "{line}");
            continue;
        };
        assert_eq!(name.strip_suffix(suffix), Some(family), "{line}");
        assert!(name.starts_with("ninefold_") && !name.contains(|c: char| c.is_uppercase()));
        let labels = labels.strip_suffix('}').expect("labels");
        assert!(labels.starts_with("shard=\""), "{line}");
        assert!(labels.split(',').all(|it| {
            it.split_once("=\"")
                .is_some_and(|(_, value)| value.ends_with('"') && value.len() > 1)
        }));
    }
    assert!(families.len() > 50, "only {} families", families.len());
    assert!(series.contains(r#"ninefold_requests_total{shard="1"}"#));
    assert_eq!(node.metric("modern_tools_call"), 1.0);
    let by_type = |name: &str| series.iter().any(|it| it.starts_with(name));
    assert!(by_type(
        r#"ninefold_cpu_by_type_seconds_total{shard="0",type=""#
    ));
}

#[test]
fn admin_refuses_what_it_does_not_serve_and_keeps_connections() {
    let node = Local::start();
    assert_eq!(node.admin("/").status, 404);
    assert_eq!(node.admin("/mcp").status, 404);
    let mut client = Client::connect(node.admin);
    for (path, status) in [("/ready", 200), ("/nowhere", 404), ("/ready", 200)] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.ask(request).status, status);
    }
    let posted = client.ask("POST /ready HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        (posted.status, posted.field("allow")),
        (405, Some("GET, HEAD"))
    );
    let nonsense = Client::connect(node.admin).ask("nonsense\r\n\r\n");
    assert_eq!(nonsense.status, 400);
    // Half a request on each of many connections must not keep others out for good.
    let mut silent: Vec<_> = (0..40).map(|_| Client::connect(node.admin)).collect();
    silent.iter_mut().for_each(|client| client.send("GET /he"));
    assert_eq!(node.admin("/health").status, 200);
}

/// Pauses of 0 to 30 ms that look random and are the same in every run.
fn pauses(seed: u64) -> impl Iterator<Item = Duration> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Duration::from_micros(state % 30_000)
    })
}

#[test]
fn every_connection_is_answered_whenever_it_comes_and_however_busy_the_shard_is() {
    const IN_TIME: Duration = Duration::from_secs(1);
    let node = Local::start();
    let over = AtomicBool::new(false);
    let keep_busy = || {
        let mut client = node.connect();
        // A check that fails leaves it alone: it ends all the same.
        let until = Instant::now() + 20 * IN_TIME;
        while !over.load(Ordering::Relaxed) && Instant::now() < until {
            client.ask(call("blocks", json!({"ms": 5})));
            client.ask(call("sleep", json!({"ms": 1})));
        }
    };
    let in_time = |ask: &mut dyn FnMut() -> u16| {
        let since = Instant::now();
        assert_eq!(ask(), 200);
        let took = since.elapsed();
        assert!(took < IN_TIME, "answered after {took:?}");
    };
    let fresh = |seed: u64| {
        for pause in pauses(seed).take(50) {
            std::thread::sleep(pause);
            in_time(&mut || node.admin("/health").status);
        }
    };
    std::thread::scope(|scope| {
        let busy = scope.spawn(keep_busy);
        // Alone, then with others, then on one connection.
        fresh(1);
        let others = [2, 3].map(|seed| scope.spawn(move || fresh(seed)));
        fresh(4);
        others
            .into_iter()
            .for_each(|it| it.join().expect("no panic"));
        let mut kept = Client::connect(node.admin);
        let mut ready = || kept.ask("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n").status;
        for pause in pauses(5).take(50) {
            std::thread::sleep(pause);
            in_time(&mut ready);
        }
        over.store(true, Ordering::Relaxed);
        busy.join().expect("no panic");
    });
}

/// While the control plane ran on glommio's reactor, every fourth run of this got no answer at some
/// point, until something else woke it.
#[test]
fn a_client_that_asks_without_pause_from_another_cpu_is_always_answered() {
    const IN_TIME: Duration = Duration::from_secs(1);
    let node = Local::start();
    let health = node.admin("/health").json();
    let control = health["control"]["cpu"].as_u64().expect("a CPU");
    let mut others = rustix::thread::sched_getaffinity(None).expect("a mask");
    others.unset(usize::try_from(control).expect("a CPU"));
    if others.count() > 0 {
        rustix::thread::sched_setaffinity(None, &others).expect("a mask");
    }
    let mut client = Client::connect(node.admin);
    for n in 0..10_000 {
        let since = Instant::now();
        let answer = client.ask("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(answer.status, 200);
        let took = since.elapsed();
        assert!(took < IN_TIME, "request {n} was answered after {took:?}");
    }
}

#[test]
fn the_control_plane_is_no_shard_in_what_it_shows() {
    let node = Local::start();
    assert_eq!(node.shards("sockets_accepted").len(), 1);
    let (shards, accepted) = (
        node.admin("/health").json()["shards"].clone(),
        node.metric("sockets_accepted"),
    );
    assert_eq!(shards.as_array().map(Vec::len), Some(1));
    assert_eq!(accepted, 0.0, "the shard has no connection of the admin's");
}

#[test]
fn admin_connections_beyond_the_limit_are_closed_at_once() {
    let node = Local::start();
    let mut open: Vec<_> = (0..64).map(|_| Client::connect(node.admin)).collect();
    for client in &mut open {
        let answer = client.ask("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(answer.status, 200);
    }
    assert_eq!(Client::connect(node.admin).closed(), 0);
    drop(open);
    let free = || {
        let mut client = Client::connect(node.admin);
        client.send("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
        client.try_answer().is_ok_and(|answer| answer.status == 200)
    };
    eventually(free).expect("a place that is free again");
}
