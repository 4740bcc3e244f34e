//! Names with one owner in the runtime.
//!
//! The home of a name is a shard chosen by its hash. The name service there is an actor: it handles
//! one claim at a time, so that of racing ones exactly one wins, and it watches the owner, whose
//! end frees the name. It notes which shards it has told, and tells those when the name is free.

use std::collections::HashMap;
use std::time::Duration;

use rustc_hash::FxBuildHasher;

use super::table::{Named, hash};
use super::{RegisterError, check_length, is_live, typed};
use crate::actor::{
    Actor, ActorId, Address, CallError, Context, Down, Handler, Message, Monitor, SendError,
    vtable_of,
};
use crate::limits::{NAME_FORGETS_MAX, NAMES_MAX, NAMES_WITHIN};
use crate::sched::{BodyVtable, Class};
use crate::service::{self, Service};
use crate::shard::Shard;

/// Time until news that found the way to a shard full is sent again.
const RETRY: Duration = Duration::from_millis(1);

struct Held {
    named: Named,
    monitor: Monitor,
    /// Bit per shard: it was told the name.
    told: u64,
}

/// Keeps the global names whose home this shard is.
#[derive(Default)]
pub(crate) struct NameService {
    held: HashMap<Box<str>, Held, FxBuildHasher>,
    watched: HashMap<Monitor, Box<str>, FxBuildHasher>,
    /// News that could not be sent yet, by shard; `None` stands for all names at once.
    unsent: HashMap<u16, Vec<Option<Box<str>>>, FxBuildHasher>,
}

impl Service for NameService {
    const SLOT: u32 = 0;
}

impl Actor for NameService {
    fn down(&mut self, down: Down, context: &mut Context<'_, Self>) {
        if let Some(name) = self.watched.remove(&down.monitor)
            && let Some(held) = self.held.remove(&name)
        {
            self.take_back(&name, held.told, context);
        }
    }
}

/// Wants a name.
struct Claim {
    name: Box<str>,
    id: ActorId,
    body: &'static BodyVtable,
}

/// Why a claim is refused.
enum Refused {
    Taken(ActorId),
    TooMany,
}

impl Message for Claim {
    type Reply = Result<(), Refused>;
    const CLASS: Class = Class::High;
}

impl Handler<Claim> for NameService {
    fn handle(&mut self, claim: Claim, context: &mut Context<'_, Self>) -> Result<(), Refused> {
        let Claim { name, id, body } = claim;
        if let Some(held) = self.held.get(&name) {
            let holder = held.named.id;
            if Shard::with(|shard| is_live(shard, holder)) == Some(true) {
                return Err(Refused::Taken(holder));
            }
            self.release(&name, context);
        }
        if self.held.len() >= NAMES_MAX {
            return Err(Refused::TooMany);
        }
        let monitor = context.monitor(id);
        self.watched.insert(monitor, name.clone());
        let held = Held {
            named: Named { id, body },
            monitor,
            told: 0,
        };
        self.held.insert(name, held);
        Ok(())
    }
}

/// Asks who has a name, on behalf of a shard.
struct Find {
    name: Box<str>,
    by: u16,
}

impl Message for Find {
    type Reply = Option<Named>;
    const CLASS: Class = Class::High;
}

impl Handler<Find> for NameService {
    fn handle(&mut self, find: Find, _: &mut Context<'_, Self>) -> Option<Named> {
        let held = self.held.get_mut(&find.name)?;
        held.told |= 1 << find.by;
        Some(held.named)
    }
}

/// Frees a name; whether it was held.
struct Release(Box<str>);

impl Message for Release {
    type Reply = bool;
    const CLASS: Class = Class::High;
}

impl Handler<Release> for NameService {
    fn handle(&mut self, release: Release, context: &mut Context<'_, Self>) -> bool {
        self.release(&release.0, context)
    }
}

/// A home takes a name back, or all that it told.
struct Forget(Option<Box<str>>);

impl Message for Forget {
    type Reply = ();
    const CLASS: Class = Class::High;
}

impl Handler<Forget> for NameService {
    fn handle(&mut self, forget: Forget, _: &mut Context<'_, Self>) {
        forget_here(forget.0.as_deref());
    }
}

/// Sends what could not be sent.
struct Retry;

impl Message for Retry {
    type Reply = ();
    const CLASS: Class = Class::High;
}

impl Handler<Retry> for NameService {
    fn handle(&mut self, _: Retry, context: &mut Context<'_, Self>) {
        for (to, names) in std::mem::take(&mut self.unsent) {
            names.into_iter().for_each(|name| self.tell(to, name));
        }
        self.retry_later(context);
    }
}

impl NameService {
    fn release(&mut self, name: &str, context: &mut Context<'_, Self>) -> bool {
        let Some(held) = self.held.remove(name) else {
            return false;
        };
        self.watched.remove(&held.monitor);
        context.demonitor(held.monitor);
        self.take_back(name, held.told, context);
        true
    }

    /// Tells every shard that has been told of `name` that it is free.
    fn take_back(&mut self, name: &str, told: u64, context: &mut Context<'_, Self>) {
        let idle = self.unsent.is_empty();
        for to in (0..64).filter(|to| told & 1 << to != 0) {
            if to == context.shard() {
                forget_here(Some(name));
            } else {
                self.tell(to, Some(name.into()));
            }
        }
        if idle {
            self.retry_later(context);
        }
    }

