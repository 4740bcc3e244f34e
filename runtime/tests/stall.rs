//! The stall detector with real signals: what is named, when, and what is left in peace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait and measure from outside the runtime"
)]

use std::io::{Read, Write};
use std::net::TcpStream as Peer;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ninefold_runtime::net::{TcpListener, listen, send_buffer};
use ninefold_runtime::{
    Actor, Address, Config, Context, Handle, Handler, Message, Runtime, SpawnOptions, StallConfig,
    StallKind, StallReport, sleep, spawn_actor, spawn_local, yield_now,
};

const MS: Duration = Duration::from_millis(1);
/// A deadline that nothing healthy comes near.
const LONG: Duration = Duration::from_secs(20);

/// Spinning tests take the CPU from each other: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(shards: usize, threshold: Option<Duration>, stuck: Option<Duration>) -> Runtime {
    Runtime::start(&Config {
        shards: Some(shards),
        stall: StallConfig { threshold, stuck },
        ..Config::default()
    })
    .expect("a runtime")
}

struct Worker;
impl Actor for Worker {}

/// Holds the shard until it is told to let go.
struct Hold(Arc<AtomicBool>);
impl Message for Hold {
    type Reply = ();
}
impl Handler<Hold> for Worker {
    fn handle(&mut self, hold: Hold, _: &mut Context<'_, Self>) {
        a_function_that_spins(|| hold.0.load(Ordering::Relaxed));
    }
}

/// Holds the shard for that long.
struct HoldFor(Duration);
impl Message for HoldFor {
    type Reply = ();
}
impl Handler<HoldFor> for Worker {
    fn handle(&mut self, hold: HoldFor, _: &mut Context<'_, Self>) {
        let begin = Instant::now();
        a_function_that_spins(|| begin.elapsed() >= hold.0);
    }
}

