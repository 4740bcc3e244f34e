//! The document of a real run and what is made of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use ninefold_bench::report::model::Report;
use ninefold_bench::report::{html, markdown};
use serde_json::{Value, json};

/// A short run of every scenario of `quick`, debug build, without the histograms of lags.
fn document() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/quick.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn report(document: Value) -> Report {
    serde_json::from_value(document).unwrap()
}

fn bench(args: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_ninefold-bench"))
        .args(args)
        .output()
        .unwrap()
}

/// Puts `evil` behind every text of the document; the names of its enums, times, schema and coded
/// histograms stay.
fn poison(value: &mut Value, evil: &str) {
    const KEPT: [&str; 9] = [
        "schema", "verdict", "unit", "class", "v2", "level", "started", "status", "severity",
    ];
    match value {
        Value::String(text) => text.push_str(evil),
        Value::Array(all) => all.iter_mut().for_each(|value| poison(value, evil)),
        Value::Object(all) => {
            let kept = |key: &str| KEPT.contains(&key);
            let inner = all.iter_mut().filter(|(key, _)| !kept(key));
            inner.for_each(|(_, value)| poison(value, evil));
        }
        _ => {}
    }
}

#[test]
fn nothing_in_a_document_becomes_a_part_of_the_page() {
    const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let mut document = document();
    poison(&mut document, EVIL);
    let metric = json!({"value": 1.0, "unit": "us", "n": 1});
    document["metrics"][format!("http.over_{EVIL}")] = metric.clone();
    document["metrics"][format!("peers.ninefold.{EVIL}")] = metric;
    document["skipped"][EVIL] = json!(EVIL);
    let page = html::render(&report(document));
    assert!(page.matches("&lt;script&gt;alert(1)").count() > 100);
    for tag in ["<script", "<img", "onerror=alert(1)\"", "href=\"http"] {
        assert!(!page.contains(tag), "{tag}");
    }
    assert!(
        page.contains("default-src 'none'"),
        "even a script that came in would not run"
    );
}

#[test]
fn the_page_shows_what_was_measured_and_says_what_was_not() {
    let document = document();
    let page = html::render(&report(document.clone()));
    for shown in [
        "2 of 2 measured objectives and claims that gate are met",
        "<title>Latency spectrum: sustained.http</title>",
        "<title>Latency spectrum: control plane, GET /health</title>",
        "floor: fixed answer, epoll",
        "with a session and its stream",
        "limits.nofile",
        "ninefold-bench quick --seconds 2",
        "Overload was not part of this run.",
        "Other runtimes were not part of this run",
        "No baseline was stored beside this run.",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("<desc>").count());

    let mut bare = document;
    for part in ["metrics", "histograms", "skipped"] {
        bare[part] = json!({});
    }
    for part in ["claims", "slo", "host_floor", "notes"] {
        bare[part] = json!([]);
    }
    let page = html::render(&report(bare));
    assert!(
        !page.contains("<svg"),
        "nothing was measured, nothing is drawn"
    );
    for said in [
        "No scenario with a claim was part of this run.",
        "Not probed: the calibration was not part of this run.",
        "No latency was part of this run.",
        "Isolation was not part of this run.",
        "HTTP was not part of this run.",
        "Connections were not part of this run.",
    ] {
        assert!(page.contains(said), "{said}");
    }
}

#[test]
fn a_peer_is_a_bar_and_a_column() {
    let mut document = document();
    let metric = |value: f64, unit: &str| {
        let samples = [value; 3];
        json!({"value": value, "unit": unit, "n": 3, "samples": samples})
    };
    let metrics = &mut document["metrics"];
    metrics["peers.ninefold.savina.bank.ns"] = metric(10.0, "ns");
    metrics["peers.tokio.savina.bank.ns"] = metric(42.0, "ns");
    metrics["peers.best.savina.bank.ns.ratio"] = metric(4.2, "ratio");
    let page = html::render(&report(document));
    assert!(page.contains(">tokio</th>"));
    assert!(page.contains("<desc>savina.bank.ns: 4.20 times</desc>"));
}

#[test]
fn claims_have_the_fields_of_the_outline_and_levels_stay_apart() {
    let mut document = document();
    let claims = document["claims"].as_array().unwrap();
    assert_eq!(claims.len(), 2);
    for claim in claims {
        for field in [
            "id",
            "level",
            "deadline_us",
            "trials",
            "misses",
            "episodes",
            "duration_s",
            "u_count",
            "u_time",
            "nines",
            "verdict",
        ] {
            assert!(!claim[field].is_null(), "{field} in {claim}");
        }
    }
    let page = html::render(&report(document.clone()));
    assert_eq!(
        page.matches("Not claimed in this run.").count(),
        1,
        "L1 is the simulator's"
    );

    // The names that documents had before there were levels.
    let claim = document["claims"][0].as_object_mut().unwrap();
    claim.remove("level");
    for (new, old) in [
        ("trials", "n"),
        ("misses", "k"),
        ("episodes", "e"),
        ("duration_s", "seconds"),
        ("stall_s", "stall_seconds"),
        ("u_count", "count_upper"),
        ("u_time", "time_upper"),
        ("nines", "nines_shown"),
    ] {
        let value = claim.remove(new).unwrap();
        claim.insert(old.into(), value);
    }
    let (old, trials) = (claim["id"].clone(), claim["n"].as_u64().unwrap());
    let report = report(document);
    assert_eq!(report.claims[0].evidence.n, trials);
    let row = format!("| {} | not stated |", old.as_str().unwrap());
    assert!(markdown::render(&report, &[]).contains(&row));
}

#[test]
fn the_published_schema_is_that_of_the_types_and_holds_for_a_real_run() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/report.schema.json");
    let published = std::fs::read_to_string(path).unwrap();
    let printed = bench(&["schema"]);
    assert_eq!(
        String::from_utf8(printed.stdout).unwrap(),
        published,
        "write it anew: ninefold-bench schema > docs/reference/report.schema.json"
    );
    let schema = serde_json::from_str(&published).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut document = document();
    let wrong: Vec<_> = validator
        .iter_errors(&document)
        .map(|e| e.to_string())
        .collect();
    assert_eq!(wrong, [""; 0]);
    document["claims"][0]
        .as_object_mut()
        .unwrap()
        .remove("trials");
    assert!(
        !validator.is_valid(&document),
        "a claim without trials is none"
    );
}

#[test]
fn a_stored_report_becomes_one_page_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let stored: PathBuf = dir.path().join("stored.json");
    std::fs::write(&stored, document().to_string()).unwrap();
    let page = dir.path().join("page.html");
    let args = [
        "report",
        stored.to_str().unwrap(),
        "--html",
        page.to_str().unwrap(),
    ];
    assert!(bench(&args).status.success());
    let html = std::fs::read_to_string(&page).unwrap();
    assert_eq!(
        html,
        html::render(&report(document())),
        "the document is the only source"
    );
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        2,
        "nothing else is written"
    );
    let nowhere = dir.path().join("missing/page.html");
    let args = [
        "report",
        stored.to_str().unwrap(),
        "--html",
        nowhere.to_str().unwrap(),
    ];
    let failed = bench(&args);
    assert_eq!(failed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("missing/page.html"));
}
