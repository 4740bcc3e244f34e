//! What a start makes of its host, on saved hosts so that this one does not decide.

use std::process::Command;

use ninefold::limits::FIXED;
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use serde_json::{Value, json};

use crate::client::echo;
use crate::process::{BINARY, Ended, ON_FREE_PORTS, Process, run};
use crate::saved::Host;
use crate::start::limited;

/// The node on one shard of `host`.
fn on(host: &Host, flags: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(ON_FREE_PORTS)
        .args(["--shards", "1"])
        .arg("--check-root")
        .arg(host.path())
        .args(flags);
    command
}

fn refused(command: &mut Command, words: &[&str]) {
    let Ended {
        code,
        stdout,
        stderr,
    } = run(command);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in {stderr}");
    }
}

fn placement(node: &Process) -> Value {
    let answer = node.admin("/placement");
    assert_eq!(answer.status, 200);
    answer.json()
}

#[test]
fn production_refuses_a_host_that_is_not_fit_and_says_what_mends_it() {
    let host = Host::load("bare-64c");
    host.write("/proc/sys/net/core/somaxconn", "128\n");
    let production = ["--profile", "production"];
    refused(
        &mut on(&host, &production),
        &[
            "1 required",
            "net.somaxconn: wanted",
            "found 128",
            "sysctl -w net.core.somaxconn=4096",
            "--profile dev",
        ],
    );
    refused(
        &mut on(&Host::load("container"), &production),
        &["limits.memlock", "LimitMEMLOCK="],
    );
}

#[test]
fn a_refusal_and_the_warnings_of_a_start_have_a_bounded_number_of_lines() {
    let nothing = Host::empty();
    let Ended { code, stderr, .. } = run(&mut on(&nothing, &["--profile", "production"]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains(" more\n") && stderr.lines().count() < 15,
        "{stderr}"
    );
    let node = Process::spawn(&mut on(&nothing, &[]));
    assert_eq!(node.ask(echo("up")).result_text(), "up");
    node.logs(&["WARN", "host: advised setting kernel.version"], 0);
    let lines = node.logged(&["WARN", "host: "]);
    let limit = FIXED.iter().find(|row| row.name == "HOST_LINES");
    assert_eq!(lines as u64, limit.expect("a limit").default + 1);
}

#[test]
fn a_fit_host_is_served_and_its_placement_is_told() {
    let host = Host::load("bare-64c");
    let node = Process::spawn(&mut on(&host, &["--profile", "production"]));
    assert_eq!(node.ask(echo("up")).result_text(), "up");
    let placement = placement(&node);
    let health = node.admin("/health").json();
    assert_eq!(
        placement["shards"],
        json!([{"shard": 0, "cpu": health["shards"][0]["cpu"]}])
    );
    assert_eq!(placement["control"], health["control"]);
    assert_eq!(placement["host"]["profile"], "production");
    assert_eq!(placement["host"]["required_unmet"], json!([]));
    assert_eq!(placement["host"]["c_states_held"], false);
    assert_eq!(placement["memory"]["locked"], false);
    // The saved host swaps readily, which production advises against.
    let advised = placement["host"]["advised_unmet"].as_array().expect("ids");
    assert!(
        advised.contains(&json!("sched.numa_balancing")),
        "{advised:?}"
    );
}

#[test]
fn a_limit_that_forbids_to_lock_all_memory_is_said_plainly() {
    let Some(mut command) = limited("-l 8192") else {
        return;
    };
    refused(
        command.args(["--shards", "1", "--lock-memory"]),
        &["--lock-memory", "8192 KiB", "LimitMEMLOCK=infinity"],
    );
}

#[test]
fn locked_memory_is_locked_and_told() {
    let held = capabilities(None).expect("a kernel that tells them");
    let may = held.effective.contains(CapabilitySet::IPC_LOCK);
    if !may && getrlimit(Resource::Memlock).maximum.is_some() {
        println!("skipped: these tests may not lock all of their memory");
        return;
    }
    let node = Process::serve(&["--shards", "1", "--lock-memory"]);
    assert_eq!(node.ask(echo("up")).result_text(), "up");
    let memory = &placement(&node)["memory"];
    assert_eq!(memory["locked"], true);
    let bytes = memory["locked_bytes"].as_u64().expect("bytes");
    assert!(bytes > 4 << 20, "{bytes}");
    assert!(node.metric("process_locked_bytes") > f64::from(4 << 20));
}

#[test]
fn idle_states_are_held_where_that_is_allowed() {
    let host = Host::load("bare-64c");
    let node = Process::spawn(&mut on(&host, &["--hold-c-states"]));
    node.logs(&["WARN", "--hold-c-states", "DeviceAllow="], 0);
    assert_eq!(placement(&node)["host"]["c_states_held"], false);
    drop(node);
    host.write("/dev/cpu_dma_latency", "");
    let node = Process::spawn(&mut on(&host, &["--hold-c-states"]));
    assert_eq!(placement(&node)["host"]["c_states_held"], true);
    let written = std::fs::read(host.path().join("dev/cpu_dma_latency")).expect("a file");
    assert_eq!(written, 10_i32.to_ne_bytes());
}

#[test]
fn a_saved_host_that_is_none_is_named() {
    let mut command = Command::new(BINARY);
    command.args(ON_FREE_PORTS);
    refused(
        command.args(["--check-root", "/nowhere"]),
        &["/nowhere", "--check-root"],
    );
}
