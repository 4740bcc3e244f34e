//! Exits on real shards: links, monitors, kills, and signals that overtake a flood.
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

use std::time::Duration;

use ninefold_runtime::{
    Actor, ActorId, Address, Context, Down, Exit, ExitReason, Handler, Intensity, Monitor,
    SendError, SpawnOptions, Supervisor, sleep, spawn_actor, yield_now,
};
use support::{SECOND, on, on_shards, stat, until};

/// Ends with those it is linked to.
#[derive(Default)]
struct Plain {
    handled: u32,
    downs: Vec<Down>,
}
/// Hears of their ends instead.
#[derive(Default)]
struct Trapper {
    exits: Vec<Exit>,
}

struct Link(ActorId);
struct Unlink(ActorId);
struct Watch(ActorId);
struct Unwatch(Monitor);
struct Send(ActorId, ExitReason);
#[derive(PartialEq)]
struct Fail;
struct Leave;
struct Boom;
#[derive(PartialEq)]
struct Count;
struct Downs;
struct Exits;

messages! {
    Link => ();
    Unlink => ();
    Watch => Monitor;
    Unwatch => ();
    Send => ();
    Fail => ();
    Leave => ();
    Boom => ();
    Count => u32;
    Downs => Vec<Down>;
    Exits => Vec<Exit>;
}

impl Actor for Plain {
    fn down(&mut self, down: Down, _: &mut Context<'_, Self>) {
        self.downs.push(down);
    }
}
impl Actor for Trapper {
    const TRAPS_EXITS: bool = true;
    fn exited(&mut self, exit: Exit, _: &mut Context<'_, Self>) {
        self.exits.push(exit);
    }
}

