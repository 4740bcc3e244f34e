//! The binary, run as its users run it.
#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not get fails it"
)]

mod support;

use std::fs;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use support::Host;

fn tune(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ninefold-tune"))
        .args(args)
        .output()
        .unwrap()
}

fn check(host: &Host, args: &[&str]) -> Output {
    let root = host.path().to_str().unwrap();
    tune(&[&["check", "--root", root], args].concat())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn exit_codes_say_how_fit_the_host_is() {
    let bare = Host::load("bare-64c");
    let guest = Host::load("kvm-8c");
    for (host, args, exit) in [
        (&bare, &[][..], 3),
        (&bare, &["--profile", "dev"], 0),
        (&bare, &["--profile", "observe"], 0),
        (&bare, &["--profile", "bench", "--shards", "63"], 4),
        (&bare, &["--connections", "2000000"], 4),
        (&guest, &[], 4),
        (&guest, &["--profile", "dev"], 3),
        (&guest, &["--profile", "observe"], 0),
    ] {
        let output = check(host, args);
        assert_eq!(
            output.status.code(),
            Some(exit),
            "{args:?}: {}",
            text(&output.stdout)
        );
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    }
}

#[test]
fn the_table_names_what_to_do_and_fits_its_width() {
    let output = check(&Host::load("kvm-8c"), &[]);
    let shown = text(&output.stdout);
    assert!(
        shown.starts_with("Host: kvm guest, kernel 5.15.0-119-generic\n"),
        "{shown}"
    );
    assert!(shown.contains("net.synbacklog"));
    assert!(shown.contains("sysctl -w net.ipv4.tcp_max_syn_backlog=4096"));
    assert!(shown.trim_end().ends_with("exit 4)."), "{shown}");
    let rows = shown
        .lines()
        .filter(|line| line.starts_with(' ') && !line.starts_with("  "));
    assert!(rows.clone().count() > 20);
    assert!(
        rows.clone().all(|line| line.chars().count() <= 100),
        "{shown}"
    );
    assert!(
        !shown.contains('\u{1b}'),
        "no colours where there is no terminal"
    );
}

#[test]
fn json_on_standard_output_is_the_whole_document() {
    let output = check(&Host::load("container"), &["--json", "-"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], "ninefold.tune.check.v1");
    assert_eq!(document["exit"], 4);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(document["facts"]["cpu"]["topology"]["allowed"], "2-5");
    assert_eq!(document["facts"]["virt"]["kind"], "container");
    assert!(document["summary"]["counts"]["ok"].as_u64().unwrap() > 0);
    let settings = document["settings"].as_array().unwrap();
    for setting in settings {
        for key in ["id", "severity", "status", "wanted", "source", "risk"] {
            assert!(setting[key].is_string(), "{key}: {setting}");
        }
        assert!(setting["reboot"].is_boolean(), "{setting}");
        let open = !matches!(setting["status"].as_str(), Some("ok"));
        let shared_on_bare = setting["remedy"].is_null();
        assert!(!open || !shared_on_bare, "nothing to do: {setting}");
    }
    let quota = settings.iter().find(|of| of["id"] == "cpu.quota").unwrap();
    assert_eq!(
        (&quota["status"], &quota["found"]),
        (&"drift".into(), &"2.00 CPUs".into())
    );
}

#[test]
fn json_in_a_file_comes_beside_the_table() {
    let host = Host::load("bare-64c");
    let path = host.path().join("report.json");
    let output = check(&host, &["--json", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).contains("Fit for production; 3 advised"));
    let document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(document["exit"], 3);
}

#[test]
fn this_host_can_be_checked() {
    let output = tune(&["check", "--json", "-"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        output.status.code().map(i64::from),
        document["exit"].as_i64()
    );
    assert!(
        !document["facts"]["cpu"]["topology"]["cpus"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn wrong_usage_exits_2_and_says_what_is_right() {
    for (args, hint) in [
        (&["check", "--profle", "dev"][..], "--profile"),
        (&["check", "--profile", "prod"], "production"),
        (&["check", "--shards", "0"], "0 is not in 1.."),
        (&["check", "--shards", "many"], "many"),
        (&["explain", "net.somaxcon"], "net.somaxconn"),
        (&["explain"], "<ID>"),
        (&["completions", "tcsh"], "bash"),
        (&["aply"], "unrecognized subcommand"),
        (&["plan", "--profile", "prodction"], "production"),
        (&["apply", "--only", "mem.th"], "mem.thp"),
        (&["plan", "--format", "yaml"], "sysctl"),
        (&["plan", "--shard-cpus", "3-1"], "such as"),
        (&["plan", "--shard-cpus", "8000"], "correct --shard-cpus"),
        (&["noise", "--seconds", "0"], "1..=600"),
        (&["noise", "--seconds", "601"], "1..=600"),
        (&["noise", "--cpus", "8000"], "may use"),
        (&["revert", "net.somaxcon"], "number of a journal"),
        (&[], "Usage"),
    ] {
        let output = tune(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            text(&output.stderr).contains(hint),
            "{args:?}: {}",
            text(&output.stderr)
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn own_failures_exit_1_and_say_what_to_do() {
    let host = Host::load("small-vm-2c");
    let missing = host.path().join("no/such/report.json");
    let output = check(&host, &["--json", missing.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("writable folder"),
        "{}",
        text(&output.stderr)
    );
    let output = tune(&["check", "--root", missing.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("folder `proc`"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_ninefold-tune"))
        .args(["check", "--json", "-"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .and_then(Child::wait_with_output)
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn explain_tells_the_whole_story() {
    let output = tune(&["explain", "limits.nofile"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for part in [
        "EMFILE",
        "at least 51024",
        "LimitNOFILE",
        "production required",
        "/proc/self/limits",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn help_teaches_with_examples_and_exit_codes() {
    for args in [&["--help"][..], &["check", "--help"]] {
        let output = tune(args);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0));
        assert!(
            shown.contains("Examples:") && shown.contains("Exit codes"),
            "{shown}"
        );
    }
}

#[test]
fn completions_know_settings_and_profiles() {
    // The generator for fish completes no positional arguments.
    for (shell, word) in [
        ("bash", "net.somaxconn"),
        ("zsh", "net.somaxconn"),
        ("fish", "bench"),
    ] {
        let output = tune(&["completions", shell]);
        let script = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0));
        assert!(
            script.contains(word) && script.contains("production"),
            "{shell}"
        );
    }
}
