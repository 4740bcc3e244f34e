//! Names that change hands all the time: each has one owner on a shard.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::super::letter::Letter;
use super::super::world::{self, World};
use super::{Poke, Workload, options};
use crate::actor::{Actor, Address, Context, Handler, Message, spawn_actor};
use crate::registry::{RegisterError, lookup, register, unregister};
use crate::runtime::current_shard;

/// Names on a shard.
const NAMES: u64 = 4;
/// Actors that names are given to, in all.
const HOLDERS_MAX: usize = 48;

type Parts = (u16, u32, u32);

/// What the registry should say.
#[derive(Default)]
pub(super) struct Names {
    owners: RefCell<BTreeMap<(u16, u64), Parts>>,
    holders: RefCell<Vec<Address<Holder>>>,
    ended: Rc<RefCell<BTreeSet<Parts>>>,
}

/// Does nothing but hold names, until it stops.
struct Holder {
    id: Cell<Option<Parts>>,
    ended: Rc<RefCell<BTreeSet<Parts>>>,
}

struct Retire(Letter);

impl Message for Retire {
    type Reply = ();
}

impl Actor for Holder {
    fn started(&mut self, context: &mut Context<'_, Self>) {
        self.id.set(Some(context.id().to_parts()));
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.ended.borrow_mut().extend(self.id.get());
    }
}

impl Handler<Retire> for Holder {
    fn handle(&mut self, Retire(letter): Retire, context: &mut Context<'_, Self>) {
        world::with(|world| {
            world::event::<Retire>(world, context.id());
            letter.read(world);
            world::fail_at_random(world, 0.3);
        });
        context.stop();
    }
}

impl Names {
    fn settle(&self, world: &World) {
        if self.holders.borrow().len() < HOLDERS_MAX {
            let holder = Holder {
                id: Cell::new(None),
                ended: self.ended.clone(),
            };
            let spawned = spawn_actor(options(world), holder);
            self.holders.borrow_mut().extend(spawned.ok());
        }
    }

    fn give(&self, world: &World, shard: u16, number: u64) {
        let holders = self.holders.borrow();
        let Some(holder) = holders.get(world.index(holders.len())) else {
            return;
        };
        let mut owners = self.owners.borrow_mut();
        let owner = owners.get(&(shard, number)).copied();
        // Of actors elsewhere the shard does not know whether they have ended.
        let free = owner.is_none_or(|id| id.0 == shard && self.ended.borrow().contains(&id));
        let given = register(&number.to_string(), *holder);
        let right = match &given {
            Ok(()) => free,
            Err(RegisterError::Taken { holder, .. }) => !free && owner == Some(holder.to_parts()),
            Err(_) => false,
        };
        world.expect(right, "a name has one owner", || {
            format!("{number} on {shard}: {owner:?}, free {free}, but {given:?}")
        });
        if given.is_ok() {
            owners.insert((shard, number), holder.id().to_parts());
        }
    }

    fn look(&self, world: &World, shard: u16, number: u64) {
        let owner = self.owners.borrow().get(&(shard, number)).copied();
        let found = lookup::<Holder>(&number.to_string()).map(|holder| holder.id().to_parts());
        world.expect(found == owner, "a name finds its owner", || {
            format!("{number} on {shard}: {owner:?}, but {found:?}")
        });
    }

    fn take(&self, world: &World, shard: u16, number: u64) {
        let owner = self.owners.borrow_mut().remove(&(shard, number));
        let held = unregister(&number.to_string());
        world.expect(held == owner.is_some(), "a name is freed once", || {
            format!("{number} on {shard}: {owner:?}, but {held}")
        });
    }

    fn retire(&self, world: &World) {
        let mut holders = self.holders.borrow_mut();
        if holders.is_empty() {
            return;
        }
        let at = world.index(holders.len());
        let holder = holders.swap_remove(at);
        if let Err(refused) = holder.cast(Retire(Letter::loose(world))) {
            refused.into_message().0.take_back(world);
        }
    }
}

impl Workload for Names {
    fn begin(&self, world: &World) {
        self.settle(world);
    }

    fn poke(self: Rc<Self>) -> Poke {
        Box::pin(async move {
            world::with(|world| {
                let shard = current_shard().unwrap_or(0);
                for _ in 0..world.span(16) {
                    let number = world.below(NAMES);
                    match world.below(8) {
                        0 => self.settle(world),
                        1 => self.retire(world),
                        2 => self.take(world, shard, number),
                        3..6 => self.give(world, shard, number),
                        _ => self.look(world, shard, number),
                    }
                }
            });
        })
    }
}
