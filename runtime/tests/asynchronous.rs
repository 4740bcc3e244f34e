//! Handlers that wait, on a real shard: answers, order, panics, ends and restarts.
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

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ninefold_runtime::{
    Actor, Address, AsyncHandler, CallError, Context, ExitReason, Handler, Intensity, SpawnOptions,
    Supervisor, sleep, spawn_actor, yield_now,
};
use support::{SECOND, on_shards, stat, until};

/// What happened, in order; shared with the futures, which live on the same shard.
type Log = Rc<RefCell<Vec<String>>>;

struct Clerk(Log);

/// Waits so many milliseconds beside others.
#[derive(PartialEq)]
struct Look(u64);
/// Waits so many milliseconds alone.
#[derive(PartialEq)]
struct Order(u64);
#[derive(PartialEq)]
struct Note(&'static str);
/// Panics in the future; alone if told so.
#[derive(PartialEq)]
struct Slip;
#[derive(PartialEq)]
struct SlipAlone;
/// Panics before there is a future.
#[derive(PartialEq)]
struct Stumble;
struct Leave;

messages! {
    Look => u64;
    Order => u64;
    Note => ();
    Slip => ();
    SlipAlone => ();
    Stumble => ();
    Leave => (), High;
}

impl Actor for Clerk {
    fn started(&mut self, context: &mut Context<'_, Self>) {
        note(&self.0, format!("started {}", context.incarnation()));
    }
}

fn note(log: &Log, what: impl Into<String>) {
    log.borrow_mut().push(what.into());
}

/// Writes into the log when it is dropped.
struct Tail(Log);
impl Drop for Tail {
    fn drop(&mut self) {
        note(&self.0, "dropped");
    }
}

impl AsyncHandler<Look> for Clerk {
    fn handle(
        &mut self,
        look: Look,
        _: &mut Context<'_, Self>,
    ) -> impl Future<Output = u64> + 'static {
        let tail = Tail(self.0.clone());
        async move {
            sleep(Duration::from_millis(look.0)).await;
            std::mem::forget(tail);
            look.0
        }
    }
}
impl AsyncHandler<Order> for Clerk {
    const EXCLUSIVE: bool = true;
    fn handle(
        &mut self,
        order: Order,
        _: &mut Context<'_, Self>,
    ) -> impl Future<Output = u64> + 'static {
        let log = self.0.clone();
        async move {
            note(&log, format!("order {}", order.0));
            let tail = Tail(log.clone());
            sleep(Duration::from_millis(order.0)).await;
            std::mem::forget(tail);
            note(&log, format!("done {}", order.0));
            order.0
        }
    }
}
async fn slip() {
    yield_now().await;
    panic!("slipped");
}
impl AsyncHandler<Slip> for Clerk {
    fn handle(&mut self, _: Slip, _: &mut Context<'_, Self>) -> impl Future<Output = ()> + 'static {
        slip()
    }
}
impl AsyncHandler<SlipAlone> for Clerk {
    const EXCLUSIVE: bool = true;
    fn handle(
        &mut self,
        _: SlipAlone,
        _: &mut Context<'_, Self>,
    ) -> impl Future<Output = ()> + 'static {
        slip()
    }
}
impl AsyncHandler<Stumble> for Clerk {
    const EXCLUSIVE: bool = true;
    #[expect(unreachable_code, reason = "the panic comes before the future")]
    fn handle(
        &mut self,
        _: Stumble,
        _: &mut Context<'_, Self>,
    ) -> impl Future<Output = ()> + 'static {
        panic!("stumbled");
        slip()
    }
}
impl Handler<Note> for Clerk {
    fn handle(&mut self, what: Note, _: &mut Context<'_, Self>) {
        note(&self.0, what.0);
    }
}
impl Handler<Leave> for Clerk {
    fn handle(&mut self, _: Leave, context: &mut Context<'_, Self>) {
        context.stop();
    }
}

fn clerk() -> (Address<Clerk>, Log) {
    let log = Log::default();
    let clerk = spawn_actor(SpawnOptions::default(), Clerk(log.clone())).unwrap();
    (clerk, log)
}

/// Ends whom it is told to end.
struct Reaper;
struct End(ninefold_runtime::ActorId, ExitReason);
messages! { End => (); }
impl Actor for Reaper {}
impl Handler<End> for Reaper {
    fn handle(&mut self, end: End, context: &mut Context<'_, Self>) {
        context.exit(end.0, end.1);
    }
}

