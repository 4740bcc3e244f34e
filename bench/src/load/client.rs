//! The load client: one thread, epoll, no allocation per request.
//!
//! Two cursors walk one schedule. The *due* cursor follows the clock and measures how late the
//! generator itself was; the *send* cursor follows it as connections have room. What lies between
//! them is the backlog, which needs no storage, and a trial keeps its intended start while it
//! waits there.

use std::collections::VecDeque;
use std::time::Duration;

use ninefold_tuning::facts::process::{self, CpuTime};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::conn::{Conn, Flight, Flushed};
use super::schedule::Schedule;
use super::spec::{LoadError, LoadResult, LoadSpec, Pace};
use super::tally::{Misses, Tally};
use crate::measure::clock;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;
/// Time between building the plan and its zero, so that the first arrivals are not late.
const LEAD_NS: u64 = 2_000_000;
/// A client that may sleep still spins this close to an arrival: timers are no finer.
const SPIN_NS: u64 = 2_000_000;
/// Longest sleep of a client that may sleep.
const SLEEP_MAX_NS: u64 = 10_000_000;

/// Runs one order to its end.
///
/// # Errors
/// When the order is wrong, the server cannot be reached, or it does not speak what was ordered.
pub fn run(spec: &LoadSpec) -> Result<LoadResult, LoadError> {
    spec.check()?;
    crate::process::raise_descriptor_limit();
    let mut client = Client::connect(spec)?;
    client.drive()?;
    Ok(client.finish())
}

/// Where the next request comes from.
enum Source {
    /// The schedule at its zero, the due cursor and the send cursor.
    Open {
        plan: Schedule,
        due: Schedule,
        send: Schedule,
    },
    /// The next index.
    Closed(u64),
}

/// CPU time used so far.
#[derive(Clone, Copy)]
struct CpuReading {
    client_ns: u64,
    server: Option<CpuTime>,
    server_run_ns: Option<u64>,
}

impl CpuReading {
    fn take(server: Option<u32>) -> Self {
        Self {
            client_ns: clock::process_cpu_ns(),
            server: server.and_then(process::cpu_time_us),
            server_run_ns: server.and_then(process::run_ns),
        }
    }

    fn since(self, before: Self) -> Self {
        let server = self.server.zip(before.server);
        let run = self.server_run_ns.zip(before.server_run_ns);
        Self {
            client_ns: self.client_ns - before.client_ns,
            server: server.map(|(now, then)| now.since(then)),
            server_run_ns: run.map(|(now, then)| now.saturating_sub(then)),
        }
    }
}

struct Client<'a> {
    spec: &'a LoadSpec,
    epoll: OwnedFd,
    conns: Vec<Conn>,
    /// One entry per request that could be sent now; first in, first out spreads the load.
    free: VecDeque<u32>,
    dirty: Vec<u32>,
    source: Source,
    tally: Tally,
    start_ns: u64,
    window_ns: (u64, u64),
    backlog_max: u64,
    idle_ns: u64,
    cpu: Option<CpuReading>,
    cpu_used: Option<CpuReading>,
}

impl<'a> Client<'a> {
    fn connect(spec: &'a LoadSpec) -> Result<Self, LoadError> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(LoadError::io("create epoll"))?;
        let mut conns = Vec::with_capacity(spec.connections);
        for index in 0..spec.connections {
            let conn = Conn::open(spec)?;
            epoll::add(
                &epoll,
                &conn.stream,
                EventData::new_u64(index as u64),
                EventFlags::IN,
            )
            .map_err(LoadError::io("watch a connection"))?;
            conns.push(conn);
        }
        let count = u32::try_from(spec.connections)
            .map_err(|_| LoadError::Spec("wanted fewer than 2^32 connections".into()))?;
        let free = (0..spec.pipeline).flat_map(|_| 0..count).collect();
        let source = match spec.pace {
            Pace::Open {
                rate,
                arrival,
                seed,
            } => {
                let plan = Schedule::new(arrival, rate, seed);
                Source::Open {
                    due: plan.clone(),
                    send: plan.clone(),
                    plan,
                }
            }
            Pace::Closed => Source::Closed(0),
        };
        let start_ns = clock::now_ns() + LEAD_NS;
        let from = start_ns + clock::ns(spec.warmup_seconds);
        let window_ns = (from, from + clock::ns(spec.seconds));
        let trials = match spec.pace {
            // Seconds times rate, in ns to keep to one conversion.
            Pace::Open { rate, .. } => {
                clock::ns((spec.warmup_seconds + spec.seconds) * rate * 1.1 / 1e9)
            }
            Pace::Closed => 0,
        };
        Ok(Self {
            spec,
            epoll,
            conns,
            free,
            dirty: Vec::with_capacity(spec.connections),
            source,
            tally: Tally::new(window_ns, spec.deadline_ns, trials),
            start_ns,
            window_ns,
            backlog_max: 0,
            idle_ns: 0,
            cpu: None,
            cpu_used: None,
        })
    }

