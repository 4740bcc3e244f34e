//! Strategies and restart types: who is stopped and started, in which order.

use std::time::Duration;

use ninefold_runtime::{
    CallError, ChildOptions, Restart, SendError, SpawnOptions, Strategy, Supervisor, timeout,
};
use proptest::prelude::{Just, ProptestConfig, Strategy as _, any, prop, prop_oneof, proptest};

use crate::probe::{Add, Alone, Boom, Fail, Later, Log, Look, MANY, Probe, SECONDS, Stop, probes};
use crate::support::on_shards;

fn grouped(strategy: Strategy) -> Supervisor {
    let builder = Supervisor::builder("group").strategy(strategy);
    builder.intensity(MANY).build().unwrap()
}

#[test]
fn one_for_one_leaves_the_siblings_alone() {
    on_shards(1, || async {
        let log = Log::default();
        let supervisor = Supervisor::new("test", MANY);
        let [a, b] = probes(&supervisor, &log, [1, 2]);
        b.call(Add(5), SECONDS).await.unwrap();
        assert_eq!(a.call(Boom, SECONDS).await, Err(CallError::Panicked));
        assert_eq!(log.take(), ["+1", "+2", "+1"]);
        assert_eq!(b.call(Look, SECONDS).await, Ok((0, 5)));
        let restarts: Vec<_> = supervisor.children().iter().map(|c| c.restarts).collect();
        assert_eq!(restarts, [1, 0]);
    });
}

#[test]
fn one_for_all_restarts_all_in_order_and_keeps_every_mailbox() {
    on_shards(1, || async {
        let log = Log::default();
        let supervisor = grouped(Strategy::OneForAll);
        let all = probes(&supervisor, &log, [1, 2, 3, 4]);
        all[3].call(Add(7), SECONDS).await.unwrap();
        log.take();
        // `2` fails before the others reach what is queued for them.
        let boom = all[1].call(Boom, SECONDS);
        for probe in &all {
            probe.cast(Add(1)).unwrap();
        }
        assert_eq!(boom.await, Err(CallError::Panicked));
        for probe in &all {
            let (incarnation, total) = probe.call(Look, SECONDS).await.unwrap();
            // Only `1` may have been ahead of `2`: its state is gone with its incarnation.
            assert!(incarnation == 1 && (total == 1 || probe.id() == all[0].id()));
        }
        // No goodbye from the one that panicked.
        assert_eq!(log.take(), ["-4", "-3", "-1", "+1", "+2", "+3", "+4"]);
    });
}

#[test]
fn rest_for_one_restarts_those_that_were_started_later() {
    on_shards(1, || async {
        let log = Log::default();
        let supervisor = grouped(Strategy::RestForOne);
        let all = probes(&supervisor, &log, [1, 2, 3, 4]);
        log.take();
        // This one says goodbye by itself: it ended in good order.
        all[1].call(Fail, SECONDS).await.unwrap();
        all[0].call(Look, SECONDS).await.unwrap();
        assert_eq!(log.take(), ["-2", "-4", "-3", "+2", "+3", "+4"]);
    });
}

#[test]
fn restart_types_are_those_of_otp() {
    on_shards(1, || async {
        for (restart, after_stop, after_fail) in [
            (Restart::Permanent, true, true),
            (Restart::Transient, false, true),
            (Restart::Temporary, false, false),
        ] {
            let supervisor = Supervisor::new("test", MANY);
            let log = Log::default();
            let spawn = || {
                let log = log.clone();
                supervisor
                    .spawn(restart, move || Probe::new(1, &log))
                    .unwrap()
            };
            let stopped = spawn();
            stopped.call(Stop, SECONDS).await.unwrap();
            let alive = stopped.call(Look, SECONDS).await.is_ok();
            assert_eq!(alive, after_stop, "{restart:?} after a normal end");
            let failed = spawn();
            failed.call(Fail, SECONDS).await.unwrap();
            let alive = failed.call(Look, SECONDS).await.is_ok();
            assert_eq!(alive, after_fail, "{restart:?} after a failure");
            let left = usize::from(after_stop) + usize::from(after_fail);
            assert_eq!(supervisor.count(), left);
        }
    });
}

#[test]
fn a_temporary_sibling_ends_with_the_group() {
    on_shards(1, || async {
        let log = Log::default();
        let supervisor = grouped(Strategy::OneForAll);
        let [a, b] = probes(&supervisor, &log, [1, 2]);
        let (options, noted) = (ChildOptions::from(Restart::Temporary), log.clone());
        let brief = supervisor
            .spawn(options, move || Probe::new(3, &noted))
            .unwrap();
        log.take();
        assert_eq!(a.call(Boom, SECONDS).await, Err(CallError::Panicked));
        assert_eq!(log.take(), ["-3", "-2", "+1", "+2"]);
        assert!(matches!(brief.cast(Add(1)), Err(SendError::Closed(_))));
        // Its own end concerns nobody.
        let brief = supervisor
            .spawn(options, move || Probe::new(3, &Log::default()))
            .unwrap();
        assert_eq!(brief.call(Boom, SECONDS).await, Err(CallError::Panicked));
        assert_eq!(b.call(Look, SECONDS).await, Ok((1, 0)));
    });
}

