//! What an idle shard gives back: state of idle actors, memory of a burst.
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

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ninefold_runtime::{
    Actor, Context, Handler, Intensity, Message, SpawnOptions, Supervisor, inspect, sleep,
    spawn_actor,
};
use support::{SECOND, on_shards, stat, until};

#[derive(Default)]
struct Sleeper {
    hibernated: Rc<Cell<u32>>,
    panics: bool,
}
struct Poke;
struct Parcel([u64; 7]);
messages! { Poke => (); }
impl Message for Parcel {
    type Reply = u64;
    fn bytes(&self) -> usize {
        0
    }
}
impl Actor for Sleeper {
    fn hibernate(&mut self) {
        self.hibernated.set(self.hibernated.get() + 1);
        assert!(!self.panics, "in hibernate");
    }
}
impl Handler<Poke> for Sleeper {
    fn handle(&mut self, _: Poke, _: &mut Context<'_, Self>) {}
}
impl Handler<Parcel> for Sleeper {
    fn handle(&mut self, parcel: Parcel, _: &mut Context<'_, Self>) -> u64 {
        parcel.0.iter().sum()
    }
}

fn idle_for(span: Duration) -> SpawnOptions {
    SpawnOptions {
        hibernate: Some(span),
        ..SpawnOptions::default()
    }
}

#[test]
fn an_actor_hibernates_once_in_each_idle_period() {
    on_shards(1, || async {
        let hibernated = Rc::new(Cell::new(0));
        let sleeper = Sleeper {
            hibernated: hibernated.clone(),
            panics: false,
        };
        let sleeper = spawn_actor(idle_for(Duration::from_millis(5)), sleeper).unwrap();
        for period in 1..=3 {
            until("it hibernates", || hibernated.get() == period).await;
            assert!(inspect(sleeper.id()).unwrap().hibernated);
            // The shard goes on with others; a second time would be a mistake.
            sleep(Duration::from_millis(40)).await;
            assert_eq!(hibernated.get(), period);
            sleeper.call(Poke, SECOND).await.unwrap();
            assert!(!inspect(sleeper.id()).unwrap().hibernated);
        }
        assert_eq!(stat(0, |s| s.actors_hibernated.get()), 3);
    });
}

#[test]
fn an_actor_that_has_never_run_is_idle_from_its_start_only() {
    on_shards(1, || async {
        let eager = spawn_actor(idle_for(Duration::from_millis(1)), Sleeper::default()).unwrap();
        let patient = spawn_actor(idle_for(60 * SECOND), Sleeper::default()).unwrap();
        until("one hibernates", || inspect(eager.id()).unwrap().hibernated).await;
        sleep(Duration::from_millis(20)).await;
        assert!(!inspect(patient.id()).unwrap().hibernated);
    });
}

#[test]
fn a_panic_in_hibernate_harms_nobody() {
    on_shards(1, || async {
        let supervisor = Supervisor::new("test", Intensity::default());
        let make = || Sleeper {
            panics: true,
            ..Sleeper::default()
        };
        let sleeper = supervisor
            .spawn(idle_for(Duration::from_millis(1)), make)
            .unwrap();
        until("it panics", || stat(0, |s| s.panics.get()) == 1).await;
        sleeper.call(Poke, SECOND).await.unwrap();
    });
}

#[test]
fn the_memory_of_a_burst_is_given_back() {
    on_shards(1, || async {
        let options = SpawnOptions {
            capacity: u32::MAX,
            bytes: u32::MAX,
            ..SpawnOptions::default()
        };
        let sleeper = spawn_actor(options, Sleeper::default()).unwrap();
        sleep(Duration::from_millis(1)).await;
        let before = stat(0, |s| s.arena_bytes.get());
        for n in 0..100_000 {
            sleeper.cast(Parcel([n; 7])).unwrap();
        }
        until("the gauge shows the burst", || {
            stat(0, |s| s.arena_bytes.get()) > 10 << 20
        })
        .await;
        until("it is given back", || {
            stat(0, |s| s.arena_trims.get()) == 1 && stat(0, |s| s.arena_bytes.get()) < 4 << 20
        })
        .await;
        assert!(before < 4 << 20, "{before}");
        assert_eq!(stat(0, |s| s.mailbox_messages.get()), 0);
        sleep(Duration::from_millis(5)).await;
        assert_eq!(
            stat(0, |s| s.arena_trims.get()),
            1,
            "there is no more to give"
        );
        // The pool works on with what it has kept.
        assert_eq!(sleeper.call(Parcel([1; 7]), SECOND).await.unwrap(), 7);
    });
}