    /// Tells one shard, after what it has still to be told; more than it takes becomes "all".
    fn tell(&mut self, to: u16, name: Option<Box<str>>) {
        let refused = match self.unsent.get(&to) {
            Some(_) => Some(name),
            None => match send(to, name) {
                Err(SendError::Full(forget)) => Some(forget.0),
                // A shard that has stopped has forgotten.
                _ => None,
            },
        };
        if let Some(name) = refused {
            let unsent = self.unsent.entry(to).or_default();
            unsent.push(name);
            if unsent.len() > NAME_FORGETS_MAX {
                *unsent = vec![None];
            }
        }
    }

    fn retry_later(&self, context: &mut Context<'_, Self>) {
        if !self.unsent.is_empty() {
            service::remind::<Self, _, _>(context, RETRY, || Retry);
        }
    }
}

fn send(to: u16, name: Option<Box<str>>) -> Result<(), SendError<Forget>> {
    let forget = Forget(name);
    match Shard::with(|shard| service::address::<NameService>(shard, to)) {
        Some(address) => address.cast(forget),
        None => Err(SendError::OffShard(forget)),
    }
}

fn forget_here(name: Option<&str>) {
    Shard::with(|shard| shard.registry.borrow_mut().forget(name));
}

/// The name service that decides about `name`, and its shard.
fn home(name: &str) -> Result<(Address<NameService>, u16), RegisterError> {
    Shard::with(|shard| {
        let shards = shard.shared().ports.len() as u64;
        let home = ((hash(name.as_bytes()) >> 32) * shards) >> 32;
        let home = u16::try_from(home).unwrap_or(0);
        (service::address(shard, home), home)
    })
    .ok_or(RegisterError::OffShard)
}

/// A question to the home that was not answered.
fn unanswered<M>(why: &CallError<M>, home: u16) -> RegisterError {
    match why {
        CallError::OffShard(_) => RegisterError::OffShard,
        CallError::Full(_)
        | CallError::Closed(_)
        | CallError::Shed(_)
        | CallError::TooLarge(_)
        | CallError::Dropped => RegisterError::Busy { home },
        CallError::TimedOut | CallError::Panicked | CallError::Stopped => {
            RegisterError::Unanswered { home }
        }
    }
}

/// Gives `address` a name in the whole runtime. The name is free again when the actor has ended.
///
/// Of racing registrations exactly one succeeds. An actor may have several names.
///
/// # Errors
/// [`RegisterError::Taken`] names the holder; `TooLong`, `TooMany`; `Busy` when the home could not
/// be asked, `Unanswered` when it did not answer.
pub async fn register_global<A: Actor>(
    name: &str,
    address: Address<A>,
) -> Result<(), RegisterError> {
    check_length(name)?;
    let (service, home) = home(name)?;
    let claim = Claim {
        name: name.into(),
        id: address.id(),
        body: vtable_of::<A>(),
    };
    match service.call(claim, NAMES_WITHIN).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Refused::Taken(holder))) => Err(RegisterError::Taken {
            name: name.to_owned(),
            holder,
        }),
        Ok(Err(Refused::TooMany)) => Err(RegisterError::TooMany { shard: home }),
        Err(why) => Err(unanswered(&why, home)),
    }
}

/// The actor that holds `name` in the runtime; `None` when there is none, or it is not an `A`.
///
/// What a shard has been told it answers at once, until the home takes it back: for a moment after
/// its end an actor may still be found, and sending to it is refused or counted as dropped.
///
/// # Errors
/// `OffShard`, `TooLong`; `Busy` or `Unanswered` when the home had to be asked and was not.
pub async fn whereis<A: Actor>(name: &str) -> Result<Option<Address<A>>, RegisterError> {
    if let Some(named) = cached(name) {
        return Ok(typed(named));
    }
    check_length(name)?;
    let (service, home) = home(name)?;
    let (by, before) = Shard::with(|shard| (shard.id(), shard.registry.borrow().forgotten))
        .ok_or(RegisterError::OffShard)?;
    let find = Find {
        name: name.into(),
        by,
    };
    let found = service.call(find, NAMES_WITHIN).await;
    let Some(named) = found.map_err(|why| unanswered(&why, home))? else {
        return Ok(None);
    };
    Shard::with(|shard| {
        let mut registry = shard.registry.borrow_mut();
        // The home may have taken the name back while its answer waited for this task.
        if registry.forgotten == before {
            registry.remember(name, named);
        }
    });
    Ok(typed(named))
}

/// What this shard has been told of a name, if it is not known to be out of date.
fn cached(name: &str) -> Option<Named> {
    Shard::with(|shard| {
        let named = shard.registry.borrow().cache.get(name)?;
        is_live(shard, named.id).then_some(named)
    })
    .flatten()
}

/// Frees `name` in the runtime; true when it was held.
///
/// # Errors
/// `OffShard`; `Busy` or `Unanswered` by the home.
pub async fn unregister_global(name: &str) -> Result<bool, RegisterError> {
    let (service, home) = home(name)?;
    let released = service.call(Release(name.into()), NAMES_WITHIN).await;
    released.map_err(|why| unanswered(&why, home))
}