struct Count(Arc<AtomicU64>);
impl Message for Count {
    type Reply = ();
}
impl Handler<Count> for Worker {
    fn handle(&mut self, count: Count, _: &mut Context<'_, Self>) {
        count.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[inline(never)]
fn a_function_that_spins(mut done: impl FnMut() -> bool) {
    while !done() {
        std::hint::spin_loop();
    }
}

fn worker(runtime: &Runtime, shard: usize) -> Address<Worker> {
    let spawn = || async { spawn_actor(SpawnOptions::default(), Worker).unwrap() };
    runtime.handle().run_on(shard, spawn).unwrap()
}

/// Casts from shard 0; does not wait.
fn cast<M: Message>(runtime: &Runtime, to: &Address<Worker>, message: M)
where
    Worker: Handler<M>,
{
    let to = *to;
    let send = move || async move { assert!(to.cast(message).is_ok()) };
    runtime.handle().spawn_on(0, send).unwrap();
}

/// Waits until `find` finds something among the reports.
fn wait_for<T>(handle: &Handle, find: impl Fn(&[StallReport]) -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        let reports = handle.stalls();
        if let Some(found) = find(&reports) {
            return found;
        }
        assert!(begin.elapsed() < LONG, "not in {reports:#?}");
        std::thread::sleep(5 * MS);
    }
}

fn first(kind: StallKind) -> impl Fn(&[StallReport]) -> Option<StallReport> {
    move |reports| reports.iter().find(|r| r.kind == kind).cloned()
}

fn of_kind(handle: &Handle, kind: StallKind) -> usize {
    handle.stalls().iter().filter(|r| r.kind == kind).count()
}

#[test]
fn a_busy_handler_is_named_with_its_stack_while_it_still_runs() {
    let _alone = alone();
    let threshold = 2 * MS;
    let runtime = start(1, Some(threshold), None);
    let handle = runtime.handle();
    let worker = worker(&runtime, 0);
    let let_go = Arc::new(AtomicBool::new(false));
    cast(&runtime, &worker, Hold(let_go.clone()));
    // Nobody lets go before the report is there.
    let report = wait_for(&handle, first(StallKind::Stall));
    assert_eq!((report.shard, report.actor), (0, "stall::Worker"));
    assert_eq!(report.message, Some("stall::Hold"));
    assert!(report.slot.is_some());
    assert!(report.held >= threshold, "{:?}", report.held);
    if cfg!(target_arch = "x86_64") {
        // From the innermost function to the executor below the shard's loop.
        let all = report.stack.join("\n");
        for name in ["a_function_that_spins", "glommio"] {
            assert!(all.contains(name), "no {name} in\n{all}");
        }
    }
    let_go.store(true, Ordering::Relaxed);
    handle.run_on(0, yield_now).unwrap();
    std::thread::sleep(250 * MS);
    assert_eq!(
        of_kind(&handle, StallKind::Stall),
        1,
        "a turn is reported once"
    );
    assert_eq!(runtime.shutdown(Duration::ZERO).threads_lost, 0);
}

#[test]
fn a_stall_is_caught_between_one_and_two_thresholds() {
    let _alone = alone();
    let threshold = 10 * MS;
    let runtime = start(1, Some(threshold), None);
    let handle = runtime.handle();
    let worker = worker(&runtime, 0);
    for n in 1..=6 {
        cast(&runtime, &worker, HoldFor(4 * threshold));
        wait_for(&handle, |reports| (reports.len() >= n).then_some(()));
    }
    let held: Vec<_> = handle.stalls().iter().map(|r| r.held).collect();
    assert!(held.iter().all(|&h| h >= threshold), "{held:?}");
    // The host may be late; the best of several was not.
    let best = held.iter().min().unwrap();
    assert!(*best <= 2 * threshold, "{held:?}");
    // One stack for the same pair of actor and message, the rest counted.
    let with_stack = handle
        .stalls()
        .iter()
        .filter(|r| !r.stack.is_empty())
        .count();
    assert_eq!(with_stack, usize::from(cfg!(target_arch = "x86_64")));
    assert_eq!(handle.stall_counts().suppressed, held.len() as u64 - 1);
}

#[test]
fn many_short_handlers_are_no_stall() {
    let _alone = alone();
    // Far beyond what the host may take from us, and passed several times.
    let runtime = start(1, Some(300 * MS), Some(LONG));
    let worker = worker(&runtime, 0);
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let flood = move || async move {
        let begin = Instant::now();
        while begin.elapsed() < 1200 * MS {
            for _ in 0..100 {
                // A full mailbox is as good: what counts is that the worker has plenty to do.
                let _ = worker.cast(Count(counted.clone()));
            }
            yield_now().await;
        }
    };
    runtime.handle().run_on(0, flood).unwrap();
    assert!(count.load(Ordering::Relaxed) > 1000);
    std::thread::sleep(250 * MS);
    assert_eq!(runtime.handle().stalls(), []);
}

#[test]
fn a_shard_that_never_returns_is_stuck_while_another_serves() {
    let _alone = alone();
    let runtime = start(2, Some(2 * MS), Some(300 * MS));
    let handle = runtime.handle();
    let worker = worker(&runtime, 0);
    let let_go = Arc::new(AtomicBool::new(false));
    cast(&runtime, &worker, Hold(let_go.clone()));
    let report = wait_for(&handle, first(StallKind::Stuck));
    let named = (report.shard, report.actor, report.message);
    assert_eq!(named, (0, "stall::Worker", Some("stall::Hold")));
    assert!(report.held >= 300 * MS);
    if cfg!(target_arch = "x86_64") {
        let spins = |line: &String| line.contains("a_function_that_spins");
        assert!(report.stack.iter().any(spins), "{:#?}", report.stack);
    }
    assert_eq!(handle.stall_counts().stuck_shards, 1);
    // The other shard does not notice.
    for n in 0..100 {
        assert_eq!(handle.run_on(1, move || async move { n }), Ok(n));
    }
    assert_eq!(of_kind(&handle, StallKind::Stuck), 1, "reported once");
    let_go.store(true, Ordering::Relaxed);
    let recovered = wait_for(&handle, first(StallKind::Recovered));
    assert_eq!((recovered.shard, recovered.actor), (0, "stall::Worker"));
    assert!(recovered.held >= report.held);
    assert_eq!(handle.stall_counts().stuck_shards, 0);
}

#[test]
fn a_blocked_shard_is_stuck_too_and_shows_where() {
    let _alone = alone();
    let runtime = start(1, Some(2 * MS), Some(300 * MS));
    let handle = runtime.handle();
    let blocked = || async { std::thread::sleep(Duration::from_millis(900)) };
    handle.spawn_on(0, blocked).unwrap();
    let report = wait_for(&handle, first(StallKind::Stuck));
    assert!(report.actor.contains("a_blocked_shard"), "{}", report.actor);
    assert_eq!(report.message, None, "a task has no message");
    if cfg!(target_arch = "x86_64") {
        let all = report.stack.join("\n");
        assert!(all.contains("sleep"), "no sleep in\n{all}");
    }
    wait_for(&handle, first(StallKind::Recovered));
}

#[test]
fn work_without_a_slot_is_named_for_what_it_is() {
    let _alone = alone();
    let runtime = start(1, Some(2 * MS), None);
    let slow_to_make = || {
        let begin = Instant::now();
        a_function_that_spins(|| begin.elapsed() >= 20 * MS);
        async {}
    };
    runtime.handle().spawn_on(0, slow_to_make).unwrap();
    let report = wait_for(&runtime.handle(), first(StallKind::Stall));
    assert_eq!((report.actor, report.slot), ("injected job", None));
}

#[test]
fn a_parked_shard_is_neither_reported_nor_woken() {
    let _alone = alone();
    let runtime = start(1, Some(2 * MS), Some(400 * MS));
    let handle = runtime.handle();
    handle.run_on(0, yield_now).unwrap();
    std::thread::sleep(100 * MS);
    let parks = || handle.stats(0).unwrap().parks.get();
    let before = parks();
    std::thread::sleep(1000 * MS);
    let woken = parks() - before;
    // Four times for the longest park; an alarm that goes on would wake it hundreds of times.
    assert!(woken < 40, "woken {woken} times");
    assert_eq!(handle.stalls(), []);
}

#[test]
fn timers_and_sockets_bear_the_signal() {
    let _alone = alone();
    // As short as can be, so that the alarm goes off in nearly every park.
    let runtime = start(1, Some(MS / 10), None);
    let handle = runtime.handle();
    let on_time = || async {
        for _ in 0..200 {
            let begin = Instant::now();
            sleep(MS).await;
            assert!(begin.elapsed() >= MS, "a timer fires early");
        }
    };
    handle.run_on(0, on_time).unwrap();
    let listener = listen("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let address = listener.local_addr().unwrap();
    let echo = move || async move {
        let mut listener = TcpListener::from_std(listener).unwrap();
        let mut stream = listener.accept().await.unwrap();
        spawn_local(async move {
            while let Ok(Some(bytes)) = stream.receive().await {
                let mut out = send_buffer();
                out.extend_from_slice(&bytes);
                stream.send(out).unwrap();
                stream.flushed().await.unwrap();
            }
        })
        .unwrap();
    };
    handle.spawn_on(0, echo).unwrap();
    let mut peer = Peer::connect(address).unwrap();
    peer.set_read_timeout(Some(LONG)).unwrap();
    for n in 0..200_u32 {
        peer.write_all(&n.to_ne_bytes()).unwrap();
        let mut back = [0; 4];
        peer.read_exact(&mut back).unwrap();
        assert_eq!(u32::from_ne_bytes(back), n);
        std::thread::sleep(MS);
    }
    drop(peer);
    assert_eq!(runtime.shutdown(LONG).threads_lost, 0);
}

#[test]
fn nothing_is_reported_when_it_is_off() {
    let _alone = alone();
    let runtime = start(1, None, None);
    let worker = worker(&runtime, 0);
    cast(&runtime, &worker, HoldFor(50 * MS));
    runtime.handle().run_on(0, yield_now).unwrap();
    std::thread::sleep(250 * MS);
    assert_eq!(runtime.handle().stalls(), []);
    assert_eq!(runtime.handle().stall_counts().reports, 0);
}
