//! Timers: never early, once, and not after they were cancelled.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::super::world::{self, World};
use super::{Poke, Workload};
use crate::actor::{Actor, Address, Context, Handler, Message, SpawnOptions, spawn_actor};
use crate::handle::{draining, is_draining};
use crate::shard::Shard;
use crate::timer::{self, TimerKey, sleep, timeout};

/// The longest delay.
const DELAY_NS: u64 = 20_000_000_000;

/// The clocks and what they wait for.
#[derive(Default)]
pub(super) struct Timers {
    clocks: RefCell<Vec<Address<Clock>>>,
    open: Rc<Cell<u64>>,
}

/// An actor with timers.
struct Clock {
    /// When each timer is due.
    due: BTreeMap<u64, (u64, TimerKey)>,
    serial: u64,
    open: Rc<Cell<u64>>,
}

/// Starts a few timers, cancels a few.
struct Wind;
/// A timer has fired.
struct Ring(u64);
/// The state timer has fired.
struct Settled(u64);

impl Message for Wind {
    type Reply = ();
}
impl Message for Ring {
    type Reply = ();
}
impl Message for Settled {
    type Reply = ();
}

impl Actor for Clock {}

impl Clock {
    fn start(&mut self, world: &World, context: &mut Context<'_, Self>) {
        self.serial += 1;
        let delay = world.span(DELAY_NS);
        let timer = context.send_after(Duration::from_nanos(delay), Ring(self.serial));
        self.due.insert(self.serial, (world.now() + delay, timer));
        self.open.set(self.open.get() + 1);
    }

    fn cancel(&mut self, world: &World, context: &mut Context<'_, Self>) {
        let Some(serial) = self.due.keys().nth(world.index(self.due.len())).copied() else {
            return;
        };
        let Some((_, timer)) = self.due.get(&serial).copied() else {
            return;
        };
        // One that has fired has its message in the mailbox, or will never have it.
        if Shard::with(|shard| timer::has_fired(shard, timer)) == Some(false) {
            context.cancel(timer);
            self.due.remove(&serial);
            self.open.set(self.open.get() - 1);
        }
    }
}

impl Handler<Wind> for Clock {
    fn handle(&mut self, _: Wind, context: &mut Context<'_, Self>) {
        world::with(|world| {
            world::event::<Wind>(world, context.id());
            if world.calm.get() {
                return;
            }
            for _ in 0..world.below(8) {
                self.start(world, context);
            }
            for _ in 0..world.below(4) {
                self.cancel(world, context);
            }
            if world.unrest(0.3) {
                let delay = world.span(DELAY_NS);
                let due = world.now() + delay;
                context.state_timeout(Duration::from_nanos(delay), Settled(due));
            } else if world.unrest(0.3) {
                context.transition();
            }
        });
    }
}

impl Handler<Ring> for Clock {
    fn handle(&mut self, Ring(serial): Ring, context: &mut Context<'_, Self>) {
        world::with(|world| {
            let now = world.now();
            world::event::<Ring>(world, context.id());
            match self.due.remove(&serial) {
                Some((due, _)) => {
                    self.open.set(self.open.get() - 1);
                    never_early(world, due, now);
                }
                None => world.violated(
                    "a timer fires once, unless cancelled",
                    Some(context.shard()),
                    format!("timer {serial}"),
                ),
            }
        });
    }
}

impl Handler<Settled> for Clock {
    fn handle(&mut self, Settled(due): Settled, context: &mut Context<'_, Self>) {
        world::with(|world| {
            let now = world.now();
            world::event::<Settled>(world, context.id());
            never_early(world, due, now);
        });
    }
}

fn never_early(world: &World, due: u64, now: u64) {
    world.expect(now >= due, "a timer is never early", || {
        format!("due at {due}, fired at {now}")
    });
}

/// Waits until the runtime drains, if need be to the end.
async fn stay() {
    draining().await;
    world::with(|world| {
        world.fold("drained", &[]);
        world.expect(
            is_draining(),
            "what waits for the drain sees it",
            String::new,
        );
    });
}

/// Sleeps, or gives up earlier.
async fn doze() {
    let plan = world::with(|world| (world.now(), world.span(DELAY_NS), world.span(DELAY_NS)));
    let Some((begin, nap, limit)) = plan else {
        return;
    };
    let slept = timeout(
        Duration::from_nanos(limit),
        sleep(Duration::from_nanos(nap)),
    )
    .await;
    let length = if slept.is_ok() { nap } else { limit };
    world::with(|world| {
        world.fold("dozed", &[length]);
        never_early(world, begin + length, world.now());
    });
}

impl Workload for Timers {
    fn begin(&self, _: &World) {
        let clock = Clock {
            due: BTreeMap::new(),
            serial: 0,
            open: self.open.clone(),
        };
        // Its mailbox has room for every timer, so that none is refused.
        let options = SpawnOptions {
            capacity: u32::MAX,
            bytes: u32::MAX,
            ..SpawnOptions::default()
        };
        self.clocks
            .borrow_mut()
            .extend(spawn_actor(options, clock).ok());
    }

    fn poke(self: Rc<Self>) -> Poke {
        Box::pin(async move {
            let then = world::with(|world| {
                let clocks = self.clocks.borrow();
                for _ in 0..world.below(3) {
                    if let Some(clock) = clocks.get(world.index(clocks.len())) {
                        // A ring between shards may be full: then there are a few timers less.
                        let _ = clock.cast(Wind);
                    }
                }
                world.below(8)
            });
            match then {
                Some(0..4) => doze().await,
                Some(4) => stay().await,
                _ => {}
            }
        })
    }

    fn finish(&self, world: &World, _: &[Rc<Shard>]) {
        let open = self.open.get();
        world.expect(open == 0, "every timer fires", || format!("{open} did not"));
    }
}
