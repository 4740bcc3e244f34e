//! Migration: actors move between turns, and nobody who sends to them can tell.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use ninefold_runtime::{
    Actor, ActorId, Address, AsyncHandler, CallError, Class, Context, Down, Exit, ExitReason,
    Handler, Intensity, Message, MigrateError, SpawnError, SpawnOptions, Supervisor, Where,
    current_handle, migrate, sleep, spawn_actor, spawn_local, spawn_on, yield_now,
};
use support::{SECOND, eventually, on, on_shards};

/// Notes what it hears, by sender; too large to live in its slot.
#[derive(Default)]
struct Nomad {
    heard: HashMap<u16, Vec<u64>>,
    shards: Vec<u16>,
    open: bool,
    dropped: Option<std::sync::mpsc::Sender<u16>>,
}
impl Actor for Nomad {
    fn stopped(&mut self, _: &ExitReason) {
        if let Some(tell) = &self.dropped {
            tell.send(0).unwrap();
        }
    }
}

#[derive(Debug, PartialEq)]
struct Say {
    from: u16,
    number: u64,
}
impl Message for Say {
    type Reply = u64;
}
impl Handler<Say> for Nomad {
    fn handle(&mut self, say: Say, context: &mut Context<'_, Self>) -> u64 {
        self.heard.entry(say.from).or_default().push(say.number);
        if self.shards.last() != Some(&context.shard()) {
            self.shards.push(context.shard());
        }
        say.number
    }
}

/// The same in the express lane.
#[derive(Debug, PartialEq)]
struct Shout(Say);
impl Message for Shout {
    type Reply = u64;
    const CLASS: Class = Class::High;
}
impl Handler<Shout> for Nomad {
    fn handle(&mut self, shout: Shout, _: &mut Context<'_, Self>) -> u64 {
        let heard = self.heard.entry(1000 + shout.0.from).or_default();
        heard.push(shout.0.number);
        shout.0.number
    }
}

#[derive(Debug, PartialEq)]
struct Report;
impl Message for Report {
    type Reply = (HashMap<u16, Vec<u64>>, Vec<u16>);
    const CLASS: Class = Class::Low;
}
impl Handler<Report> for Nomad {
    fn handle(&mut self, _: Report, _: &mut Context<'_, Self>) -> <Report as Message>::Reply {
        (self.heard.clone(), self.shards.clone())
    }
}

struct Go(u16);
impl Message for Go {
    type Reply = Result<(), MigrateError>;
}
impl Handler<Go> for Nomad {
    fn handle(&mut self, go: Go, context: &mut Context<'_, Self>) -> Result<(), MigrateError> {
        context.migrate_to(go.0)
    }
}

#[derive(Debug, PartialEq)]
struct Stop;
impl Message for Stop {
    type Reply = ();
}
impl Handler<Stop> for Nomad {
    fn handle(&mut self, _: Stop, context: &mut Context<'_, Self>) {
        context.fail("enough");
    }
}

/// Postponed until the actor is open.
#[derive(Debug, PartialEq)]
struct Later(u64);
impl Message for Later {
    type Reply = ();
}
impl Handler<Later> for Nomad {
    fn handle(&mut self, later: Later, _: &mut Context<'_, Self>) {
        self.heard.entry(99).or_default().push(later.0);
    }

    fn accepts(&self, _: &Later) -> bool {
        self.open
    }
}

struct Open;
impl Message for Open {
    type Reply = ();
}
impl Handler<Open> for Nomad {
    fn handle(&mut self, _: Open, context: &mut Context<'_, Self>) {
        self.open = true;
        context.transition();
    }
}

struct StateTimeout;
impl Message for StateTimeout {
    type Reply = ();
}
impl Handler<StateTimeout> for Nomad {
    fn handle(&mut self, _: StateTimeout, context: &mut Context<'_, Self>) {
        context.state_timeout(SECOND * 100, Open);
    }
}

struct Wait;
impl Message for Wait {
    type Reply = ();
}
impl AsyncHandler<Wait> for Nomad {
    fn handle(&mut self, _: Wait, _: &mut Context<'_, Self>) -> impl Future<Output = ()> + 'static {
        sleep(Duration::from_millis(20))
    }
}

/// Ties itself to another and notes what becomes of it.
#[derive(Default)]
struct Friend {
    told: Vec<(ActorId, ExitReason)>,
}
impl Actor for Friend {
    const TRAPS_EXITS: bool = true;

