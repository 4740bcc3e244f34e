//! Scenarios on the real runtime and the real node, as short as they can be: what is measured is
//! there, in order, and correct; how fast it was is not judged.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use ninefold_bench::load::idle::Greeting;
use ninefold_bench::load::remote::{self, Crowd};
use ninefold_bench::load::spec::{Answers, LoadSpec, Pace};
use ninefold_bench::load::wire::Wire;
use ninefold_bench::node::{NodeProcess, NodeSpec};
use ninefold_bench::plan::{CpuPlan, Phase, Plan};
use ninefold_tuning::Facts;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn quick(only: &str) -> Value {
    bench(&["quick", "--only", only])
}

fn bench(args: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ninefold-bench"))
        .args(args)
        .args([
            "--seconds",
            "0.4",
            "--rate",
            "1000",
            "--json",
            "-",
            "--no-progress",
            "--out",
        ])
        .arg(dir.path())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn value(report: &Value, id: &str) -> f64 {
    let metric = &report["metrics"][id];
    assert!(metric["n"].as_u64() > Some(0), "{id} in {report:#}");
    metric["value"].as_f64().unwrap()
}

fn plan() -> Plan {
    Plan {
        phase: Phase::Quick,
        seconds: None,
        rate: None,
        connections: None,
        seed: 1,
        cpus: CpuPlan::of_host(&Facts::capture()),
        exe: env!("CARGO_BIN_EXE_ninefold-bench").into(),
        out: "reports".into(),
        claims: Vec::new(),
    }
}

#[test]
fn actors_and_their_messages_are_measured() {
    let report = quick("mailbox,actor");
    assert_eq!(report["skipped"], serde_json::json!({}));
    assert!(value(&report, "mailbox.tell.ns") > 0.0);
    assert!(value(&report, "mailbox.ask.p50_ns") <= value(&report, "mailbox.ask.p99_ns"));
    for case in ["pingpong", "ring", "fanin", "fanout"] {
        assert!(value(&report, &format!("mailbox.{case}.ns")) > 0.0);
    }
    assert!(value(&report, "actor.spawn.per_s") > 0.0);
    let bytes = value(&report, "actor.idle.bytes");
    assert!(
        (8.0..=200.0).contains(&bytes),
        "{bytes} bytes an idle actor"
    );
    assert!(value(&report, "actor.restart.p50_us") > 0.0);
    assert!(value(&report, "registry.lookup.ns") > 0.0);
    assert!(value(&report, "pool.roundtrip.p50_us") > 0.0);
    assert!(report["metrics"]["registry.lookup_1m.ns"].is_null());
}

/// Each case checks its own counts; one that does not come to its result is among the skipped.
#[test]
fn the_savina_subset_comes_to_its_results() {
    let report = bench(&["run", "savina", "--quick"]);
    assert_eq!(report["skipped"], serde_json::json!({}));
    let cases = "pingpong threadring counting forkjoin big chameneos bank";
    for case in cases.split(' ') {
        let id = format!("savina.{case}.ns");
        assert!(value(&report, &id) > 0.0);
        assert_eq!(
            report["metrics"][&id]["samples"].as_array().unwrap().len(),
            5
        );
    }
}

#[test]
fn flooded_shards_and_flooded_actors_are_probed_from_outside_and_from_inside() {
    let report = bench(&["run", "isolation_actors", "--quick"]);
    assert_eq!(report["skipped"], serde_json::json!({}));
    let notes = report["notes"].to_string();
    for id in ["high", "high_inside", "busy", "busy_inside", "normal"] {
        let id = format!("isolation.{id}");
        // Every probe that was sent has arrived, or the scenario had failed.
        assert!(value(&report, &format!("{id}.p50_us")) > 0.0);
        assert!(report["histograms"][&id]["n"].as_u64() > Some(50), "{id}");
        assert!(notes.contains(&format!("{id}: p50")), "{notes}");
    }
    assert!(notes.contains("involuntary context switches"), "{notes}");
}

#[test]
fn every_call_in_process_is_answered_correctly() {
    let report = quick("sustained_inproc");
    let claim = &report["claims"][0];
    assert_eq!(
        (&claim["scenario"], &claim["trials"]),
        (&"sustained.inproc".into(), &400.into())
    );
    let notes = report["notes"].to_string();
    assert!(!notes.contains("wanted"), "a wrong answer: {notes}");
    let achieved = value(&report, "sustained.inproc.achieved_per_s");
    // What the warm-up left over may arrive in the window, too.
    assert!(achieved > 0.0 && achieved < 2000.0, "{achieved}");
}

#[test]
fn a_node_serves_every_kind_of_load_and_reports_at_its_end() {
    let plan = plan();
    let node = NodeProcess::start(&plan, &NodeSpec::one_shard(&plan)).unwrap();
    for wire in [Wire::Modern, Wire::Legacy, Wire::Initialize] {
        let spec = LoadSpec {
            target: node.ready.address,
            wire,
            path: "/mcp".into(),
            message_bytes: 1024,
            answers: Answers::Own,
            connections: 4,
            pipeline: 2,
            pace: Pace::Closed,
            warmup_seconds: 0.1,
            seconds: 0.2,
            drain_seconds: 2.0,
            deadline_ns: 1_000_000_000,
            cpu: plan.cpus.client.last().copied(),
            spin: false,
            server_pid: Some(node.pid()),
        };
        let result = remote::run(&plan, &spec).unwrap();
        assert!(result.correct > 0, "{wire:?}: {result:?}");
        assert_eq!((result.failed, result.shed), (0, 0), "{wire:?}: {result:?}");
    }
    let crowd = Crowd {
        connections: 50,
        greeting: Greeting::Stream,
        addresses_used: 2,
    };
    let held = remote::hold_many(&plan, node.ready.address, crowd, |_| ()).unwrap();
    let report = &held[0].ready;
    assert_eq!((report.open, report.answered), (50, 50), "{report:?}");
    let open = || node.scrape("ninefold_connections_open").unwrap();
    assert!((0..10_000).any(|_| open() >= 50.0), "{}", open());
    assert!(node.scrape("ninefold_no_such_metric").is_err());
    let report = node.finish().unwrap();
    assert!(report.turns > 0 && report.turn_max_ns > 0 && report.threads_lost == 0);
    assert!(
        report.delays > 0,
        "the sessions of the legacy era are actors"
    );
}

#[test]
fn a_flooded_node_still_answers_its_control_plane() {
    let plan = plan();
    let spec = NodeSpec {
        flood: true,
        ..NodeSpec::one_shard(&plan)
    };
    let node = NodeProcess::start(&plan, &spec).unwrap();
    let before = node.scrape("ninefold_messages_total").unwrap();
    let now = || node.scrape("ninefold_messages_total").unwrap();
    assert!(
        (0..10_000).any(|_| now() > before),
        "{before} still: nothing floods this node"
    );
    assert!(node.finish().unwrap().turns > 0);
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let plan = plan();
    let spec = NodeSpec {
        cpus: vec![4095],
        ..NodeSpec::one_shard(&plan)
    };
    let error = NodeProcess::start(&plan, &spec).unwrap_err().to_string();
    assert!(error.contains("wanted CPU 4095"), "{error}");
}

#[test]
fn a_call_over_http_stands_beside_its_floor() {
    let report = bench(&["run", "http", "--quick"]);
    assert_eq!(report["skipped"], serde_json::json!({}));
    for prefix in [
        "http",
        "http.legacy",
        "http.floor",
        "http.c1024",
        "http.raw_ring",
    ] {
        assert!(value(&report, &format!("{prefix}.calls_per_s")) > 0.0);
        let total = value(&report, &format!("{prefix}.cpu_us_per_call"));
        let parts = ["user", "system"]
            .map(|part| value(&report, &format!("{prefix}.cpu_{part}_us_per_call")));
        assert!(
            total > 0.0 && parts.iter().all(|part| *part <= total),
            "{prefix}: {parts:?}"
        );
    }
    let pairs = &report["metrics"]["http.over_floor"]["samples"];
    assert_eq!(pairs.as_array().unwrap().len(), 3, "{pairs}");
    assert!(value(&report, "http.c1024.over_raw_ring") > 0.0);
    assert!(value(&report, "http.pipelined_calls_per_s") > 0.0);
    assert!(value(&report, "http.control.flood_per_s") > 0.0);
    for id in ["http.half", "http.floor.half", "http.control"] {
        assert!(report["histograms"][id]["n"].as_u64() > Some(0), "{id}");
    }
    // Counted by the CPU, or named as absent.
    let counted = report["metrics"]["http.instructions_per_call"].is_object();
    let notes = report["notes"].to_string();
    assert!(
        counted != notes.contains("http.instructions_per_call: absent"),
        "{notes}"
    );
    let checks = report["validity"]["checks"].as_array().unwrap();
    let counts = checks.iter().filter(|check| {
        let what = check["what"].as_str().unwrap();
        what.contains("counted itself") && check["held"] == true
    });
    assert_eq!(counts.count(), 2, "{checks:?}");
}

#[test]
fn a_crowd_comes_calls_and_goes() {
    let report = bench(&["run", "c1m", "--quick", "--connections", "600"]);
    assert_eq!(report["skipped"], serde_json::json!({}));
    let count = |id: &str| report["metrics"][id]["value"].as_f64();
    assert_eq!(
        (count("conn.count"), count("conn.dropped")),
        (Some(600.0), Some(0.0))
    );
    assert!(value(&report, "conn.node.rss_bytes") > 0.0);
    assert!(value(&report, "conn.after.rss_bytes") > 0.0);
    assert!(report["histograms"]["conn.rolling"]["n"].as_u64() > Some(100));
}

/// Ctrl-C while the crowd is called: what was measured before is reported, the rest is named.
#[test]
fn an_interrupted_run_leaves_its_report() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ninefold-bench"))
        .args(["run", "c1m", "--connections", "200", "--seconds", "600"])
        .args(["--rate", "100", "--json", "-", "--out"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("chosen at random")));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let why = report["skipped"]["c1m"].as_str().unwrap();
    assert!(why.contains("interrupted"), "{why}");
    assert!((value(&report, "conn.count") - 200.0).abs() < 0.5);
    assert!(report["metrics"]["conn.dropped"].is_null());
    assert!(report["notes"].to_string().contains("interrupted"));
}
