//! The same table behind proxies that keep and share their connections to the node: whatever they
//! make of a case, no answer reaches a request that it does not belong to.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cases::{self, Case};
use crate::{Listener, bodiless, marker, wire};

/// A proxy before the node; killed when dropped.
struct Proxy {
    address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both fail for a process that has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// Starts `command` with the path of its configuration behind it, and waits until it listens.
    fn start(command: &[&str], configure: impl FnOnce(SocketAddr, &Path) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let address = free.expect("a free port");
        let file = folder.path().join("proxy.conf");
        fs::write(&file, configure(address, folder.path())).expect("a configuration");
        let (program, arguments) = command.split_first().expect("a program");
        let child = Command::new(program)
            .args(arguments)
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("{program}: {error}; `.ci/smuggling` installs what is needed")
        });
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "{program} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            address,
            child,
            _folder: folder,
        }
    }
}

/// haproxy, which by `lax` forwards what it would refuse by itself.
fn haproxy(node: SocketAddr, lax: bool) -> Proxy {
    let lax = match lax {
        true => "option accept-invalid-http-request",
        false => "",
    };
    Proxy::start(&["haproxy", "-db", "-q", "-f"], |address, _| {
        format!(
            "global\n  maxconn 200\n\
             defaults\n  mode http\n  http-reuse always\n  timeout connect 5s\n\
             \x20 timeout client 2s\n  timeout server 20s\n  timeout http-request 1s\n\
             \x20 timeout http-keep-alive 2s\n\
             frontend front\n  bind {address}\n  {lax}\n  default_backend back\n\
             backend back\n  server node {node}\n"
        )
    })
}

/// nginx, which passes a body on as it comes.
fn nginx(node: SocketAddr) -> Proxy {
    let command = ["nginx", "-e", "stderr", "-c"];
    Proxy::start(&command, |address, folder| {
        let folder = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|it| format!("{it}_temp_path {folder}/{it};\n"))
            .concat();
        format!(
            "daemon off;\nmaster_process off;\npid {folder}/pid;\nevents {{}}\n\
             http {{\n access_log off;\n{temporary}\
             upstream node {{ server {node}; keepalive 8; }}\n\
             server {{\n listen {address};\n client_header_timeout 1s;\n client_body_timeout 1s;\n\
             lingering_close off;\n keepalive_timeout 2s;\n\
             location / {{\n proxy_pass http://node;\n proxy_http_version 1.1;\n\
             proxy_set_header Connection \"\";\n proxy_set_header Host localhost;\n\
             proxy_request_buffering off;\n }}\n }}\n}}\n"
        )
    })
}

/// What became of a table behind one proxy.
#[derive(Default)]
struct Tally {
    cases: usize,
    passed_on: usize,
    markers: usize,
    wrong: Vec<String>,
}

fn run(name: &str, start: impl FnOnce(SocketAddr) -> Proxy) {
    let node = Listener::start(|limits| {
        limits.header_deadline_ms = 3000;
        limits.body_deadline_ms = 3000;
    });
    let proxy = start(node.node.address());
    let mut tally = Tally::default();
    for (n, case) in cases::all().iter().enumerate() {
        judge(&node, &proxy, case, n, &mut tally);
    }
    let Tally {
        cases,
        passed_on,
        markers,
        wrong,
    } = tally;
    println!(
        "{name}: {cases} cases, {passed_on} passed on and called, {markers} markers answered, {} \
         desynchronised",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(passed_on > 50, "the proxy passes too little on to judge it");
}

/// Sends one case and its marker, then two victims on connections of their own.
fn judge(node: &Listener, proxy: &Proxy, case: &Case, n: usize, tally: &mut Tally) {
    let own = format!("marker-{n}");
    let bytes = [case.bytes.as_slice(), &marker(&own)].concat();
    let got = wire::exchange(proxy.address, &bytes, usize::MAX);
    let answers = wire::answers(&got, &bodiless(&case.wanted));
    let texts: Vec<_> = answers.iter().filter_map(|it| it.text.clone()).collect();
    let calls = node.heard();
    let times = |text: &str| texts.iter().filter(|it| *it == text).count();
    let called = |text: &str| calls.get(text).copied().unwrap_or(0);
    tally.cases += 1;
    tally.passed_on += usize::from(called("first") > 0);
    tally.markers += times(&own);
    let mut wrong = |what: String| {
        let Case { family, name, .. } = case;
        tally.wrong.push(format!("{family}: {name}: {what}"));
    };
    if !in_order(&texts, &bytes) {
        wrong(format!("{texts:?} are not in the order of the requests"));
    }
    // An exchange that a proxy gives up may leave a call without its answer, never one too many;
    // and what was hidden is called only where its sender is told so.
    if called(&own) > 1 || times(&own) > called(&own) || times("hidden") != called("hidden") {
        wrong(format!("answers {texts:?} for calls {calls:?}"));
    }
    for victim in ["one", "other"].map(|which| format!("victim-{n}-{which}")) {
        let answered = (0..5).find_map(|_| {
            let got = wire::exchange(proxy.address, &marker(&victim), usize::MAX);
            wire::answers(&got, &[]).into_iter().find_map(|it| it.text)
        });
        if answered.as_deref() != Some(&victim) {
            wrong(format!("{victim} is answered by {answered:?}"));
        }
    }
    let calls = node.heard();
    if calls.keys().any(|text| !text.starts_with("victim-")) {
        wrong(format!("victims were made to call {calls:?}"));
    }
}

/// Whether `texts` occur in `bytes` one behind the other.
fn in_order(texts: &[String], mut bytes: &[u8]) -> bool {
    texts.iter().all(|text| {
        let call = format!("\"text\":\"{text}\"");
        let found = memchr::memmem::find(bytes, call.as_bytes());
        if let Some(at) = found {
            bytes = &bytes[at + call.len()..];
        }
        found.is_some()
    })
}

#[test]
#[ignore = "needs haproxy: run .ci/smuggling"]
fn haproxy_and_the_node_agree() {
    run("haproxy", |node| haproxy(node, false));
}

#[test]
#[ignore = "needs haproxy: run .ci/smuggling"]
fn haproxy_and_the_node_agree_when_haproxy_is_lax() {
    run("haproxy, lax", |node| haproxy(node, true));
}

#[test]
#[ignore = "needs nginx: run .ci/smuggling"]
fn nginx_and_the_node_agree() {
    run("nginx", nginx);
}
