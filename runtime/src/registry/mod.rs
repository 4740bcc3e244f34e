//! Names: of one shard, and of the whole runtime.
//!
//! A local name ([`register`], [`lookup`]) is known on its shard only and found in tens of
//! nanoseconds. A global one ([`register_global`], [`whereis`]) has one owner in the runtime: each
//! name has a home shard, whose name service alone decides; other shards cache what they were told
//! until the home takes it back.

mod global;
mod table;

pub(crate) use global::NameService;
pub use global::{register_global, unregister_global, whereis};

use crate::actor::{Actor, ActorId, Address, vtable_of};
use crate::limits::{NAME_BYTES_MAX, NAME_CACHE_MAX, NAMES_MAX};
use crate::sched::{BodyVtable, SlotKey};
use crate::shard::Shard;
use table::{Named, Table};

/// The names that one shard knows.
#[derive(Default)]
pub(crate) struct Registry {
    names: Table,
    /// Global names as their homes have told them.
    cache: Table,
    /// How often a home has taken back what is in the cache.
    forgotten: u64,
}

impl Registry {
    /// The home of a global name has taken it back; of all that it has told, without a name.
    fn forget(&mut self, name: Option<&str>) {
        self.forgotten += 1;
        match name {
            Some(name) => drop(self.cache.remove(name)),
            None => self.cache.clear(),
        }
    }

    fn remember(&mut self, name: &str, named: Named) {
        if self.cache.len() >= NAME_CACHE_MAX {
            self.cache.clear();
        }
        self.cache.insert(name, named);
    }
}

/// Why a name could not be registered or asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// A live actor holds the name.
    #[error("wanted the name {name:?}, but {holder:?} holds it; unregister that first")]
    Taken {
        /// The name.
        name: String,
        /// Who holds it.
        holder: ActorId,
    },
    /// The calling thread is not a shard.
    #[error("names are registered on a shard, and this thread is none")]
    OffShard,
    /// The name has more than [`NAME_BYTES_MAX`] bytes.
    #[error("wanted a name of {bytes} bytes, but it can have {NAME_BYTES_MAX}; shorten it")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The shard that keeps the name holds [`NAMES_MAX`] of them.
    #[error("wanted one more name, but shard {shard} holds its limit of {NAMES_MAX}")]
    TooMany {
        /// The shard.
        shard: u16,
    },
    /// The home of a global name has more to do than it can, or has stopped: nothing was changed.
    #[error("shard {home}, the home of the name, takes no question now; retry later")]
    Busy {
        /// The home shard.
        home: u16,
    },
    /// The home of a global name did not answer in time: it may have done what was asked.
    #[error(
        "shard {home}, the home of the name, did not answer; see whereis for what became of it"
    )]
    Unanswered {
        /// The home shard.
        home: u16,
    },
}

/// Gives `address` a name on the current shard. A name whose actor has stopped is free again.
///
/// # Errors
/// [`RegisterError::Taken`] while a live actor of this shard holds the name; `TooLong`, `TooMany`.
pub fn register<A: Actor>(name: &str, address: Address<A>) -> Result<(), RegisterError> {
    check_length(name)?;
    Shard::with(|shard| {
        let mut registry = shard.registry.borrow_mut();
        let held = registry.names.get(name);
        if let Some(held) = held
            && is_live(shard, held.id)
        {
            return Err(RegisterError::Taken {
                name: name.to_owned(),
                holder: held.id,
            });
        }
        if held.is_none() && registry.names.len() >= NAMES_MAX {
            return Err(RegisterError::TooMany { shard: shard.id() });
        }
        let named = Named {
            id: address.id(),
            body: vtable_of::<A>(),
        };
        registry.names.insert(name, named);
        Ok(())
    })
    .unwrap_or(Err(RegisterError::OffShard))
}

/// The actor that holds `name` on the current shard, if it is an `A`.
///
/// An actor that has stopped may still be found; sending to it is refused as closed.
#[inline]
#[must_use]
pub fn lookup<A: Actor>(name: &str) -> Option<Address<A>> {
    Shard::with(|shard| {
        let named = shard.registry.borrow().names.get(name)?;
        typed(named)
    })
    .flatten()
}

/// Frees `name` on the current shard; true when it was held.
pub fn unregister(name: &str) -> bool {
    Shard::with(|shard| shard.registry.borrow_mut().names.remove(name).is_some()).unwrap_or(false)
}

/// The address, if it is that of an `A`.
#[inline(always)]
fn typed<A: Actor>(named: Named) -> Option<Address<A>> {
    is_body_of::<A>(named.body).then(|| Address::new(named.id))
}

/// Whether actors behind `body` are of type `A`. The table of a type may exist more than once, but
/// tables of two types differ, so that only a different address needs the long way.
#[inline(always)]
pub(crate) fn is_body_of<A: Actor>(body: &'static BodyVtable) -> bool {
    std::ptr::eq(body, vtable_of::<A>()) || (body.type_id)() == std::any::TypeId::of::<A>()
}

/// Refuses a name, of an actor or of a group, that is too long.
pub(crate) fn check_length(name: &str) -> Result<(), RegisterError> {
    let bytes = name.len();
    if bytes <= NAME_BYTES_MAX {
        Ok(())
    } else {
        Err(RegisterError::TooLong { bytes })
    }
}

/// Whether the actor is alive as far as this shard can know.
fn is_live(shard: &Shard, id: ActorId) -> bool {
    let key = SlotKey {
        index: id.index & !SlotKey::FROM_PARTS,
        generation: id.generation,
    };
    id.shard != shard.id() || shard.slots.get(key).is_some()
}
