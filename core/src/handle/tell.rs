//! Messages that must not get lost because their actor has no room just now.

use std::time::Duration;

use ninefold_runtime::{Address, Handler, Message, SendError, sleep, spawn_local};

use crate::limits::TELL_AGAIN_MS;

/// Tells an actor what it must know, or it would wait for ever for what has ended: again and again
/// while it has no room, until it has or is gone. False when the message is larger than all the
/// room that its actor has, so that it is never told.
pub(super) fn tell<A: Handler<M>, M: Message>(to: Address<A>, message: M) -> bool {
    let mut left = match to.cast(message) {
        Err(SendError::Full(left) | SendError::Shed(left)) => left,
        Err(SendError::TooLarge(_)) => return false,
        Ok(()) | Err(_) => return true,
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
    true
}
