//! Panics inside a turn: caught, described, not printed by the default hook.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What is known of a caught panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caught {
    /// The panic message, or what stands for a payload that is no string.
    pub message: String,
    /// `file:line:column`.
    pub place: String,
}

/// Replaces the panic hook, once in the process: a panic that [`catch`] will catch is noted with
/// its place and not printed (its catcher logs it); all others go to the hook that was there.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() == 0 {
                return previous(info);
            }
            let place = info.location().map(ToString::to_string);
            PLACE.with_borrow_mut(|p| *p = place);
        }));
    });
}

/// Calls `f` and catches its panic.
///
/// # Errors
/// [`Caught`] when `f` panicked.
#[inline]
pub fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Caught> {
    CATCHING.set(CATCHING.get() + 1);
    // Whoever catches a panic here discards the state that may be half-changed: an actor is
    // rebuilt, a task is dropped.
    let outcome = panic::catch_unwind(AssertUnwindSafe(f));
    CATCHING.set(CATCHING.get() - 1);
    outcome.map_err(|payload| {
        let message = payload
            .downcast_ref::<&'static str>()
            .map(|s| (*s).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a payload that is not a string".to_owned());
        // The payload's own drop may panic as well.
        if let Err(second) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        let place = PLACE
            .with_borrow_mut(Option::take)
            .unwrap_or_else(|| "unknown".to_owned());
        Caught { message, place }
    })
}
