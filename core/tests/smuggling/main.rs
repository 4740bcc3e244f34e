//! Request smuggling: hundreds of requests that two readers might cut differently, each followed by
//! a marker request on the same connection.
//!
//! On the node alone each case is refused and the connection closed, or it has exactly one meaning
//! and the marker is answered for itself. Behind proxies (`.ci/smuggling`) no answer reaches a
//! request that it does not belong to.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests are about real sockets and have real threads beside the node"
)]
#![expect(
    clippy::expect_used,
    reason = "a failed expectation is how a test fails"
)]

mod cases;
mod proxies;
mod wire;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use cases::{Case, Heard, Wanted};
use ninefold::limits::Limits;
use ninefold::{Node, NodeConfig, Server};
use wire::Answer;

/// A node whose tool `echo` remembers what it was called with.
pub(crate) struct Listener {
    pub(crate) node: Node,
    heard: Arc<Mutex<BTreeMap<String, usize>>>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Echo {
    text: String,
}

impl Listener {
    pub(crate) fn start(adjust: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        adjust(&mut limits);
        let heard: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let remembers = heard.clone();
        let server = Server::builder("smuggling", "1").limits(limits).tool(
            "echo",
            "Echoes its text",
            move |Echo { text }| {
                *remembers
                    .lock()
                    .expect("a map")
                    .entry(text.clone())
                    .or_default() += 1;
                text
            },
        );
        let mut config = NodeConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            admin: None,
            ..NodeConfig::default()
        };
        config.runtime.shards = Some(1);
        let node = Node::start(server.build().expect("a server"), &config);
        let node = node.unwrap_or_else(|error| panic!("{error}"));
        Self { node, heard }
    }

    /// How often `echo` was called with each text since this was asked last.
    pub(crate) fn heard(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.heard.lock().expect("a map"))
    }
}

/// What ends the bytes of each case: it is answered for itself, or not at all.
pub(crate) fn marker(text: &str) -> Vec<u8> {
    cases::plain("Connection: close\r\n", text).into_bytes()
}

#[test]
fn the_table_is_large_and_has_no_row_twice() {
    let cases = cases::all();
    let families: HashSet<_> = cases.iter().map(|it| it.family).collect();
    let distinct: HashSet<_> = cases.iter().map(|it| &it.bytes).collect();
    println!("{} cases of {} families", cases.len(), families.len());
    assert!(distinct.len() >= 300, "{} cases", distinct.len());
    assert_eq!(distinct.len(), cases.len(), "cases that are there twice");
}

#[test]
fn each_case_is_refused_or_has_one_meaning() {
    let node = Listener::start(|_| {});
    let cases = cases::all();
    let wrong: Vec<_> = cases
        .iter()
        .filter(|case| case.wanted != Wanted::Late)
        .flat_map(|case| [usize::MAX, 7].map(|size| judge(&node, case, size)))
        .flatten()
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of them:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn what_never_comes_whole_is_refused_at_its_deadline() {
    let node = Listener::start(|limits| {
        limits.header_deadline_ms = 300;
        limits.body_deadline_ms = 300;
    });
    let late: Vec<_> = cases::all()
        .into_iter()
        .filter(|case| case.wanted == Wanted::Late)
        .collect();
    assert!(late.len() >= 3);
    let wrong: Vec<_> = late
        .iter()
        .filter_map(|case| judge(&node, case, usize::MAX))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Sends one case and the marker in pieces of `size`; says what is wrong with the answers.
fn judge(node: &Listener, case: &Case, size: usize) -> Option<String> {
    let bytes = [case.bytes.as_slice(), &marker("marker")].concat();
    let got = wire::exchange(node.node.address(), &bytes, size);
    let answers = wire::answers(&got, &bodiless(&case.wanted));
    let found: Vec<_> = answers.iter().map(Answer::heard).collect();
    let text = |text| Heard::Text(text);
    let wanted = match &case.wanted {
        Wanted::Refused(status) => vec![Heard::Status(*status)],
        Wanted::Late => vec![Heard::Status(408)],
        Wanted::Last(heard) => heard.clone(),
        Wanted::Answered(heard) => [heard.as_slice(), &[text("marker")]].concat(),
    };
    let closes = answers.last().is_some_and(|it| it.closes);
    let heard = node.heard();
    let counted = |wanted: &[Heard], text: &'static str| {
        let answered = wanted.iter().filter(|it| **it == Heard::Text(text)).count();
        answered == heard.get(text).copied().unwrap_or(0)
    };
    let called = ["first", "second", "hidden", "marker"];
    let right = found == wanted && closes && called.iter().all(|it| counted(&wanted, it));
    let Case { family, name, .. } = case;
    (!right).then(|| {
        format!("{family}: {name}: wanted {wanted:?}, found {found:?}, heard {heard:?}, {closes}")
    })
}

/// Which answers have no body although their fields speak of one.
fn bodiless(wanted: &Wanted) -> Vec<bool> {
    match wanted {
        Wanted::Answered(heard) | Wanted::Last(heard) => {
            let bodiless = |it: &Heard| matches!(it, Heard::Bodiless(_));
            heard.iter().map(bodiless).collect()
        }
        Wanted::Refused(_) | Wanted::Late => Vec::new(),
    }
}
