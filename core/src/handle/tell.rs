//! Messages that must not get lost because their actor has no room just now.

use std::time::Duration;

use ninefold_runtime::{Address, Handler, Message, SendError, sleep, spawn_local};

use crate::limits::TELL_AGAIN_MS;

/// Tells an actor what it must know, or it would wait for ever for what has ended: again and again
/// while it has no room, until it has or is gone.
pub(super) fn tell<A: Handler<M>, M: Message>(to: Address<A>, message: M) {
    let Err(SendError::Full(mut left) | SendError::Shed(mut left)) = to.cast(message) else {
        return;
    };
    let again = async move {
        loop {
            sleep(Duration::from_millis(TELL_AGAIN_MS)).await;
            match to.cast(left) {
                Err(SendError::Full(back) | SendError::Shed(back)) => left = back,
                Ok(()) | Err(_) => return,
            }
        }
    };
    // A shard that stops takes no task, and ends its actors.
    let _ = spawn_local(again);
}
