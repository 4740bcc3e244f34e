//! What runs in a simulation: actors that check themselves.

mod calls;
mod mail;
mod names;
mod states;
mod storm;
mod ties;
mod timers;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use super::world::World;
use crate::actor::{Overflow, SpawnOptions};
use crate::sched::Class;
use crate::shard::Shard;

/// What a workload does when it is poked.
pub(super) type Poke = Pin<Box<dyn Future<Output = ()>>>;

/// A set of actors with a purpose and a way to tell that it was met.
pub(super) trait Workload {
    /// Starts its actors on the current shard; called once on each.
    fn begin(&self, world: &World);

    /// Does something, as a task on a shard.
    fn poke(self: Rc<Self>) -> Poke;

    /// Checks what must hold at the quiet end.
    fn finish(&self, world: &World, shards: &[Rc<Shard>]) {
        let _ = (world, shards);
    }
}

/// The workloads of this seed: each with even odds, and one at least.
pub(super) fn choose(world: &World) -> Vec<Rc<dyn Workload>> {
    let all: [Rc<dyn Workload>; 7] = [
        Rc::<mail::Mail>::default(),
        Rc::<calls::Calls>::default(),
        Rc::<storm::Storm>::default(),
        Rc::<timers::Timers>::default(),
        Rc::<names::Names>::default(),
        Rc::<ties::Ties>::default(),
        Rc::<states::States>::default(),
    ];
    let certain = world.index(all.len());
    let chosen = all.into_iter().enumerate();
    chosen
        .filter(|(index, _)| *index == certain || world.chance(0.5))
        .map(|(_, workload)| workload)
        .collect()
}

/// Options of an actor: mailboxes are tiny as often as not.
fn options(world: &World) -> SpawnOptions {
    let small = |most| u32::try_from(1 + world.below(most)).unwrap_or(1);
    let default = SpawnOptions::default();
    SpawnOptions {
        capacity: if world.chance(0.5) {
            small(8)
        } else {
            default.capacity
        },
        bytes: if world.chance(0.3) {
            64 * small(8)
        } else {
            default.bytes
        },
        overflow: [Overflow::Refuse, Overflow::DropOldest, Overflow::DropNewest][world.index(3)],
        class: [Class::Normal, Class::Low][world.index(2)],
        group: u8::try_from(Shard::with(|shard| world.index(shard.groups())).unwrap_or(0))
            .unwrap_or(0),
        hibernate: world
            .chance(0.2)
            .then(|| std::time::Duration::from_millis(1)),
    }
}
