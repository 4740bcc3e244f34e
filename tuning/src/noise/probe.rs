//! The threads of the probe and the clock that they read: both are what is measured, so neither
//! can be handed in.

use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, gettid, sched_setaffinity};

use super::gaps::{Gaps, Tally};
use super::{NoiseError, NoiseOptions};
use crate::facts::process::thread_context_switches;

/// How often the caller hears of progress.
const PROGRESS: Duration = Duration::from_secs(1);

/// What one thread saw.
pub(super) struct Seen {
    pub(super) cpu: u32,
    pub(super) pinned: bool,
    pub(super) seconds: f64,
    pub(super) reads: u64,
    pub(super) gaps: Gaps,
    pub(super) involuntary_switches: Option<u64>,
}

/// Probes every CPU at once: shards will be busy at once too.
pub(super) fn all(
    options: &NoiseOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<Seen>, NoiseError> {
    let (sender, receiver) = mpsc::channel();
    let start = Arc::new(Barrier::new(options.cpus.len()));
    // A thread that is missing would leave the others at the barrier: they wait for a word first.
    let mut words = Vec::new();
    let mut threads = Vec::new();
    for cpu in options.cpus.iter() {
        let (word, wait) = mpsc::channel::<()>();
        let (sender, start) = (sender.clone(), Arc::clone(&start));
        let (window, threshold_ns) = (options.window, options.threshold_ns);
        threads.push(spawn(cpu, move || {
            if wait.recv().is_ok() {
                let pinned = pin(cpu);
                start.wait();
                // Nobody is left to hear it only when the caller is gone.
                sender.send(look(cpu, pinned, window, threshold_ns)).ok();
            }
        })?);
        words.push(word);
    }
    drop(sender);
    for word in &words {
        // The thread is waiting for it.
        word.send(()).ok();
    }
    let (mut seen, mut passed) = (Vec::new(), 0);
    loop {
        match receiver.recv_timeout(PROGRESS) {
            Ok(one) => seen.push(one),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                passed += PROGRESS.as_secs();
                progress(passed);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    for thread in threads {
        // It has sent what it saw, or panicked and is missing from the report.
        thread.join().ok();
    }
    seen.sort_unstable_by_key(|one| one.cpu);
    Ok(seen)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this crate stands below the runtime, whose thread module it cannot use"
)]
fn spawn(cpu: u32, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, NoiseError> {
    Builder::new()
        .name(format!("noise-{cpu}"))
        .spawn(body)
        .map_err(|source| NoiseError::Thread { cpu, source })
}

fn pin(cpu: u32) -> bool {
    let mut set = CpuSet::new();
    let known = (cpu as usize) < CpuSet::MAX_CPU;
    if known {
        set.set(cpu as usize);
    }
    known && sched_setaffinity(None, &set).is_ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the gaps between these readings are what is measured"
)]
fn look(cpu: u32, pinned: bool, window: Duration, threshold_ns: u64) -> Seen {
    let preempted = || {
        let tid = u32::try_from(gettid().as_raw_nonzero().get()).ok()?;
        thread_context_switches(std::process::id(), tid).map(|of| of.involuntary)
    };
    let before = preempted();
    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let (mut tally, mut reads) = (Tally::default(), 0u64);
    let start = Instant::now();
    let (mut last, end) = (start, start + window);
    while last < end {
        let now = Instant::now();
        let gap_ns = ns(now.duration_since(last));
        if gap_ns >= threshold_ns {
            tally.add(gap_ns);
        }
        last = now;
        reads += 1;
    }
    let took = last.duration_since(start);
    let after = preempted();
    Seen {
        cpu,
        pinned,
        seconds: took.as_secs_f64(),
        reads,
        gaps: tally.finish(ns(took)),
        involuntary_switches: before.zip(after).map(|(from, to)| to.saturating_sub(from)),
    }
}
