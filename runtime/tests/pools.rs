//! Pools: routing, refusal, supervision, consistent keys.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use ninefold_runtime::{
    Actor, CallError, Config, Context, Handler, Message, Pool, PoolError, PoolOptions, Routing,
    Runtime, SendError, SpawnError, SpawnOptions, current_shard, yield_now,
};
use support::{SECOND, eventually, on_shards};

struct Worker {
    number: usize,
    seen: Vec<u64>,
}
impl Actor for Worker {}

fn worker(number: usize) -> Worker {
    Worker {
        number,
        seen: Vec::new(),
    }
}

#[derive(Debug, PartialEq)]
struct Job(u64);
impl Message for Job {
    type Reply = (usize, u16);
}
impl Handler<Job> for Worker {
    fn handle(&mut self, job: Job, context: &mut Context<'_, Self>) -> (usize, u16) {
        self.seen.push(job.0);
        (self.number, context.shard())
    }
}
#[derive(Debug, PartialEq)]
struct Seen;
impl Message for Seen {
    type Reply = Vec<u64>;
}
impl Handler<Seen> for Worker {
    fn handle(&mut self, _: Seen, _: &mut Context<'_, Self>) -> Vec<u64> {
        self.seen.clone()
    }
}
#[derive(Debug)]
struct Boom;
impl Message for Boom {
    type Reply = ();
}
impl Handler<Boom> for Worker {
    fn handle(&mut self, _: Boom, _: &mut Context<'_, Self>) {
        panic!("boom");
    }
}

#[test]
fn round_robin_is_even_over_all_shards() {
    on_shards(3, || async {
        let options = PoolOptions {
            workers: 6,
            spread: true,
            ..PoolOptions::default()
        };
        let pool = Pool::start(options, worker).await.unwrap();
        let mut counts = HashMap::new();
        for n in 0..600 {
            let (number, shard) = pool.call(Job(n), SECOND).await.unwrap();
            assert_eq!(usize::from(shard), number % 3);
            *counts.entry(number).or_insert(0) += 1;
        }
        assert!((0..6).all(|n| counts[&n] == 100), "{counts:?}");
    });
}

#[test]
fn a_pool_refuses_only_when_every_worker_is_full() {
    on_shards(1, || async {
        for routing in [Routing::RoundRobin, Routing::LeastLoaded] {
            let options = PoolOptions {
                workers: 3,
                routing,
                options: SpawnOptions {
                    capacity: 4,
                    ..SpawnOptions::default()
                },
                ..PoolOptions::default()
            };
            let pool = Pool::start(options, worker).await.unwrap();
            // One worker is full already.
            (0..4).for_each(|n| pool.workers()[1].cast(Job(n)).unwrap());
            (0..8).for_each(|n| pool.cast(Job(n)).unwrap());
            let refused = pool.cast(Job(99)).unwrap_err();
            assert!(matches!(refused, SendError::Full(Job(99))), "{refused:?}");
            let asked = pool.call(Job(98), SECOND).await.unwrap_err();
            assert_eq!(asked, CallError::Full(Job(98)));
            eventually("there is room again", async || {
                pool.call(Job(7), SECOND).await.is_ok()
            })
            .await;
        }
    });
}

#[test]
fn the_least_loaded_worker_gets_the_message() {
    on_shards(1, || async {
        let options = PoolOptions {
            workers: 3,
            routing: Routing::LeastLoaded,
            ..PoolOptions::default()
        };
        let pool = Pool::start(options, worker).await.unwrap();
        let workers = pool.workers();
        (0..5).for_each(|n| workers[0].cast(Job(n)).unwrap());
        (0..3).for_each(|n| workers[2].cast(Job(n)).unwrap());
        (100..103).for_each(|n| pool.cast(Job(n)).unwrap());
        assert_eq!(workers[1].call(Seen, SECOND).await, Ok(vec![100, 101, 102]));
    });
}

