//! Calls over the connections of a crowd, each over one chosen at random: what a call costs where
//! no connection is warm. One thread, one epoll, and no memory for a connection that is silent.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::conn::{Expected, Flight};
use super::idle::{Held, call};
use super::reply;
use super::schedule::{Arrival, Schedule};
use super::spec::{LoadError, LoadResult};
use super::tally::Tally;
use super::wire::{ID_BASE, Template};
use crate::measure::clock;
use crate::measure::hist::{DecodeError, Latency};

/// Events taken from the kernel at once.
const EVENTS: usize = 256;
/// Connections looked at for one that is free, before the call waits.
const LOOKS: usize = 16;
/// Longest sleep.
const SLEEP_MAX_NS: u64 = 10_000_000;
/// A timer is no finer than this: closer to an intended start the client does not sleep.
const SPIN_NS: u64 = 60_000;
/// Bytes of a reply, at most.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// Calls to make over held connections, Poisson, open loop.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollingSpec {
    /// Calls a second.
    pub rate: f64,
    /// Time before measuring, at the same rate, in s.
    pub warmup_seconds: f64,
    /// Measured time, in s.
    pub seconds: f64,
    /// How long to wait for answers after the last intended start, in s.
    pub drain_seconds: f64,
    /// Deadline of a call from its intended start, in ns.
    pub deadline_ns: u64,
    /// Seed of schedule and choice.
    pub seed: u64,
}

/// Makes the calls of `spec` over `held`.
///
/// # Errors
/// When the connections have not made a call before, or epoll refuses its work.
pub fn roll(held: &Held, spec: &RollingSpec) -> Result<LoadResult, LoadError> {
    let wrong = |what: &str| LoadError::Spec(what.into());
    let expected = held
        .expected
        .ok_or_else(|| wrong("wanted connections that have made a call, found none"))?;
    if !(spec.rate.is_finite() && spec.rate > 0.0 && spec.seconds > 0.0) {
        return Err(wrong("wanted a rate > 0 and a measured time > 0"));
    }
    let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(LoadError::io("create epoll"))?;
    for (index, stream) in held.streams.iter().enumerate() {
        let key = EventData::new_u64(index as u64);
        epoll::add(&epoll, stream, key, EventFlags::IN)
            .map_err(LoadError::io("watch a connection"))?;
    }
    let start_ns = clock::now_ns();
    let from = start_ns + clock::ns(spec.warmup_seconds);
    let window_ns = (from, from + clock::ns(spec.seconds));
    let plan = Schedule::new(Arrival::Poisson, spec.rate, spec.seed);
    let trials = clock::ns((spec.warmup_seconds + spec.seconds) * spec.rate * 1.1 / 1e9);
    let mut rolling = Rolling {
        held,
        spec,
        epoll,
        template: call(&held.to),
        expected,
        due: plan.clone(),
        send: plan.clone(),
        rng: fastrand::Rng::with_seed(spec.seed),
        flights: HashMap::new(),
        partial: HashMap::new(),
        lost: vec![false; held.streams.len()],
        tally: Tally::new(window_ns, spec.deadline_ns, trials),
        start_ns,
        window_ns,
        backlog_max: 0,
    };
    let cpu_ns = clock::process_cpu_ns();
    rolling.drive()?;
    let cpu_ns = clock::process_cpu_ns() - cpu_ns;
    Ok(rolling.finish(plan, cpu_ns))
}

struct Rolling<'a> {
    held: &'a Held,
    spec: &'a RollingSpec,
    epoll: OwnedFd,
    template: Template,
    expected: Expected,
    due: Schedule,
    send: Schedule,
    rng: fastrand::Rng,
    /// What is under way, by connection: one call each.
    flights: HashMap<usize, Flight>,
    /// Replies that are not whole yet.
    partial: HashMap<usize, Vec<u8>>,
    lost: Vec<bool>,
    tally: Tally,
    start_ns: u64,
    window_ns: (u64, u64),
    backlog_max: u64,
}