macro_rules! both {
    ($($message:ident($this:ident, $m:ident, $context:ident) -> $reply:ty $body:block)*) => {$(
        impl Handler<$message> for Plain {
            fn handle(&mut $this, $m: $message, $context: &mut Context<'_, Self>) -> $reply $body
        }
        impl Handler<$message> for Trapper {
            fn handle(&mut $this, $m: $message, $context: &mut Context<'_, Self>) -> $reply $body
        }
    )*};
}
both! {
    Link(self, m, context) -> () { context.link(m.0) }
    Unlink(self, m, context) -> () { context.unlink(m.0) }
    Watch(self, m, context) -> Monitor { context.monitor(m.0) }
    Unwatch(self, m, context) -> () { context.demonitor(m.0) }
    Send(self, m, context) -> () { context.exit(m.0, m.1) }
    Fail(self, _m, context) -> () { context.fail("on purpose") }
    Leave(self, _m, context) -> () { context.stop() }
    Boom(self, _m, _context) -> () { panic!("boom") }
}
impl Handler<Count> for Plain {
    fn handle(&mut self, _: Count, _: &mut Context<'_, Self>) -> u32 {
        self.handled += 1;
        self.handled
    }
}
impl Handler<Downs> for Plain {
    fn handle(&mut self, _: Downs, _: &mut Context<'_, Self>) -> Vec<Down> {
        self.downs.clone()
    }
}
impl Handler<Exits> for Trapper {
    fn handle(&mut self, _: Exits, _: &mut Context<'_, Self>) -> Vec<Exit> {
        self.exits.clone()
    }
}

fn plain() -> Address<Plain> {
    spawn_actor(SpawnOptions::default(), Plain::default()).unwrap()
}

fn trapper() -> Address<Trapper> {
    spawn_actor(SpawnOptions::default(), Trapper::default()).unwrap()
}

async fn exits(trapper: Address<Trapper>) -> Vec<Exit> {
    trapper.call(Exits, SECOND).await.unwrap()
}

/// Waits until `trapper` has heard of so many ends.
async fn heard(trapper: Address<Trapper>, ends: usize) -> Vec<Exit> {
    for _ in 0..10_000 {
        let exits = exits(trapper).await;
        if exits.len() >= ends {
            return exits;
        }
        sleep(Duration::from_micros(200)).await;
    }
    panic!("heard of fewer than {ends} ends");
}

async fn downs(plain: Address<Plain>, ends: usize) -> Vec<Down> {
    for _ in 0..10_000 {
        let downs = plain.call(Downs, SECOND).await.unwrap();
        if downs.len() >= ends {
            return downs;
        }
        sleep(Duration::from_micros(200)).await;
    }
    panic!("heard of fewer than {ends} ends");
}

fn failed() -> ExitReason {
    ExitReason::Failed("on purpose".into())
}

fn is_gone(plain: Address<Plain>) -> bool {
    matches!(plain.cast(Count), Err(SendError::Closed(_)))
}

#[test]
fn an_abnormal_end_spreads_through_links_both_ways_and_a_normal_one_does_not() {
    on_shards(1, || async {
        for ends_first in [0, 1] {
            let pair = [plain(), plain()];
            let far = plain();
            pair[0].call(Link(pair[1].id()), SECOND).await.unwrap();
            pair[1].call(Link(far.id()), SECOND).await.unwrap();
            pair[ends_first].cast(Fail).unwrap();
            until("the chain has ended", || {
                [pair[0], pair[1], far].into_iter().all(is_gone)
            })
            .await;
        }
        assert_eq!(stat(0, |s| s.actors_stopped.get()), 6);
        let (one, other) = (plain(), plain());
        one.call(Link(other.id()), SECOND).await.unwrap();
        other.cast(Leave).unwrap();
        until("it has left", || is_gone(other)).await;
        sleep(Duration::from_millis(2)).await;
        assert!(one.call(Count, SECOND).await.is_ok());
    });
}

#[test]
fn who_unlinks_lives_on() {
    on_shards(2, || async {
        let one = plain();
        let there = on(1, || async { plain() }).await;
        for other in [plain(), there] {
            // The same actor, named from outside.
            let (shard, index, generation) = other.id().to_parts();
            let named = Address::<Plain>::from_parts(shard, index, generation).unwrap();
            one.call(Link(named.id()), SECOND).await.unwrap();
            one.call(Unlink(other.id()), SECOND).await.unwrap();
            let _ = other.call(Fail, SECOND).await;
            sleep(Duration::from_millis(5)).await;
            assert!(one.call(Count, SECOND).await.is_ok());
        }
    });
}

#[test]
fn a_trapper_hears_why_also_from_another_shard() {
    on_shards(2, || async {
        let trapper = trapper();
        let here = plain();
        let there = on(1, || async { plain() }).await;
        for other in [here, there] {
            trapper.call(Link(other.id()), SECOND).await.unwrap();
        }
        // A call to the other side comes after the link, which travels in an earlier lane.
        let _ = there.call(Count, SECOND).await;
        let _ = here.call(Fail, SECOND).await;
        let found = heard(trapper, 1).await;
        assert_eq!((found[0].from, &found[0].why), (here.id(), &failed()));
        let _ = there.call(Boom, SECOND).await;
        let found = heard(trapper, 2).await;
        assert_eq!(found[1].from, there.id());
        let ExitReason::Panicked(caught) = &found[1].why else {
            panic!("{:?}", found[1].why)
        };
        assert_eq!(caught.message, "boom");
        assert!(caught.place.contains("exits.rs"), "{}", caught.place);
    });
}

#[test]
fn a_kill_cannot_be_trapped_but_by_those_who_are_linked() {
    on_shards(1, || async {
        let (killer, victim, witness, bystander) = (plain(), trapper(), trapper(), plain());
        witness.call(Link(victim.id()), SECOND).await.unwrap();
        bystander.call(Link(victim.id()), SECOND).await.unwrap();
        killer
            .call(Send(victim.id(), failed()), SECOND)
            .await
            .unwrap();
        let found = heard(victim, 1).await;
        assert_eq!((found[0].from, &found[0].why), (killer.id(), &failed()));
        killer
            .call(Send(victim.id(), ExitReason::Killed), SECOND)
            .await
            .unwrap();
        let found = heard(witness, 1).await;
        assert_eq!(
            (found[0].from, &found[0].why),
            (victim.id(), &ExitReason::Killed)
        );
        until("the bystander is gone", || is_gone(bystander)).await;
        assert!(victim.call(Exits, SECOND).await.is_err());
        assert!(
            killer.call(Count, SECOND).await.is_ok(),
            "it was not linked"
        );
    });
}

#[test]
fn a_tie_to_an_actor_that_is_gone_is_told_at_once() {
    on_shards(2, || async {
        let (trapper, watcher) = (trapper(), plain());
        let here = plain();
        let there = on(1, || async { plain() }).await;
        for gone in [here, there] {
            let _ = gone.call(Leave, SECOND).await;
        }
        let nowhere = Address::<Plain>::from_parts(9, 3, 1).unwrap();
        for (n, gone) in [here, there, nowhere].into_iter().enumerate() {
            trapper.call(Link(gone.id()), SECOND).await.unwrap();
            let found = heard(trapper, n + 1).await;
            assert_eq!(found[n].why, ExitReason::NoActor);
            let monitor = watcher.call(Watch(gone.id()), SECOND).await.unwrap();
            let found = downs(watcher, n + 1).await;
            assert_eq!(
                (found[n].monitor, &found[n].why),
                (monitor, &ExitReason::NoActor)
            );
        }
        let fragile = plain();
        fragile.cast(Link(nowhere.id())).unwrap();
        until("it has ended too", || is_gone(fragile)).await;
    });
}

#[test]
fn a_monitor_tells_once_of_the_end_and_not_of_a_restart() {
    on_shards(2, || async {
        let watcher = plain();
        let (child, supervisor) = (
            on(1, || async {
                let intensity = Intensity {
                    restarts: 2,
                    within: Duration::from_secs(60),
                };
                let supervisor = Supervisor::new("test", intensity);
                supervisor
                    .spawn(SpawnOptions::default(), Plain::default)
                    .unwrap()
            })
            .await,
            (),
        );
        let () = supervisor;
        let kept = watcher.call(Watch(child.id()), SECOND).await.unwrap();
        let ended = watcher.call(Watch(child.id()), SECOND).await.unwrap();
        assert_ne!(kept, ended);
        watcher.call(Unwatch(ended), SECOND).await.unwrap();
        for _ in 0..2 {
            let _ = child.call(Boom, SECOND).await;
            assert_eq!(
                child.call(Count, SECOND).await,
                Ok(1),
                "a fresh incarnation"
            );
        }
        assert_eq!(downs(watcher, 0).await, []);
        let _ = child.call(Boom, SECOND).await;
        let found = downs(watcher, 1).await;
        assert_eq!((found[0].monitor, found[0].actor), (kept, child.id()));
        assert!(matches!(found[0].why, ExitReason::Panicked(_)));
        sleep(Duration::from_millis(5)).await;
        assert_eq!(downs(watcher, 1).await.len(), 1);
        assert_eq!(stat(1, |s| s.actors_restarted.get()), 2);
    });
}

#[test]
fn an_exit_overtakes_a_thousand_messages() {
    on_shards(1, || async {
        let (victim, killer, witness) = (plain(), plain(), trapper());
        witness.call(Link(victim.id()), SECOND).await.unwrap();
        yield_now().await;
        let before = stat(0, |s| s.messages_dropped.get());
        // The killer is asked first and the flood comes in the same turn, before either runs.
        killer.cast(Send(victim.id(), failed())).unwrap();
        let calls: Vec<_> = (0..1000).map(|_| victim.call(Count, SECOND)).collect();
        let mut answered = 0;
        for call in calls {
            answered += u64::from(call.await.is_ok());
        }
        assert_eq!(heard(witness, 1).await[0].why, failed());
        assert_eq!(answered, 0, "the exit was first");
        assert_eq!(stat(0, |s| s.messages_dropped.get()) - before, 1000);
    });
}

#[test]
fn who_fails_in_its_handler_answers_first() {
    on_shards(1, || async {
        let (one, trapper) = (plain(), trapper());
        trapper.call(Link(one.id()), SECOND).await.unwrap();
        let queued = [one.call(Fail, SECOND), one.call(Fail, SECOND)];
        let [first, second] = queued;
        assert_eq!(first.await, Ok(()));
        assert!(second.await.is_err(), "it has ended");
        let found = heard(trapper, 1).await;
        assert_eq!(found[0].why, failed());
    });
}
