//! Calls with deadlines: each resolves once, with the answer to its own question, or with a reason;
//! handlers that wait, alone or beside others.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use super::super::Fault;
use super::super::letter::Letter;
use super::super::world::{self, World};
use super::{Poke, Workload, options};
use crate::actor::{
    Actor, Address, AsyncHandler, CallError, Context, Handler, Intensity, Message, Receives,
    Supervisor,
};
use crate::blocking::blocking;
use crate::shard::Shard;
use crate::timer::{sleep, timeout};

/// Actors that answer, in all.
const ORACLES_MAX: usize = 24;
/// The longest deadline.
const DEADLINE_NS: u64 = 50_000_000;

type Oracles = Rc<RefCell<Vec<Address<Oracle>>>>;

/// Who answers, and the calls that have no end yet.
#[derive(Default)]
pub(super) struct Calls {
    oracles: Oracles,
    open: Rc<Cell<i64>>,
}

/// Answers questions.
struct Oracle {
    oracles: Oracles,
    open: Rc<Cell<i64>>,
    /// A handler runs that wants to be alone.
    alone: Rc<Cell<bool>>,
}

/// Answered at once.
struct Question(Letter, u64);
/// Answered later, while the actor goes on.
struct Riddle(Letter, u64);
/// Answered later, while the actor does nothing else.
struct Koan(Letter, u64);

impl Message for Question {
    type Reply = u64;
}
impl Message for Riddle {
    type Reply = u64;
}
impl Message for Koan {
    type Reply = Box<u64>;
}

fn answer(question: u64) -> u64 {
    question.rotate_left(17) ^ 0x5bd1_e995
}

impl Actor for Oracle {}

impl Oracle {
    fn hear<M>(&self, letter: Letter, context: &Context<'_, Self>) {
        world::with(|world| {
            world::event::<M>(world, context.id());
            letter.read(world);
            world.expect(!self.alone.get(), "an exclusive handler is alone", || {
                format!("{:?}", context.id())
            });
            world::fail_at_random(world, 0.02);
        });
    }
}

impl Handler<Question> for Oracle {
    fn handle(&mut self, Question(letter, n): Question, context: &mut Context<'_, Self>) -> u64 {
        self.hear::<Question>(letter, context);
        let wrong = world::with(|world| {
            if world.unrest(0.005) {
                context.stop();
            }
            world.is_broken(Fault::WrongAnswer) && world.unrest(0.1)
        });
        answer(n) ^ u64::from(wrong == Some(true))
    }
}

impl AsyncHandler<Riddle> for Oracle {
    fn handle(
        &mut self,
        Riddle(letter, n): Riddle,
        context: &mut Context<'_, Self>,
    ) -> impl Future<Output = u64> + 'static {
        self.hear::<Riddle>(letter, context);
        let (oracles, open) = (self.oracles.clone(), self.open.clone());
        async move {
            ponder(&oracles, &open).await;
            answer(n)
        }
    }
}

/// Keeps others away from an actor.
struct Solitude(Rc<Cell<bool>>);

impl Drop for Solitude {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl AsyncHandler<Koan> for Oracle {
    const EXCLUSIVE: bool = true;

    fn handle(
        &mut self,
        Koan(letter, n): Koan,
        context: &mut Context<'_, Self>,
    ) -> impl Future<Output = Box<u64>> + 'static {
        self.hear::<Koan>(letter, context);
        self.alone.set(true);
        let solitude = Solitude(self.alone.clone());
        async move {
            nap().await;
            drop(solitude);
            Box::new(answer(n))
        }
    }
}

async fn nap() {
    let span = world::with(|world| world.span(DEADLINE_NS)).unwrap_or(1);
    sleep(Duration::from_nanos(span)).await;
}

/// What a handler that waits waits for.
async fn ponder(oracles: &Oracles, open: &Rc<Cell<i64>>) {
    match world::with(|world| if world.calm.get() { 4 } else { world.below(4) }) {
        Some(0) => nap().await,
        Some(1) => ask_one(oracles, open, 0).await,
        Some(2) => {
            // A full queue of the pool is as good an answer.
            let _ = blocking(|| ()).await;
        }
        _ => {}
    }
}

