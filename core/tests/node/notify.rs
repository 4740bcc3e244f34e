//! What a service manager hears of a node, at a socket such as systemd's.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use ninefold::notify::Manager;
use ninefold::{NoArguments, Server};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::client::{call, echo};
use crate::local::Local;
use crate::process::{BINARY, ON_FREE_PORTS, Process, run};

/// Far longer than any datagram takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Four datagrams in it.
const WATCHDOG: Duration = Duration::from_secs(2);

/// The manager's end: a socket in a folder of its own.
struct Ear {
    folder: TempDir,
    socket: UnixDatagram,
}

impl Ear {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        Self { folder, socket }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("notify")
    }

    fn hear(&self) -> String {
        let mut bytes = [0; 1024];
        let length = self.socket.recv(&mut bytes).expect("a datagram");
        String::from_utf8(bytes[..length].to_vec()).expect("text")
    }

    /// Hears on until a datagram is as wanted.
    fn until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut heard = Vec::new();
        for _ in 0..200 {
            let news = self.hear();
            if wanted(&news) {
                return news;
            }
            heard.push(news);
        }
        panic!("not in {heard:#?}");
    }

    /// A node that tells this end, with `variables`.
    fn node(&self, variables: &[(&str, &str)]) -> Process {
        let mut command = Command::new(BINARY);
        command.args(ON_FREE_PORTS).args(["--shards", "2"]);
        command.env("NOTIFY_SOCKET", self.path());
        Process::spawn(command.envs(variables.iter().copied()))
    }
}

fn feeds(news: &str) -> bool {
    news.lines().any(|line| line == "WATCHDOG=1")
}

#[test]
fn a_manager_hears_that_the_node_is_ready_how_it_is_and_that_it_stops() {
    let ear = Ear::new();
    let mut node = ear.node(&[("WATCHDOG_USEC", "2000000")]);
    let first = ear.hear();
    assert!(
        first.starts_with("READY=1\nSTATUS=0 connections on 2 shards"),
        "{first}"
    );
    assert_eq!(node.shards("listening"), [1.0, 1.0]);
    let mut clients: Vec<_> = (0..3).map(|_| node.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(echo("x")).status, 200);
    }
    ear.until(|news| news == "STATUS=3 connections on 2 shards\nWATCHDOG=1\n");
    node.signal(Signal::TERM);
    let last = ear.until(|news| news.contains("STOPPING=1"));
    assert_eq!(last, "STOPPING=1\nSTATUS=draining\n");
    assert_eq!(node.ended(), Some(0));
    ear.socket.set_nonblocking(true).expect("a socket");
    assert!(ear.socket.recv(&mut [0; 8]).is_err(), "more was told");
}

#[test]
fn a_stuck_shard_starves_the_watchdog_until_it_turns_again() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let server = Server::builder("test", "1").tool(
        "holds",
        "Holds its shard until it is let go",
        move |NoArguments {}| {
            // An end that was dropped lets go as well.
            let _ = held.lock().expect("one caller").recv();
        },
    );
    let node = Local::serving(&server.build().expect("a server"), 2);
    let ear = Ear::new();
    let manager = Manager::at(ear.path().as_os_str(), Some(WATCHDOG)).expect("a manager");
    let teller = node.node().tell(manager).expect("a thread");
    assert!(ear.hear().starts_with("READY=1\n"));
    ear.until(feeds);

    let mut client = node.connect();
    client.send(call("holds", json!({})));
    let news = ear.until(|news| news.contains("; stuck: "));
    assert!(!feeds(&news), "{news}");
    for _ in 0..4 {
        let news = ear.hear();
        assert!(!feeds(&news), "fed with a stuck shard: {news}");
    }
    release.send(()).expect("a shard that is held");
    ear.until(feeds);
    assert_eq!(client.answer().status, 200);
    teller.stopping();
    ear.until(|news| news.contains("STOPPING=1"));
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let ear = Ear::new();
    let _node = ear.node(&[("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", "1")]);
    let first = ear.hear();
    assert!(first.starts_with("READY=1\n") && !feeds(&first), "{first}");
}

#[test]
fn a_manager_that_cannot_be_told_is_named_at_the_start() {
    let ear = Ear::new();
    let socket = ear.path().to_string_lossy().into_owned();
    for (socket, period, words) in [
        ("nonsense", "1000000", &["NOTIFY_SOCKET", "nonsense"][..]),
        ("/nowhere/notify", "1000000", &["NOTIFY_SOCKET", "/nowhere"]),
        (&socket, "soon", &["WATCHDOG_USEC", "soon", "WatchdogSec="]),
        (&socket, "0", &["WATCHDOG_USEC", "above 0"]),
    ] {
        let mut command = Command::new(BINARY);
        command.args(ON_FREE_PORTS);
        command.env("NOTIFY_SOCKET", socket);
        let ended = run(command.env("WATCHDOG_USEC", period));
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
        }
    }
}
