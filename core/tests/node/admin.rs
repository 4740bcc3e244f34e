//! The admin listener: shapes that a load balancer and a scraper rely on.

use std::collections::HashSet;

use serde_json::json;

use crate::client::{Client, echo};
use crate::local::Local;

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
            assert!(name.contains("stall") || name.contains("stuck"), "{line}");
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
