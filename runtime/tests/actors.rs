//! Actors on real shards: casts, calls, refusals, classes, panics, supervision, registry, timers.
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

use std::time::Duration;

use ninefold_runtime::{
    Actor, Address, CallError, Class, Context, Handler, Intensity, Message, SendError,
    SpawnOptions, Supervisor, lookup, register, sleep, spawn_actor, spawn_local, timeout,
    unregister, yield_now,
};
use support::{SECOND, on_shards};

#[derive(Default)]
struct Counter {
    total: u64,
    seen: Vec<u64>,
}

impl Actor for Counter {}

#[derive(Debug, PartialEq)]
struct Add(u64);
#[derive(Debug, PartialEq)]
struct Total;
#[derive(Debug, PartialEq)]
struct Seen;
#[derive(Debug, PartialEq)]
struct Boom;
#[derive(Debug, PartialEq)]
struct Urgent;
#[derive(Debug, PartialEq)]
struct Stop;

impl Message for Add {
    type Reply = u64;
}
impl Message for Total {
    type Reply = u64;
}
impl Message for Seen {
    type Reply = Vec<u64>;
}
impl Message for Boom {
    type Reply = ();
}
impl Message for Urgent {
    type Reply = Vec<u64>;
    const CLASS: Class = Class::High;
}
impl Message for Stop {
    type Reply = ();
}

impl Handler<Add> for Counter {
    fn handle(&mut self, add: Add, _: &mut Context<'_, Self>) -> u64 {
        self.total += add.0;
        self.seen.push(add.0);
        self.total
    }
}
impl Handler<Total> for Counter {
    fn handle(&mut self, _: Total, _: &mut Context<'_, Self>) -> u64 {
        self.total
    }
}
impl Handler<Seen> for Counter {
    fn handle(&mut self, _: Seen, _: &mut Context<'_, Self>) -> Vec<u64> {
        self.seen.clone()
    }
}
impl Handler<Urgent> for Counter {
    fn handle(&mut self, _: Urgent, _: &mut Context<'_, Self>) -> Vec<u64> {
        self.seen.clone()
    }
}
impl Handler<Boom> for Counter {
    fn handle(&mut self, _: Boom, _: &mut Context<'_, Self>) {
        panic!("boom at {}", self.total);
    }
}
impl Handler<Stop> for Counter {
    fn handle(&mut self, _: Stop, context: &mut Context<'_, Self>) {
        context.stop();
    }
}

fn counter() -> Address<Counter> {
    spawn_actor(SpawnOptions::default(), Counter::default()).unwrap()
}

#[test]
fn casts_arrive_in_order_and_calls_are_answered() {
    on_shards(1, || async {
        let counter = counter();
        for n in 0..1000 {
            counter.cast(Add(n)).unwrap();
        }
        assert_eq!(counter.call(Total, SECOND).await, Ok(499_500));
        assert_eq!(
            counter.call(Seen, SECOND).await.unwrap(),
            (0..1000).collect::<Vec<_>>()
        );
    });
}

#[test]
fn a_full_mailbox_hands_the_message_back_and_high_messages_have_their_own_room() {
    on_shards(1, || async {
        let options = SpawnOptions {
            capacity: 4,
            ..SpawnOptions::default()
        };
        let counter = spawn_actor(options, Counter::default()).unwrap();
        for n in 0..4 {
            counter.cast(Add(n)).unwrap();
        }
        match counter.cast(Add(77)) {
            Err(SendError::Full(Add(77))) => {}
            other => panic!("wanted Full(Add(77)), found {:?}", other.is_ok()),
        }
        // The high message overtakes all four: it sees nothing handled.
        assert_eq!(
            counter.call(Urgent, SECOND).await.unwrap(),
            Vec::<u64>::new()
        );
        assert_eq!(counter.call(Total, SECOND).await.unwrap(), 6);
    });
}

#[test]
fn a_panic_restarts_the_child_in_place_and_loses_only_its_message() {
    on_shards(1, || async {
        let supervisor = Supervisor::new("test", Intensity::default());
        let counter = supervisor
            .spawn(SpawnOptions::default(), Counter::default)
            .unwrap();
        counter.cast(Add(1)).unwrap();
        let boom = counter.call(Boom, SECOND);
        counter.cast(Add(10)).unwrap();
        assert_eq!(boom.await, Err(CallError::Panicked));
        // A fresh incarnation behind the same address, with the mailbox it had.
        assert_eq!(counter.call(Total, SECOND).await, Ok(10));
    });
}

#[test]
fn restart_intensity_is_respected() {
    on_shards(1, || async {
        let intensity = Intensity {
            restarts: 3,
            within: Duration::from_secs(60),
        };
        let supervisor = Supervisor::new("test", intensity);
        let counter = supervisor
            .spawn(SpawnOptions::default(), Counter::default)
            .unwrap();
        for _ in 0..4 {
            assert_eq!(counter.call(Boom, SECOND).await, Err(CallError::Panicked));
        }
        assert!(supervisor.gave_up());
        assert!(matches!(counter.cast(Add(1)), Err(SendError::Closed(_))));
    });
}

