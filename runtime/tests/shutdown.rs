//! The end: drain, deadline, order, and the blocking pool.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait and measure from outside the runtime"
)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ninefold_runtime::{
    Actor, BlockingError, Config, ControlPlane, Runtime, SpawnError, SpawnOptions, blocking,
    draining, sleep, spawn_actor, spawn_local, yield_now,
};
use support::on_shards;

fn start(shards: usize) -> Runtime {
    Runtime::start(&Config {
        shards: Some(shards),
        ..Config::default()
    })
    .expect("a runtime")
}

#[test]
fn tasks_that_finish_when_asked_are_waited_for() {
    let runtime = start(2);
    let finished = Arc::new(AtomicUsize::new(0));
    for shard in 0..2 {
        let finished = finished.clone();
        let work = move || async move {
            draining().await;
            sleep(Duration::from_millis(30)).await;
            finished.fetch_add(1, Ordering::SeqCst);
        };
        runtime.handle().spawn_on(shard, work).unwrap();
    }
    let report = runtime.shutdown(Duration::from_secs(5));
    assert_eq!((report.tasks_dropped, report.threads_lost), (0, 0));
    assert_eq!(finished.load(Ordering::SeqCst), 2);
}

#[test]
fn what_does_not_finish_is_dropped_at_the_deadline() {
    struct Guard(Arc<AtomicUsize>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let runtime = start(1);
    let dropped = Arc::new(AtomicUsize::new(0));
    let guard = Guard(dropped.clone());
    let forever = move || async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    };
    runtime.handle().run_on(0, yield_now).unwrap();
    runtime.handle().spawn_on(0, forever).unwrap();
    runtime.handle().run_on(0, yield_now).unwrap();
    let started = Instant::now();
    let report = runtime.shutdown(Duration::from_millis(50));
    assert_eq!(report.tasks_dropped, 1);
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert_eq!(
        dropped.load(Ordering::SeqCst),
        1,
        "its state is dropped on its own shard"
    );
}

#[test]
fn actors_stop_newest_first_and_say_goodbye() {
    struct Last(usize, Arc<Mutex<Vec<usize>>>);
    impl Actor for Last {
        fn stopped(&mut self, _: &ninefold_runtime::ExitReason) {
            self.1.lock().unwrap().push(self.0);
            // Nothing new starts while the shard goes down.
            assert_eq!(spawn_local(async {}), Err(SpawnError::ShuttingDown));
        }
    }
    let order = Arc::new(Mutex::new(Vec::new()));
    let runtime = start(1);
    let seen = order.clone();
    let spawn = move || async move {
        for n in 0..3 {
            spawn_actor(SpawnOptions::default(), Last(n, seen.clone())).unwrap();
        }
    };
    runtime.handle().run_on(0, spawn).unwrap();
    runtime.shutdown(Duration::ZERO);
    assert_eq!(*order.lock().unwrap(), [2, 1, 0]);
}

#[test]
fn blocking_work_runs_elsewhere_and_its_panic_stays_there() {
    on_shards(1, || async {
        let here = std::thread::current().id();
        assert_ne!(
            blocking(|| std::thread::current().id()).await.unwrap(),
            here
        );
        let panicked = blocking(|| -> u32 { panic!("in the pool") }).await;
        assert!(matches!(panicked, Err(BlockingError::Panicked(c)) if c.message == "in the pool"));
        // While the pool sleeps, the shard does not.
        let slow = blocking(|| std::thread::sleep(Duration::from_millis(50)));
        let started = Instant::now();
        yield_now().await;
        assert!(started.elapsed() < Duration::from_millis(40));
        slow.await.unwrap();
    });
}

#[test]
fn a_full_blocking_queue_refuses() {
    on_shards(1, || async {
        let (release, wait) = crossbeam_channel::bounded::<()>(0);
        let mut queued = Vec::new();
        let refused = loop {
            let wait = wait.clone();
            let mut job = Box::pin(blocking(move || wait.recv().is_err()));
            let first = std::future::poll_fn(|cx| std::task::Poll::Ready(job.as_mut().poll(cx)));
            match first.await {
                std::task::Poll::Ready(Err(error)) => break error,
                _ => queued.push(job),
            }
            assert!(queued.len() < 5000);
        };
        assert_eq!(refused, BlockingError::Full);
        drop((release, wait));
        for job in queued {
            assert_eq!(job.await, Ok(true));
        }
    });
}

#[test]
fn the_control_plane_runs_beside_a_shard_that_is_stuck() {
    let runtime = start(1);
    let ticks = Arc::new(AtomicUsize::new(0));
    let seen = ticks.clone();
    let cpu = runtime.plan().control;
    let control = ControlPlane::start(cpu, move || {
        Ok(async move {
            loop {
                sleep(Duration::from_millis(1)).await;
                seen.fetch_add(1, Ordering::SeqCst);
            }
        })
    })
    .unwrap();
    let stuck = || async { std::thread::sleep(Duration::from_millis(200)) };
    runtime.handle().spawn_on(0, stuck).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(ticks.load(Ordering::SeqCst) > 10);
    drop(control);
    assert_eq!(runtime.shutdown(Duration::from_secs(1)).threads_lost, 0);
}

#[test]
fn a_shard_that_is_blocked_does_not_block_the_end() {
    let runtime = start(2);
    let stuck = || async { std::thread::sleep(Duration::from_secs(6)) };
    runtime.handle().spawn_on(0, stuck).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let started = Instant::now();
    let report = runtime.shutdown(Duration::from_millis(50));
    assert_eq!((report.tasks_dropped, report.threads_lost), (1, 1));
    assert!(started.elapsed() < Duration::from_secs(5));
}
