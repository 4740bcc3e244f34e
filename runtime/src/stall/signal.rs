//! The signal: claimed for the process while there are shards, handled on the shard it was sent to.

use std::cell::Cell;
use std::io;
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::capture;
use super::watch::Watch;
use crate::clock;
use crate::limits::STALL_SIGNAL;

/// Why there is no stall detector, or none on a shard.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignalError {
    #[error(
        "wanted signal {0} (SIGRTMIN+{STALL_SIGNAL}), but the process handles it already; leave it \
         to the runtime or turn the stall detector off"
    )]
    Taken(libc::c_int),
    #[error("wanted a handler for signal {0}, but {1}")]
    Refused(libc::c_int, io::Error),
}

/// One real-time signal and who uses it.
pub(super) struct Signal {
    offset: libc::c_int,
    users: Mutex<Users>,
}

struct Users {
    count: usize,
    /// What was there before the first.
    before: Option<libc::sigaction>,
}

/// The signal of the stall detector.
pub(super) static STALL: Signal = Signal::new(STALL_SIGNAL);

/// Keeps the handler in place. The last one to go puts back what was there before.
pub(super) struct Claim(&'static Signal);

impl Signal {
    const fn new(offset: libc::c_int) -> Self {
        let users = Users {
            count: 0,
            before: None,
        };
        Signal {
            offset,
            users: Mutex::new(users),
        }
    }

    fn number(&self) -> libc::c_int {
        libc::SIGRTMIN() + self.offset
    }

    /// Installs the handler, unless another one is there: that is left alone.
    pub(super) fn claim(&'static self) -> Result<Claim, SignalError> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.number();
        let refused = |error| SignalError::Refused(number, error);
        if users.count == 0 {
            let before = exchange(number, None).map_err(refused)?;
            if ![libc::SIG_DFL, libc::SIG_IGN].contains(&before.sa_sigaction) {
                return Err(SignalError::Taken(number));
            }
            exchange(number, Some(&ours())).map_err(refused)?;
            users.before = Some(before);
        }
        users.count += 1;
        Ok(Claim(self))
    }
}

impl Claim {
    pub(super) fn number(&self) -> libc::c_int {
        self.0.number()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut users = self.0.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.count -= 1;
        if users.count > 0 {
            return;
        }
        let number = self.0.number();
        let is_ours = |now: libc::sigaction| now.sa_sigaction == ours().sa_sigaction;
        let Some(before) = users.before.take() else {
            return;
        };
        if exchange(number, None).is_ok_and(is_ours) {
            // Ignoring it first discards what may be pending: by default it would end the process.
            let mut ignore = before;
            ignore.sa_sigaction = libc::SIG_IGN;
            ignore.sa_flags = 0;
            for action in [ignore, before] {
                if let Err(error) = exchange(number, Some(&action)) {
                    tracing::warn!(number, %error, "could not put back a signal's disposition");
                }
            }
        }
    }
}

/// Reads the disposition of a signal and replaces it by `new`, if there is one.
fn exchange(number: libc::c_int, new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both pointers are valid for the call or null; an all-zero `sigaction` is valid. The
    // only handler that this module passes in is `on_signal`, which is fit for any thread.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(number, new, &raw mut old) == 0 {
            Ok(old)
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// Our disposition. Not on the alternate stack: it is there for a stack that has overflowed, and
/// may hold little more than the frame of a signal.
fn ours() -> libc::sigaction {
    type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    let handler: Handler = on_signal;
    // SAFETY: an all-zero `sigaction` is valid: an empty mask and no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    action
}

/// What the handler finds on its thread.
#[derive(Clone, Copy)]
struct Seat {
    watch: *const Watch,
    /// The thread's stack.
    low: u64,
    high: u64,
}

const NOBODY: Seat = Seat {
    watch: ptr::null(),
    low: 0,
    high: 0,
};

thread_local! {
    // Constant and without a destructor: reading it in a handler allocates nothing.
    static SEAT: Cell<Seat> = const { Cell::new(NOBODY) };
}

/// Runs on the interrupted thread, between any two of its instructions: it allocates nothing, takes
/// no lock and does not panic. On a thread that is no shard it does nothing.
extern "C" fn on_signal(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let seat = SEAT.get();
    // SAFETY: a seat that is not null is kept alive by the `Sentry` of this very thread.
    let Some(watch) = (unsafe { seat.watch.as_ref() }) else {
        return;
    };
    // SAFETY: always valid on its own thread.
    let errno = unsafe { *libc::__errno_location() };
    look(watch, &seat, context);
    // SAFETY: as above; the interrupted code must not see what we called.
    unsafe { *libc::__errno_location() = errno };
}

/// Records the present turn if it is too long, or if the watchdog asked.
fn look(watch: &Watch, seat: &Seat, context: *const libc::c_void) {
    let asked = watch.asked.swap(false, Ordering::Relaxed);
    let turn = watch.turn();
    let since = turn.map_or(0, |turn| turn.since);
    let held = clock::cycles().saturating_sub(since);
    if !asked {
        if since == 0 || since == watch.recorded.load(Ordering::Relaxed) {
            return;
        }
        if held < watch.alarm.threshold() {
            return watch.alarm.look_again();
        }
    }
    watch.recorded.store(since, Ordering::Relaxed);
    let fill = |record: &mut super::ring::Record| {
        record.turn = turn;
        record.held = if since == 0 { 0 } else { held };
        record.asked = asked;
        // SAFETY: the kernel passed the context to the handler that calls this.
        record.registers = unsafe { capture::registers(context) };
        record.words = 0;
        let sp = record.registers.sp;
        if sp < seat.low || sp >= seat.high || !sp.is_multiple_of(8) {
            return;
        }
        let above = usize::try_from((seat.high - sp) / 8).unwrap_or(0);
        let words = above.min(record.stack.len());
        if let Some(to) = record.stack.get_mut(..words) {
            // SAFETY: from the stack pointer at the interruption to the end of this thread's stack.
            unsafe { capture::copy_words(sp, to) };
            record.words = words;
        }
    };
    // SAFETY: the handler runs on the shard's thread only and is not interrupted by itself, since
    // the signal is blocked while it runs.
    unsafe { watch.ring.push(fill) };
}

/// The watch over the calling thread, a shard's; it ends when this is dropped, on the same thread.
pub(crate) struct Sentry {
    watch: Arc<Watch>,
    /// Held until no signal can come to this thread any more.
    _claim: Option<Arc<Claim>>,
}

impl Sentry {
    /// Begins to watch this thread. Without a claim there is no timer and no stack, and a shard
    /// that is stuck is still named.
    pub(super) fn enter(watch: Arc<Watch>, claim: Option<Arc<Claim>>, threshold: Duration) -> Self {
        if let Some(claim) = &claim {
            let (low, high) = capture::stack_bounds().unwrap_or((0, 0));
            SEAT.set(Seat {
                watch: Arc::as_ptr(&watch),
                low,
                high,
            });
            unblock(claim.number());
            if let Err(error) = watch.alarm.turn_on(claim.number(), threshold) {
                tracing::warn!(
                    %error,
                    "no timer for the stall detector of a shard (`ulimit -i`): its stalls are \
                     counted and not named"
                );
            }
            // SAFETY: it has no preconditions.
            *watch.thread() = Some(unsafe { libc::gettid() });
        }
        watch.alive.store(true, Ordering::Release);
        Sentry {
            watch,
            _claim: claim,
        }
    }
}

impl Drop for Sentry {
    fn drop(&mut self) {
        // In this order: nobody sends any more, nothing is on its way, nobody is here.
        self.watch.alive.store(false, Ordering::Release);
        *self.watch.thread() = None;
        self.watch.alarm.turn_off();
        SEAT.set(NOBODY);
    }
}

/// A thread inherits the signal mask of its starter.
fn unblock(number: libc::c_int) {
    // SAFETY: the set is initialised before it is used, and the call affects this thread only.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, number);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
    }
}

/// Asks the shard of `watch` for a record of what it does now; false when it cannot be asked.
pub(super) fn ask(watch: &Watch) -> bool {
    let thread = watch.thread();
    let Some(id) = *thread else {
        return false;
    };
    watch.asked.store(true, Ordering::Relaxed);
    // SAFETY: the id is that of a thread of this process which handles the signal: it takes its id
    // back under this lock before it ends.
    unsafe { libc::tgkill(libc::getpid(), id, STALL.number()) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn foreign(_: libc::c_int) {}

    fn now(signal: &Signal) -> libc::sighandler_t {
        exchange(signal.number(), None).unwrap().sa_sigaction
    }

    #[test]
    fn the_last_claim_puts_back_what_was_there() {
        static SIGNAL: Signal = Signal::new(STALL_SIGNAL + 1);
        assert_eq!(now(&SIGNAL), libc::SIG_DFL);
        let first = SIGNAL.claim().unwrap();
        let second = SIGNAL.claim().unwrap();
        assert_eq!(now(&SIGNAL), ours().sa_sigaction);
        drop(first);
        assert_eq!(now(&SIGNAL), ours().sa_sigaction);
        // On a thread that is no shard the signal does nothing, and does not end the process.
        // SAFETY: the signal has a handler.
        assert_eq!(unsafe { libc::raise(SIGNAL.number()) }, 0);
        drop(second);
        assert_eq!(now(&SIGNAL), libc::SIG_DFL);
    }

    #[test]
    fn a_handler_of_somebody_else_stays() {
        static SIGNAL: Signal = Signal::new(STALL_SIGNAL + 2);
        let handler: extern "C" fn(libc::c_int) = foreign;
        let mut theirs = ours();
        theirs.sa_sigaction = handler as libc::sighandler_t;
        theirs.sa_flags = 0;
        exchange(SIGNAL.number(), Some(&theirs)).unwrap();
        let refused = SIGNAL.claim().map(drop).unwrap_err();
        assert!(
            refused.to_string().contains("handles it already"),
            "{refused}"
        );
        assert_eq!(now(&SIGNAL), theirs.sa_sigaction);
        // One that came later than ours is left alone as well.
        let mut default = theirs;
        default.sa_sigaction = libc::SIG_DFL;
        exchange(SIGNAL.number(), Some(&default)).unwrap();
        let claim = SIGNAL.claim().unwrap();
        exchange(SIGNAL.number(), Some(&theirs)).unwrap();
        drop(claim);
        assert_eq!(now(&SIGNAL), theirs.sa_sigaction);
    }
}
