//! Names with one owner, process groups: across shards, through deaths.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use ninefold_runtime::{
    Actor, Address, CallError, Context, ExitReason, Handler, Message, RegisterError, SpawnOptions,
    Where, current_handle, groups, lookup, register, register_global, spawn_on, unregister_global,
    whereis, yield_now,
};
use support::{SECOND, eventually, on, on_shards};

#[derive(Default)]
struct Owner {
    heard: u64,
}
impl Actor for Owner {}

struct Other;
impl Actor for Other {}

#[derive(Clone)]
struct Hear;
impl Message for Hear {
    type Reply = ();
}
impl Handler<Hear> for Owner {
    fn handle(&mut self, _: Hear, _: &mut Context<'_, Self>) {
        self.heard += 1;
    }
}
#[derive(Debug, PartialEq)]
struct Heard;
impl Message for Heard {
    type Reply = u64;
}
impl Handler<Heard> for Owner {
    fn handle(&mut self, _: Heard, _: &mut Context<'_, Self>) -> u64 {
        self.heard
    }
}
struct Die;
impl Message for Die {
    type Reply = ();
}
impl Handler<Die> for Owner {
    fn handle(&mut self, _: Die, context: &mut Context<'_, Self>) {
        context.stop();
    }
}

async fn owner_on(shard: u16) -> Address<Owner> {
    spawn_on(Where::Shard(shard), SpawnOptions::default(), Owner::default)
        .await
        .unwrap()
}

#[test]
fn of_racing_registrations_exactly_one_wins_and_the_others_learn_who() {
    on_shards(3, || async {
        let mut racers = Vec::new();
        for shard in 0..3_u16 {
            racers.push(owner_on(shard).await);
        }
        let (tell, told) = std::sync::mpsc::channel();
        for (shard, racer) in racers.iter().copied().enumerate() {
            let tell = tell.clone();
            let race = move || async move {
                for n in 0..200 {
                    let outcome = register_global(&format!("name-{n}"), racer).await;
                    tell.send((n, racer.id(), outcome)).unwrap();
                }
            };
            current_handle().unwrap().spawn_on(shard, race).unwrap();
        }
        drop(tell);
        let mut winners = vec![None; 200];
        let mut losers = Vec::new();
        for _ in 0..600 {
            let (n, id, outcome) = loop {
                match told.try_recv() {
                    Ok(one) => break one,
                    Err(_) => yield_now().await,
                }
            };
            match outcome {
                Ok(()) => assert_eq!(winners[n].replace(id), None, "two owners of name-{n}"),
                Err(why) => losers.push((n, why)),
            }
        }
        assert_eq!(losers.len(), 400);
        for (n, why) in losers {
            let name = format!("name-{n}");
            let holder = winners[n].unwrap();
            assert_eq!(why, RegisterError::Taken { name, holder });
        }
        for (n, winner) in winners.into_iter().enumerate() {
            let found = whereis::<Owner>(&format!("name-{n}")).await.unwrap();
            assert_eq!(found.map(|found| found.id()), winner);
        }
    });
}

#[test]
fn a_name_is_free_when_its_owner_has_died_and_no_shard_goes_on_believing() {
    on_shards(3, || async {
        let (first, second) = (owner_on(1).await, owner_on(2).await);
        register_global("leader", first).await.unwrap();
        for shard in 0..3 {
            let found = on(shard, || whereis::<Owner>("leader")).await.unwrap();
            assert_eq!(found.map(|found| found.id()), Some(first.id()));
        }
        assert!(whereis::<Other>("leader").await.unwrap().is_none());
        let taken = register_global("leader", second).await;
        assert!(matches!(taken, Err(RegisterError::Taken { holder, .. }) if holder == first.id()));
        first.call(Die, SECOND).await.unwrap();
        eventually("the name is free", async || {
            register_global("leader", second).await.is_ok()
        })
        .await;
        for shard in 0..3 {
            eventually("the new owner is found", async || {
                let found = on(shard, || whereis::<Owner>("leader")).await.unwrap();
                found.map(|found| found.id()) == Some(second.id())
            })
            .await;
        }
        assert_eq!(first.call(Heard, SECOND).await, Err(CallError::Stopped));
        assert_eq!(unregister_global("leader").await, Ok(true));
        assert_eq!(unregister_global("leader").await, Ok(false));
        eventually("nobody is found", async || {
            whereis::<Owner>("leader").await.unwrap().is_none()
        })
        .await;
    });
}

#[test]
fn a_name_told_once_is_known_without_asking() {
    on_shards(2, || async {
        let owner = owner_on(1).await;
        for n in 0..20 {
            let name = format!("known-{n}");
            register_global(&name, owner).await.unwrap();
            whereis::<Owner>(&name).await.unwrap().unwrap();
        }
        let handle = current_handle().unwrap();
        let sent = || handle.stats(0).unwrap().mesh_sent.get();
        let before = sent();
        for n in 0..2000 {
            let name = format!("known-{}", n % 20);
            let found = whereis::<Owner>(&name).await.unwrap();
            assert_eq!(found.map(|found| found.id()), Some(owner.id()));
        }
        assert_eq!(sent(), before);
    });
}

