//! The program as a user runs it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn bench(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ninefold-bench"))
        .args(args)
        .args(["--out", dir.to_str().unwrap(), "--no-progress"])
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A real run of the calibration, short and slow enough for a busy machine.
fn calibrated(dir: &Path) -> Value {
    let args = [
        "quick",
        "--only",
        "calibration",
        "--seconds",
        "0.3",
        "--rate",
        "1000",
    ];
    let output = bench(dir, &[&args[..], &["--json", "-"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn calibration_writes_one_document_and_its_renderings() {
    let dir = tempfile::tempdir().unwrap();
    let report = calibrated(dir.path());
    assert_eq!(report["schema"], "ninefold.report.v1");
    let metrics = report["metrics"].as_object().unwrap();
    for id in [
        "calibration.clock.cost_ns",
        "calibration.generator.ceiling_per_s",
    ] {
        let metric = &metrics[id];
        assert!(metric["value"].as_f64().unwrap() > 0.0 && metric["n"].as_u64().unwrap() > 0);
        assert!(metric["unit"].is_string());
    }
    assert!(
        metrics.keys().all(|id| !id.starts_with("mailbox")),
        "not measured means absent"
    );
    assert_eq!(report["run"]["binary_sha256"].as_str().unwrap().len(), 64);
    assert!(!report["host_floor"].as_array().unwrap().is_empty());
    assert!(report["environment"]["facts"]["kernel"]["release"].is_string());
    let markdown = std::fs::read_to_string(dir.path().join("report.md")).unwrap();
    let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    assert!(page.contains("calibration.generator.ceiling") && page.contains("</html>"));
    assert!(markdown.contains("## Host") && markdown.contains("calibration.generator.ceiling"));
    let history = std::fs::read_to_string(dir.path().join("history.ndjson")).unwrap();
    assert_eq!(history.lines().count(), 1);

    let again = tempfile::tempdir().unwrap();
    let stored = dir.path().join("report.json");
    let output = bench(again.path(), &["report", stored.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rendered = std::fs::read_to_string(again.path().join("report.md")).unwrap();
    assert_eq!(rendered, markdown, "the document is the only source");
}

#[test]
fn compare_flags_only_a_whole_interval_beyond_ten_percent() {
    let dir = tempfile::tempdir().unwrap();
    let mut report = calibrated(dir.path());
    let store = |name: &str, report: &Value| {
        let path = dir.path().join(name);
        std::fs::write(&path, report.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut with = |name: &str, samples: [f64; 5]| {
        report["metrics"] = serde_json::json!({"http.calls_per_s":
            {"value": samples[2], "unit": "1/s", "n": 5, "samples": samples}});
        store(name, &report)
    };
    let a = with("a.json", [99e3, 101e3, 100e3, 100.5e3, 99.5e3]);
    let same = with("same.json", [98e3, 102e3, 99e3, 100e3, 101e3]);
    let worse = with("worse.json", [70e3, 71e3, 70e3, 69e3, 72e3]);
    let code = |b: &str| bench(dir.path(), &["compare", &a, b]).status.code();
    assert_eq!(code(&same), Some(0));
    assert_eq!(code(&worse), Some(1));
    let output = bench(dir.path(), &["compare", &a, &worse, "--json", "-"]);
    let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ratio = &comparison["metrics"]["compare.http.calls_per_s.ratio"]["value"];
    assert!((ratio.as_f64().unwrap() - 0.7).abs() < 0.01, "{comparison}");
    assert!(text(&output.stderr).contains("REGRESSION"));
}

#[test]
fn wrong_usage_is_exit_two_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |args: &[&str], wanted: &str| {
        let output = bench(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            text(&output.stderr).contains(wanted),
            "{}",
            text(&output.stderr)
        );
    };
    fails(&["fulll"], "unrecognized subcommand");
    fails(&["quick", "--rate", "0"], "above zero");
    fails(
        &["quick", "--only", "nonsense"],
        "wanted one of calibration",
    );
    fails(&["run", "nonsense"], "run: wanted one of calibration");
    fails(&["run"], "required");
    fails(
        &["quick", "--profile", "nonsense"],
        "wanted one of classic, ninefold",
    );
    fails(&["report", "no-such-file.json"], "no-such-file.json");
    let junk = dir.path().join("junk.json");
    std::fs::write(&junk, "{\"schema\": \"something.else\"}").unwrap();
    fails(
        &["report", junk.to_str().unwrap()],
        "wanted a report of schema",
    );
    let slo = dir.path().join("slo.toml");
    std::fs::write(
        &slo,
        "schema = \"ninefold.slo.v1\"\nsurprise = 1\n[profile]\n",
    )
    .unwrap();
    fails(&["quick", "--slo", slo.to_str().unwrap()], "surprise");
}

#[test]
fn run_shows_every_metric_on_the_stream_that_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "run",
        "calibration",
        "--quick",
        "--seconds",
        "0.3",
        "--rate",
        "1000",
        "--json",
        "-",
    ];
    let output = bench(dir.path(), &args);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        report["run"]["scenarios"],
        serde_json::json!(["calibration"])
    );
    let shown = text(&output.stderr);
    for id in report["metrics"].as_object().unwrap().keys() {
        assert!(shown.contains(id), "{id} in {shown}");
    }
    assert!(shown.contains("verdict:"), "{shown}");
    let list = text(&bench(dir.path(), &["list"]).stdout);
    assert!(
        list.contains("actors") && list.contains("group: mailbox, actor"),
        "{list}"
    );
}

#[test]
fn help_teaches_and_hides_the_inner_processes() {
    let dir = tempfile::tempdir().unwrap();
    let help = text(&bench(dir.path(), &["--help"]).stdout);
    for wanted in ["Examples:", "Exit codes:", "compare", "5  unfit"] {
        assert!(help.contains(wanted), "{wanted}");
    }
    assert!(!help.contains("client-load") && !help.contains("null-target"));
    let script = text(&bench(dir.path(), &["completions", "bash"]).stdout);
    assert!(script.contains("complete -F"));
}

#[test]
fn a_simulation_is_the_same_in_every_process() {
    let dir = tempfile::tempdir().unwrap();
    let simulate = |seed: &str| -> Value {
        let args = ["sim", "--seed", seed, "--seeds", "4", "--steps", "500"];
        let output = bench(dir.path(), &[&args[..], &["--json", "-"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let (first, second, other) = (simulate("7"), simulate("7"), simulate("8"));
    assert_eq!(first["hash"], second["hash"]);
    assert_ne!(first["hash"], other["hash"]);
    let value = |id: &str| first["metrics"][id]["value"].as_f64().unwrap();
    assert_eq!((value("sim.seeds"), value("sim.violations")), (4.0, 0.0));
    assert!(value("sim.steps") >= 2000.0 && value("sim.messages") > 0.0);
}
