//! Threads: the one module that starts them, names them and pins them.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock;

/// Starts a thread pinned to `cpu` (by core_affinity) and named `name`.
///
/// # Errors
/// The system's error when no thread can be made. A CPU that cannot be pinned to is logged: the
/// thread then runs where the kernel likes.
#[expect(
    clippy::disallowed_methods,
    reason = "the thread module is where threads start"
)]
pub fn spawn_pinned<T: Send + 'static>(
    name: String,
    cpu: u32,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name).spawn(move || {
        pin(cpu);
        body()
    })
}

/// Starts a thread that may run on any of `cpus`.
///
/// # Errors
/// The system's error when no thread can be made.
#[expect(
    clippy::disallowed_methods,
    reason = "the thread module is where threads start"
)]
pub fn spawn_on_set<T: Send + 'static>(
    name: String,
    cpus: Vec<u32>,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name).spawn(move || {
        let mut set = rustix::thread::CpuSet::new();
        for cpu in cpus {
            set.set(cpu as usize);
        }
        if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
            tracing::warn!(%error, "could not restrict a thread to its CPUs");
        }
        body()
    })
}

/// Pins the calling thread to `cpu`.
pub fn pin(cpu: u32) {
    if !core_affinity::set_for_current(core_affinity::CoreId { id: cpu as usize }) {
        tracing::warn!(
            cpu,
            "could not pin a thread: it runs where the kernel puts it"
        );
    }
}

/// Joins `threads`; how many ended with a panic, or not within `limit` because what runs on them
/// blocks: those are left behind.
pub(crate) fn join_within(threads: Vec<JoinHandle<()>>, limit: Duration) -> usize {
    let began_ns = clock::monotonic_ns();
    let in_time = || u128::from(clock::monotonic_ns() - began_ns) < limit.as_nanos();
    while !threads.iter().all(JoinHandle::is_finished) && in_time() {
        pause(Duration::from_millis(1));
    }
    let is_lost = |thread: JoinHandle<()>| !thread.is_finished() || thread.join().is_err();
    threads
        .into_iter()
        .map(is_lost)
        .filter(|&lost| lost)
        .count()
}

/// Sleeps on a thread that is no shard (starter, control of shutdown).
#[expect(
    clippy::disallowed_methods,
    reason = "the thread module is where threads wait"
)]
pub fn pause(d: Duration) {
    std::thread::sleep(d);
}