    fn drive(&mut self) -> Result<(), LoadError> {
        let give_up = self.window_ns.1 + clock::ns(self.spec.drain_seconds);
        let mut events = [Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; EVENTS];
        let mut idle_since = None;
        loop {
            let now = clock::now_ns();
            if let Some(since) = idle_since.take() {
                self.count_idle(since, now);
            }
            self.note_cpu(now);
            self.dispatch(now);
            let worked = !self.dirty.is_empty();
            self.flush_dirty();
            if now >= self.window_ns.1 && (self.settled() || now >= give_up) {
                return Ok(());
            }
            if self.conns.iter().all(|conn| !conn.open) {
                self.tally
                    .note("every connection was lost before the end".into());
                return Ok(());
            }
            let timeout = clock::timespec(Duration::from_nanos(self.may_sleep_ns(now)));
            let ready = match epoll::wait(&self.epoll, &mut events[..], Some(&timeout)) {
                Ok(ready) => ready,
                Err(Errno::INTR) => 0,
                Err(e) => return Err(LoadError::io("wait for events")(e)),
            };
            for event in &events[..ready] {
                let flags = event.flags;
                self.on_event(event.data.u64(), flags);
            }
            if ready == 0 && !worked {
                idle_since = Some(now);
            }
        }
    }

    /// Sends what is due while there is room.
    fn dispatch(&mut self, now: u64) {
        match &mut self.source {
            Source::Open { due, send, .. } => {
                let stop = self.window_ns.1;
                let is_due = |cursor: &Schedule| {
                    let at = self.start_ns + cursor.peek().at_ns;
                    at <= now && at < stop
                };
                while is_due(due) {
                    let slot = due.take_next();
                    self.tally.offer(self.start_ns + slot.at_ns, now);
                }
                while is_due(send) {
                    let Some(conn) = take_free(&mut self.free, &self.conns) else {
                        break;
                    };
                    let slot = send.take_next();
                    push(
                        &mut self.conns,
                        &mut self.dirty,
                        conn,
                        slot.index,
                        self.start_ns + slot.at_ns,
                    );
                }
                let backlog = due.peek().index - send.peek().index;
                self.backlog_max = self.backlog_max.max(backlog);
            }
            Source::Closed(next) => {
                if now < self.start_ns || now >= self.window_ns.1 {
                    return;
                }
                while let Some(conn) = take_free(&mut self.free, &self.conns) {
                    self.tally.offered += u64::from(self.tally.measures(now));
                    push(&mut self.conns, &mut self.dirty, conn, *next, now);
                    *next += 1;
                }
            }
        }
    }