#[test]
fn a_stopped_actor_refuses_and_tells_those_who_wait() {
    on_shards(1, || async {
        let counter = counter();
        counter.cast(Stop).unwrap();
        let waiting = counter.call(Total, SECOND);
        assert!(matches!(waiting.await, Err(CallError::Stopped)));
        assert!(matches!(
            counter.call(Total, SECOND).await,
            Err(CallError::Closed(Total))
        ));
    });
}

#[test]
fn a_call_times_out() {
    struct Slow;
    struct Ask;
    impl Actor for Slow {}
    impl Message for Ask {
        type Reply = ();
    }
    impl Handler<Ask> for Slow {
        fn handle(&mut self, _: Ask, _: &mut Context<'_, Self>) {
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    on_shards(2, || async {
        let (address, found) = std::sync::mpsc::channel();
        ninefold_runtime::current_handle()
            .unwrap()
            .spawn_on(1, move || async move {
                address
                    .send(spawn_actor(SpawnOptions::default(), Slow).unwrap())
                    .unwrap();
            })
            .unwrap();
        let slow = loop {
            match found.try_recv() {
                Ok(slow) => break slow,
                Err(_) => yield_now().await,
            }
        };
        let started = std::time::Instant::now();
        let answer = slow.call(Ask, Duration::from_millis(5)).await;
        assert!(matches!(answer, Err(CallError::TimedOut)));
        assert!(started.elapsed() >= Duration::from_millis(5));
        // The late answer finds nobody and harms nobody.
        sleep(Duration::from_millis(40)).await;
        assert!(slow.call(Ask, SECOND).await.is_ok());
    });
}

#[test]
fn names_are_found_typed_and_free_after_death() {
    on_shards(1, || async {
        struct Other;
        impl Actor for Other {}
        let first = counter();
        register("counter", first).unwrap();
        assert!(register("counter", counter()).is_err());
        assert!(lookup::<Other>("counter").is_none());
        assert_eq!(lookup::<Counter>("counter").unwrap().id(), first.id());
        let _ = first.call(Stop, SECOND).await;
        register("counter", counter()).unwrap();
        assert!(unregister("counter"));
        assert!(lookup::<Counter>("counter").is_none());
    });
}

#[test]
fn a_panicking_task_ends_alone() {
    on_shards(1, || async {
        spawn_local(async { panic!("this task only") }).unwrap();
        spawn_local(async {
            yield_now().await;
            panic!("this one too")
        })
        .unwrap();
        sleep(Duration::from_millis(2)).await;
        assert_eq!(counter().call(Add(5), SECOND).await, Ok(5));
    });
}

#[test]
fn timeouts_cut_off_and_let_through() {
    on_shards(1, || async {
        let cut = timeout(Duration::from_millis(3), std::future::pending::<()>()).await;
        assert!(cut.is_err());
        assert_eq!(timeout(SECOND, async { 7 }).await, Ok(7));
        let started = std::time::Instant::now();
        sleep(Duration::from_millis(10)).await;
        assert!(started.elapsed() >= Duration::from_millis(10));
    });
}

#[test]
fn an_address_from_parts_is_checked_before_it_is_served() {
    on_shards(1, || async {
        struct Other;
        impl Actor for Other {}
        impl Handler<Total> for Other {
            fn handle(&mut self, _: Total, _: &mut Context<'_, Self>) -> u64 {
                unreachable!("no Other was ever spawned")
            }
        }
        let counter = counter();
        let (shard, index, generation) = counter.id().to_parts();
        let same = Address::<Counter>::from_parts(shard, index, generation).unwrap();
        assert_eq!(same.call(Total, SECOND).await, Ok(0));
        let wrong = Address::<Other>::from_parts(shard, index, generation).unwrap();
        assert!(wrong.call(Total, SECOND).await.is_err());
        for guess in [
            (9, index, generation),
            (shard, 1 << 20, generation),
            (shard, index, 99),
        ] {
            let stray = Address::<Counter>::from_parts(guess.0, guess.1, guess.2).unwrap();
            assert!(stray.call(Total, SECOND).await.is_err());
        }
    });
}

#[test]
fn timer_messages_reach_the_actor_and_die_with_it() {
    struct Clock {
        ticks: u64,
    }
    struct Tick;
    impl Message for Tick {
        type Reply = ();
    }
    impl Actor for Clock {
        fn started(&mut self, context: &mut Context<'_, Self>) {
            context.send_after(Duration::from_millis(1), Tick);
        }
    }
    impl Handler<Tick> for Clock {
        fn handle(&mut self, _: Tick, context: &mut Context<'_, Self>) {
            self.ticks += 1;
            let kept = context.send_after(Duration::from_millis(1), Tick);
            if self.ticks == 3 {
                context.cancel(kept);
            }
        }
    }
    impl Handler<Total> for Clock {
        fn handle(&mut self, _: Total, _: &mut Context<'_, Self>) -> u64 {
            self.ticks
        }
    }
    on_shards(1, || async {
        let clock = spawn_actor(SpawnOptions::default(), Clock { ticks: 0 }).unwrap();
        sleep(Duration::from_millis(30)).await;
        assert_eq!(clock.call(Total, SECOND).await, Ok(3));
    });
}
