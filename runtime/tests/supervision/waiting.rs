//! Back-off: children that wait to be started again.

use std::time::Duration;

use ninefold_runtime::clock::monotonic_ns;
use ninefold_runtime::{
    Actor, ActorId, Backoff, CallError, Context, ExitReason, SendError, SpawnOptions, Strategy,
    Supervisor, sleep, spawn_actor,
};

use crate::probe::{Add, Boom, Fail, Log, Look, MANY, Probe, SECONDS, probes, until, watch};
use crate::support::on_shards;

/// So long that no test ends by it.
const LONG: Duration = Duration::from_secs(3600);

/// Kills somebody, once.
struct Killer(ActorId);

impl Actor for Killer {
    fn started(&mut self, context: &mut Context<'_, Self>) {
        context.exit(self.0, ExitReason::Killed);
    }
}

fn after(first: Duration) -> Backoff {
    Backoff {
        immediate: 0,
        first,
        factor: 2.0,
        max: LONG,
        jitter: 0.0,
    }
}

fn waiting(strategy: Strategy, backoff: Backoff) -> Supervisor {
    let builder = Supervisor::builder("waiting").strategy(strategy);
    builder.intensity(MANY).backoff(backoff).build().unwrap()
}

#[test]
fn a_call_to_a_child_that_waits_is_answered_after_its_back_off() {
    on_shards(1, || async {
        let supervisor = waiting(Strategy::OneForOne, after(Duration::from_millis(20)));
        let [a] = probes(&supervisor, &Log::default(), [1]);
        // The second wait in a row is longer.
        for (incarnation, wait) in [(1, 20_000_000), (2, 40_000_000)] {
            let begin = monotonic_ns();
            let boom = a.call(Boom, SECONDS);
            a.cast(Add(4)).unwrap();
            let answer = a.call(Look, SECONDS);
            assert_eq!(boom.await, Err(CallError::Panicked));
            assert_eq!(answer.await, Ok((incarnation, 4)));
            let waited = monotonic_ns() - begin;
            assert!(waited >= wait, "{waited} ns, wanted {wait}");
        }
    });
}

#[test]
fn the_first_restarts_may_be_immediate() {
    on_shards(1, || async {
        let backoff = Backoff {
            immediate: 2,
            ..after(LONG)
        };
        let supervisor = waiting(Strategy::OneForOne, backoff);
        let [a] = probes(&supervisor, &Log::default(), [1]);
        for waits in [false, false, true] {
            assert_eq!(a.call(Boom, SECONDS).await, Err(CallError::Panicked));
            assert_eq!(supervisor.children()[0].waiting, waits);
        }
    });
}

#[test]
fn jitter_spreads_those_that_failed_together() {
    on_shards(1, || async {
        let log = Log::default();
        let backoff = Backoff {
            jitter: 1.0,
            ..after(Duration::from_millis(50))
        };
        let supervisor = waiting(Strategy::OneForOne, backoff);
        let names: [u32; 20] = std::array::from_fn(|n| u32::try_from(n).unwrap());
        let all = probes(&supervisor, &log, names);
        let in_order = log.take();
        for probe in &all {
            probe.cast(Boom).unwrap();
        }
        until("all restarts", || log.len() == all.len()).await;
        // Twenty that come back in the order in which they failed would be chance of 20! to one.
        assert_ne!(log.take(), in_order);
    });
}

#[test]
fn a_group_waits_together_and_keeps_its_mailboxes() {
    on_shards(1, || async {
        let log = Log::default();
        let supervisor = waiting(Strategy::RestForOne, after(Duration::from_millis(200)));
        let [a, b, c] = probes(&supervisor, &log, [1, 2, 3]);
        log.take();
        assert_eq!(b.call(Boom, SECONDS).await, Err(CallError::Panicked));
        c.cast(Add(8)).unwrap();
        let states: Vec<_> = supervisor.children().iter().map(|c| c.waiting).collect();
        assert_eq!(states, [false, true, true]);
        // An earlier one fails while they wait, and a new one comes: it does not wait.
        assert_eq!(a.call(Boom, SECONDS).await, Err(CallError::Panicked));
        probes(&supervisor, &log, [4]);
        assert_eq!(c.call(Look, SECONDS).await, Ok((1, 8)));
        assert_eq!(log.take(), ["-3", "+4", "+1", "+2", "+3"]);
    });
}

#[test]
fn stopping_while_a_back_off_is_pending_revives_nobody() {
    on_shards(1, || async {
        for strategy in [Strategy::OneForOne, Strategy::OneForAll] {
            let log = Log::default();
            let supervisor = waiting(strategy, after(Duration::from_millis(5)));
            let [a, _] = probes(&supervisor, &log, [1, 2]);
            while !supervisor.children()[0].waiting {
                assert_eq!(a.call(Boom, SECONDS).await, Err(CallError::Panicked));
            }
            let queued = a.call(Look, SECONDS);
            supervisor.stop();
            log.take();
            assert!(matches!(queued.await, Err(CallError::Stopped)));
            // Others take over the slots.
            let others: Vec<_> = (0..4)
                .map(|_| spawn_actor(SpawnOptions::default(), Probe::new(7, &log)).unwrap())
                .collect();
            sleep(Duration::from_millis(15)).await;
            assert_eq!(log.take(), ["+7"; 4]);
            for other in others {
                assert_eq!(other.call(Look, SECONDS).await, Ok((0, 0)));
            }
            assert!(matches!(a.cast(Add(1)), Err(SendError::Closed(_))));
        }
    });
}

#[test]
fn a_waiting_child_can_be_removed_and_hears_no_exit() {
    on_shards(1, || async {
        let log = Log::default();
        let supervisor = waiting(Strategy::OneForOne, after(LONG));
        let [a] = probes(&supervisor, &log, [1]);
        let ends = watch(&[a]).await;
        assert_eq!(a.call(Boom, SECONDS).await, Err(CallError::Panicked));
        // Neither changes anything: there is nobody to replace and nobody to kill.
        supervisor.replace(a.id()).unwrap();
        spawn_actor(SpawnOptions::default(), Killer(a.id())).unwrap();
        sleep(Duration::from_millis(1)).await;
        let child = &supervisor.children()[0];
        assert_eq!((child.waiting, child.restarts), (true, 0));
        supervisor.stop_child(a.id()).unwrap();
        until("its end", || ends.len() == 1).await;
        assert_eq!(ends.take(), [format!("{:?}: shutdown", a.id())]);
        assert!(supervisor.stop_child(a.id()).is_err());
    });
}

#[test]
fn a_shard_ends_while_children_wait() {
    on_shards(1, || async {
        let supervisor = waiting(Strategy::OneForOne, after(LONG));
        let [a, b] = probes(&supervisor, &Log::default(), [1, 2]);
        a.cast(Boom).unwrap();
        b.cast(Fail).unwrap();
        until("both failures", || {
            supervisor.children().iter().all(|c| c.waiting)
        })
        .await;
    });
}