    fn exited(&mut self, exit: Exit, _: &mut Context<'_, Self>) {
        self.told.push((exit.from, exit.why));
    }
    fn down(&mut self, down: Down, _: &mut Context<'_, Self>) {
        self.told.push((down.actor, down.why));
    }
}
struct Tie(ActorId, bool);
impl Message for Tie {
    type Reply = ();
}
impl Handler<Tie> for Friend {
    fn handle(&mut self, tie: Tie, context: &mut Context<'_, Self>) {
        if tie.1 {
            context.link(tie.0);
        } else {
            context.monitor(tie.0);
        }
    }
}
struct Kill(ActorId);
impl Message for Kill {
    type Reply = ();
}
impl Handler<Kill> for Friend {
    fn handle(&mut self, kill: Kill, context: &mut Context<'_, Self>) {
        context.exit(kill.0, ExitReason::Killed);
    }
}
#[derive(Debug, PartialEq)]
struct Told;
impl Message for Told {
    type Reply = Vec<(ActorId, ExitReason)>;
}
impl Handler<Told> for Friend {
    fn handle(&mut self, _: Told, _: &mut Context<'_, Self>) -> Vec<(ActorId, ExitReason)> {
        self.told.clone()
    }
}

async fn nomad_on(shard: u16) -> Address<Nomad> {
    spawn_on(Where::Shard(shard), SpawnOptions::default(), Nomad::default)
        .await
        .unwrap()
}

async fn friend_on(shard: u16) -> Address<Friend> {
    spawn_on(
        Where::Shard(shard),
        SpawnOptions::default(),
        Friend::default,
    )
    .await
    .unwrap()
}

const NUMBERS: u64 = 8_000;

/// Says all numbers in order, in both lanes, again and again while they are refused.
async fn say_all(to: Address<Nomad>, from: u16) {
    for number in 0..NUMBERS {
        let mut say = Say { from, number };
        while let Err(refused) = to.cast(say) {
            say = refused.into_message();
            yield_now().await;
        }
        if number.is_multiple_of(16) {
            let mut shout = Shout(Say { from, number });
            while let Err(refused) = to.cast(shout) {
                shout = refused.into_message();
                yield_now().await;
            }
        }
    }
}

#[test]
fn streams_of_two_senders_stay_whole_and_in_order_through_moves() {
    on_shards(3, || async {
        let nomad = nomad_on(1).await;
        let (tell, told) = std::sync::mpsc::channel();
        for from in [0_u16, 1, 2] {
            let tell = tell.clone();
            let send = move || async move {
                say_all(nomad, from).await;
                tell.send(()).unwrap();
            };
            current_handle()
                .unwrap()
                .spawn_on(from.into(), send)
                .unwrap();
        }
        drop(tell);
        let mut latest = nomad;
        for to in [2, 0, 1, 2] {
            sleep(Duration::from_millis(5)).await;
            latest = loop {
                match migrate(latest, Where::Shard(to)).await {
                    Ok(moved) => break moved,
                    Err(MigrateError::Busy(_)) => yield_now().await,
                    Err(why) => panic!("{why}"),
                }
            };
            assert_eq!(latest.id().shard(), to);
        }
        eventually("all have spoken", async || {
            matches!(
                told.try_recv(),
                Err(std::sync::mpsc::TryRecvError::Disconnected)
            )
        })
        .await;
        eventually("all is heard, in order and once", async || {
            let (heard, shards) = nomad.call(Report, SECOND * 5).await.unwrap();
            assert_eq!(shards[0], 1);
            let whole = heard.values().map(Vec::len).sum::<usize>();
            for (from, numbers) in &heard {
                let step = if *from >= 1000 { 16 } else { 1 };
                let in_order = (0..).step_by(step).take(numbers.len());
                assert!(numbers.iter().copied().eq(in_order), "sender {from}");
            }
            whole as u64 == 3 * (NUMBERS + NUMBERS / 16)
        })
        .await;
    });
}

#[test]
fn calls_in_flight_are_answered_and_the_mailbox_moves_in_order() {
    on_shards(2, || async {
        let nomad = spawn_actor(SpawnOptions::default(), Nomad::default()).unwrap();
        nomad.cast(Go(1)).unwrap();
        let ask = |number| nomad.call(Say { from: 0, number }, SECOND);
        let calls: Vec<_> = (0..500).map(ask).collect();
        for (number, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await, Ok(number as u64));
        }
        eventually("it has moved", async || {
            let (heard, shards) = nomad.call(Report, SECOND).await.unwrap();
            assert!(heard[&0].iter().copied().eq(0..heard[&0].len() as u64));
            if shards.last() == Some(&1) {
                return true;
            }
            let number = heard[&0].len() as u64;
            nomad.call(Say { from: 0, number }, SECOND).await.unwrap();
            false
        })
        .await;
        let stats = current_handle().unwrap();
        assert_eq!(stats.stats(0).unwrap().actors_moved.get(), 1);
    });
}

