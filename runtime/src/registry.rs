//! Names: a shard-local table from name to address.

use std::any::TypeId;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use rustc_hash::FxHasher;

use crate::actor::{Actor, ActorId, Address};
use crate::shard::Shard;

/// The names of one shard. Names are chosen by the program, not by peers, hence the fast hash.
#[derive(Default)]
pub(crate) struct Registry {
    names: HashMap<Box<str>, Entry, BuildHasherDefault<FxHasher>>,
}

struct Entry {
    id: ActorId,
    actor: TypeId,
}

/// Why a name could not be registered.
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
}

/// Gives `address` a name on the current shard. A name whose actor has stopped is free again.
///
/// # Errors
/// [`RegisterError::Taken`] while a live actor of this shard holds the name.
pub fn register<A: Actor>(name: &str, address: Address<A>) -> Result<(), RegisterError> {
    Shard::with(|shard| {
        let mut registry = shard.registry.borrow_mut();
        if let Some(held) = registry.names.get(name)
            && is_live(shard, held.id)
        {
            return Err(RegisterError::Taken {
                name: name.to_owned(),
                holder: held.id,
            });
        }
        let entry = Entry {
            id: address.id(),
            actor: TypeId::of::<A>(),
        };
        registry.names.insert(name.into(), entry);
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
        let registry = shard.registry.borrow();
        let entry = registry.names.get(name)?;
        (entry.actor == TypeId::of::<A>()).then(|| Address::new(entry.id))
    })
    .flatten()
}

/// Frees `name` on the current shard; true when it was held.
pub fn unregister(name: &str) -> bool {
    Shard::with(|shard| shard.registry.borrow_mut().names.remove(name).is_some()).unwrap_or(false)
}

fn is_live(shard: &Shard, id: ActorId) -> bool {
    id.shard != shard.id() || shard.slots.get(id.key()).is_some()
}
