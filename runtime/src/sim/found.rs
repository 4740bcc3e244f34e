//! What the simulation has found, each as the least that shows it: shards on a clock that stands
//! still unless a test moves it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::shards::{self, Shards};
use crate::actor::{
    Actor, Address, Context, Exit, ExitReason, Handler, Message, Overflow, SpawnOptions,
    spawn_actor,
};
use crate::handle::draining;
use crate::runtime::Config;
use crate::shard::{Phase, Shard};
use crate::task::spawn_local;

/// Shards on a clock.
struct Stage {
    shards: Shards,
    clock: Rc<Cell<u64>>,
}

impl Stage {
    fn of(count: usize) -> Self {
        let clock = Rc::new(Cell::new(1));
        let shards = shards::build(count, [16; 2], &Config::default(), &clock, || 1).unwrap();
        Stage { shards, clock }
    }

    /// Runs `f` on a shard.
    fn on<R>(&self, shard: usize, f: impl FnOnce() -> R) -> R {
        let _entered = Shard::enter(self.shards.all[shard].clone());
        f()
    }

    /// Lets all shards go on for a few steps.
    fn go_on(&self) {
        for _ in 0..8 {
            for shard in &self.shards.all {
                Shard::enter(shard.clone()).step(&mut Vec::new());
            }
        }
    }

    fn stats(&self, shard: usize, count: fn(&crate::stats::ShardStats) -> u64) -> u64 {
        count(self.shards.all[shard].stats())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for shard in &self.shards.all {
            Shard::enter(shard.clone()).stop_everything();
        }
    }
}

/// Counts what it handles.
#[derive(Default)]
struct Probe {
    handled: Arc<AtomicU64>,
    exits: Arc<AtomicU64>,
}

impl Actor for Probe {
    const TRAPS_EXITS: bool = true;