#[test]
fn what_waits_in_the_mailbox_travels_and_comes_before_what_is_sent_later() {
    on_shards(2, || async {
        let nomad = spawn_actor(SpawnOptions::default(), Nomad::default()).unwrap();
        (0..10).for_each(|n| nomad.cast(Later(n)).unwrap());
        nomad
            .call(Say { from: 1, number: 0 }, SECOND)
            .await
            .unwrap();
        let moving = migrate(nomad, Where::Shard(1));
        // Sent while the actor may be here, on its way or there.
        let (tell, told) = std::sync::mpsc::channel();
        spawn_local(async move {
            for number in 0..2000 {
                while nomad.cast(Say { from: 0, number }).is_err() {
                    yield_now().await;
                }
                if number % 10 == 0 {
                    yield_now().await;
                }
            }
            tell.send(()).unwrap();
        })
        .unwrap();
        let moved = moving.await.unwrap();
        assert_eq!(moved.id().shard(), 1);
        eventually("all is sent", async || told.try_recv().is_ok()).await;
        nomad.cast(Open).unwrap();
        (10..12).for_each(|n| nomad.cast(Later(n)).unwrap());
        let (heard, _) = nomad.call(Report, SECOND).await.unwrap();
        assert_eq!(heard[&99], (0..12).collect::<Vec<_>>());
        assert_eq!(heard[&0], (0..2000).collect::<Vec<_>>());
    });
}

#[test]
fn links_and_monitors_hold_across_moves_in_both_directions() {
    on_shards(3, || async {
        let nomad = nomad_on(0).await;
        let (watcher, linked, late) = (friend_on(1).await, friend_on(2).await, friend_on(0).await);
        watcher.call(Tie(nomad.id(), false), SECOND).await.unwrap();
        linked.call(Tie(nomad.id(), true), SECOND).await.unwrap();
        let second = migrate(nomad, Where::Shard(1)).await.unwrap();
        let third = migrate(second, Where::Shard(2)).await.unwrap();
        late.call(Tie(third.id(), false), SECOND).await.unwrap();
        late.call(Tie(nomad.id(), false), SECOND).await.unwrap();
        nomad
            .call(Say { from: 0, number: 1 }, SECOND)
            .await
            .unwrap();
        // Whoever ends, each friend is told in the name it used.
        nomad.call(Stop, SECOND).await.unwrap();
        let why = ExitReason::Failed("enough".into());
        for (friend, count) in [(watcher, 1), (linked, 1), (late, 2)] {
            eventually("the friends are told", async || {
                friend.call(Told, SECOND).await.unwrap().len() == count
            })
            .await;
            let told = friend.call(Told, SECOND).await.unwrap();
            assert!(told.iter().all(|(_, reason)| *reason == why), "{told:?}");
            assert!(told.iter().any(|(id, _)| *id == nomad.id()), "{told:?}");
        }
        let gone = nomad.call(Say { from: 0, number: 2 }, SECOND).await;
        assert!(matches!(
            gone,
            Err(CallError::Closed(_) | CallError::Stopped)
        ));
    });
}

