//! Panics inside a turn: caught, described, not printed by the default hook.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};

use crate::clock;
use crate::limits::BACKTRACES_EVERY;

thread_local! {
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
    /// When this thread last took a backtrace, by `CLOCK_MONOTONIC`.
    static TAKEN_AT_NS: Cell<Option<u64>> = const { Cell::new(None) };
    static FORBIDDEN: Cell<bool> = const { Cell::new(false) };
    static BACKTRACE: Cell<Option<Arc<Backtrace>>> = const { Cell::new(None) };
}

/// What is known of a caught panic.
#[derive(Clone, Debug)]
pub struct Caught {
    /// The panic message, or what stands for a payload that is no string.
    pub message: String,
    /// `file:line:column`.
    pub place: String,
    /// Where it came from; taken for one panic in a while, since it costs more than a restart.
    pub backtrace: Option<Arc<Backtrace>>,
}

impl PartialEq for Caught {
    /// Two panics are the same when they say the same at the same place.
    fn eq(&self, other: &Self) -> bool {
        (&self.message, &self.place) == (&other.message, &other.place)
    }
}

impl Eq for Caught {}

/// Forbids backtraces on this thread, or allows them again: a simulator has no time for them.
pub(crate) fn forbid_backtraces(forbidden: bool) {
    FORBIDDEN.set(forbidden);
}

/// Whether this panic is to take its backtrace: taking one costs more than a restart.
fn wants_backtrace() -> bool {
    if FORBIDDEN.get() {
        return false;
    }
    let every = u64::try_from(BACKTRACES_EVERY.as_nanos()).unwrap_or(u64::MAX);
    let now_ns = clock::monotonic_ns();
    let due = |taken_at: u64| now_ns.saturating_sub(taken_at) >= every;
    let wanted = TAKEN_AT_NS.get().is_none_or(due);
    if wanted {
        TAKEN_AT_NS.set(Some(now_ns));
    }
    wanted
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
            if wants_backtrace() {
                BACKTRACE.set(Some(Arc::new(Backtrace::force_capture())));
            }
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
        Caught {
            message,
            place,
            backtrace: BACKTRACE.take(),
        }
    })
}
