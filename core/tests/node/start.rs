//! Starts that cannot succeed: the exit code, and a message that says what to do.

use std::net::TcpListener;
use std::process::Command;

use rustix::process::Signal;

use crate::client::echo;
use crate::process::{BINARY, Ended, ON_FREE_PORTS, Process, run};

fn ninefold(arguments: &[&str]) -> Ended {
    run(Command::new(BINARY).args(arguments))
}

fn assert_fails(ended: &Ended, code: i32, words: &[&str]) {
    let Ended {
        code: found,
        stdout,
        stderr,
    } = ended;
    assert_eq!(*found, Some(code), "{stdout}{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in {stderr}");
    }
    assert!(stdout.is_empty(), "{stdout}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn a_taken_port_is_named_with_its_flag() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = holder.local_addr().expect("an address").to_string();
    let free = "127.0.0.1:0";
    let ended = ninefold(&["serve", "--listen", &taken, "--admin", free]);
    assert_fails(&ended, 1, &[&taken, "--listen", "taken"]);
    let ended = ninefold(&["serve", "--listen", free, "--admin", &taken]);
    assert_fails(&ended, 1, &[&taken, "--admin", "taken"]);
    let ended = ninefold(&["serve", "--listen", "192.0.2.1:1", "--admin", free]);
    assert_fails(&ended, 1, &["192.0.2.1:1", "--listen"]);
}

#[test]
fn two_nodes_do_not_share_a_port_by_accident() {
    // Its listeners have SO_REUSEPORT, so that the kernel alone would let a second node join in.
    let first = Process::serve(&["--shards", "2"]);
    let (mcp, admin) = (first.mcp.to_string(), first.admin.to_string());
    let free = "127.0.0.1:0";
    let second = ninefold(&["serve", "--shards", "1", "--listen", &mcp, "--admin", free]);
    assert_fails(&second, 1, &[&mcp, "--listen"]);
    let second = ninefold(&[
        "serve", "--shards", "1", "--listen", free, "--admin", &admin,
    ]);
    assert_fails(&second, 1, &[&admin, "--admin"]);
    for _ in 0..20 {
        assert_eq!(first.ask(echo("mine")).result_text(), "mine");
    }
}

#[test]
fn the_two_listeners_of_a_node_do_not_share_a_port() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let free = holder.local_addr().expect("an address");
    drop(holder);
    let everywhere = format!("0.0.0.0:{}", free.port());
    for admin in [free.to_string(), everywhere] {
        let mcp = free.to_string();
        let ended = ninefold(&[
            "serve", "--shards", "1", "--listen", &mcp, "--admin", &admin,
        ]);
        assert_fails(&ended, 1, &[&admin, "--admin", "taken"]);
    }
}

#[test]
fn a_node_starts_again_on_its_port_at_once() {
    let mut first = Process::serve(&["--shards", "2"]);
    let mut clients: Vec<_> = (0..20).map(|_| first.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(echo("first")).result_text(), "first");
    }
    first.signal(Signal::TERM);
    assert_eq!(first.ended(), Some(0));
    let (mcp, admin) = (first.mcp.to_string(), first.admin.to_string());
    let mut command = Command::new(BINARY);
    command.args([
        "serve", "--shards", "2", "--listen", &mcp, "--admin", &admin,
    ]);
    let second = Process::spawn(&mut command);
    assert_eq!(second.ask(echo("second")).result_text(), "second");
}

#[test]
fn bad_flags_are_usage_errors_that_name_what_is_valid() {
    for (flags, words) in [
        (&["--bogus"][..], &["--bogus", "--help"][..]),
        (&["--listen", "nonsense"], &["--listen", "nonsense"]),
        (&["--shards", "many"], &["--shards", "many"]),
        (&["--shards", "0"], &["--shards", "1 to 64"]),
        (&["--shards", "65"], &["--shards", "1 to 64"]),
        (
            &["--placement", "nowhere"],
            &["--placement", "spread", "pack", "2-5,8"],
        ),
        (&["--log-format", "xml"], &["--log-format", "text", "json"]),
        (&["--log", "ninefold=loud"], &["--log", "ninefold=loud"]),
        (&["--drain", "soon"], &["--drain", "soon"]),
        (&["--calls-per-s", "1000001"], &["--calls-per-s", "1000000"]),
        (&["--calls-burst", "0"], &["--calls-burst", "1..=1000000"]),
        (&["--profile", "bench"], &["--profile", "dev", "production"]),
        (
            &["--no-admin", "--admin", "127.0.0.1:0"],
            &["--no-admin", "--admin"],
        ),
    ] {
        assert_fails(&ninefold(&[&["serve"], flags].concat()), 2, words);
    }
    assert_fails(&ninefold(&["server"]), 2, &["server", "serve"]);
    assert_fails(&ninefold(&[]), 2, &["serve", "limits"]);
}

#[test]
fn a_cpu_that_is_not_allowed_is_named() {
    let flags = ["--placement", "4095"];
    let ended = run(Command::new(BINARY).args(ON_FREE_PORTS).args(flags));
    assert_fails(&ended, 1, &["4095", "taskset"]);
}

#[test]
fn the_limits_that_are_printed_are_those_of_the_documentation() {
    let Ended { code, stdout, .. } = ninefold(&["limits"]);
    assert_eq!(code, Some(0));
    let documented = include_str!("../../../docs/OPERATING.md");
    let printed: Vec<_> = stdout.lines().map(str::trim_end).collect();
    assert!(printed.len() > 80, "{stdout}");
    for line in printed {
        let found = documented.lines().any(|it| it == line);
        assert!(
            found,
            "docs/OPERATING.md lacks the line of `ninefold limits`: {line}"
        );
    }
}

/// The node under limits of `ulimit`, without the capability that lifts those of memory; `None`,
/// with a printed reason, where that cannot be had.
pub(crate) fn limited(limits: &str) -> Option<Command> {
    let script = format!("ulimit {limits} && exec \"$0\" \"$@\"");
    let drop_capability = ["--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"];
    if !rustix::process::geteuid().is_root() {
        let mut command = Command::new("sh");
        command.args(["-c", &script, BINARY]).args(ON_FREE_PORTS);
        return Some(command);
    }
    let can = Command::new("setpriv")
        .args(drop_capability)
        .arg("true")
        .output();
    if !can.is_ok_and(|it| it.status.success()) {
        println!("skipped: root keeps CAP_IPC_LOCK, and setpriv is not there to drop it");
        return None;
    }
    let mut command = Command::new("setpriv");
    command
        .args(drop_capability)
        .args(["sh", "-c", &script, BINARY])
        .args(ON_FREE_PORTS);
    Some(command)
}

#[test]
fn too_little_lockable_memory_is_said_plainly() {
    let Some(mut command) = limited("-l 64") else {
        return;
    };
    let ended = run(command.args(["--shards", "1"]));
    assert_fails(&ended, 1, &["io_uring", "ulimit -l"]);
}

#[test]
fn a_soft_limit_of_lockable_memory_is_raised() {
    let Some(mut command) = limited("-S -l 64") else {
        return;
    };
    let node = Process::spawn(command.args(["--shards", "1"]));
    assert_eq!(node.ask(echo("raised")).result_text(), "raised");
}
