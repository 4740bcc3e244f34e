//! What can be seen of actors from outside, and that looking never hangs.
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

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ninefold_runtime::limits::QUARANTINE_MAX;
use ninefold_runtime::{
    Actor, ActorId, Address, AsyncHandler, Class, Config, Context, Down, Handler, InjectError,
    Intensity, Message, Runtime, SpawnError, SpawnOptions, Supervisor, current_handle, inspect,
    sleep, spawn_actor, yield_now,
};
use support::{SECOND, on, on_shards};

#[derive(Default)]
struct Adder {
    total: u64,
    panics_when_told: bool,
}
#[derive(Clone, Debug, PartialEq)]
struct Add(u64);
struct Urgent;
/// Panics, and leaves a specimen.
struct Boom(u64);
struct Watch(ActorId);
struct Link(ActorId);
struct Leave;
struct Hold;
/// Keeps the shard until the flag is set.
struct Stick(Arc<AtomicBool>);

messages! {
    Add => u64;
    Urgent => (), High;
    Watch => ();
    Link => ();
    Leave => ();
    Hold => ();
    Stick => ();
}
impl Message for Boom {
    type Reply = ();
    fn specimen(&self) -> Option<Box<dyn Any + Send>> {
        Some(Box::new(Add(self.0)))
    }
}
impl Actor for Adder {
    fn down(&mut self, _: Down, _: &mut Context<'_, Self>) {
        assert!(!self.panics_when_told, "told");
    }
}
impl Handler<Add> for Adder {
    fn handle(&mut self, add: Add, _: &mut Context<'_, Self>) -> u64 {
        self.total += add.0;
        self.total
    }
}
impl Handler<Urgent> for Adder {
    fn handle(&mut self, _: Urgent, _: &mut Context<'_, Self>) {}
}
impl Handler<Boom> for Adder {
    fn handle(&mut self, boom: Boom, _: &mut Context<'_, Self>) {
        assert!(boom.0 == 0, "boom {}", boom.0);
    }
}
impl Handler<Watch> for Adder {
    fn handle(&mut self, watch: Watch, context: &mut Context<'_, Self>) {
        self.panics_when_told = true;
        context.monitor(watch.0);
    }
}
impl Handler<Link> for Adder {
    fn handle(&mut self, link: Link, context: &mut Context<'_, Self>) {
        context.link(link.0);
    }
}
impl Handler<Leave> for Adder {
    fn handle(&mut self, _: Leave, context: &mut Context<'_, Self>) {
        context.stop();
    }
}
impl Handler<Stick> for Adder {
    fn handle(&mut self, stick: Stick, _: &mut Context<'_, Self>) {
        while !stick.0.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
impl AsyncHandler<Hold> for Adder {
    const EXCLUSIVE: bool = true;
    fn handle(&mut self, _: Hold, _: &mut Context<'_, Self>) -> impl Future<Output = ()> + 'static {
        sleep(Duration::from_millis(10))
    }
}

fn adder() -> Address<Adder> {
    spawn_actor(SpawnOptions::default(), Adder::default()).unwrap()
}

fn supervised(restarts: u32) -> Address<Adder> {
    let intensity = Intensity {
        restarts,
        within: Duration::from_secs(60),
    };
    Supervisor::new("test", intensity)
        .spawn(SpawnOptions::default(), Adder::default)
        .unwrap()
}

fn start(shards: usize) -> Runtime {
    let config = Config {
        shards: Some(shards),
        ..Config::default()
    };
    Runtime::start(&config).unwrap()
}

#[test]
fn a_shard_that_is_stuck_gives_an_error_and_hides_neither_its_accounts_nor_the_others() {
    let runtime = start(2);
    let handle = runtime.handle();
    let here = handle.run_on(0, || async { adder() }).unwrap().id();
    let there = handle.run_on(1, || async { supervised(9) }).unwrap();
    let boom = move || async move { drop(there.call(Boom(1), SECOND).await) };
    handle.run_on(1, boom).unwrap();
    let go_on = Arc::new(AtomicBool::new(false));
    let stick = Stick(go_on.clone());
    handle
        .run_on(1, move || async move { there.cast(stick).unwrap() })
        .unwrap();
    let soon = Duration::from_millis(30);
    assert_eq!(handle.inspect(there.id(), soon), Err(InjectError::Late(1)));
    assert!(handle.quarantine(1, soon).is_err());
    assert_eq!(handle.set_shares(0, 200, soon), Err(InjectError::Late(1)));
    let info = handle.inspect(here, SECOND).unwrap().unwrap();
    assert_eq!((info.id, info.incarnation), (here, 0));
    assert!(info.actor_type.ends_with("Adder"));
    let accounts = handle.accounts(1).unwrap();
    assert!(accounts.actors().any(|actor| actor.name.ends_with("Adder")));
    go_on.store(true, Ordering::SeqCst);
    let info = handle.inspect(there.id(), 10 * SECOND).unwrap().unwrap();
    assert_eq!(info.incarnation, 1);
    // The look that was given up has not taken it away.
    assert_eq!(handle.quarantine(1, SECOND).unwrap().len(), 1);
    assert_eq!(handle.quarantine(1, SECOND).unwrap().len(), 0);
    assert_eq!(
        handle.quarantine(2, SECOND).err(),
        Some(InjectError::NoShard(2))
    );
    assert!(handle.accounts(2).is_none());
    assert_eq!(runtime.shutdown(SECOND).threads_lost, 0);
    assert_eq!(
        handle.inspect(here, soon),
        Err(InjectError::Late(0)),
        "it has ended"
    );
}

#[test]
fn a_snapshot_shows_queue_class_and_ties() {
    on_shards(1, || async {
        let options = SpawnOptions {
            class: Class::Low,
            ..SpawnOptions::default()
        };
        let seen = spawn_actor(options, Adder::default()).unwrap();
        let (linked, watcher) = (adder(), adder());
        linked.call(Link(seen.id()), SECOND).await.unwrap();
        watcher.call(Watch(seen.id()), SECOND).await.unwrap();
        seen.call(Add(1), SECOND).await.unwrap();
        let hold = seen.call(Hold, SECOND);
        while !inspect(seen.id()).unwrap().suspended {
            yield_now().await;
        }
        for n in 0..3 {
            seen.cast(Add(n)).unwrap();
        }
        seen.cast(Urgent).unwrap();
        let info = inspect(seen.id()).unwrap();
        assert_eq!((info.queued_high, info.queued_normal), (1, 3));
        assert_eq!(
            (info.mailbox_bytes, info.class, info.group),
            (4 * 64, Class::Low, 0)
        );
        assert_eq!((info.links, info.watchers), (1, 1));
        assert!(
            info.suspended && !info.hibernated && info.cpu_ns > 0,
            "{info:?}"
        );
        hold.await.unwrap();
        seen.call(Add(0), SECOND).await.unwrap();
        let info = inspect(seen.id()).unwrap();
        assert_eq!(
            (info.queued_normal, info.mailbox_bytes, info.suspended),
            (0, 0, false)
        );
        let (shard, index, generation) = seen.id().to_parts();
        let named = Address::<Adder>::from_parts(shard, index, generation).unwrap();
        assert_eq!(inspect(named.id()).map(|info| info.id), Some(seen.id()));
        let _ = linked.call(Leave, SECOND).await;
        yield_now().await;
        assert_eq!(inspect(linked.id()), None);
        assert_eq!(inspect(seen.id()).unwrap().links, 0);
    });
}

#[test]
fn who_lives_elsewhere_is_not_mixed_up() {
    let other = start(1);
    let stranger = other.handle().run_on(0, || async { adder() }).unwrap().id();
    let handle = other.handle();
    on_shards(2, move || async move {
        let there = on(1, || async { adder() }).await.id();
        let here = adder().id();
        assert!(inspect(there).is_none() && inspect(stranger).is_none());
        let own = current_handle().unwrap();
        assert_eq!(own.inspect(stranger, SECOND), Ok(None));
        assert_eq!(own.inspect(here, SECOND).unwrap().unwrap().id, here);
        assert_eq!(own.inspect(there, SECOND).unwrap().unwrap().id, there);
        assert_eq!(
            handle.inspect(stranger, SECOND).unwrap().unwrap().id,
            stranger
        );
    });
    assert_eq!(other.shutdown(SECOND).threads_lost, 0);
}

#[test]
fn pages_show_every_actor_once_and_no_task() {
    let runtime = start(1);
    let handle = runtime.handle();
    let spawned = handle.run_on(0, || async {
        let ids: Vec<ActorId> = (0..5000).map(|_| adder().id()).collect();
        for gone in &ids[10..20] {
            let (shard, index, generation) = gone.to_parts();
            let gone = Address::<Adder>::from_parts(shard, index, generation).unwrap();
            let _ = gone.call(Leave, SECOND).await;
        }
        yield_now().await;
        ids
    });
    let spawned = spawned.unwrap();
    for max in [0, 7, 1 << 20] {
        let (mut from, mut found) = (Some(0), Vec::new());
        while let Some(at) = from {
            let page = handle.actors(0, at, max, SECOND).unwrap();
            assert!(page.actors.len() <= max.max(1));
            let own = (page.actors.into_iter())
                .filter(|info| !info.actor_type.starts_with("ninefold_runtime::"));
            found.extend(own.map(|info| info.id));
            from = page.next;
        }
        let alive: Vec<ActorId> = [&spawned[..10], &spawned[20..]].concat();
        assert_eq!(found, alive, "by {max}");
    }
    assert_eq!(handle.actors(0, u32::MAX, 7, SECOND).unwrap().next, None);
    assert_eq!(runtime.shutdown(SECOND).threads_lost, 0);
}

#[test]
fn accounts_name_types_and_count_what_was_sent() {
    on_shards(1, || async {
        let (one, other) = (supervised(9), adder());
        for n in 0..60 {
            one.cast(Add(n)).unwrap();
        }
        // In one turn with what comes before it.
        one.cast(Boom(3)).unwrap();
        for _ in 0..7 {
            one.cast(Urgent).unwrap();
        }
        for n in 0..40 {
            other.call(Add(n), SECOND).await.unwrap();
        }
        one.call(Add(0), SECOND).await.unwrap();
        let _ = other.call(Leave, SECOND).await;
        sleep(Duration::from_millis(2)).await;
        let handle = current_handle().unwrap();
        let accounts = handle.accounts(0).unwrap();
        let adder = accounts
            .actors()
            .find(|a| a.name.ends_with("::Adder"))
            .unwrap();
        let counts = [&adder.spawned, &adder.live, &adder.restarts].map(|c| c.get());
        assert_eq!(counts, [2, 1, 1]);
        let mut handled: Vec<_> = adder
            .messages()
            .map(|m| {
                (
                    m.name.rsplit("::").next().unwrap(),
                    m.class,
                    m.handled.get(),
                )
            })
            .collect();
        handled.sort_unstable_by_key(|(name, ..)| *name);
        let wanted = [
            ("Add", Class::Normal, 101),
            ("Boom", Class::Normal, 1),
            ("Leave", Class::Normal, 1),
            ("Urgent", Class::High, 7),
        ];
        assert_eq!(handled, wanted);
        assert_eq!(handle.stats(0).unwrap().messages.get(), 110);
        let parts: u64 = adder.messages().map(|message| message.run.sum()).sum();
        assert!(parts > 0 && parts <= adder.cpu());
    });
}

#[test]
fn quarantine_keeps_the_message_the_panic_and_its_place() {
    on_shards(1, || async {
        let child = supervised(9);
        child.call(Boom(0), SECOND).await.unwrap();
        assert!(child.call(Boom(7), SECOND).await.is_err());
        assert!(child.call(Boom(8), SECOND).await.is_err());
        let kept = current_handle().unwrap().quarantine(0, SECOND).unwrap();
        assert_eq!(kept.len(), 2);
        for (one, n) in kept.iter().zip([7, 8]) {
            assert_eq!(one.actor, child.id());
            assert!(one.actor_type.ends_with("Adder") && one.message_type.ends_with("Boom"));
            assert_eq!(one.panic.message, format!("boom {n}"));
            assert!(
                one.panic.place.contains("inspection.rs:"),
                "{}",
                one.panic.place
            );
            assert_eq!(u64::from(one.incarnation), n - 7);
            let specimen = one.message.as_ref().unwrap().downcast_ref::<Add>();
            assert_eq!(specimen, Some(&Add(n)));
        }
        let backtrace = kept[0].panic.backtrace.as_ref().unwrap().to_string();
        assert!(backtrace.contains("inspection"), "{backtrace}");
        assert!(kept[1].panic.backtrace.is_none(), "one a second");
        sleep(Duration::from_millis(1100)).await;
        assert!(child.call(Boom(9), SECOND).await.is_err());
        let kept = current_handle().unwrap().quarantine(0, SECOND).unwrap();
        assert!(kept[0].panic.backtrace.is_some());
    });
}

/// Panics when it starts.
struct Stillborn;
impl Actor for Stillborn {
    fn started(&mut self, _: &mut Context<'_, Self>) {
        panic!("stillborn");
    }
}

#[test]
fn a_panic_outside_of_a_message_is_not_blamed_on_the_message_before() {
    on_shards(1, || async {
        let (watcher, watched) = (adder(), adder());
        watcher.call(Watch(watched.id()), SECOND).await.unwrap();
        watcher.call(Boom(0), SECOND).await.unwrap();
        let _ = watched.call(Leave, SECOND).await;
        while inspect(watcher.id()).is_some() {
            yield_now().await;
        }
        let refused = spawn_actor(SpawnOptions::default(), Stillborn).map(|_| ());
        assert!(matches!(refused, Err(SpawnError::Died(_))));
        let kept = current_handle().unwrap().quarantine(0, SECOND).unwrap();
        let panics: Vec<_> = kept.iter().map(|one| one.panic.message.as_str()).collect();
        assert_eq!(panics, ["told", "stillborn"]);
        assert!(kept.iter().all(|one| one.message.is_none()));
        assert_eq!(kept[1].message_type, "started");
    });
}

#[test]
fn a_storm_of_panics_keeps_the_latest() {
    on_shards(1, || async {
        let child = supervised(u32::MAX);
        for n in 1..=100 {
            assert!(child.call(Boom(n), SECOND).await.is_err());
        }
        let kept = current_handle().unwrap().quarantine(0, SECOND).unwrap();
        assert_eq!(kept.len(), QUARANTINE_MAX);
        assert_eq!(kept[QUARANTINE_MAX - 1].panic.message, "boom 100");
        assert_eq!(kept[0].panic.message, "boom 37");
    });
}