impl Rolling<'_> {
    fn drive(&mut self) -> Result<(), LoadError> {
        let give_up = self.window_ns.1 + clock::ns(self.spec.drain_seconds);
        let mut events = [Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; EVENTS];
        loop {
            let now = clock::now_ns();
            self.dispatch(now);
            let settled = self.backlog() == 0 && self.flights.is_empty();
            if now >= self.window_ns.1 && (settled || now >= give_up) {
                return Ok(());
            }
            let next = self.start_ns + self.due.peek().at_ns;
            let sleep_ns = next.saturating_sub(now + SPIN_NS).min(SLEEP_MAX_NS);
            let timeout = clock::timespec(Duration::from_nanos(sleep_ns));
            let ready = match epoll::wait(&self.epoll, &mut events[..], Some(&timeout)) {
                Ok(ready) => ready,
                Err(Errno::INTR) => 0,
                Err(e) => return Err(LoadError::io("wait for events")(e)),
            };
            for event in &events[..ready] {
                let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                if let Err(why) = self.receive(index) {
                    self.lose(index, why);
                }
            }
        }
    }

    fn backlog(&self) -> u64 {
        self.due.peek().index - self.send.peek().index
    }

    fn is_due(&self, cursor: &Schedule, now: u64) -> bool {
        let at = self.start_ns + cursor.peek().at_ns;
        at <= now && at < self.window_ns.1
    }

    /// Sends what is due, as far as chance finds connections that are free.
    fn dispatch(&mut self, now: u64) {
        while self.is_due(&self.due, now) {
            let slot = self.due.take_next();
            self.tally.offer(self.start_ns + slot.at_ns, now);
        }
        while self.is_due(&self.send, now) {
            let Some(index) = self.choose() else {
                break;
            };
            let slot = self.send.take_next();
            let flight = Flight {
                index: slot.index,
                intended_ns: self.start_ns + slot.at_ns,
                sent_ns: clock::now_ns(),
            };
            self.flights.insert(index, flight);
            let mut request = Vec::with_capacity(self.template.len());
            self.template.stamp(ID_BASE + slot.index, &mut request);
            // A socket without anything under way takes a request whole.
            if let Err(e) = (&self.held.streams[index]).write_all(&request) {
                self.lose(index, format!("send: {e}"));
            }
        }
        self.backlog_max = self.backlog_max.max(self.backlog());
    }

    fn choose(&mut self) -> Option<usize> {
        let count = self.held.streams.len();
        (0..LOOKS)
            .map(|_| self.rng.usize(..count))
            .find(|index| !self.lost[*index] && !self.flights.contains_key(index))
    }

    fn receive(&mut self, index: usize) -> Result<(), String> {
        let mut chunk = [0; 4096];
        let read = match (&self.held.streams[index]).read(&mut chunk) {
            Ok(0) => return Err("the server closed the connection".into()),
            Ok(read) => read,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(format!("recv: {e}")),
        };
        let now = clock::now_ns();
        let mut bytes = self.partial.remove(&index).unwrap_or_default();
        let whole = if bytes.is_empty() {
            &chunk[..read]
        } else {
            bytes.extend_from_slice(&chunk[..read]);
            &bytes[..]
        };
        let Some(reply) = reply::frame(whole)? else {
            if whole.len() > REPLY_BYTES_MAX {
                return Err(format!("wanted a reply of at most {REPLY_BYTES_MAX} bytes"));
            }
            let kept = whole.to_vec();
            self.partial.insert(index, kept);
            return Ok(());
        };
        let Some(flight) = self.flights.remove(&index) else {
            return Err("the server sent a reply that nothing asked for".into());
        };
        let body = &whole[reply.body_at..reply.end];
        let outcome = self
            .expected
            .judge(reply.status, body, ID_BASE + flight.index);
        self.tally.complete(flight, outcome, now);
        Ok(())
    }

    fn lose(&mut self, index: usize, why: String) {
        self.lost[index] = true;
        let _ = epoll::delete(&self.epoll, &self.held.streams[index]);
        if let Some(flight) = self.flights.remove(&index) {
            self.tally.lose(flight);
        }
        self.tally.note(why);
    }

    fn finish(self, plan: Schedule, cpu_ns: u64) -> LoadResult {
        let seconds = self.spec.seconds;
        let unsent = self
            .send
            .unreached(self.start_ns, self.window_ns, plan.clone());
        let misses = self.tally.misses(plan, self.start_ns);
        let tally = self.tally;
        let sent = misses.trials - unsent;
        LoadResult {
            offered: misses.trials,
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
            offered_per_s: Some(misses.trials as f64 / seconds),
            achieved_per_s: tally.correct_in_window as f64 / seconds,
            latency: tally.latency.dump(),
            service: tally.service.dump(),
            lag: Some(tally.lag.dump()),
            backlog_max: self.backlog_max,
            busy_share: cpu_ns as f64 / ((self.spec.warmup_seconds + seconds) * 1e9),
            cpu_ns,
            server_cpu: None,
            server_run_ns: None,
            window_ns: self.window_ns,
            per_second: tally.per_second,
            errors: tally.errors,
        }
    }
}

/// One result of what several clients did at the same time.
///
/// # Errors
/// When a histogram is damaged.
pub fn together(results: &[LoadResult]) -> Result<Option<LoadResult>, DecodeError> {
    let Some(mut sum) = results.first().cloned() else {
        return Ok(None);
    };
    let mut latency = Latency::from_dump(&sum.latency)?;
    let mut service = Latency::from_dump(&sum.service)?;
    let mut lag = Latency::new();
    if let Some(first) = &sum.lag {
        lag.merge(&Latency::from_dump(first)?);
    }
    for one in &results[1..] {
        sum.offered += one.offered;
        sum.sent += one.sent;
        sum.correct += one.correct;
        sum.late += one.late;
        sum.shed += one.shed;
        sum.failed += one.failed;
        sum.unanswered += one.unanswered;
        sum.unsent += one.unsent;
        sum.misses += one.misses;
        // Episodes of several clients may be one: their sum is an upper bound.
        sum.episodes += one.episodes;
        let longest = &mut sum.longest_episode_seconds;
        *longest = longest.max(one.longest_episode_seconds);
        sum.offered_per_s = sum.offered_per_s.zip(one.offered_per_s).map(|(a, b)| a + b);
        sum.achieved_per_s += one.achieved_per_s;
        sum.backlog_max = sum.backlog_max.max(one.backlog_max);
        sum.cpu_ns += one.cpu_ns;
        latency.merge(&Latency::from_dump(&one.latency)?);
        service.merge(&Latency::from_dump(&one.service)?);
        if let Some(one) = &one.lag {
            lag.merge(&Latency::from_dump(one)?);
        }
        sum.errors.extend(one.errors.iter().cloned());
    }
    sum.latency = latency.dump();
    sum.service = service.dump();
    sum.lag = Some(lag.dump());
    sum.per_second.clear();
    sum.errors.sort();
    sum.errors.dedup();
    Ok(Some(sum))
}
