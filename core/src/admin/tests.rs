//! The bounds of the admin listener, small enough to be reached.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests are about real time, seen by real peers"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as Peer};
use std::time::Instant;

use ninefold_runtime::net::listen;
use ninefold_runtime::{Config, ControlPlane, Runtime};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// The deadline of each test here, and what may come on top of it on a busy machine.
const DEADLINE: Duration = Duration::from_millis(300);
const SLACK: Duration = Duration::from_millis(1500);

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
const METRICS: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

/// An admin listener of a runtime that does nothing.
struct Admin {
    control: Option<ControlPlane>,
    address: SocketAddr,
    _runtime: Runtime,
}

impl Admin {
    fn with(adjust: impl FnOnce(&mut Bounds)) -> Self {
        let mut bounds = Bounds::default();
        adjust(&mut bounds);
        let runtime = Runtime::start(&Config {
            shards: Some(1),
            ..Config::default()
        })
        .unwrap();
        let shard = ShardStatus {
            net: Arc::default(),
            counters: Arc::default(),
        };
        let status = Arc::new(Status {
            handle: runtime.handle(),
            plan: runtime.plan().clone(),
            shards: vec![shard],
            started_ns: clock::monotonic_ns(),
            host: None,
        });
        let listener = listen(([127, 0, 0, 1], 0).into(), false).unwrap();
        let address = listener.local_addr().unwrap();
        let control = ControlPlane::start(runtime.plan().control, move || {
            Ok(serve(TcpListener::from_std(listener)?, status, bounds))
        });
        Self {
            control: Some(control.unwrap()),
            address,
            _runtime: runtime,
        }
    }

    fn connect(&self) -> Peer {
        let peer = Peer::connect(self.address).unwrap();
        peer.set_read_timeout(Some(SECOND * 10)).unwrap();
        peer
    }
}

/// Asks for health on a connection that stays open; `None` when it is closed instead.
fn ask(peer: &mut Peer) -> Option<String> {
    let mut answer = String::new();
    peer.write_all(HEALTH).ok()?;
    while !answer.ends_with("}]}") {
        let mut chunk = [0; 1024];
        let n = peer.read(&mut chunk).ok().filter(|&n| n > 0)?;
        answer += str::from_utf8(&chunk[..n]).expect("text");
    }
    Some(answer)
}

/// How many bytes come until the other side closes or resets.
fn until_closed(peer: &mut Peer) -> usize {
    let mut chunk = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        match peer.read(&mut chunk) {
            Ok(0) => return bytes,
            Ok(n) => bytes += n,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return bytes,
            Err(error) => panic!("wanted a closed connection, but {error}"),
        }
    }
}

/// `since` is before the peer's last sign of life.
fn assert_in_time(since: Instant) {
    let took = since.elapsed();
    assert!(took >= DEADLINE, "too early: {took:?}");
    assert!(took < DEADLINE + SLACK, "too late: {took:?}");
}

#[test]
fn a_silent_peer_is_closed_at_its_deadline_and_nobody_beside_it() {
    let admin = Admin::with(|bounds| bounds.silence = DEADLINE);
    for said in [&b""[..], b"GET /he", HEALTH] {
        let mut lively = admin.connect();
        let mut since = Instant::now();
        let mut peer = admin.connect();
        if said == HEALTH {
            std::thread::sleep(DEADLINE / 2);
            since = Instant::now();
            assert!(ask(&mut peer).is_some(), "an answer");
        } else {
            peer.write_all(said).unwrap();
        }
        // Longer than the deadline in all, and never silent for as long as it.
        for _ in 0..6 {
            assert!(ask(&mut lively).is_some(), "an answer");
            std::thread::sleep(DEADLINE / 5);
        }
        assert_eq!(until_closed(&mut peer), 0);
        assert_in_time(since);
    }
}

#[test]
fn a_peer_that_takes_nothing_is_closed_at_its_deadline() {
    const ASKED: usize = 2000;
    let admin = Admin::with(|bounds| bounds.silence = DEADLINE);
    let mut one = admin.connect();
    one.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let page = until_closed(&mut one);
    let mut peer = admin.connect();
    peer.write_all(&METRICS.repeat(ASKED)).unwrap();
    // What the kernel holds for it, it gets; the rest was never made.
    std::thread::sleep(DEADLINE + SLACK);
    let got = until_closed(&mut peer);
    assert!(got < page * ASKED / 2, "{got} bytes, a page has {page}");
    assert!(ask(&mut admin.connect()).is_some(), "an answer");
}

#[test]
fn a_trickle_ends_with_the_life_of_its_connection() {
    let admin = Admin::with(|bounds| bounds.life = DEADLINE);
    let since = Instant::now();
    let mut peer = admin.connect();
    for byte in HEALTH[..HEALTH.len() - 1].iter().cycle() {
        if peer.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(DEADLINE / 20);
        assert!(since.elapsed() < SECOND * 10, "it lives for ever");
    }
    assert_in_time(since);
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once_and_a_place_is_free_again() {
    let admin = Admin::with(|bounds| bounds.connections = 3);
    let mut open: Vec<_> = (0..3).map(|_| admin.connect()).collect();
    for peer in &mut open {
        assert!(ask(peer).is_some(), "an answer");
    }
    for _ in 0..3 {
        let since = Instant::now();
        assert_eq!(until_closed(&mut admin.connect()), 0);
        assert!(since.elapsed() < SECOND);
    }
    for peer in &mut open {
        assert!(ask(peer).is_some(), "those that are in stay in");
    }
    open.pop();
    let since = Instant::now();
    while ask(&mut admin.connect()).is_none() {
        assert!(since.elapsed() < SECOND, "the place is not free");
    }
}

#[test]
fn its_end_closes_listener_and_connections_at_once() {
    let mut admin = Admin::with(|_| {});
    let mut open: Vec<_> = (0..10).map(|_| admin.connect()).collect();
    for peer in &mut open {
        assert!(ask(peer).is_some(), "an answer");
    }
    let mut silent = admin.connect();
    silent.write_all(b"GET /he").unwrap();
    let since = Instant::now();
    drop(admin.control.take());
    assert!(since.elapsed() < SECOND, "{:?}", since.elapsed());
    for mut peer in open.into_iter().chain([silent]) {
        assert_eq!(until_closed(&mut peer), 0);
    }
    assert!(Peer::connect(admin.address).is_err(), "nobody listens");
}
