//! The edges: CPUs that are not allowed, more shards than cores, an end while all is busy.
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

use std::time::{Duration, Instant};

use ninefold_runtime::placement::PlacementError;
use ninefold_runtime::{
    Actor, Address, AsyncHandler, Config, Context, Handler, Placement, Runtime, Shedding,
    SpawnOptions, StartError, blocking, current_shard, sleep, spawn_actor, spawn_local, yield_now,
};
use support::{SECOND, on, on_shards};

#[test]
fn a_cpu_that_is_not_allowed_is_refused_by_name() {
    let start = |cpus: Vec<u32>, shards| {
        let config = Config {
            shards,
            placement: Placement::Explicit(cpus),
            ..Config::default()
        };
        Runtime::start(&config).err()
    };
    let refused = start(vec![4095], Some(1));
    let Some(StartError::Placement(PlacementError::NotAllowed { cpu: 4095, allowed })) = refused
    else {
        panic!("{refused:?}")
    };
    assert!(!allowed.is_empty());
    let refused = start(Vec::new(), Some(1));
    assert!(matches!(
        refused,
        Some(StartError::Placement(PlacementError::NoCpu))
    ));
    for shards in [0, 65] {
        let config = Config {
            shards: Some(shards),
            ..Config::default()
        };
        let refused = Runtime::start(&config).err();
        let Some(StartError::Placement(PlacementError::Shards(found))) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(found, shards);
    }
}

/// Says where it is.
struct Station;
struct Where;
messages! {
    Where => u16;
}
impl Actor for Station {}
impl Handler<Where> for Station {
    fn handle(&mut self, _: Where, context: &mut Context<'_, Self>) -> u16 {
        context.shard()
    }
}

#[test]
fn more_shards_than_cores_work() {
    on_shards(12, || async {
        let mut stations = Vec::new();
        for shard in 0..12 {
            let spawn = || async { spawn_actor(SpawnOptions::default(), Station).unwrap() };
            stations.push(on(shard, spawn).await);
        }
        for (from, to) in (0..12).flat_map(|from| (0..12).map(move |to| (from, to))) {
            let station = stations[to];
            let ask = move || async move {
                let asker = current_shard().map(usize::from);
                (asker, station.call(Where, 10 * SECOND).await.unwrap())
            };
            let (asker, answered) = on(from, ask).await;
            assert_eq!((asker, usize::from(answered)), (Some(from), to));
        }
    });
}

/// Tells itself and its peer to go on for ever, by timers too, and waits in handlers.
struct Busy {
    peer: Option<Address<Busy>>,
}
struct Meet(Address<Busy>);
struct Spin;
struct Tick;
struct Wait;
messages! {
    Meet => ();
    Spin => ();
    Tick => (), High;
    Wait => ();
}
impl Actor for Busy {}
impl Handler<Meet> for Busy {
    fn handle(&mut self, meet: Meet, context: &mut Context<'_, Self>) {
        self.peer = Some(meet.0);
        for _ in 0..100 {
            context.send_after(Duration::from_micros(300), Tick);
        }
    }
}
impl Handler<Spin> for Busy {
    fn handle(&mut self, _: Spin, context: &mut Context<'_, Self>) {
        let _ = context.address().cast(Spin);
        for _ in 0..2 {
            let _ = self.peer.map(|peer| peer.cast(Spin));
        }
    }
}
impl Handler<Tick> for Busy {
    fn handle(&mut self, _: Tick, context: &mut Context<'_, Self>) {
        context.send_after(Duration::from_micros(300), Tick);
    }
}
impl AsyncHandler<Wait> for Busy {
    fn handle(&mut self, _: Wait, _: &mut Context<'_, Self>) -> impl Future<Output = ()> + 'static {
        std::future::pending()
    }
}

#[test]
fn an_end_while_everything_is_busy_comes_in_time_and_is_reported() {
    let config = Config {
        shards: Some(2),
        // What is refused here is to be refused for want of room only.
        shedding: Shedding::OFF,
        ..Config::default()
    };
    let runtime = Runtime::start(&config).unwrap();
    let handle = runtime.handle();
    let spawn = || async { spawn_actor(SpawnOptions::default(), Busy { peer: None }).unwrap() };
    let busy = [0, 1].map(|shard| handle.run_on(shard, spawn).unwrap());
    for shard in [0, 1] {
        let (one, other) = (busy[shard], busy[1 - shard]);
        let meet = move || async move {
            one.cast(Meet(other)).unwrap();
            for _ in 0..50 {
                one.cast(Wait).unwrap();
            }
        };
        handle.run_on(shard, meet).unwrap();
    }
    for (shard, one) in busy.into_iter().enumerate() {
        let begin = move || async move {
            // Full already, once the other one spins.
            let _ = one.cast(Spin);
            // More work for the pool than it can do in a minute.
            for _ in 0..800 {
                let work = blocking(|| std::thread::sleep(Duration::from_millis(100)));
                spawn_local(async move { drop(work.await) }).unwrap();
            }
            for _ in 0..50 {
                spawn_local(async {
                    loop {
                        yield_now().await;
                    }
                })
                .unwrap();
            }
            sleep(Duration::from_millis(30)).await;
        };
        handle.run_on(shard, begin).unwrap();
    }
    assert!(handle.blocking_queued() > 900);
    let spun = handle.stats(0).unwrap().messages.get();
    assert!(spun > 100, "{spun}");
    let started = Instant::now();
    let report = runtime.shutdown(Duration::from_millis(100));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(100), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(report.threads_lost, 0);
    // 100 that wait, 100 that loop, and most of those that wait for the pool.
    assert!(report.tasks_dropped > 200 + 900, "{report:?}");
    for shard in [0, 1] {
        let stats = handle.stats(shard).unwrap();
        assert_eq!(stats.tasks_spawned.get(), stats.tasks_ended.get());
        assert_eq!(stats.actors_spawned.get(), stats.actors_stopped.get());
        assert_eq!((stats.cells_live.get(), stats.panics.get()), (0, 0));
    }
}
