//! The thread that reads what the shards' handlers leave, names it, and watches their heartbeats.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender};

use super::capture::Registers;
use super::log::{self, StallLog};
use super::report::{StallKind, StallReport};
use super::ring::Record;
use super::watch::{Turn, Watch};
use super::{Stalls, signal, unwind};
use crate::clock::{self, Cycles};
use crate::limits::{STALL_RECORDS, STUCK_STACK_WITHIN, WATCH_EVERY};
use crate::{panics, thread};

/// After a sleep that many times too long the host was away, and nobody is to blame.
const AWAY: u64 = 5;

/// The running watchdog; ends when dropped.
pub(crate) struct Watchdog {
    stalls: Arc<Stalls>,
    /// Never sent to: its end is the sign.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the thread on any of `cpus`. `heartbeat` gives `CLOCK_MONOTONIC` in nanoseconds of
    /// the last tick of a shard.
    ///
    /// # Errors
    /// The system's, when no thread can be made.
    pub(crate) fn start(
        stalls: Arc<Stalls>,
        cpus: &[u32],
        heartbeat: impl Fn(usize) -> u64 + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let mut rounds = Rounds::new(stalls.clone(), heartbeat);
        let body = move || {
            while stopped.recv_timeout(WATCH_EVERY) == Err(RecvTimeoutError::Timeout) {
                if let Err(caught) = panics::catch(|| rounds.make()) {
                    tracing::error!(panic = caught.message, place = caught.place, "watchdog");
                }
            }
        };
        let thread = thread::spawn_on_set("watchdog".to_owned(), cpus.to_vec(), body)?;
        Ok(Watchdog {
            stalls,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.stop.take());
        // It catches its panics.
        let _ = self.thread.take().map(JoinHandle::join);
        // A shard that was left behind has a claim of its own.
        self.stalls.claim().take();
    }
}

/// A record, copied out of the ring.
struct Seen {
    turn: Option<Turn>,
    held: Cycles,
    asked: bool,
    registers: Registers,
    stack: Vec<u64>,
}

impl Seen {
    fn of(record: &Record) -> Self {
        Seen {
            turn: record.turn,
            held: record.held,
            asked: record.asked,
            registers: record.registers,
            stack: record.stack[..record.words].to_vec(),
        }
    }

    fn stack(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for frame in unwind::frames(self.registers, &self.stack) {
            unwind::describe(frame, &mut lines);
        }
        lines
    }
}

/// What the watchdog remembers of one shard.
#[derive(Clone, Default)]
struct Memory {
    /// The turn of the last round and when it was new.
    since: Cycles,
    changed_ns: u64,
    stuck: Option<Stuck>,
}

#[derive(Clone)]
struct Stuck {
    report: StallReport,
    began_ns: u64,
}

struct Rounds<H> {
    stalls: Arc<Stalls>,
    heartbeat: H,
    log: StallLog,
    shards: Vec<Memory>,
    last_ns: u64,
}

impl<H: Fn(usize) -> u64> Rounds<H> {
    fn new(stalls: Arc<Stalls>, heartbeat: H) -> Self {
        let fresh = Memory {
            changed_ns: clock::monotonic_ns(),
            ..Memory::default()
        };
        Rounds {
            shards: vec![fresh; stalls.watches.len()],
            stalls,
            heartbeat,
            log: StallLog::default(),
            last_ns: clock::monotonic_ns(),
        }
    }

    fn make(&mut self) {
        let now_ns = clock::monotonic_ns();
        let slept = now_ns.saturating_sub(self.last_ns);
        let away = u128::from(slept) > WATCH_EVERY.as_nanos() * u128::from(AWAY);
        for shard in 0..self.shards.len() {
            let watch = self.stalls.watches[shard].clone();
            self.take_records(shard, &watch, now_ns);
            if let Some(limit) = self.stalls.stuck
                && !away
            {
                self.look_for_stuck(shard, &watch, limit, now_ns);
            }
        }
        self.log.expire(now_ns, log::suppressed);
        // Its own work (reading debug information) is no absence of the host.
        self.last_ns = clock::monotonic_ns();
    }