    fn flush_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            self.conns[index as usize].dirty = false;
            self.flush(index);
        }
        self.dirty = dirty;
    }

    fn flush(&mut self, index: u32) {
        let conn = &mut self.conns[index as usize];
        if !conn.open {
            return;
        }
        let blocked = match conn.flush() {
            Ok(flushed) => flushed == Flushed::Blocked,
            Err(e) => return self.abandon(index, format!("send: {e}")),
        };
        if blocked == conn.awaits_writable {
            return;
        }
        conn.awaits_writable = blocked;
        let interest = if blocked {
            EventFlags::IN | EventFlags::OUT
        } else {
            EventFlags::IN
        };
        let data = EventData::new_u64(index.into());
        if let Err(e) = epoll::modify(&self.epoll, &conn.stream, data, interest) {
            self.abandon(index, format!("epoll_ctl: {e}"));
        }
    }

    fn on_event(&mut self, index: u64, flags: EventFlags) {
        let Ok(index) = u32::try_from(index) else {
            return;
        };
        let conn = &mut self.conns[index as usize];
        if !conn.open {
            return;
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            // One stamp per read: replies that arrived together completed together.
            let now = clock::now_ns();
            let (tally, free) = (&mut self.tally, &mut self.free);
            let read = conn.read(|flight, outcome| {
                tally.complete(flight, outcome, now);
                free.push_back(index);
            });
            if let Err(why) = read {
                return self.abandon(index, why);
            }
        }
        if flags.contains(EventFlags::OUT) {
            self.flush(index);
        }
    }

    fn abandon(&mut self, index: u32, why: String) {
        let conn = &mut self.conns[index as usize];
        let lost: Vec<Flight> = conn.abandon().collect();
        // The descriptor stays open until the end, so its number cannot be mistaken for another.
        let _ = epoll::delete(&self.epoll, &conn.stream);
        lost.into_iter().for_each(|flight| self.tally.lose(flight));
        self.tally.note(why);
    }

    /// Nothing in flight and nothing waiting.
    fn settled(&self) -> bool {
        self.backlog() == 0 && !self.awaits_answers()
    }

    fn awaits_answers(&self) -> bool {
        self.conns.iter().any(|conn| conn.in_flight() > 0)
    }

    fn backlog(&self) -> u64 {
        match &self.source {
            Source::Open { due, send, .. } => due.peek().index - send.peek().index,
            Source::Closed(_) => 0,
        }
    }

    fn may_sleep_ns(&self, now: u64) -> u64 {
        if self.spec.spin {
            return 0;
        }
        match &self.source {
            Source::Open { due, .. } => {
                let next = self.start_ns + due.peek().at_ns;
                // While an answer is awaited, this CPU may be the one that the server needs.
                let spin_ns = if self.awaits_answers() { 0 } else { SPIN_NS };
                next.saturating_sub(now + spin_ns).min(SLEEP_MAX_NS)
            }
            Source::Closed(_) => SLEEP_MAX_NS.min(self.start_ns.saturating_sub(now).max(1)),
        }
    }

    fn count_idle(&mut self, since: u64, now: u64) {
        let (from, to) = (since.max(self.window_ns.0), now.min(self.window_ns.1));
        self.idle_ns += to.saturating_sub(from);
    }

    /// Reads the CPU clocks once at each end of the window.
    fn note_cpu(&mut self, now: u64) {
        match (self.cpu, self.cpu_used) {
            (None, _) if now >= self.window_ns.0 => {
                self.cpu = Some(CpuReading::take(self.spec.server_pid));
            }
            (Some(before), None) if now >= self.window_ns.1 => {
                self.cpu_used = Some(CpuReading::take(self.spec.server_pid).since(before));
            }
            _ => {}
        }
    }

    fn finish(self) -> LoadResult {
        let seconds = self.spec.seconds;
        let (misses, unsent) = match &self.source {
            Source::Open { plan, send, .. } => (
                self.tally.misses(plan.clone(), self.start_ns),
                send.unreached(self.start_ns, self.window_ns, plan.clone()),
            ),
            Source::Closed(_) => (Misses::default(), 0),
        };
        let open = matches!(self.source, Source::Open { .. });
        let tally = self.tally;
        let offered = if open { misses.trials } else { tally.offered };
        let sent = offered - unsent;
        LoadResult {
            offered,
            sent,
            correct: tally.correct,
            late: tally.late,
            shed: tally.shed,
            failed: tally.failed,
            unanswered: sent - tally.correct - tally.shed - tally.failed,
            unsent,
            misses: misses.misses,
            episodes: misses.episodes,
            longest_episode_seconds: misses.longest_ns as f64 / 1e9,
            seconds,
            offered_per_s: open.then(|| offered as f64 / seconds),
            achieved_per_s: tally.correct_in_window as f64 / seconds,
            latency: if open {
                tally.latency.dump()
            } else {
                tally.service.dump()
            },
            service: tally.service.dump(),
            lag: open.then(|| tally.lag.dump()),
            backlog_max: self.backlog_max,
            busy_share: 1.0 - (self.idle_ns as f64 / (seconds * 1e9)).min(1.0),
            cpu_ns: self.cpu_used.map_or(0, |used| used.client_ns),
            server_cpu: self.cpu_used.and_then(|used| used.server),
            server_run_ns: self.cpu_used.and_then(|used| used.server_run_ns),
            window_ns: self.window_ns,
            per_second: tally.per_second,
            errors: tally.errors,
        }
    }
}

/// The connection that has waited longest with room, skipping lost ones.
#[inline]
fn take_free(free: &mut VecDeque<u32>, conns: &[Conn]) -> Option<u32> {
    loop {
        let index = free.pop_front()?;
        if conns[index as usize].open {
            return Some(index);
        }
    }
}

#[inline]
fn push(conns: &mut [Conn], dirty: &mut Vec<u32>, at: u32, index: u64, intended_ns: u64) {
    let conn = &mut conns[at as usize];
    conn.push(index, intended_ns);
    if !conn.dirty {
        conn.dirty = true;
        dirty.push(at);
    }
}
