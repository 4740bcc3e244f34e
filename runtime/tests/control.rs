//! The control plane: a shard like any other inside, and none of them from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait and measure from outside the runtime"
)]

#[macro_use]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream as Peer;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ninefold_runtime::net::{TcpListener, listen};
use ninefold_runtime::{
    Actor, BlockingError, Config, Context, ControlPlane, Handler, Placement, Runtime, SendError,
    SpawnOptions, StartError, blocking, current_handle, is_draining, sleep, spawn_actor,
    spawn_local, timeout,
};
use support::SECOND;

#[derive(Debug)]
struct Add(u32);

messages! {
    Add => u32;
}

struct Adder(u32);

impl Actor for Adder {}

impl Handler<Add> for Adder {
    fn handle(&mut self, Add(more): Add, _: &mut Context<'_, Self>) -> u32 {
        self.0 += more;
        self.0
    }
}

/// A CPU that this process may use.
fn cpu() -> u32 {
    let first = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let list = first.split("Cpus_allowed_list:").nth(1).unwrap().trim();
    let digits = |c: char| !c.is_ascii_digit();
    list.split(digits).next().unwrap().parse().unwrap()
}

/// Runs `main` on a control plane of its own, and returns what it returns.
fn on_control<T: Send + 'static, F: Future<Output = T> + 'static>(
    main: impl FnOnce() -> F + Send + 'static,
) -> T {
    let (tell, told) = mpsc::channel();
    let make = move || {
        let main = main();
        Ok(async move { tell.send(main.await).unwrap() })
    };
    let _control = ControlPlane::start(cpu(), make).unwrap();
    told.recv_timeout(SECOND * 10).expect("what it returns")
}

#[test]
fn it_is_a_shard_inside_with_actors_and_timers_and_without_a_blocking_pool() {
    on_control(|| async {
        assert_eq!(std::thread::current().name(), Some("control"));
        let adder = spawn_actor(SpawnOptions::default(), Adder(1)).unwrap();
        assert_eq!(adder.call(Add(2), SECOND).await.unwrap(), 3);
        let slow = timeout(Duration::from_millis(5), sleep(SECOND));
        assert!(slow.await.is_err());
        assert_eq!(blocking(|| ()).await, Err(BlockingError::Closed));
    });
}

#[test]
fn it_is_no_shard_of_a_runtime_and_does_not_drain_with_it() {
    let runtime = Runtime::start(&Config {
        shards: Some(1),
        placement: Placement::Explicit(vec![cpu()]),
        ..Config::default()
    })
    .unwrap();
    let handle = runtime.handle();
    let make = || async { spawn_actor(SpawnOptions::default(), Adder(0)).unwrap() };
    let theirs = handle.run_on(0, make).unwrap();
    let told = handle.clone();
    on_control(move || async move {
        told.drain();
        assert!(!is_draining(), "the control plane ends last");
        assert!(matches!(theirs.cast(Add(1)), Err(SendError::OffShard(_))));
        let ours = current_handle().unwrap();
        assert_eq!(ours.stall_counts().reports, 0);
        let spawned = |handle: &ninefold_runtime::Handle| {
            let stats = handle.stats(0).unwrap();
            stats.tasks_spawned.get()
        };
        let before = spawned(&told);
        spawn_local(async {}).unwrap();
        assert_eq!((spawned(&ours), spawned(&told)), (2, before));
    });
    assert_eq!(handle.shards(), 1);
    assert_eq!(runtime.shutdown(SECOND).threads_lost, 0);
}

#[test]
fn a_panic_ends_its_task_and_not_the_control_plane() {
    on_control(|| async {
        spawn_local(async { panic!("on the control plane") }).unwrap();
        sleep(Duration::from_millis(5)).await;
        let stats = current_handle().unwrap();
        assert_eq!(stats.stats(0).unwrap().tasks_panicked.get(), 1);
    });
}

#[test]
fn a_beginning_that_fails_or_panics_is_told_and_leaves_nothing_behind() {
    let failed = ControlPlane::start(cpu(), || {
        Err::<std::future::Ready<()>, _>(std::io::Error::other("no luck"))
    });
    let told = |start: Result<ControlPlane, StartError>| match start {
        Err(StartError::System(error)) => error.to_string(),
        other => panic!("{:?}", other.map(|_| ())),
    };
    assert_eq!(told(failed), "no luck");
    let listener = listen("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let address = listener.local_addr().unwrap();
    let panicked = ControlPlane::start(cpu(), move || {
        let _listener = TcpListener::from_std(listener)?;
        let lucky = std::hint::black_box(false);
        assert!(lucky, "no luck at all");
        Ok(std::future::ready(()))
    });
    let why = told(panicked);
    assert!(
        why.contains("no luck at all") && why.contains("control.rs"),
        "{why}"
    );
    listen(address, false).expect("a port that is free again");
}

#[test]
fn an_end_wakes_it_from_its_sleep_and_drops_what_it_runs() {
    let mut fastest = SECOND * 10;
    for _ in 0..5 {
        let held = Arc::new(());
        let guard = held.clone();
        let listener = listen("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_addr().unwrap();
        let control = ControlPlane::start(cpu(), move || {
            let mut listener = TcpListener::from_std(listener)?;
            Ok(async move {
                let _guard = guard;
                let mut stream = listener.accept().await.unwrap();
                let received = stream.receive().await.unwrap().unwrap();
                stream.send(received.to_vec()).unwrap();
                std::future::pending::<()>().await;
            })
        })
        .unwrap();
        let mut peer = Peer::connect(address).unwrap();
        peer.set_read_timeout(Some(SECOND * 10)).unwrap();
        peer.write_all(b"!").unwrap();
        let mut byte = [0];
        peer.read_exact(&mut byte).unwrap();
        // It sleeps by now, for a quarter of a second unless somebody wakes it.
        std::thread::sleep(Duration::from_millis(50));
        let since = Instant::now();
        drop(control);
        fastest = fastest.min(since.elapsed());
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(peer.read(&mut byte).unwrap(), 0, "its sockets are closed");
        listen(address, false).expect("a port that is free again");
    }
    assert!(fastest < Duration::from_millis(100), "{fastest:?} at best");
}