/// What happens to a group in the property test.
#[derive(Clone, Copy, Debug)]
enum Step {
    Start,
    Fail(prop::sample::Index),
    Remove(prop::sample::Index),
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Start),
        3 => any::<prop::sample::Index>().prop_map(Step::Fail),
        1 => any::<prop::sample::Index>().prop_map(Step::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn rest_for_one_follows_its_model(steps in prop::collection::vec(step(), 1..40)) {
        on_shards(1, move || follow(steps));
    }
}

async fn follow(steps: Vec<Step>) {
    let log = Log::default();
    let supervisor = grouped(Strategy::RestForOne);
    let mut model = Vec::new();
    for (name, step) in (0..).zip(steps) {
        let mut wanted = Vec::new();
        match step {
            Step::Start => {
                let [probe] = probes(&supervisor, &log, [name]);
                model.push((name, probe, 0));
                wanted.push(format!("+{name}"));
            }
            Step::Fail(which) if !model.is_empty() => {
                let at = which.index(model.len());
                let failed = model[at].1.call(Boom, SECONDS).await;
                assert_eq!(failed, Err(CallError::Panicked));
                wanted.extend(model[at + 1..].iter().rev().map(|m| format!("-{}", m.0)));
                wanted.extend(model[at..].iter().map(|m| format!("+{}", m.0)));
                model[at..].iter_mut().for_each(|m| m.2 += 1);
            }
            Step::Remove(which) if !model.is_empty() => {
                let (name, probe, _) = model.remove(which.index(model.len()));
                supervisor.stop_child(probe.id()).unwrap();
                wanted.push(format!("-{name}"));
            }
            Step::Fail(_) | Step::Remove(_) => {}
        }
        assert_eq!(log.take(), wanted);
        let known: Vec<_> = supervisor
            .children()
            .iter()
            .map(|c| (c.id, c.restarts))
            .collect();
        let kept: Vec<_> = model.iter().map(|m| (Some(m.1.id()), m.2)).collect();
        assert_eq!(known, kept);
    }
}

#[test]
fn stopping_stops_newest_first_and_for_good() {
    on_shards(1, || async {
        let log = Log::default();
        let outer = Supervisor::new("outer", MANY);
        let [a] = probes(&outer, &log, [1]);
        let inner = Supervisor::builder("inner").parent(&outer).build().unwrap();
        probes(&inner, &log, [2, 3]);
        probes(&outer, &log, [4]);
        log.take();
        outer.stop();
        assert_eq!(log.take(), ["-4", "-3", "-2", "-1"]);
        assert_eq!((outer.count(), inner.count()), (0, 0));
        assert!(matches!(a.cast(Add(1)), Err(SendError::Closed(_))));
        let refused = inner.spawn(SpawnOptions::default(), || Probe::new(5, &Log::default()));
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("inner is down"), "{text}");
        assert!(!outer.gave_up());
    });
}

#[test]
fn stopping_within_a_deadline_lets_children_finish_in_order() {
    on_shards(1, || async {
        let log = Log::default();
        let outer = Supervisor::new("outer", MANY);
        let [a] = probes(&outer, &log, [1]);
        let inner = Supervisor::builder("inner").parent(&outer).build().unwrap();
        let [b] = probes(&inner, &log, [2]);
        log.take();
        let first = a.call(Later(Duration::from_millis(2)), SECONDS);
        let last = b.call(Alone(Duration::from_millis(5)), SECONDS);
        let queued = b.call(Look, SECONDS);
        assert_eq!(outer.stop_within(SECONDS).await, 0);
        assert_eq!((first.await, last.await), (Ok(()), Ok(())));
        assert_eq!(queued.await, Ok((0, 0)));
        assert_eq!(log.take(), ["-2", "-1"]);
        assert_eq!((outer.count(), inner.count()), (0, 0));
    });
}

#[test]
fn what_is_not_done_at_the_deadline_is_dropped() {
    on_shards(1, || async {
        let log = Log::default();
        let supervisor = Supervisor::new("test", MANY);
        let [a, b] = probes(&supervisor, &log, [1, 2]);
        let stuck = a.call(Alone(Duration::from_secs(3600)), SECONDS);
        let failing = b.call(Boom, SECONDS);
        log.take();
        assert_eq!(supervisor.stop_within(Duration::from_millis(5)).await, 1);
        assert_eq!(stuck.await, Err(CallError::Stopped));
        assert_eq!(failing.await, Err(CallError::Panicked));
        assert_eq!(
            log.take(),
            ["-1"],
            "no goodbye from the one that panicked, and no restart"
        );
        let [c] = probes(&Supervisor::new("other", MANY), &log, [3]);
        assert_eq!(c.call(Look, SECONDS).await, Ok((0, 0)));
        // Whoever gives up waiting has stopped them all the same.
        let supervisor = Supervisor::new("test", MANY);
        let [d] = probes(&supervisor, &log, [4]);
        let stuck = d.call(Alone(Duration::from_secs(3600)), SECONDS);
        let stop = timeout(Duration::from_millis(2), supervisor.stop_within(SECONDS));
        assert!(stop.await.is_err());
        assert_eq!(stuck.await, Err(CallError::Stopped));
        assert_eq!(supervisor.count(), 0);
    });
}
