//! Where to spawn: here, on a given shard, or where work waits least.
//!
//! The last one is the power of two choices (Mitzenmacher 2001): of two shards drawn at random the
//! one with the lower queue delay. That is nearly as even as asking all of them, and a shard that
//! has just become idle is not overrun by everybody at once.

use crate::actor::{
    Actor, Address, CallError, Context, ExitReason, Handler, Message, SpawnOptions, spawn_actor,
};
use crate::handle::{Handle, InjectError};
use crate::limits::ERRAND_WITHIN;
use crate::panics::{self, Caught};
use crate::service::{self, Service};
use crate::shard::Shard;
use crate::task::SpawnError;

/// Where something is to live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Where {
    /// On the shard that asks.
    #[default]
    Here,
    /// On this shard.
    Shard(u16),
    /// On one of two shards drawn at random: the one whose messages have waited less of late.
    LeastDelayed,
}

impl Where {
    /// The shard that it is, as seen from `shard`.
    ///
    /// # Errors
    /// [`SpawnError::NoShard`].
    pub(crate) fn resolve(self, shard: &Shard) -> Result<u16, SpawnError> {
        let shards = shard.shared().ports.len();
        match self {
            Where::Here => Ok(shard.id()),
            Where::Shard(wanted) if usize::from(wanted) < shards => Ok(wanted),
            Where::Shard(wanted) => Err(SpawnError::NoShard {
                wanted: wanted.into(),
                shards,
            }),
            Where::LeastDelayed => Ok(least_delayed(shard)),
        }
    }
}

fn least_delayed(shard: &Shard) -> u16 {
    let ports = &shard.shared().ports;
    let delay = |at: usize| ports.get(at).map(|port| port.stats.queue_delay_ns.get());
    let (one, other) = {
        let mut rng = shard.rng.borrow_mut();
        let one = rng.usize(..ports.len());
        // Two different ones, where there are two.
        let step = 1 + rng.usize(..ports.len().saturating_sub(1).max(1));
        (one, (one + step) % ports.len())
    };
    let least = if delay(other) < delay(one) {
        other
    } else {
        one
    };
    u16::try_from(least).unwrap_or(0)
}

/// Starts an actor where `place` says; `make` builds it there, so that it need not be `Send`.
///
/// A start that waits for a busy shard is not given up by the runtime; whoever gives it up (a
/// [`crate::timeout`]) does not learn the address of an actor that started all the same.
///
/// # Errors
/// [`SpawnError`]: `OffShard` on a thread that is no shard (use [`Handle::spawn_actor_on`]),
/// `NoShard`, `Busy` when the way to the shard is full or it sheds load, `Lost` when it stopped,
/// `Died` when `make` or the start panicked, and whatever the shard itself says.
pub async fn spawn_on<A: Actor>(
    place: Where,
    options: SpawnOptions,
    make: impl FnOnce() -> A + Send + 'static,
) -> Result<Address<A>, SpawnError> {
    let to = Shard::with(|shard| place.resolve(shard)).unwrap_or(Err(SpawnError::OffShard))?;
    let spawned = run_there(to, move |_| spawn_actor(options, make())).await;
    spawned.map_err(|why| not_run(why, to))?
}

impl Handle {
    /// Starts an actor on `shard` and blocks this thread until it has started. Not for threads that
    /// are shards: those have [`spawn_on`].
    ///
    /// # Errors
    /// As [`spawn_on`].
    pub fn spawn_actor_on<A: Actor>(
        &self,
        shard: usize,
        options: SpawnOptions,
        make: impl FnOnce() -> A + Send + 'static,
    ) -> Result<Address<A>, SpawnError> {
        let spawn = move || async move {
            panics::catch(|| spawn_actor(options, make()))
                .unwrap_or_else(|caught| Err(died(caught)))
        };
        self.run_on(shard, spawn).unwrap_or_else(|why| {
            Err(match why {
                InjectError::NoShard(wanted) => SpawnError::NoShard {
                    wanted,
                    shards: self.shards(),
                },
                InjectError::Full => SpawnError::Busy { shard },
                _ => SpawnError::Lost { shard },
            })
        })
    }
}

/// The error of a spawn whose `make` panicked.
pub(crate) fn died(caught: Caught) -> SpawnError {
    SpawnError::Died(ExitReason::Panicked(caught.into()))
}

/// Runs the errands of other shards.
#[derive(Default)]
pub(crate) struct Porter;

impl Service for Porter {
    const SLOT: u32 = 2;
}

impl Actor for Porter {}

/// Work for another shard.
struct Errand<T>(Box<dyn FnOnce(&Shard) -> T + Send>);

impl<T: Send + 'static> Message for Errand<T> {
    type Reply = Result<T, Caught>;
}

impl<T: Send + 'static> Handler<Errand<T>> for Porter {
    fn handle(&mut self, errand: Errand<T>, _: &mut Context<'_, Self>) -> Result<T, Caught> {
        panics::catch(|| Shard::with(errand.0)).and_then(|done| done.ok_or_else(off_shard))
    }
}

/// An actor runs on a shard; said as an error, since it cannot be said as a type.
fn off_shard() -> Caught {
    Caught {
        message: "not on a shard".to_owned(),
        place: String::new(),
        backtrace: None,
    }
}

/// Why an errand was not run.
#[derive(Debug)]
pub(crate) enum NotRun {
    OffShard,
    /// The way there is full, or the shard sheds load.
    Busy,
    /// The shard has stopped.
    Lost,
    Panicked(Caught),
}

/// The error of a spawn whose errand was not run.
pub(crate) fn not_run(why: NotRun, shard: u16) -> SpawnError {
    let shard = usize::from(shard);
    match why {
        NotRun::OffShard => SpawnError::OffShard,
        NotRun::Busy => SpawnError::Busy { shard },
        NotRun::Lost => SpawnError::Lost { shard },
        NotRun::Panicked(caught) => died(caught),
    }
}

/// Runs `work` on shard `to`, in a turn of its porter; on this very shard at once.
///
/// # Errors
/// [`NotRun`].
pub(crate) async fn run_there<T: Send + 'static>(
    to: u16,
    work: impl FnOnce(&Shard) -> T + Send + 'static,
) -> Result<T, NotRun> {
    let porter = Shard::with(|shard| (shard.id(), service::address::<Porter>(shard, to)));
    let (here, porter) = porter.ok_or(NotRun::OffShard)?;
    if here == to {
        return match panics::catch(|| Shard::with(work)) {
            Ok(done) => done.ok_or(NotRun::OffShard),
            Err(caught) => Err(NotRun::Panicked(caught)),
        };
    }
    match porter.call(Errand(Box::new(work)), ERRAND_WITHIN).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(caught)) => Err(NotRun::Panicked(caught)),
        Err(CallError::Full(_) | CallError::Shed(_) | CallError::Dropped) => Err(NotRun::Busy),
        Err(CallError::OffShard(_)) => Err(NotRun::OffShard),
        Err(_) => Err(NotRun::Lost),
    }
}
