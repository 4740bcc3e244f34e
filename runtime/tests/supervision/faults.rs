//! Children that die at start, in drop, a hundred thousand times, or not at all.

use std::time::Duration;

use ninefold_runtime::clock::monotonic_ns;
use ninefold_runtime::limits::RESTART_RETRY;
use ninefold_runtime::{
    Actor, CallError, Context, ExitReason, Handler, SpawnOptions, Supervisor, current_handle, sleep,
};
use ninefold_runtime::{SpawnError, timeout};

use crate::probe::{
    Add, Alone, Boom, Later, Log, Look, MANY, Probe, SECONDS, at_most, probes, shared, until,
};
use crate::support::on_shards;

/// Dies in the way that its start is told to.
struct Sickly(u32);

impl Actor for Sickly {
    fn started(&mut self, context: &mut Context<'_, Self>) {
        match self.0 {
            1 => panic!("in started"),
            2 => context.stop(),
            3 => context.fail("not well"),
            _ => {}
        }
    }
}

impl Handler<Boom> for Sickly {
    fn handle(&mut self, _: Boom, _: &mut Context<'_, Self>) {
        panic!("boom");
    }
}

impl Handler<Look> for Sickly {
    fn handle(&mut self, _: Look, context: &mut Context<'_, Self>) -> (u32, u64) {
        (context.incarnation(), u64::from(self.0))
    }
}

#[test]
fn a_first_start_that_fails_reaches_who_asked_for_it() {
    on_shards(1, || async {
        let supervisor = Supervisor::new("test", MANY);
        let died = |way| {
            let spawned = supervisor.spawn(SpawnOptions::default(), move || Sickly(way));
            match spawned {
                Err(SpawnError::Died(why)) => why.to_string(),
                other => panic!("wanted Died, found {other:?}"),
            }
        };
        assert_eq!(died(1), "panic: in started");
        assert_eq!(died(2), "normal");
        assert_eq!(died(3), "failed: not well");
        let made = supervisor.spawn(SpawnOptions::default(), || -> Sickly { panic!("in make") });
        assert!(matches!(
            made,
            Err(SpawnError::Died(ExitReason::Panicked(_)))
        ));
        let made = supervisor.try_spawn(SpawnOptions::default(), || {
            "seven".parse::<u32>().map(Sickly)
        });
        let text = made.unwrap_err().to_string();
        assert!(text.contains("invalid digit"), "{text}");
        // Nothing is left of them, and none was restarted.
        assert_eq!(supervisor.count(), 0);
        assert!(!supervisor.gave_up());
        supervisor
            .spawn(SpawnOptions::default(), || Sickly(0))
            .unwrap();
    });
}

#[test]
fn a_restart_that_fails_is_tried_again_later_and_counts() {
    on_shards(1, || async {
        // Fails to start in each way in turn, then is well.
        let made = shared(0);
        let supervisor = Supervisor::new("test", at_most(4));
        let sickly = supervisor
            .spawn(SpawnOptions::default(), move || {
                made.set(made.get() + 1);
                Sickly(if made.get() == 1 { 0 } else { made.get() - 1 })
            })
            .unwrap();
        let begin = monotonic_ns();
        let boom = sickly.call(Boom, SECONDS);
        let look = sickly.call(Look, SECONDS);
        assert_eq!(boom.await, Err(CallError::Panicked));
        assert_eq!(look.await, Ok((4, 4)));
        // Three attempts failed, and the shard was free after each.
        let retries = 3 * RESTART_RETRY;
        assert!(u128::from(monotonic_ns() - begin) >= retries.as_nanos());
        assert_eq!(supervisor.children()[0].restarts, 4);
        assert_eq!(sickly.call(Boom, SECONDS).await, Err(CallError::Panicked));
        assert!(supervisor.gave_up(), "each attempt was counted");
    });
}

#[test]
fn a_child_that_never_starts_again_makes_its_supervisor_give_up() {
    on_shards(1, || async {
        let first = shared(0);
        let supervisor = Supervisor::new("test", at_most(5));
        let make = move || match first.replace(1) {
            0 => Sickly(0),
            _ => panic!("in make"),
        };
        let sickly = supervisor.spawn(SpawnOptions::default(), make).unwrap();
        let boom = sickly.call(Boom, SECONDS);
        let look = sickly.call(Look, SECONDS);
        assert_eq!(boom.await, Err(CallError::Panicked));
        assert!(matches!(look.await, Err(CallError::Stopped)));
        assert!(supervisor.gave_up());
    });
}

/// Panics in its handler, and again when it is dropped.
struct Bitter(Box<u32>);