    /// Reports the stalls that wait in the ring; gives back a record that was asked for.
    fn take_records(&mut self, shard: usize, watch: &Watch, now_ns: u64) -> Option<Seen> {
        let mut asked = None;
        for _ in 0..STALL_RECORDS {
            // SAFETY: the watchdog is one thread and the only one that takes records.
            let Some(seen) = (unsafe { watch.ring.pop(Seen::of) }) else {
                break;
            };
            if seen.asked {
                asked = Some(seen);
            } else {
                self.report_stall(shard, &seen, now_ns);
            }
        }
        asked
    }

    fn report_stall(&mut self, shard: usize, seen: &Seen, now_ns: u64) {
        let held = Duration::from_nanos(clock::cycles_to_ns(seen.held));
        let mut report = report(StallKind::Stall, shard, seen.turn, held);
        if self.log.admits((report.actor, report.message), now_ns) {
            report.stack = seen.stack();
            log::stall(&report);
        } else {
            let suppressed = &self.stalls.reports.suppressed;
            suppressed.fetch_add(1, Ordering::Relaxed);
        }
        self.stalls.reports.keep(report);
    }

    fn look_for_stuck(&mut self, shard: usize, watch: &Watch, limit: Duration, now_ns: u64) {
        let turn = watch.turn();
        let since = turn.map_or(0, |turn| turn.since);
        let memory = &mut self.shards[shard];
        if since != memory.since {
            memory.since = since;
            memory.changed_ns = now_ns;
        }
        let held_ns = match turn {
            _ if !watch.alive.load(Ordering::Acquire) => 0,
            Some(turn) => clock::cycles_to_ns(clock::cycles().saturating_sub(turn.since)),
            // A shard that sleeps ticks several times a second.
            None => now_ns.saturating_sub((self.heartbeat)(shard).max(memory.changed_ns)),
        };
        let is_stuck = u128::from(held_ns) > limit.as_nanos();
        let was_stuck = memory.stuck.is_some();
        if is_stuck && !was_stuck {
            self.report_stuck(shard, watch, turn, held_ns, now_ns);
        } else if !is_stuck && was_stuck {
            self.report_recovered(shard, now_ns);
        }
    }

    fn report_stuck(
        &mut self,
        shard: usize,
        watch: &Watch,
        turn: Option<Turn>,
        held_ns: u64,
        now_ns: u64,
    ) {
        let held = Duration::from_nanos(held_ns);
        let mut report = report(StallKind::Stuck, shard, turn, held);
        let since = |turn: Option<Turn>| turn.map(|turn| turn.since);
        if let Some(seen) = self.ask(shard, watch, now_ns)
            && since(seen.turn) == since(turn)
        {
            report.stack = seen.stack();
        }
        log::stuck(&report);
        self.stalls.reports.stuck.fetch_add(1, Ordering::Relaxed);
        self.shards[shard].stuck = Some(Stuck {
            report: report.clone(),
            began_ns: now_ns.saturating_sub(held_ns),
        });
        self.stalls.reports.keep(report);
    }

    /// A record of what the shard does now; `None` when its thread does not take the signal.
    fn ask(&mut self, shard: usize, watch: &Watch, now_ns: u64) -> Option<Seen> {
        if !signal::ask(watch) {
            return None;
        }
        const PAUSE: Duration = Duration::from_millis(1);
        for _ in 0..STUCK_STACK_WITHIN.as_millis() {
            thread::pause(PAUSE);
            let seen = self.take_records(shard, watch, now_ns);
            if seen.is_some() {
                return seen;
            }
        }
        None
    }

    fn report_recovered(&mut self, shard: usize, now_ns: u64) {
        let Some(Stuck { report, began_ns }) = self.shards[shard].stuck.take() else {
            return;
        };
        let report = StallReport {
            kind: StallKind::Recovered,
            held: Duration::from_nanos(now_ns.saturating_sub(began_ns)),
            stack: Vec::new(),
            ..report
        };
        log::recovered(&report);
        self.stalls.reports.stuck.fetch_sub(1, Ordering::Relaxed);
        self.stalls.reports.keep(report);
    }
}

/// A report without a stack.
fn report(kind: StallKind, shard: usize, turn: Option<Turn>, held: Duration) -> StallReport {
    let slot = turn.map(|turn| turn.slot);
    StallReport {
        kind,
        shard,
        slot: slot.filter(|&slot| slot != Watch::NO_SLOT),
        actor: turn.and_then(|turn| turn.body).map_or("-", |name| name()),
        message: turn.and_then(|turn| turn.message).map(|name| name()),
        held,
        stack: Vec::new(),
    }
}
