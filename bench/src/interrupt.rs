//! Ctrl-C and SIGTERM: the first ends the run with a report of what there is, the second at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// What a shell says of a program that a SIGINT ended.
const EXIT_AT_ONCE: i32 = 130;

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Takes the signals over, for the life of the process.
///
/// # Errors
/// When the kernel refuses a handler.
pub fn watch() -> std::io::Result<()> {
    let asked = ASKED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the shutdown must see the flag of an earlier signal, not of this one.
        flag::register_conditional_shutdown(signal, EXIT_AT_ONCE, Arc::clone(asked))?;
        flag::register(signal, Arc::clone(asked))?;
    }
    Ok(())
}

/// Whether the run is to end.
#[must_use]
pub fn asked() -> bool {
    ASKED
        .get()
        .is_some_and(|asked| asked.load(Ordering::Relaxed))
}