impl Actor for Bitter {
    fn stopped(&mut self, _: &ExitReason) {
        panic!("in stopped");
    }
}
impl Drop for Bitter {
    fn drop(&mut self) {
        panic!("in drop of {}", self.0);
    }
}
impl Handler<Boom> for Bitter {
    fn handle(&mut self, _: Boom, _: &mut Context<'_, Self>) {
        panic!("boom");
    }
}
impl Handler<Add> for Bitter {
    fn handle(&mut self, add: Add, _: &mut Context<'_, Self>) {
        *self.0 += u32::try_from(add.0).unwrap();
    }
}

#[test]
fn a_panic_in_drop_and_in_stopped_changes_nothing() {
    on_shards(1, || async {
        let supervisor = Supervisor::new("test", MANY);
        let make = || Bitter(Box::new(1));
        let bitter = supervisor.spawn(SpawnOptions::default(), make).unwrap();
        for _ in 0..3 {
            assert_eq!(bitter.call(Boom, SECONDS).await, Err(CallError::Panicked));
            assert_eq!(bitter.call(Add(2), SECONDS).await, Ok(()));
        }
        supervisor.stop();
        assert_eq!(supervisor.count(), 0);
    });
}

#[test]
fn a_storm_of_panics_leaves_nothing_behind() {
    const STORM: u64 = 100_000;
    on_shards(1, || async {
        let stats = || current_handle().unwrap();
        let gauge =
            |f: fn(&ninefold_runtime::stats::ShardStats) -> u64| stats().stats(0).map_or(0, f);
        let log = Log::default();
        let supervisor = Supervisor::new("test", MANY);
        let [a, b] = probes(&supervisor, &log, [1, 2]);
        log.take();
        let restarted = gauge(|s| s.actors_restarted.get());
        let slots = supervisor.count();
        for sent in 0..STORM {
            while a.cast(Boom).is_err() {
                ninefold_runtime::yield_now().await;
            }
            if sent % 1024 == 0 {
                log.take();
            }
        }
        // What is still queued is handled first.
        let all = || gauge(|s| s.actors_restarted.get()) - restarted == STORM;
        until("all restarts", all).await;
        assert_eq!(a.call(Look, SECONDS).await, Ok((100_000, 0)));
        assert_eq!(b.call(Look, SECONDS).await, Ok((0, 0)));
        assert_eq!(supervisor.count(), slots);
        supervisor.stop();
        let empty = || gauge(|s| s.mailbox_messages.get()) == 0;
        until("all envelopes back", empty).await;
        // This test's own task and the shard's three services are what is left.
        until("all slots back", || gauge(|s| s.cells_live.get()) == 4).await;
    });
}

#[test]
fn asynchronous_handlers_end_with_their_incarnation() {
    on_shards(1, || async {
        let supervisor = Supervisor::new("test", MANY);
        let [a] = probes(&supervisor, &Log::default(), [1]);
        let early = a.call(Later(Duration::from_millis(5)), SECONDS);
        let boom = a.call(Boom, SECONDS);
        let late = a.call(Later(Duration::from_millis(1)), SECONDS);
        assert_eq!(boom.await, Err(CallError::Panicked));
        assert_eq!(early.await, Err(CallError::Stopped));
        assert_eq!(late.await, Ok(()));
        sleep(Duration::from_millis(10)).await;
        // Only the handler of this incarnation has told it anything.
        assert_eq!(a.call(Look, SECONDS).await, Ok((1, 1_000)));
    });
}

#[test]
fn a_child_that_is_stuck_is_replaced() {
    on_shards(1, || async {
        let supervisor = Supervisor::new("test", MANY);
        let [a] = probes(&supervisor, &Log::default(), [1]);
        let stuck = a.call(Alone(Duration::from_secs(3600)), SECONDS);
        let queued = a.call(Look, SECONDS);
        assert!(
            timeout(Duration::from_millis(5), sleep(SECONDS))
                .await
                .is_err()
        );
        supervisor.replace(a.id()).unwrap();
        assert_eq!(stuck.await, Err(CallError::Stopped));
        assert_eq!(queued.await, Ok((1, 0)));
        let other = Supervisor::new("other", MANY);
        let refused = other.replace(a.id()).unwrap_err().to_string();
        assert!(refused.contains("child of supervisor other"), "{refused}");
        let unsupervised =
            ninefold_runtime::spawn_actor(SpawnOptions::default(), Probe::new(2, &Log::default()));
        assert!(supervisor.replace(unsupervised.unwrap().id()).is_err());
    });
}
