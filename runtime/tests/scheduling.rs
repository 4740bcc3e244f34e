//! Classes, policies and scheduling groups on a real shard.
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

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ninefold_runtime::limits::{GROUPS_MAX, SHARES_MAX};
use ninefold_runtime::{
    Actor, ActorId, Class, Config, Context, Handler, InjectError, Policy, Runtime, SchedulingGroup,
    SpawnError, SpawnOptions, StartError, current_handle, inspect, sleep, spawn_actor,
};
use support::{SECOND, on_config, until};

type Log = Rc<RefCell<Vec<&'static str>>>;

struct Scribe(&'static str, Log);
struct Write;
struct WriteNow;
messages! {
    Write => ();
    WriteNow => (), High;
}
impl Actor for Scribe {}
impl Handler<Write> for Scribe {
    fn handle(&mut self, _: Write, _: &mut Context<'_, Self>) {
        self.1.borrow_mut().push(self.0);
    }
}
impl Handler<WriteNow> for Scribe {
    fn handle(&mut self, _: WriteNow, _: &mut Context<'_, Self>) {
        self.1.borrow_mut().push(self.0);
    }
}

fn config(policy: Policy, groups: &[u32]) -> Config {
    let group = |(n, shares): (usize, &u32)| SchedulingGroup {
        name: format!("group {n}"),
        shares: *shares,
    };
    Config {
        shards: Some(1),
        policy,
        groups: groups.iter().enumerate().map(group).collect(),
        ..Config::default()
    }
}

#[test]
fn a_high_message_to_an_idle_actor_overtakes_a_flood_where_the_policy_knows_classes() {
    for (policy, place) in [(Policy::Drr, 0), (Policy::Edf, 0), (Policy::Fifo, 50)] {
        on_config(&config(policy, &[]), move || async move {
            let log = Log::default();
            let scribe = |name| spawn_actor(SpawnOptions::default(), Scribe(name, log.clone()));
            let flooded: Vec<_> = (0..50).map(|_| scribe("normal").unwrap()).collect();
            let idle = scribe("high").unwrap();
            for scribe in &flooded {
                scribe.cast(Write).unwrap();
            }
            idle.cast(WriteNow).unwrap();
            until("all have written", || log.borrow().len() == 51).await;
            let found = log.borrow().iter().position(|name| *name == "high");
            assert_eq!(found, Some(place), "{policy}");
        });
    }
}

/// Spins for a while, counts that and tells itself to go on.
struct Spinner(Rc<Cell<u64>>);
struct Spin;
messages! { Spin => (); }
impl Actor for Spinner {}
impl Handler<Spin> for Spinner {
    fn handle(&mut self, _: Spin, context: &mut Context<'_, Self>) {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_micros(20) {}
        self.0.set(self.0.get() + 1);
        context.address().cast(Spin).unwrap();
    }
}

/// Who is alone on its CPU: others would be charged to whoever is running when they cut in.
static ALONE: Mutex<()> = Mutex::new(());

fn spinner(class: Class, group: u8) -> (ActorId, Rc<Cell<u64>>) {
    let options = SpawnOptions {
        class,
        group,
        ..SpawnOptions::default()
    };
    let spun = Rc::default();
    let spinner = spawn_actor(options, Spinner(Rc::clone(&spun))).unwrap();
    spinner.cast(Spin).unwrap();
    (spinner.id(), spun)
}

/// How many times as much time as `other` `one` gets, from now on.
async fn ratio(one: ActorId, other: ActorId) -> f64 {
    let cpu = || [one, other].map(|id| inspect(id).unwrap().cpu_ns as f64);
    let before = cpu();
    sleep(Duration::from_millis(250)).await;
    let after = cpu();
    (after[0] - before[0]) / (after[1] - before[1])
}

#[test]
fn groups_get_time_by_shares_which_may_change() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    on_config(&config(Policy::Drr, &[300, 100]), || async {
        let [(rich, _), (poor, _)] = [1, 2].map(|group| spinner(Class::Normal, group));
        let found = ratio(rich, poor).await;
        assert!((2.0..4.5).contains(&found), "{found} for 3");
        let handle = current_handle().unwrap();
        handle.set_shares(2, 300, SECOND).unwrap();
        let found = ratio(rich, poor).await;
        assert!((0.6..1.6).contains(&found), "{found} for 1");
        assert_eq!(
            handle.set_shares(3, 100, SECOND),
            Err(InjectError::NoGroup(3))
        );
        assert_eq!(handle.set_shares(1, 0, SECOND), Err(InjectError::Shares(0)));
        let too_many = SHARES_MAX + 1;
        let refused = handle.set_shares(1, too_many, SECOND);
        assert_eq!(refused, Err(InjectError::Shares(too_many)));
    });
}

#[test]
fn a_group_with_very_many_shares_leaves_the_others_theirs() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    on_config(
        &config(Policy::Drr, &[SHARES_MAX, SHARES_MAX / 2]),
        || async {
            let [(rich, _), (poor, _)] = [1, 2].map(|group| spinner(Class::Normal, group));
            let found = ratio(rich, poor).await;
            assert!((1.4..3.0).contains(&found), "{found} for 2");
        },
    );
}

#[test]
fn low_actors_get_a_fourth_of_what_normal_ones_get() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    on_config(&config(Policy::Drr, &[]), || async {
        let (_, normal) = spinner(Class::Normal, 0);
        let (_, low) = spinner(Class::Low, 0);
        sleep(Duration::from_millis(250)).await;
        let found = normal.get() as f64 / low.get() as f64;
        assert!((2.5..6.0).contains(&found), "{found} for 4");
    });
}

#[test]
fn what_no_scheduler_can_do_is_refused_when_it_is_asked_for() {
    on_config(&config(Policy::Drr, &[100]), || async {
        let options = SpawnOptions {
            group: 2,
            ..SpawnOptions::default()
        };
        let refused = spawn_actor(options, Spinner(Rc::default())).map(|_| ());
        let wanted = SpawnError::NoGroup {
            wanted: 2,
            groups: 2,
        };
        assert_eq!(refused, Err(wanted));
    });
    let start = |config: Config| Runtime::start(&config).err();
    for turn_scale in [f64::NAN, 0.0, -1.0, 1e9] {
        let config = Config {
            turn_scale,
            ..Config::default()
        };
        assert!(matches!(start(config), Some(StartError::TurnScale(_))));
    }
    let groups = vec![100; GROUPS_MAX];
    let refused = start(config(Policy::Drr, &groups));
    assert!(matches!(refused, Some(StartError::Groups(GROUPS_MAX))));
    for wanted in [0, SHARES_MAX + 1] {
        let refused = start(config(Policy::Drr, &[100, wanted]));
        let Some(StartError::Shares { group, shares }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((group.as_str(), shares), ("group 1", wanted));
    }
}
