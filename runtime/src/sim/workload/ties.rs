//! Monitors and links: an end is told once to each who watched, and nobody stays tied to the dead.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::super::Fault;
use super::super::letter::Letter;
use super::super::world::{self, World};
use super::{Poke, Workload, options};
use crate::actor::{
    Actor, ActorId, Address, Context, Down, Exit, ExitReason, Handler, Intensity, Message, Monitor,
    Supervisor, spawn_actor,
};
use crate::sched::Slot;
use crate::shard::Shard;

/// Actors in all.
const NODES_MAX: usize = 96;

type Parts = (u16, u32, u32);

/// Who there is, and who watches whom.
#[derive(Default)]
struct Book {
    nodes: RefCell<Vec<Node>>,
    /// Open watches and their watchers.
    watches: RefCell<BTreeMap<u64, Parts>>,
    ended: RefCell<BTreeSet<Parts>>,
    /// Actors that are restarted, whose end cannot be told from a restart by the actor itself.
    supervised: RefCell<BTreeSet<Parts>>,
}

/// The address of an actor that traps exits, or of one that does not.
#[derive(Clone, Copy)]
enum Node {
    Trapping(Address<Knot<true>>),
    Plain(Address<Knot<false>>),
}

impl Node {
    fn id(self) -> ActorId {
        match self {
            Node::Trapping(address) => address.id(),
            Node::Plain(address) => address.id(),
        }
    }

    fn cast(self, message: Tug) -> Result<(), Tug> {
        match self {
            Node::Trapping(address) => address.cast(message).map_err(|e| e.into_message()),
            Node::Plain(address) => address.cast(message).map_err(|e| e.into_message()),
        }
    }
}

/// All of it.
#[derive(Default)]
pub(super) struct Ties(Rc<Book>);

/// An actor that ties itself to others, and ends.
struct Knot<const TRAPS: bool> {
    book: Rc<Book>,
    id: Option<Parts>,
    supervised: bool,
    watching: Vec<Monitor>,
    linked: Vec<ActorId>,
}

/// Do something with your ties.
struct Tug(Letter);

impl Message for Tug {
    type Reply = ();
}

impl<const TRAPS: bool> Actor for Knot<TRAPS> {
    const TRAPS_EXITS: bool = TRAPS;

    fn started(&mut self, context: &mut Context<'_, Self>) {
        let me = context.id().to_parts();
        self.id = Some(me);
        if self.supervised {
            self.book.supervised.borrow_mut().insert(me);
        }
        // What an earlier incarnation watched is forgotten.
        self.book.watches.borrow_mut().retain(|_, by| *by != me);
    }

    fn exited(&mut self, exit: Exit, context: &mut Context<'_, Self>) {
        world::with(|world| {
            world::event::<Exit>(world, context.id());
            world::fail_at_random(world, 0.02);
        });
        self.linked.retain(|id| *id != exit.from);
    }

    fn down(&mut self, down: Down, context: &mut Context<'_, Self>) {
        let me = context.id().to_parts();
        world::with(|world| {
            world::event::<Down>(world, context.id());
            let twice = world.is_broken(Fault::DoubledDown) && world.unrest(0.1);
            for _ in 0..=u8::from(twice) {
                let watch = self.book.watches.borrow_mut().remove(&down.monitor.0);
                world.expect(
                    watch == Some(me),
                    "an end is told once to each watcher",
                    || format!("{down:?} to {me:?}, whose watch is {watch:?}"),
                );
            }
            let ended = self.book.ended.borrow().contains(&down.actor.to_parts());
            let may_end = self
                .book
                .supervised
                .borrow()
                .contains(&down.actor.to_parts());
            world.expect(ended || may_end, "only an end is told", || {
                format!("{down:?}")
            });
        });
        self.watching.retain(|monitor| *monitor != down.monitor);
    }
}

impl<const TRAPS: bool> Drop for Knot<TRAPS> {
    fn drop(&mut self) {
        if !self.supervised {
            self.book.ended.borrow_mut().extend(self.id);
        }
        // Whatever it still hears is not for it.
        let mut watches = self.book.watches.borrow_mut();
        watches.retain(|_, by| Some(*by) != self.id);
    }
}

impl<const TRAPS: bool> Knot<TRAPS> {
    fn tie(&mut self, world: &World, context: &mut Context<'_, Self>) {
        let Some((at, other)) = self.anybody(world) else {
            return;
        };
        match world.below(12) {
            0..4 => self.watch(other, context),
            4 => {
                if let Some(monitor) = self.watching.pop() {
                    context.demonitor(monitor);
                    self.book.watches.borrow_mut().remove(&monitor.0);
                }
            }
            // Links go one way, so that an untying never meets a tying that comes towards it.
            5..8 if self.position(context) < Some(at) => {
                context.link(other);
                self.linked.push(other);
            }
            8 => {
                if let Some(other) = self.linked.pop() {
                    context.unlink(other);
                }
            }
            9 => context.exit(other, ExitReason::Failed("tugged".into())),
            10 if world.unrest(0.2) => context.exit(other, ExitReason::Killed),
            _ => {}
        }
    }

