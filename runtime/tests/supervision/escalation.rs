//! Beyond its intensity a supervisor fails itself, up to the root.

use ninefold_runtime::{
    Address, CallError, ExitReason, Intensity, Restart, SendError, SpawnOptions, Strategy,
    Supervisor, spawn_local,
};

use crate::probe::{Add, Boom, Log, Look, Probe, SECONDS, at_most, probes, shared, until, watch};
use crate::support::on_shards;

fn below(parent: &Supervisor, name: &'static str, intensity: Intensity) -> Supervisor {
    let builder = Supervisor::builder(name).intensity(intensity);
    builder.parent(parent).build().unwrap()
}

async fn fail(probe: &Address<Probe>) {
    assert_eq!(probe.call(Boom, SECONDS).await, Err(CallError::Panicked));
}

#[test]
fn escalation_restarts_a_supervisor_as_a_unit_and_in_place() {
    on_shards(1, || async {
        let log = Log::default();
        let root = Supervisor::new("root", at_most(1));
        let middle = below(&root, "middle", at_most(1));
        let low = below(&middle, "low", at_most(1));
        let [bystander] = probes(&root, &log, [9]);
        let [upper] = probes(&middle, &log, [5]);
        let [a, b] = probes(&low, &log, [1, 2]);
        b.cast(Add(3)).unwrap();
        let ends = watch(&[a, b, upper]).await;
        log.take();
        // `low` grants one restart; the second failure is its own, which `middle` grants once.
        fail(&a).await;
        fail(&a).await;
        assert_eq!(log.take(), ["+1", "-2", "+1", "+2"]);
        assert_eq!(b.call(Look, SECONDS).await, Ok((1, 0)));
        assert!(!low.gave_up(), "it has a clean record");
        // The same again is too much for `middle`, which `root` grants once.
        fail(&a).await;
        fail(&a).await;
        assert_eq!(log.take(), ["+1", "-2", "-5", "+1", "+2", "+5"]);
        assert_eq!(upper.call(Look, SECONDS).await, Ok((1, 0)));
        assert_eq!(bystander.call(Look, SECONDS).await, Ok((0, 0)));
        // A restart in place is no end.
        assert_eq!(ends.len(), 0);
        let restarts: Vec<_> = root
            .children()
            .iter()
            .map(|c| (c.name, c.restarts))
            .collect();
        assert_eq!(restarts[0], ("middle", 1));
    });
}

#[test]
fn the_root_gives_up_and_everybody_is_told() {
    on_shards(1, || async {
        let (log, given_up) = (Log::default(), Log::default());
        let noted = given_up.clone();
        let root = Supervisor::builder("root")
            .intensity(at_most(0))
            .on_give_up(move |why| noted.note(why.to_string()))
            .build()
            .unwrap();
        let [outer] = probes(&root, &log, [1]);
        let inner = below(&root, "inner", at_most(1));
        let [a, b] = probes(&inner, &log, [2, 3]);
        let ends = watch(&[outer, a, b]).await;
        b.call(Look, SECONDS).await.unwrap();
        fail(&a).await;
        log.take();
        assert!(!root.gave_up());
        let queued = b.call(Look, SECONDS);
        fail(&a).await;
        assert!(root.gave_up() && inner.gave_up());
        assert!(matches!(queued.await, Ok(_) | Err(CallError::Stopped)));
        assert_eq!(log.take(), ["-3", "-1"]);
        until("three ends", || ends.len() == 3).await;
        let told = [
            format!("{:?}: shutdown", b.id()),
            format!("{:?}: panic: boom", a.id()),
            format!("{:?}: shutdown", outer.id()),
        ];
        assert_eq!(ends.take(), told);
        let why = given_up.take();
        assert!(
            why.len() == 1 && why[0].contains("root") && why[0].contains("inner"),
            "{why:?}"
        );
        assert!(matches!(outer.cast(Add(1)), Err(SendError::Closed(_))));
        assert_eq!((root.count(), inner.count()), (0, 0));
    });
}

#[test]
fn what_begins_where_the_last_child_has_just_ended_runs() {
    on_shards(1, || async {
        let (log, noted) = (Log::default(), Log::default());
        let note = noted.clone();
        let root = Supervisor::builder("root")
            .intensity(at_most(0))
            .on_give_up(move |_| {
                // It gets the slot of the child, whose turn is not over yet.
                spawn_local(async move { note.note("told".to_owned()) }).unwrap();
            })
            .build()
            .unwrap();
        let [only] = probes(&root, &log, [1]);
        fail(&only).await;
        until("the task has run", || noted.len() == 1).await;
    });
}

#[test]
fn a_child_that_fails_to_start_fails_the_restart_of_its_supervisor() {
    on_shards(1, || async {
        let log = Log::default();
        let root = Supervisor::new("root", at_most(10));
        let inner = below(&root, "inner", at_most(0));
        let [a] = probes(&inner, &log, [1]);
        // Cannot be built the second and the third time.
        let (built, noted) = (shared(0), log.clone());
        let b = inner
            .try_spawn(SpawnOptions::default(), move || {
                built.set(built.get() + 1);
                match built.get() {
                    2 | 3 => Err("not now"),
                    _ => Ok(Probe::new(2, &noted)),
                }
            })
            .unwrap();
        log.take();
        fail(&a).await;
        assert_eq!(b.call(Look, SECONDS).await.unwrap().1, 0);
        assert_eq!(log.take(), ["-2", "+1", "-1", "+1", "-1", "+1", "+2"]);
        let restarts: Vec<_> = root.children().iter().map(|c| c.restarts).collect();
        assert_eq!(restarts, [3]);
    });
}

#[test]
fn a_supervisor_takes_its_place_in_the_strategy_of_its_parent() {
    on_shards(1, || async {
        let log = Log::default();
        let builder = Supervisor::builder("root").strategy(Strategy::RestForOne);
        let root = builder.intensity(at_most(10)).build().unwrap();
        let [first] = probes(&root, &log, [1]);
        let inner = below(&root, "inner", at_most(0));
        let [a] = probes(&inner, &log, [2]);
        probes(&inner, &log, [3]);
        probes(&root, &log, [4]);
        log.take();
        fail(&a).await;
        assert_eq!(log.take(), ["-3", "-4", "+2", "+3", "+4"]);
        fail(&first).await;
        assert_eq!(log.take(), ["-4", "-3", "-2", "+1", "+2", "+3", "+4"]);
        // One that nobody holds and that has no children is no child any more.
        assert_eq!(root.count(), 3);
        inner.stop();
        assert_eq!(
            (log.take(), root.count()),
            (vec!["-3".into(), "-2".into()], 2)
        );
    });
}

#[test]
fn a_temporary_supervisor_ends_alone() {
    on_shards(1, || async {
        let log = Log::default();
        let root = Supervisor::new("root", at_most(10));
        let told = Log::default();
        let noted = told.clone();
        let brief = Supervisor::builder("brief")
            .intensity(at_most(0))
            .parent_restarting(&root, Restart::Temporary)
            .on_give_up(move |why| {
                assert!(matches!(why, ExitReason::Failed(_)));
                noted.note("gave up");
            })
            .build()
            .unwrap();
        let [a] = probes(&brief, &log, [1]);
        assert_eq!(root.count(), 1);
        fail(&a).await;
        assert!(brief.gave_up() && !root.gave_up());
        assert_eq!((told.take(), root.count()), (vec!["gave up".to_owned()], 0));
        drop(brief);
        let dropped = below(&root, "dropped", at_most(0));
        assert_eq!(root.count(), 1);
        drop(dropped);
        assert_eq!(root.count(), 0);
    });
}
