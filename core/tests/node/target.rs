//! A node under test, wherever it runs: its two addresses, its counters, its other clients.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Answer, Client, call, initialize, legacy};

/// Where a node is reached.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) mcp: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Target {
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.mcp)
    }

    /// Asks on a connection of its own.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        self.connect().ask(request)
    }

    pub(crate) fn admin(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        Client::connect(self.admin).ask(request)
    }

    /// The value of one metric on each shard.
    pub(crate) fn shards(&self, name: &str) -> Vec<f64> {
        let page = self.admin("/metrics").text();
        let (counter, gauge) = (
            format!("ninefold_{name}_total{{"),
            format!("ninefold_{name}{{"),
        );
        let whole = format!("ninefold_{name} ");
        let names = [counter, gauge, whole];
        let of_name = |line: &&str| names.iter().any(|name| line.starts_with(name));
        let value = |line: &str| line.rsplit_once(' ')?.1.parse().ok();
        let values: Vec<f64> = page.lines().filter(of_name).filter_map(value).collect();
        assert!(!values.is_empty(), "no metric {name} in {page}");
        values
    }

    /// The sum of one metric over the shards.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.shards(name).iter().sum()
    }

    /// Waits until a metric is as wanted; levels are published ten times a second.
    pub(crate) fn until(&self, name: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        let mut found = f64::NAN;
        eventually(|| {
            found = self.metric(name);
            wanted(found)
        })
        .unwrap_or_else(|()| panic!("{name} stays at {found}"));
        found
    }

    /// Runs `event` while a call of another connection is under way, and checks that the call is
    /// answered as if nothing had happened and that `counter` has grown.
    pub(crate) fn beside<T>(&self, counter: &str, event: impl FnOnce() -> T) -> T {
        let before = self.metric(counter);
        let mut other = self.connect();
        other.send(call("sleep", json!({"ms": 20})));
        let outcome = event();
        assert_eq!(other.answer().result_text(), "slept 20 ms");
        assert_eq!(
            other
                .ask(call("add", json!({"a": 40, "b": 2})))
                .result_text(),
            "42"
        );
        self.until(counter, |now| now > before);
        outcome
    }

    /// Opens a legacy session on a connection of its own.
    pub(crate) fn open_session(&self) -> String {
        let answer = self.ask(initialize());
        assert_eq!(answer.status, 200, "{answer:?}");
        let session = answer
            .field("mcp-session-id")
            .expect("a session id")
            .to_owned();
        let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(self.ask(legacy(Some(&session), &note)).status, 202);
        session
    }
}

/// Polls until `wanted` holds, for at most ten seconds.
pub(crate) fn eventually(mut wanted: impl FnMut() -> bool) -> Result<(), ()> {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if wanted() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(())
}
