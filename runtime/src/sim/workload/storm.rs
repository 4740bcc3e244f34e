//! Supervision under a storm of panics: a supervisor grants no more restarts than it may.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::super::Fault;
use super::super::letter::Letter;
use super::super::world::{self, World};
use super::{Poke, Workload, options};
use crate::actor::{Actor, Address, Context, Handler, Intensity, Message, Supervisor};

/// Children in all.
const CHILDREN_MAX: usize = 48;

/// All children of all supervisors.
#[derive(Default)]
pub(super) struct Storm(RefCell<Vec<Address<Child>>>);

/// Restarts of one supervisor, by the moment, and what it may grant.
struct Book {
    intensity: Intensity,
    restarts: RefCell<Vec<u64>>,
}

impl Book {
    fn restarted(&self, world: &World) {
        let now = world.now();
        let within = u64::try_from(self.intensity.within.as_nanos()).unwrap_or(u64::MAX);
        let mut restarts = self.restarts.borrow_mut();
        restarts.push(now);
        restarts.retain(|at| now - at <= within);
        let granted = restarts.len();
        world.expect(
            granted <= self.intensity.restarts as usize,
            "restarts stay within the intensity",
            || format!("{granted} within {:?}", self.intensity),
        );
    }
}

/// Panics often, and while it starts as well.
struct Child {
    again: bool,
}

struct Provoke(Letter);

impl Message for Provoke {
    type Reply = ();
}

impl Actor for Child {
    fn started(&mut self, context: &mut Context<'_, Self>) {
        world::with(|world| {
            world::event::<Self>(world, context.id());
            world.expect(
                self.again == (context.incarnation() > 0),
                "an incarnation counts restarts",
                || format!("{} after {}", context.incarnation(), self.again),
            );
            world::fail_at_random(world, if self.again { 0.3 } else { 0.05 });
        });
    }
}

impl Handler<Provoke> for Child {
    fn handle(&mut self, Provoke(letter): Provoke, context: &mut Context<'_, Self>) {
        world::with(|world| {
            world::event::<Provoke>(world, context.id());
            letter.read(world);
            world::fail_at_random(world, 0.4);
            if world.unrest(0.05) {
                context.stop();
            } else if world.unrest(0.1) {
                // Ends as a panic does, without one.
                context.fail("for the storm's sake");
            }
        });
    }
}

impl Storm {
    /// A new supervisor with a few children on the current shard.
    fn settle(&self, world: &World) {
        let restarts = u32::try_from(world.below(6)).unwrap_or(0);
        let within = Duration::from_nanos(world.span(2_000_000_000));
        let book = Rc::new(Book {
            intensity: Intensity { restarts, within },
            restarts: RefCell::default(),
        });
        let more = u32::from(world.is_broken(Fault::GenerousSupervisor));
        let granted = Intensity {
            restarts: restarts + more,
            within,
        };
        let supervisor = Supervisor::new("storm", granted);
        for _ in 0..=world.below(3) {
            if self.0.borrow().len() >= CHILDREN_MAX {
                return;
            }
            let (book, mut again) = (book.clone(), false);
            let child = supervisor.spawn(options(world), move || {
                if again {
                    world::with(|world| {
                        book.restarted(world);
                        world::fail_at_random(world, 0.05);
                    });
                }
                Child {
                    again: std::mem::replace(&mut again, true),
                }
            });
            self.0.borrow_mut().extend(child.ok());
        }
    }
}

impl Workload for Storm {
    fn begin(&self, world: &World) {
        self.settle(world);
    }

    fn poke(self: Rc<Self>) -> Poke {
        Box::pin(async move {
            world::with(|world| {
                if world.unrest(0.3) {
                    self.settle(world);
                }
                let children = self.0.borrow().clone();
                for _ in 0..world.span(16) {
                    let Some(child) = children.get(world.index(children.len())) else {
                        return;
                    };
                    if let Err(refused) = child.cast(Provoke(Letter::loose(world))) {
                        refused.into_message().0.take_back(world);
                    }
                }
            });
        })
    }
}