/// Counts a call until it has come to its end, dropped ones too.
struct Open(Rc<Cell<i64>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Asks somebody something, in the way `kind`.
async fn ask_one(oracles: &Oracles, open: &Rc<Cell<i64>>, kind: u64) {
    let chosen = world::with(|world| {
        let oracles = oracles.borrow();
        oracles.get(world.index(oracles.len())).copied()
    });
    let Some(to) = chosen.flatten() else {
        return;
    };
    open.set(open.get() + 1);
    let counted = Open(open.clone());
    match kind {
        0 => ask(to, Question, |Question(letter, _)| letter, |answer| answer).await,
        1 => ask(to, Riddle, |Riddle(letter, _)| letter, |answer| answer).await,
        _ => ask(to, Koan, |Koan(letter, _)| letter, |answer| *answer).await,
    }
    drop(counted);
}

async fn ask<M: Message, K>(
    to: Address<Oracle>,
    message: fn(Letter, u64) -> M,
    letter: fn(M) -> Letter,
    value: fn(M::Reply) -> u64,
) where
    Oracle: Receives<M, K>,
{
    let asked = world::with(|world| {
        let (question, deadline) = (world.below(u64::MAX), world.span(DEADLINE_NS));
        let patience = world.unrest(0.1).then(|| world.span(DEADLINE_NS));
        let begin = world.now();
        let message = message(Letter::loose(world), question);
        let call = to.call(message, Duration::from_nanos(deadline));
        (call, question, begin, deadline, patience)
    });
    let Some((call, question, begin, deadline, patience)) = asked else {
        return;
    };
    let outcome = match patience {
        None => call.await,
        Some(patience) => match timeout(Duration::from_nanos(patience), call).await {
            Ok(outcome) => outcome,
            // Abandoned: the answer, if it comes, is dropped.
            Err(_) => return,
        },
    };
    world::with(|world| match outcome {
        Ok(answered) => {
            let found = value(answered);
            world.fold("answered", &[question]);
            world.expect(
                found == answer(question),
                "an answer is that of its question",
                || format!("{question}: {found}"),
            );
        }
        Err(CallError::TimedOut) => {
            world.fold("timed out", &[question]);
            let waited = world.now() - begin;
            world.expect(waited >= deadline, "a deadline is never early", || {
                format!("{waited} ns waited of {deadline}")
            });
        }
        Err(
            CallError::Full(message)
            | CallError::Closed(message)
            | CallError::OffShard(message)
            | CallError::Shed(message)
            | CallError::TooLarge(message),
        ) => letter(message).take_back(world),
        Err(CallError::Dropped | CallError::Panicked | CallError::Stopped) => {
            world.fold("no answer", &[question]);
        }
    });
}

impl Calls {
    fn settle(&self, world: &World) {
        if self.oracles.borrow().len() >= ORACLES_MAX {
            return;
        }
        let (oracles, open) = (self.oracles.clone(), self.open.clone());
        let make = move || Oracle {
            oracles: oracles.clone(),
            open: open.clone(),
            alone: Rc::default(),
        };
        let supervisor = Supervisor::new("calls", Intensity::default());
        let spawned = supervisor.spawn(options(world), make);
        self.oracles.borrow_mut().extend(spawned.ok());
    }
}

impl Workload for Calls {
    fn begin(&self, world: &World) {
        for _ in 0..=world.below(2) {
            self.settle(world);
        }
    }

    fn poke(self: Rc<Self>) -> Poke {
        Box::pin(async move {
            let plan = world::with(|world| {
                if world.unrest(0.2) {
                    self.settle(world);
                }
                (world.span(6), world.below(4))
            });
            let (times, kind) = plan.unwrap_or((0, 0));
            for _ in 0..times {
                ask_one(&self.oracles, &self.open, kind).await;
                if world::with(|world| world.calm.get()) != Some(false) {
                    return;
                }
            }
        })
    }

    fn finish(&self, world: &World, _: &[Rc<Shard>]) {
        let open = self.open.get();
        world.expect(open == 0, "every call resolves", || {
            format!("{open} did not")
        });
    }
}