#[test]
fn answers_of_handlers_that_wait_side_by_side_may_overtake_each_other() {
    on_shards(1, || async {
        let (clerk, log) = clerk();
        let slow = clerk.call(Look(30), SECOND);
        let fast = clerk.call(Look(1), SECOND);
        clerk.cast(Note("meanwhile")).unwrap();
        assert_eq!(fast.await, Ok(1));
        note(&log, "fast");
        assert_eq!(slow.await, Ok(30));
        note(&log, "slow");
        assert_eq!(*log.borrow(), ["started 0", "meanwhile", "fast", "slow"]);
        let alive = stat(0, |s| s.tasks_spawned.get() - s.tasks_ended.get());
        assert_eq!(alive, 1, "the test's own task");
    });
}

#[test]
fn nothing_else_is_handled_while_an_exclusive_handler_waits() {
    on_shards(1, || async {
        let (clerk, log) = clerk();
        let first = clerk.call(Order(10), SECOND);
        clerk.cast(Note("after the first")).unwrap();
        let second = clerk.call(Order(1), SECOND);
        clerk.cast(Note("after the second")).unwrap();
        assert_eq!((first.await, second.await), (Ok(10), Ok(1)));
        yield_now().await;
        let wanted = [
            "started 0",
            "order 10",
            "done 10",
            "after the first",
            "order 1",
            "done 1",
            "after the second",
        ];
        assert_eq!(*log.borrow(), wanted);
    });
}

#[test]
fn a_panic_in_the_future_is_told_and_the_actor_goes_on() {
    on_shards(1, || async {
        let (clerk, log) = clerk();
        assert_eq!(clerk.call(Slip, SECOND).await, Err(CallError::Panicked));
        let alone = clerk.call(SlipAlone, SECOND);
        clerk.cast(Note("still here")).unwrap();
        assert_eq!(alone.await, Err(CallError::Panicked));
        clerk.call(Note("and now"), SECOND).await.unwrap();
        assert_eq!(*log.borrow(), ["started 0", "still here", "and now"]);
        assert_eq!(stat(0, |s| s.tasks_panicked.get()), 2);
        assert_eq!(stat(0, |s| s.panics.get()), 2);
        assert_eq!(stat(0, |s| s.actors_stopped.get()), 0);
    });
}

#[test]
fn a_panic_before_there_is_a_future_ends_the_actor() {
    on_shards(1, || async {
        let (clerk, _) = clerk();
        assert_eq!(clerk.call(Stumble, SECOND).await, Err(CallError::Panicked));
        assert!(matches!(
            clerk.call(Note(""), SECOND).await,
            Err(CallError::Closed(_))
        ));
    });
}

#[test]
fn an_actor_that_stops_takes_its_futures_along() {
    on_shards(1, || async {
        let (clerk, log) = clerk();
        let looks = [clerk.call(Look(500), SECOND), clerk.call(Look(500), SECOND)];
        yield_now().await;
        clerk.cast(Leave).unwrap();
        for look in looks {
            assert_eq!(look.await, Err(CallError::Stopped));
        }
        assert_eq!(*log.borrow(), ["started 0", "dropped", "dropped"]);
        until("the tasks are gone", || {
            stat(0, |s| s.tasks_spawned.get() - s.tasks_ended.get()) == 1
        })
        .await;
    });
}

#[test]
fn a_restart_ends_the_exclusive_handler_and_the_next_incarnation_works() {
    on_shards(1, || async {
        let log = Log::default();
        let shared = log.clone();
        let supervisor = Supervisor::new("test", Intensity::default());
        let clerk = supervisor
            .spawn(SpawnOptions::default(), move || Clerk(shared.clone()))
            .unwrap();
        let reaper = spawn_actor(SpawnOptions::default(), Reaper).unwrap();
        for (n, why) in [ExitReason::Failed("enough".into()), ExitReason::Killed]
            .into_iter()
            .enumerate()
        {
            log.borrow_mut().clear();
            let order = clerk.call(Order(500), SECOND);
            yield_now().await;
            clerk.cast(Note("queued")).unwrap();
            reaper.cast(End(clerk.id(), why)).unwrap();
            assert_eq!(order.await, Err(CallError::Stopped));
            clerk.call(Note("asked"), SECOND).await.unwrap();
            let started = format!("started {}", n + 1);
            let wanted = ["order 500", "dropped", &started, "queued", "asked"];
            assert_eq!(*log.borrow(), wanted);
            assert_eq!(clerk.call(Order(1), SECOND).await, Ok(1));
        }
        assert_eq!(stat(0, |s| s.actors_restarted.get()), 2);
    });
}