    fn anybody(&self, world: &World) -> Option<(usize, ActorId)> {
        let nodes = self.book.nodes.borrow();
        let at = world.index(nodes.len());
        nodes.get(at).map(|node| (at, node.id()))
    }

    fn position(&self, context: &Context<'_, Self>) -> Option<usize> {
        let nodes = self.book.nodes.borrow();
        nodes.iter().position(|node| node.id() == context.id())
    }

    fn watch(&mut self, other: ActorId, context: &mut Context<'_, Self>) {
        let monitor = context.monitor(other);
        self.watching.push(monitor);
        let mut watches = self.book.watches.borrow_mut();
        watches.insert(monitor.0, context.id().to_parts());
    }
}

impl<const TRAPS: bool> Handler<Tug> for Knot<TRAPS> {
    fn handle(&mut self, Tug(letter): Tug, context: &mut Context<'_, Self>) {
        world::with(|world| {
            world::event::<Tug>(world, context.id());
            letter.read(world);
            if world.calm.get() {
                return;
            }
            self.tie(world, context);
            world::fail_at_random(world, 0.03);
            if world.unrest(0.03) {
                context.stop();
            }
        });
    }
}

impl Ties {
    fn settle(&self, world: &World) {
        if self.0.nodes.borrow().len() >= NODES_MAX {
            return;
        }
        let node = if world.chance(0.5) {
            self.spawn::<true>(world).map(Node::Trapping)
        } else {
            self.spawn::<false>(world).map(Node::Plain)
        };
        self.0.nodes.borrow_mut().extend(node);
    }

    fn spawn<const TRAPS: bool>(&self, world: &World) -> Option<Address<Knot<TRAPS>>> {
        let book = self.0.clone();
        let supervised = world.chance(0.3);
        let make = move || Knot {
            book: book.clone(),
            id: None,
            supervised,
            watching: Vec::new(),
            linked: Vec::new(),
        };
        if supervised {
            let supervisor = Supervisor::new("ties", Intensity::default());
            supervisor.spawn(options(world), make).ok()
        } else {
            spawn_actor(options(world), make()).ok()
        }
    }
}

impl Workload for Ties {
    fn begin(&self, world: &World) {
        for _ in 0..=world.below(4) {
            self.settle(world);
        }
    }

    fn poke(self: Rc<Self>) -> Poke {
        Box::pin(async move {
            world::with(|world| {
                for _ in 0..=world.below(3) {
                    if world.unrest(0.7) {
                        self.settle(world);
                    }
                }
                for _ in 0..world.span(16) {
                    let nodes = self.0.nodes.borrow();
                    let Some(node) = nodes.get(world.index(nodes.len())) else {
                        return;
                    };
                    if let Err(Tug(letter)) = node.cast(Tug(Letter::loose(world))) {
                        letter.take_back(world);
                    }
                }
            });
        })
    }

    /// All ties are known at both ends.
    fn finish(&self, world: &World, shards: &[Rc<Shard>]) {
        for shard in shards {
            let slots = (0..shard.slots.made()).filter_map(|index| shard.slots.at(index));
            for slot in slots.filter(|slot| !slot.is_free()) {
                known_at_both_ends(world, shards, shard, slot);
            }
        }
    }
}

fn known_at_both_ends(world: &World, shards: &[Rc<Shard>], shard: &Shard, slot: &Slot) {
    let Some(cold) = slot.cold() else { return };
    let me = shard.id_of(slot);
    let other_end = |id: ActorId| {
        let shard = shards.get(usize::from(id.shard()))?;
        shard.slots.get(id.key())?.cold()
    };
    for other in cold.links.borrow().iter() {
        let known = other_end(*other).is_some_and(|cold| cold.links.borrow().contains(&me));
        world.expect(known, "a link has two ends", || {
            format!("{me:?} to {other:?}")
        });
    }
    for (monitor, other) in cold.watching.borrow().iter() {
        let entry = (*monitor, me);
        let known = other_end(*other).is_some_and(|cold| cold.watchers.borrow().contains(&entry));
        world.expect(known, "who watches will be told", || {
            format!("{me:?} of {other:?}")
        });
    }
    for (monitor, by) in cold.watchers.borrow().iter() {
        let entry = (*monitor, me);
        let known = other_end(*by).is_some_and(|cold| cold.watching.borrow().contains(&entry));
        world.expect(known, "who is told still watches", || {
            format!("{by:?} of {me:?}")
        });
    }
}
