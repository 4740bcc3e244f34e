//! State machines that postpone: what they set aside comes again, in its order, restarts included.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::super::letter::Letter;
use super::super::world::{self, World};
use super::{Poke, Workload, options};
use crate::actor::{
    Actor, Address, Context, Handler, Intensity, Message, Overflow, SpawnOptions, Supervisor,
};
use crate::sched::Class;

/// The longest stay in a state.
const STAY_NS: u64 = 100_000_000;

/// The doors, on all shards.
#[derive(Default)]
pub(super) struct States {
    doors: RefCell<Vec<Address<Door>>>,
    senders: RefCell<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Shut,
    /// At the quiet end: takes all there is.
    Gone,
}

/// Lets people pass while it is open, and hears knocks while it is shut.
struct Door {
    state: State,
}

/// Wants an open door.
struct Pass(Letter);
/// Wants a shut door.
struct Knock(Letter);
/// Changes the state, whatever it is.
struct Turn(Letter);
/// The state has lasted for long enough.
struct Expire;

impl Message for Pass {
    type Reply = ();
}
impl Message for Knock {
    type Reply = ();
}
impl Message for Turn {
    type Reply = ();
}
impl Message for Expire {
    type Reply = ();
    // A lane of its own, so that what was set aside does not keep it out.
    const CLASS: Class = Class::High;
}

impl Actor for Door {
    fn started(&mut self, context: &mut Context<'_, Self>) {
        self.arm(context);
    }
}

impl Door {
    fn arm(&self, context: &mut Context<'_, Self>) {
        let stay = world::with(|world| world.span(STAY_NS)).unwrap_or(1);
        if self.state != State::Gone {
            context.state_timeout(Duration::from_nanos(stay), Expire);
        }
    }

    fn turn(&mut self, context: &mut Context<'_, Self>) {
        let calm = world::with(|world| world.calm.get()) == Some(true);
        self.state = match self.state {
            _ if calm => State::Gone,
            State::Open => State::Shut,
            State::Shut | State::Gone => State::Open,
        };
        context.transition();
        self.arm(context);
    }

    fn take<M>(&self, letter: Letter, wrong: State, context: &Context<'_, Self>) {
        world::with(|world| {
            world::event::<M>(world, context.id());
            letter.read(world);
            world.expect(
                self.state != wrong,
                "a state accepts what it handles",
                || format!("{:?}", context.id()),
            );
            world::fail_at_random(world, 0.02);
        });
    }
}

impl Handler<Pass> for Door {
    fn handle(&mut self, Pass(letter): Pass, context: &mut Context<'_, Self>) {
        self.take::<Pass>(letter, State::Shut, context);
    }

    fn accepts(&self, _: &Pass) -> bool {
        self.state != State::Shut
    }
}

impl Handler<Knock> for Door {
    fn handle(&mut self, Knock(letter): Knock, context: &mut Context<'_, Self>) {
        self.take::<Knock>(letter, State::Open, context);
    }

    fn accepts(&self, _: &Knock) -> bool {
        self.state != State::Open
    }
}

impl Handler<Turn> for Door {
    fn handle(&mut self, Turn(letter): Turn, context: &mut Context<'_, Self>) {
        world::with(|world| {
            world::event::<Turn>(world, context.id());
            letter.read(world);
        });
        self.turn(context);
    }
}

impl Handler<Expire> for Door {
    fn handle(&mut self, _: Expire, context: &mut Context<'_, Self>) {
        world::with(|world| world::event::<Expire>(world, context.id()));
        self.turn(context);
    }
}

impl States {
    fn write(&self, world: &World, from: u32) {
        let doors = self.doors.borrow();
        let at = world.index(doors.len());
        let Some(door) = doors.get(at) else {
            return;
        };
        let kind = world.index(8).min(2);
        // What is set aside is overtaken by what is not: an order for each type of message.
        let lane = [b'p', b'k', b't'][kind];
        let letter = Letter::write(world, (from, u32::try_from(at).unwrap_or(0), lane));
        let refused = match kind {
            0 => door.cast(Pass(letter)).map_err(|e| e.into_message().0),
            1 => door.cast(Knock(letter)).map_err(|e| e.into_message().0),
            _ => door.cast(Turn(letter)).map_err(|e| e.into_message().0),
        };
        if let Err(letter) = refused {
            letter.take_back(world);
        }
    }
}

impl Workload for States {
    fn begin(&self, world: &World) {
        let forever = Intensity {
            restarts: u32::MAX,
            within: Duration::ZERO,
        };
        // Nothing may keep the time-out of a state out of the mailbox.
        let options = SpawnOptions {
            overflow: Overflow::Refuse,
            bytes: SpawnOptions::default().bytes,
            ..options(world)
        };
        let supervisor = Supervisor::new("states", forever);
        let door = supervisor.spawn(options, || Door { state: State::Open });
        self.doors.borrow_mut().extend(door.ok());
    }

    fn poke(self: Rc<Self>) -> Poke {
        Box::pin(async move {
            world::with(|world| {
                let from = *self.senders.borrow() + 1;
                *self.senders.borrow_mut() = from;
                for _ in 0..world.span(32) {
                    self.write(world, from);
                }
            });
        })
    }
}
