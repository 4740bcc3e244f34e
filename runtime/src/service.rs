//! The runtime's own actors, one of each kind a shard, in its first slots: so that every shard
//! knows the address of each without asking.

use std::io;
use std::time::Duration;

use crate::actor::{
    Actor, ActorId, Address, Context, Message, Receives, SendError, SpawnOptions, place,
};
use crate::groups::GroupService;
use crate::place::Porter;
use crate::registry::NameService;
use crate::shard::Shard;
use crate::timer::sleep;

/// An actor that every shard has.
pub(crate) trait Service: Actor + Default {
    /// Its slot, on every shard.
    const SLOT: u32;
}

/// Starts the services of a fresh shard.
///
/// # Errors
/// When the shard has no room, or is not fresh.
pub(crate) fn start(shard: &Shard) -> io::Result<()> {
    start_one::<NameService>(shard)?;
    start_one::<GroupService>(shard)?;
    start_one::<Porter>(shard)
}

fn start_one<S: Service>(shard: &Shard) -> io::Result<()> {
    let slot = place(shard, SpawnOptions::default(), S::default()).map_err(io::Error::other)?;
    debug_assert_eq!(slot.index, S::SLOT);
    match shard.start_actor(slot) {
        None => Ok(()),
        Some(why) => Err(io::Error::other(why.to_string())),
    }
}

/// The address of a service of shard `of`.
pub(crate) fn address<S: Service>(shard: &Shard, of: u16) -> Address<S> {
    Address::new(ActorId {
        runtime: shard.runtime_id(),
        shard: of,
        index: S::SLOT,
        generation: 0,
    })
}

/// Casts a message to the service itself after `delay`, and again after as long while its mailbox
/// is full: a timer would give up.
pub(crate) fn remind<S: Service + Receives<M, K>, M: Message, K>(
    context: &mut Context<'_, S>,
    delay: Duration,
    message: impl Fn() -> M + 'static,
) {
    let me = context.address();
    let task = async move {
        loop {
            sleep(delay).await;
            if !matches!(me.cast(message()), Err(SendError::Full(_))) {
                return;
            }
        }
    };
    if let Err(why) = context.spawn(task) {
        tracing::error!(shard = context.shard(), %why, "a service cannot remind itself");
    }
}