    fn exited(&mut self, _: Exit, _: &mut Context<'_, Self>) {
        self.exits.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts for so many bytes; its drop fails on demand.
struct Weight(usize, bool);

impl Message for Weight {
    type Reply = ();

    fn bytes(&self) -> usize {
        self.0
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        assert!(!self.1, "a drop that fails");
    }
}

impl Handler<Weight> for Probe {
    fn handle(&mut self, mut message: Weight, _: &mut Context<'_, Self>) {
        message.1 = false;
        self.handled.fetch_add(1, Ordering::Relaxed);
    }
}

type Deed = Box<dyn FnOnce(&mut Context<'_, Probe>) + Send>;

/// Does something as the actor.
struct Do(Deed);

impl Message for Do {
    type Reply = ();
}

impl Handler<Do> for Probe {
    fn handle(&mut self, Do(deed): Do, context: &mut Context<'_, Self>) {
        self.handled.fetch_add(1, Ordering::Relaxed);
        deed(context);
    }
}

/// A probe in a mailbox of 64 bytes, and what it has handled.
fn narrow(overflow: Overflow) -> (Address<Probe>, Arc<AtomicU64>) {
    let options = SpawnOptions {
        bytes: 64,
        overflow,
        ..SpawnOptions::default()
    };
    spawn(options)
}

fn spawn(options: SpawnOptions) -> (Address<Probe>, Arc<AtomicU64>) {
    let probe = Probe::default();
    let handled = probe.handled.clone();
    (spawn_actor(options, probe).unwrap(), handled)
}

#[test]
fn a_message_that_never_fits_does_not_hold_its_lane_up() {
    let stage = Stage::of(2);
    let (narrow, _) = stage.on(1, || narrow(Overflow::Refuse));
    let (wide, handled) = stage.on(1, || spawn(SpawnOptions::default()));
    stage.on(0, || {
        narrow.cast(Weight(65, false)).unwrap();
        wide.cast(Weight(1, false)).unwrap();
    });
    stage.go_on();
    assert_eq!(handled.load(Ordering::Relaxed), 1);
    assert_eq!(stage.stats(1, |stats| stats.messages_dropped.get()), 1);
    let refused = stage.on(1, || narrow.cast(Weight(65, false)));
    assert!(refused.is_err(), "on its own shard the sender is told");
}

#[test]
fn the_oldest_are_dropped_until_the_new_one_fits() {
    let stage = Stage::of(1);
    let options = SpawnOptions {
        bytes: 192,
        overflow: Overflow::DropOldest,
        ..SpawnOptions::default()
    };
    let (probe, handled) = stage.on(0, || spawn(options));
    stage.on(0, || {
        for bytes in [64, 64, 64, 128] {
            probe.cast(Weight(bytes, false)).unwrap();
        }
    });
    assert_eq!(stage.stats(0, |stats| stats.messages_dropped.get()), 2);
    stage.go_on();
    assert_eq!(handled.load(Ordering::Relaxed), 2);
}

#[test]
fn an_exit_that_was_asked_for_leaves_the_link() {
    let stage = Stage::of(2);
    let (asker, asked) = (Probe::default(), Probe::default());
    let told = [asker.exits.clone(), asked.exits.clone()];
    let told = || told.each_ref().map(|exits| exits.load(Ordering::Relaxed));
    let options = SpawnOptions::default();
    let asker = stage.on(0, || spawn_actor(options, asker).unwrap());
    let asked = stage.on(1, || spawn_actor(options, asked).unwrap());
    let act = |actor: Address<Probe>, deed: Deed| {
        let shard = usize::from(actor.id().shard());
        stage.on(shard, || actor.cast(Do(deed)).ok().unwrap());
        stage.go_on();
    };
    let id = asked.id();
    act(asker, Box::new(move |context| context.link(id)));
    let ask: Deed = Box::new(move |context| {
        context.exit(id, ExitReason::Failed("asked".into()));
    });
    act(asker, ask);
    assert_eq!(told(), [0, 1], "it traps exits and lives on");
    act(asked, Box::new(|context| context.fail("for real")));
    assert_eq!(told(), [1, 1], "still linked, so told of the end");
}

#[test]
fn a_deadline_counts_from_the_call_and_not_from_the_turn() {
    let stage = Stage::of(1);
    let (probe, handled) = stage.on(0, || spawn(SpawnOptions::default()));
    // Code of a long turn: the shard has not looked at its clock since.
    stage.go_on();
    stage.clock.set(stage.clock.get() + 10_000_000);
    stage.on(0, || {
        let within = Duration::from_millis(5);
        probe.cast_within(Weight(1, false), within).unwrap();
    });
    stage.go_on();
    assert_eq!(handled.load(Ordering::Relaxed), 1);
    assert_eq!(stage.stats(0, |stats| stats.messages_expired.get()), 0);
}

#[test]
fn a_panic_leaves_what_was_handled_before_it_in_the_books() {
    crate::panics::install_hook();
    let stage = Stage::of(1);
    let (probe, _) = stage.on(0, || spawn(SpawnOptions::default()));
    stage.on(0, || {
        for _ in 0..3 {
            probe.cast(Weight(1, false)).unwrap();
        }
        let fail: Deed = Box::new(|_| panic!("on purpose"));
        probe.cast(Do(fail)).ok().unwrap();
    });
    stage.go_on();
    assert_eq!(stage.stats(0, |stats| stats.messages.get()), 4);
}

#[test]
fn a_message_that_fails_to_drop_harms_neither_its_sender_nor_its_shard() {
    crate::panics::install_hook();
    let stage = Stage::of(2);
    let (full, _) = stage.on(0, || narrow(Overflow::DropNewest));
    let (far, _) = stage.on(1, || spawn(SpawnOptions::default()));
    let (sender, handled) = stage.on(0, || spawn(SpawnOptions::default()));
    stage.on(0, || {
        // Gets its turn before the one that is full by then.
        let send: Deed = Box::new(move |_| full.cast(Weight(64, true)).unwrap());
        let go_on: Deed = Box::new(|_| ());
        for deed in [send, go_on] {
            sender.cast(Do(deed)).ok().unwrap();
        }
        full.cast(Weight(64, false)).unwrap();
    });
    stage.go_on();
    assert_eq!(stage.stats(0, |stats| stats.messages_dropped.get()), 1);
    assert_eq!(handled.load(Ordering::Relaxed), 2);
    // Frames that nobody takes any more are dropped with their ring.
    stage.on(0, || {
        for _ in 0..3 {
            far.cast(Weight(1, true)).unwrap();
        }
    });
}

#[test]
fn a_shard_sees_that_it_drains_before_it_sleeps() {
    let stage = Stage::of(1);
    stage.on(0, || spawn_local(draining()).unwrap());
    // From here on there is no housekeeping before a sleep: no time passes.
    stage.go_on();
    stage.shards.shared.enter_phase(Phase::Draining);
    stage.go_on();
    assert_eq!(stage.stats(0, |stats| stats.tasks_ended.get()), 1);
}