#[test]
fn thousands_of_names_are_taken_back_at_once_through_full_lanes() {
    const NAMES: usize = 6000;
    on_shards(3, || async {
        let owner = owner_on(1).await;
        for n in 0..NAMES {
            register_global(&format!("n{n}"), owner).await.unwrap();
        }
        let known = on(2, || async {
            for n in 0..NAMES {
                whereis::<Owner>(&format!("n{n}")).await.unwrap().unwrap();
            }
        });
        known.await;
        owner.call(Die, SECOND).await.unwrap();
        eventually("all are forgotten", async || {
            let found = on(2, || async {
                for n in 0..NAMES {
                    if whereis::<Owner>(&format!("n{n}")).await.unwrap().is_some() {
                        return true;
                    }
                }
                false
            });
            !found.await
        })
        .await;
    });
}

#[test]
fn names_have_a_length_and_a_dead_actor_keeps_none() {
    on_shards(2, || async {
        let owner = owner_on(1).await;
        let long = "x".repeat(256);
        let too_long = Err(RegisterError::TooLong { bytes: 256 });
        assert_eq!(register(&long, owner), too_long);
        assert_eq!(register_global(&long, owner).await, too_long);
        let longest = "x".repeat(255);
        register(&longest, owner).unwrap();
        assert_eq!(lookup::<Owner>(&longest).map(|a| a.id()), Some(owner.id()));
        owner.call(Die, SECOND).await.unwrap();
        eventually("a name given to a dead actor is free", async || {
            // Taken at first, perhaps, and given up when the home hears of the end.
            let _ = register_global("ghost", owner).await;
            whereis::<Owner>("ghost").await.unwrap().is_none()
        })
        .await;
    });
}

#[test]
fn members_of_a_group_are_seen_everywhere_until_they_end() {
    on_shards(3, || async {
        let mut all = Vec::new();
        for shard in [0, 1, 2, 1] {
            let member = owner_on(shard).await;
            groups::join("workers", member).await.unwrap();
            groups::join("workers", member).await.unwrap();
            all.push(member);
        }
        let stranger = spawn_on(Where::Shard(2), SpawnOptions::default(), || Other);
        groups::join("workers", stranger.await.unwrap())
            .await
            .unwrap();
        for shard in 0..3 {
            eventually("everybody is seen", async || {
                let count = || async { groups::members::<Owner>("workers").len() };
                on(shard, count).await == 4
            })
            .await;
        }
        let local = on(1, || async {
            groups::local_members::<Owner>("workers").len()
        });
        assert_eq!(local.await, 2);
        let sent = groups::broadcast::<Owner, _, _>("workers", &Hear);
        assert_eq!((sent.sent, sent.refused), (4, 0));
        for member in &all {
            assert_eq!(member.call(Heard, SECOND).await, Ok(1));
        }
        assert_eq!(groups::leave("workers", all[0]).await, Ok(true));
        assert_eq!(groups::leave("workers", all[0]).await, Ok(false));
        all[1].call(Die, SECOND).await.unwrap();
        for shard in 0..3 {
            eventually("two are left", async || {
                let ids = || async {
                    let members = groups::members::<Owner>("workers");
                    members.iter().map(Address::id).collect::<Vec<_>>()
                };
                let mut seen = on(shard, ids).await;
                seen.sort_by_key(|id| id.to_parts());
                let mut left = [all[2].id(), all[3].id()];
                left.sort_by_key(|id| id.to_parts());
                seen == left
            })
            .await;
        }
        let gone = groups::join("workers", all[1]).await;
        assert_eq!(gone, Err(groups::GroupError::NoActor));
    });
}

#[test]
fn a_member_of_thousands_of_groups_leaves_them_all_through_full_lanes() {
    const GROUPS: usize = 6000;
    on_shards(3, || async {
        let (member, other) = (owner_on(1).await, owner_on(1).await);
        for n in 0..GROUPS {
            groups::join(&format!("g{n}"), member).await.unwrap();
        }
        groups::join("g7", other).await.unwrap();
        let seen = |shard| {
            on(shard, || async {
                (0..GROUPS)
                    .map(|n| groups::members::<Owner>(&format!("g{n}")).len())
                    .sum::<usize>()
            })
        };
        for shard in [0, 2] {
            eventually("all joins are seen", async || {
                seen(shard).await == GROUPS + 1
            })
            .await;
        }
        member.call(Die, SECOND).await.unwrap();
        for shard in [0, 1, 2] {
            eventually("all are left but one", async || seen(shard).await == 1).await;
        }
    });
}

#[test]
fn a_start_elsewhere_reports_where_it_failed() {
    use ninefold_runtime::SpawnError;
    on_shards(2, || async {
        let options = SpawnOptions::default();
        let nowhere = spawn_on(Where::Shard(7), options, Owner::default).await;
        let wanted = SpawnError::NoShard {
            wanted: 7,
            shards: 2,
        };
        assert_eq!(nowhere.map(|a| a.id()), Err(wanted));
        let broken = spawn_on(Where::Shard(1), options, || -> Owner { panic!("no parts") }).await;
        let why = broken.map(|a| a.id()).unwrap_err();
        assert!(
            matches!(&why, SpawnError::Died(ExitReason::Panicked(p)) if p.message == "no parts"),
            "{why}"
        );
        for _ in 0..100 {
            let spawned = spawn_on(Where::LeastDelayed, options, Owner::default).await;
            assert!(spawned.unwrap().id().shard() < 2);
        }
        assert_eq!(
            owner_on(1).await.id().shard(),
            1,
            "the porter survives a panic"
        );
    });
}