#[test]
fn a_kill_and_the_end_of_a_linked_actor_reach_one_that_has_moved() {
    on_shards(2, || async {
        let friend = friend_on(0).await;
        let (killed, bereaved) = (nomad_on(0).await, nomad_on(0).await);
        let other = nomad_on(1).await;
        for nomad in [killed, bereaved] {
            friend.call(Tie(nomad.id(), false), SECOND).await.unwrap();
        }
        // `friend` links both: what it links to ends with reason, and takes the moved one along.
        let moved = migrate(killed, Where::Shard(1)).await.unwrap();
        friend.call(Kill(killed.id()), SECOND).await.unwrap();
        eventually("the kill follows", async || {
            let told = friend.call(Told, SECOND).await.unwrap();
            told.contains(&(killed.id(), ExitReason::Killed))
        })
        .await;
        assert!(moved.call(Report, SECOND).await.is_err());
        let moved = migrate(bereaved, Where::Shard(1)).await.unwrap();
        let linker = friend_on(1).await;
        linker.call(Tie(bereaved.id(), true), SECOND).await.unwrap();
        linker.call(Tie(other.id(), true), SECOND).await.unwrap();
        friend.call(Kill(linker.id()), SECOND).await.unwrap();
        eventually("the end of the linked one follows", async || {
            let told = friend.call(Told, SECOND).await.unwrap();
            told.contains(&(bereaved.id(), ExitReason::Killed))
        })
        .await;
        assert!(moved.call(Report, SECOND).await.is_err());
    });
}

#[test]
fn what_cannot_follow_keeps_the_actor_where_it_is() {
    on_shards(2, || async {
        let supervisor = Supervisor::new("tied", Intensity::default());
        let supervised = supervisor
            .spawn(SpawnOptions::default(), Nomad::default)
            .unwrap();
        let refused = migrate(supervised, Where::Shard(1)).await.map(|a| a.id());
        assert_eq!(refused, Err(MigrateError::Supervised));
        let timed = nomad_on(0).await;
        timed.call(StateTimeout, SECOND).await.unwrap();
        assert_eq!(
            timed.call(Go(1), SECOND).await.unwrap(),
            Err(MigrateError::Timed)
        );
        timed.call(Open, SECOND).await.unwrap();
        let waiting = nomad_on(0).await;
        waiting.cast(Wait).unwrap();
        waiting
            .call(Say { from: 0, number: 1 }, SECOND)
            .await
            .unwrap();
        let refused = migrate(waiting, Where::Shard(1)).await.map(|a| a.id());
        assert_eq!(refused, Err(MigrateError::Waiting));
        let nowhere = migrate(waiting, Where::Shard(5)).await.map(|a| a.id());
        let no_shard = SpawnError::NoShard {
            wanted: 5,
            shards: 2,
        };
        assert_eq!(nowhere, Err(MigrateError::NoRoom(no_shard)));
        let (shard, index, generation) = timed.id().to_parts();
        let forged = Address::<Mover>::from_parts(shard, index, generation).unwrap();
        let refused = migrate(forged, Where::Shard(1)).await.map(|a| a.id());
        assert_eq!(refused, Err(MigrateError::NoActor));
        let moved = migrate(timed, Where::Shard(1)).await.unwrap();
        let again = migrate(timed, Where::Here).await.map(|a| a.id());
        assert_eq!(again, Err(MigrateError::Moved(moved.id())));
        for nomad in [supervised, timed, waiting, moved] {
            assert_eq!(nomad.call(Say { from: 7, number: 7 }, SECOND).await, Ok(7));
        }
    });
}

#[test]
fn an_actor_moves_a_limited_number_of_times_and_its_forwarders_end_with_it() {
    on_shards(2, || async {
        let handle = current_handle().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let nomad = Nomad {
            dropped: Some(tell),
            ..Nomad::default()
        };
        let first = spawn_actor(SpawnOptions::default(), nomad).unwrap();
        let mut latest = first;
        for n in 1..=8 {
            latest = migrate(latest, Where::Shard(n % 2)).await.unwrap();
        }
        let refused = migrate(latest, Where::Shard(1)).await.map(|a| a.id());
        assert_eq!(refused, Err(MigrateError::TooOften));
        assert_eq!(first.call(Say { from: 1, number: 3 }, SECOND).await, Ok(3));
        first.call(Stop, SECOND).await.unwrap();
        eventually("it said goodbye, once", async || told.try_recv().is_ok()).await;
        assert!(told.try_recv().is_err());
        eventually("nothing is left of it", async || {
            // Services and, on shard 0, this test's task.
            let cells = |shard: usize| handle.stats(shard).unwrap().cells_live.get();
            on(1, || async {}).await;
            cells(0) <= 4 && cells(1) <= 4
        })
        .await;
    });
}

struct Mover;
impl Actor for Mover {}
