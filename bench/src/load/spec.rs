//! What a load process is told and what it answers: both are one JSON line.

use std::net::SocketAddr;

use ninefold_tuning::facts::process::CpuTime;
use serde::{Deserialize, Serialize};

use super::schedule::Arrival;
use super::wire::Wire;
use crate::measure::hist::Dump;
use crate::stats::bounds::Evidence;

/// An order to a load process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSpec {
    /// Server to load.
    pub target: SocketAddr,
    /// What is sent.
    pub wire: Wire,
    /// Path of the endpoint, such as `/mcp`.
    pub path: String,
    /// Size of one JSON-RPC message in bytes; ignored for `Wire::Get`.
    pub message_bytes: usize,
    /// What an answer must be.
    pub answers: Answers,
    /// Keep-alive connections.
    pub connections: usize,
    /// Requests in flight on one connection, at most.
    pub pipeline: usize,
    /// Open loop at a rate, or closed loop.
    pub pace: Pace,
    /// Time before measuring, at the same pace, in s.
    pub warmup_seconds: f64,
    /// Measured time, in s.
    pub seconds: f64,
    /// How long to wait for answers after the last intended start, in s.
    pub drain_seconds: f64,
    /// Deadline of a trial from its intended start, in ns; later is a miss.
    pub deadline_ns: u64,
    /// CPU to pin to.
    pub cpu: Option<usize>,
    /// Poll without sleeping: a client that sleeps makes the server pay for waking its CPU.
    pub spin: bool,
    /// Process whose CPU time is read at both ends of the measured window.
    pub server_pid: Option<u32>,
}

/// What the answers to a load must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answers {
    /// To the request: its id, and all that was asked for.
    Own,
    /// The same bytes whatever was asked, as a floor answers: status 200 and their number.
    Prepared,
}

/// When requests start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// On a schedule fixed beforehand; latency counts from the intended start.
    Open {
        /// Arrivals per second.
        rate: f64,
        /// Their spacing.
        arrival: Arrival,
        /// Seed of the schedule.
        seed: u64,
    },
    /// As soon as a connection has room: measures capacity, hides waiting.
    Closed,
}

/// What a load process measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadResult {
    /// Trials whose intended start lay in the measured time (closed loop: requests sent in it).
    pub offered: u64,
    /// Of these, requests handed to the kernel.
    pub sent: u64,
    /// Of these, answers that were complete and correct, however late.
    pub correct: u64,
    /// Correct answers after the deadline.
    pub late: u64,
    /// Answers 429 or 503: refused by choice.
    pub shed: u64,
    /// Wrong answers and requests lost with their connection.
    pub failed: u64,
    /// Sent and never answered.
    pub unanswered: u64,
    /// Never sent, for want of a free slot.
    pub unsent: u64,
    /// Trials not complete and correct within the deadline; open loop only.
    pub misses: u64,
    /// Runs of misses separated by more than max(deadline, 10 ms); open loop only.
    pub episodes: u64,
    /// Longest episode, in s.
    pub longest_episode_seconds: f64,
    /// Measured time, in s.
    pub seconds: f64,
    /// Intended starts per second; open loop only.
    pub offered_per_s: Option<f64>,
    /// Correct answers that arrived inside the measured time, per second.
    pub achieved_per_s: f64,
    /// Latency from the intended start; in closed loop from the send.
    pub latency: Dump,
    /// Latency from the actual send: the gap to `latency` is what a closed loop would hide.
    pub service: Dump,
    /// Delay between an intended start and the moment the generator turned to it.
    pub lag: Option<Dump>,
    /// Most intended starts that waited for a free slot at once.
    pub backlog_max: u64,
    /// Share of its time that the generator was busy, 0 to 1.
    pub busy_share: f64,
    /// CPU time of the generator in the measured time, in ns.
    pub cpu_ns: u64,
    /// CPU time of the server process in the measured time, at the kernel's tick resolution.
    pub server_cpu: Option<CpuTime>,
    /// The same, user and kernel together, as exactly as the scheduler knows it, in ns.
    pub server_run_ns: Option<u64>,
    /// Monotonic time of the measured window, start and end, in ns.
    pub window_ns: (u64, u64),
    /// Completions and the slowest one of each second, by intended start.
    pub per_second: Vec<Second>,
    /// The first few things that went wrong, in words.
    pub errors: Vec<String>,
}

/// One second of a run.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Second {
    /// Correct answers.
    pub correct: u64,
    /// Slowest of them, in ns.
    pub max_ns: u64,
}

/// Why a load process could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A system call failed.
    #[error("{action}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The order makes no sense.
    #[error("load spec: {0}")]
    Spec(String),
    /// The server does not speak what the spec says.
    #[error("handshake with {target}: {reason}")]
    Handshake {
        /// Server.
        target: SocketAddr,
        /// What was wanted and found.
        reason: String,
    },
}

impl LoadResult {
    /// What an open-loop run showed about misses.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        Evidence {
            n: self.offered,
            k: self.misses,
            e: self.episodes,
            seconds: self.seconds,
            stall_seconds: self.longest_episode_seconds,
        }
    }
}

impl LoadError {
    /// Labels an I/O error with what was attempted.
    pub(crate) fn io<E: Into<std::io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io {
            action,
            source: source.into(),
        }
    }
}

impl LoadSpec {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// When a count is zero, a time is negative or a rate is not positive.
    pub fn check(&self) -> Result<(), LoadError> {
        let wrong = |what: &str| Err(LoadError::Spec(what.into()));
        if self.connections == 0 || self.pipeline == 0 {
            return wrong("wanted at least one connection and one request in flight, found zero");
        }
        let times = [self.warmup_seconds, self.seconds, self.drain_seconds];
        if times.iter().any(|t| !t.is_finite() || *t < 0.0) || self.seconds == 0.0 {
            return wrong("wanted times >= 0 and a measured time > 0");
        }
        match self.pace {
            Pace::Open { rate, .. } if !rate.is_finite() || rate <= 0.0 => {
                wrong("wanted a rate > 0")
            }
            _ => Ok(()),
        }
    }
}
