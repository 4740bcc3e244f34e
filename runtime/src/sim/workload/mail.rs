//! Numbered streams between all pairs of actors, in both lanes, inside a shard and across.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::super::Fault;
use super::super::letter::Letter;
use super::super::world::{self, World};
use super::{Poke, Workload, options};
use crate::actor::{
    Actor, Address, Context, Handler, Intensity, Message, SendError, Supervisor, spawn_actor,
};
use crate::sched::Class;

/// Actors on a shard.
const PEERS: u64 = 4;
/// Actors in all; those that ended are replaced.
const PEERS_MAX: usize = 64;

/// All actors that write to each other.
#[derive(Default)]
pub(super) struct Mail {
    peers: Rc<RefCell<Vec<Address<Peer>>>>,
    numbers: Rc<Cell<u32>>,
}

/// One of them.
struct Peer {
    number: u32,
    peers: Rc<RefCell<Vec<Address<Peer>>>>,
}

struct Plain(Letter);
struct Urgent(Letter);
struct Slow(Letter);
/// Does not fit an envelope.
struct Bulky(Letter, [u64; 12]);
/// May fail when it is dropped unread.
struct Fragile(Option<Letter>);

impl Message for Plain {
    type Reply = ();
}
impl Message for Urgent {
    type Reply = ();
    const CLASS: Class = Class::High;
}
impl Message for Slow {
    type Reply = ();
    const CLASS: Class = Class::Low;
}
impl Message for Bulky {
    type Reply = ();
}
impl Message for Fragile {
    type Reply = ();
}

impl Drop for Fragile {
    /// Fails at times when the runtime drops it, which must harm nobody.
    fn drop(&mut self) {
        if self.0.is_some() {
            world::with(|world| world::fail_in_drop(world, 0.3));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        world::with(|world| world::fail_at_random(world, 0.05));
    }
}

impl Actor for Peer {}

impl Peer {
    fn read<M>(&self, letter: Letter, context: &Context<'_, Self>) {
        world::with(|world| {
            world::event::<M>(world, context.id());
            letter.read(world);
            world::fail_at_random(world, 0.01);
            for _ in 0..[0, 0, 0, 1, 1, 3][world.index(6)] {
                if !world.calm.get() {
                    write(world, self.number, &self.peers.borrow());
                }
            }
        });
    }
}

impl Handler<Plain> for Peer {
    fn handle(&mut self, Plain(letter): Plain, context: &mut Context<'_, Self>) {
        self.read::<Plain>(letter, context);
    }
}
impl Handler<Urgent> for Peer {
    fn handle(&mut self, Urgent(letter): Urgent, context: &mut Context<'_, Self>) {
        self.read::<Urgent>(letter, context);
    }
}
impl Handler<Slow> for Peer {
    fn handle(&mut self, Slow(letter): Slow, context: &mut Context<'_, Self>) {
        self.read::<Slow>(letter, context);
    }
}
impl Handler<Bulky> for Peer {
    fn handle(&mut self, Bulky(letter, ballast): Bulky, context: &mut Context<'_, Self>) {
        let whole = ballast.iter().all(|word| *word == ballast[0]);
        world::with(|world| {
            world.expect(whole, "a message arrives whole", || format!("{ballast:?}"));
        });
        self.read::<Bulky>(letter, context);
    }
}

impl Handler<Fragile> for Peer {
    fn handle(&mut self, mut message: Fragile, context: &mut Context<'_, Self>) {
        if let Some(letter) = message.0.take() {
            self.read::<Fragile>(letter, context);
        }
    }
}

/// Sends one letter of `from` to one of `peers`.
fn write(world: &World, from: u32, peers: &[Address<Peer>]) {
    if peers.is_empty() {
        return;
    }
    let to = world.index(peers.len());
    let kind = world.below(5);
    let stream = (from, u32::try_from(to).unwrap_or(0), u8::from(kind == 1));
    let letter = Letter::write(world, stream);
    if world.is_broken(Fault::SkippedNumber) && world.unrest(0.05) {
        return letter.lose();
    }
    let address = peers[to];
    let within = world
        .unrest(0.2)
        .then(|| Duration::from_nanos(world.span(10_000_000)));
    let refused = match kind {
        0 => back(send(address, Slow(letter), within), |Slow(letter)| letter),
        1 => back(send(address, Urgent(letter), within), |Urgent(letter)| {
            letter
        }),
        2 => {
            let ballast = [world.below(u64::MAX); 12];
            back(
                send(address, Bulky(letter, ballast), within),
                |Bulky(letter, _)| letter,
            )
        }
        3 => send(address, Fragile(Some(letter)), within)
            .err()
            .and_then(|refused| refused.into_message().0.take()),
        _ => back(send(address, Plain(letter), within), |Plain(letter)| letter),
    };
    if let Some(letter) = refused {
        letter.take_back(world);
    }
}

fn send<M: Message>(
    to: Address<Peer>,
    message: M,
    within: Option<Duration>,
) -> Result<(), SendError<M>>
where
    Peer: Handler<M>,
{
    match within {
        Some(within) => to.cast_within(message, within),
        None => to.cast(message),
    }
}

fn back<M>(sent: Result<(), SendError<M>>, letter: impl FnOnce(M) -> Letter) -> Option<Letter> {
    sent.err().map(|refused| letter(refused.into_message()))
}

impl Mail {
    fn settle(&self, world: &World) {
        if self.peers.borrow().len() >= PEERS_MAX {
            return;
        }
        let number = self.number();
        let peers = self.peers.clone();
        let make = move || Peer {
            number,
            peers: peers.clone(),
        };
        let spawned = if world.chance(0.5) {
            spawn_actor(options(world), make())
        } else {
            let supervisor = Supervisor::new("mail", Intensity::default());
            supervisor.spawn(options(world), make)
        };
        if let Ok(address) = spawned {
            self.peers.borrow_mut().push(address);
        }
    }

    fn number(&self) -> u32 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }
}

impl Workload for Mail {
    fn begin(&self, world: &World) {
        for _ in 0..=world.below(PEERS) {
            self.settle(world);
        }
    }

    fn poke(self: Rc<Self>) -> Poke {
        Box::pin(async move {
            world::with(|world| {
                let from = self.number();
                for _ in 0..world.span(32) {
                    write(world, from, &self.peers.borrow());
                }
                if world.unrest(0.2) {
                    self.settle(world);
                }
            });
        })
    }
}