#[test]
fn a_worker_restarts_in_place_and_a_stopped_pool_takes_nothing() {
    on_shards(2, || async {
        let options = PoolOptions {
            workers: 2,
            spread: true,
            ..PoolOptions::default()
        };
        let pool = Pool::start(options, worker).await.unwrap();
        let workers = pool.workers();
        for worker in &workers {
            assert!(matches!(
                worker.call(Boom, SECOND).await,
                Err(CallError::Panicked)
            ));
            assert_eq!(worker.call(Seen, SECOND).await, Ok(Vec::new()));
        }
        let view = Pool::of(pool.workers(), Routing::RoundRobin);
        pool.stop().await;
        for worker in &workers {
            let stopped = worker.call(Seen, SECOND).await;
            assert!(matches!(
                stopped,
                Err(CallError::Stopped | CallError::Closed(_))
            ));
        }
        assert!(view.call(Job(1), SECOND).await.is_err());
    });
}

#[test]
fn a_key_keeps_its_worker_and_its_order_and_few_keys_move_when_one_is_added() {
    on_shards(2, || async {
        let options = PoolOptions {
            workers: 8,
            spread: true,
            ..PoolOptions::default()
        };
        let pool = Pool::start(options, worker).await.unwrap();
        for n in 0..500 {
            while pool.cast_by("tenant", Job(n)).is_err() {
                yield_now().await;
            }
        }
        let tenants = pool.worker_of("tenant").unwrap();
        let seen = tenants.call(Seen, SECOND).await.unwrap();
        assert_eq!(seen, (0..500).collect::<Vec<_>>());
        let fewer = Pool::of(pool.workers().into_iter().take(7), Routing::RoundRobin);
        let keys = 20_000_u32;
        let newest = pool.workers()[7].id();
        let moved = (0..keys).filter(|key| {
            let now = pool.worker_of(key).unwrap().id();
            let before = fewer.worker_of(key).unwrap().id();
            assert!(now == before || now == newest, "moved between old workers");
            now != before
        });
        let share = moved.count() as f64 / f64::from(keys);
        assert!(
            (share - 1.0 / 8.0).abs() < 0.02,
            "{share} of the keys moved"
        );
    });
}

#[test]
fn a_pool_that_cannot_be_says_why_and_leaves_nothing_behind() {
    on_shards(2, || async {
        let none = PoolOptions {
            workers: 0,
            ..PoolOptions::default()
        };
        let refused = Pool::start(none, worker).await.map(|_| ()).unwrap_err();
        assert_eq!(refused, PoolError::Workers { wanted: 0 });
        let options = PoolOptions {
            workers: 4,
            spread: true,
            ..PoolOptions::default()
        };
        let broken = |number| {
            assert!(number != 3, "no part for number 3");
            worker(number)
        };
        let refused = Pool::start(options, broken).await.map(|_| ()).unwrap_err();
        assert!(
            matches!(refused, PoolError::Spawn(SpawnError::Died(_))),
            "{refused}"
        );
        let handle = ninefold_runtime::current_handle().unwrap();
        eventually("the others are stopped", async || {
            (0..2).all(|shard| {
                let stats = handle.stats(shard).unwrap();
                let alive = stats.actors_spawned.get() - stats.actors_stopped.get();
                // The shard's own services.
                alive == 3
            })
        })
        .await;
    });
}

#[test]
fn a_thread_outside_starts_an_actor_on_a_shard() {
    let config = Config {
        shards: Some(2),
        ..Config::default()
    };
    let runtime = Runtime::start(&config).unwrap();
    let handle = runtime.handle();
    let spawn = |shard| handle.spawn_actor_on(shard, SpawnOptions::default(), || worker(5));
    let address = spawn(1).unwrap();
    let answer = handle.run_on(0, move || async move {
        assert_eq!(current_shard(), Some(0));
        address.call(Job(1), SECOND).await
    });
    assert_eq!(answer.unwrap(), Ok((5, 1)));
    let nowhere = spawn(9).map(|_| ()).unwrap_err();
    let wanted = SpawnError::NoShard {
        wanted: 9,
        shards: 2,
    };
    assert_eq!(nowhere, wanted);
    let broken = handle.spawn_actor_on(1, SpawnOptions::default(), || -> Worker { panic!("no") });
    assert!(matches!(broken.map(|_| ()), Err(SpawnError::Died(_))));
    assert_eq!(runtime.shutdown(Duration::from_millis(50)).threads_lost, 0);
}
