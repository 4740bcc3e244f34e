//! What a shard tells about itself: counters and histograms that it alone writes and anybody may
//! read, without a lock and without a locked instruction.
#![expect(
    clippy::cast_possible_truncation,
    reason = "buckets and ranks are bounded above"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{self, Cycles};
use crate::sched::{CLASSES, Class};

/// A count with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only the owning shard calls this.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Sets a gauge; only the owning shard calls this.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

const SUB_BITS: u32 = 3;
const SUB: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUB;

/// A histogram of spans of time with 8 buckets an octave (12.5 % wide), in cycles, single writer.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[Counter; BUCKETS]>,
    sum: Counter,
    max: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: Box::new([const { Counter(AtomicU64::new(0)) }; BUCKETS]),
            sum: Counter::default(),
            max: Counter::default(),
        }
    }
}

impl Histogram {
    #[inline]
    pub(crate) fn bucket(value: u64) -> usize {
        if value < SUB as u64 {
            return value as usize;
        }
        let octave = 63 - value.leading_zeros();
        let sub = (value >> (octave - SUB_BITS)) as usize & (SUB - 1);
        ((octave - SUB_BITS + 1) as usize) * SUB + sub
    }

    /// The largest value that falls into `bucket`.
    fn upper(bucket: usize) -> u64 {
        if bucket < SUB {
            return bucket as u64;
        }
        let shift = bucket / SUB - 1;
        (((SUB + bucket % SUB + 1) as u64) << shift) - 1
    }

    /// Counts one span; only the owning shard calls this.
    #[inline]
    pub fn record(&self, span: Cycles) {
        self.record_in(Self::bucket(span), span);
    }

    /// As [`Histogram::record`], for a span whose bucket is known.
    #[inline(always)]
    pub(crate) fn record_in(&self, bucket: usize, span: Cycles) {
        self.buckets[bucket].add(1);
        self.sum.add(span);
        if span > self.max.get() {
            self.max.set(span);
        }
    }

    /// Counts `n` spans of the same length; only the owning shard calls this.
    #[inline]
    pub fn record_many(&self, span: Cycles, n: u64) {
        self.buckets[Self::bucket(span)].add(n);
        self.sum.add(span * n);
        if span > self.max.get() {
            self.max.set(span);
        }
    }

    /// All spans together.
    #[must_use]
    pub fn sum(&self) -> Cycles {
        self.sum.get()
    }

    /// Copies the counts out.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            counts: self.buckets.iter().map(Counter::get).collect(),
            sum: self.sum.get(),
            max: self.max.get(),
        }
    }
}

/// A copy of a [`Histogram`]: counts per bucket, in cycles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    counts: Vec<u64>,
    sum: Cycles,
    max: Cycles,
}

impl Snapshot {
    /// How many spans were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The longest span in nanoseconds.
    #[must_use]
    pub fn max_ns(&self) -> u64 {
        clock::cycles_to_ns(self.max)
    }

    /// The mean span in nanoseconds; `None` when nothing was counted.
    #[must_use]
    pub fn mean_ns(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| clock::cycles_to_ns(self.sum) as f64 / count as f64)
    }

    /// The upper bound in nanoseconds of the bucket that holds quantile `q` (0..=1); `None` when
    /// nothing was counted.
    #[must_use]
    pub fn quantile_ns(&self, q: f64) -> Option<u64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let rank = ((total as f64 * q).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|&n| {
            seen += n;
            seen >= rank
        })?;
        Some(clock::cycles_to_ns(Histogram::upper(bucket).min(self.max)))
    }

    /// Spans counted since `earlier`, a snapshot of the same histogram; the maximum stays.
    #[must_use]
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        let mut counts = self.counts.clone();
        for (now, before) in counts.iter_mut().zip(&earlier.counts) {
            *now = now.saturating_sub(*before);
        }
        Snapshot {
            counts,
            sum: self.sum.saturating_sub(earlier.sum),
            max: self.max,
        }
    }

    /// Adds the counts of another shard.
    pub fn merge(&mut self, other: &Snapshot) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }
}

/// How a number behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// A level that comes and goes.
    Gauge,
}

/// The counters of a shard, each with its help text spelled once.
macro_rules! shard_stats {
    ($($name:ident: $kind:ident, $help:literal;)*) => {
        /// Everything a shard counts.
        #[derive(Debug, Default)]
        pub struct ShardStats {
            $(#[doc = $help] pub $name: Counter,)*
            /// Time the oldest message of a turn waited, by class of the turn; of short turns, one
            /// in a few is looked at.
            pub queue_delay: [Histogram; CLASSES],
            /// Time a turn held the shard, by class.
            pub turn: [Histogram; CLASSES],
        }

        impl ShardStats {
            /// Calls `f` with name, kind, help and value of everything counted.
            pub fn each(&self, mut f: impl FnMut(&'static str, Kind, &'static str, u64)) {
                $(f(stringify!($name), Kind::$kind, $help, self.$name.get());)*
            }
        }
    };
}

shard_stats! {
    turns: Counter, "Turns of actors and polls of tasks.";
    messages: Counter, "Messages handled.";
    messages_refused_full: Counter, "Messages refused because a mailbox or a mesh lane was full.";
    messages_dropped: Counter, "Messages given up: actor stopped, or overflow policy.";
    messages_shed: Counter, "Messages refused because the receiver's shard sheds load.";
    messages_expired: Counter, "Messages that were reached after their deadline and not handled.";
    state_timeouts_void: Counter, "State time-outs that a change of state overtook in the mailbox.";
    messages_postponed: Counter, "Messages set aside by an actor until its state changes.";
    signals_lost: Counter, "Exit and monitor signals lost for want of memory.";
    queue_delay_ns: Gauge, "Mean wait of messages of late, in nanoseconds; 0 once nothing waits.";
    shedding: Gauge, "What is refused by queue delay: 0 nothing, 1 low, 2 normal messages too.";
    panics: Counter, "Panics of actors, tasks and destructors.";
    timer_messages_refused: Counter, "Timer messages refused by their actor.";
    actors_spawned: Counter, "Actors started.";
    actors_restarted: Counter, "Actors restarted in place after a panic.";
    actors_stopped: Counter, "Actors stopped, in good order or for good after a panic.";
    actors_moved: Counter, "Actors that moved to another shard, which counts them as started.";
    actors_hibernated: Counter, "Idle actors told to give memory back.";
    tasks_spawned: Counter, "Tasks started.";
    tasks_ended: Counter, "Tasks that finished, panicked or were dropped.";
    tasks_panicked: Counter, "Tasks ended by a panic.";
    turns_over_budget: Counter, "Turns that held the shard for more than 1 ms (stalls).";
    mesh_sent: Counter, "Frames sent to other shards.";
    mesh_received: Counter, "Frames received from other shards.";
    mesh_blocked: Counter, "Times a mesh lane waited because the mailbox at its head was full.";
    lanes_made: Counter, "Pairs of mesh lanes made because this shard first sent to another.";
    foreign_frees: Counter, "Boxes of large messages and answers that another shard frees.";
    messages_refused_credit: Counter, "Messages refused for want of credit of their actor.";
    wakes_sent: Counter, "Times a sleeping shard or ring was woken by this shard.";
    parks: Counter, "Times the shard went to sleep.";
    ticks: Counter, "Ticks of the shard loop.";
    heartbeat_ns: Gauge, "CLOCK_MONOTONIC of the last tick, in nanoseconds.";
    sockets_open: Gauge, "Sockets open now.";
    sockets_accepted: Counter, "Connections accepted.";
    accept_errors: Counter, "Failed accepts (descriptors, memory).";
    recv_bytes: Counter, "Bytes received.";
    sent_bytes: Counter, "Bytes sent.";
    recv_starved: Counter, "Times a receive waited for a free buffer.";
    ring_enters: Counter, "io_uring_enter calls.";
    timers_fired: Counter, "Timers fired.";
    cells_live: Gauge, "Actors and tasks alive now.";
    mailbox_messages: Gauge, "Messages waiting in mailboxes now.";
    calls_open: Gauge, "Calls that wait for an answer, or whose answer waits to be taken.";
    arena_bytes: Gauge, "Memory of slots and envelopes.";
    arena_trims: Counter, "Times memory of a burst was given back.";
}

impl ShardStats {
    /// Queue delay and turn time of one class.
    #[must_use]
    pub fn of_class(&self, class: Class) -> (Snapshot, Snapshot) {
        (
            self.queue_delay[class as usize].snapshot(),
            self.turn[class as usize].snapshot(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_every_value_and_are_at_most_an_eighth_wide() {
        let mut values: Vec<u64> = (0..4096).collect();
        values.extend((12..63).flat_map(|b| [(1_u64 << b) - 1, 1 << b, (1 << b) + 1]));
        for v in values {
            let bucket = Histogram::bucket(v);
            let upper = Histogram::upper(bucket);
            assert!(upper >= v, "{v} in bucket {bucket} up to {upper}");
            assert!(
                upper - v <= v / 8 + 1,
                "{v} in bucket {bucket} up to {upper}"
            );
        }
        assert!(Histogram::bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_come_from_counts() {
        let h = Histogram::default();
        for cycles in 1..=1000 {
            h.record(cycles * 1000);
        }
        let s = h.snapshot();
        assert_eq!(s.count(), 1000);
        let mean = s.mean_ns().unwrap();
        let exact = clock::cycles_to_ns(500_500) as f64;
        assert!((mean - exact).abs() < 0.01 * exact, "{mean} for {exact}");
        let median = s.quantile_ns(0.5).unwrap();
        let want = clock::cycles_to_ns(500_000);
        assert!(
            median >= want && median <= want + want / 7,
            "{median} for {want}"
        );
        assert_eq!(Snapshot::default().quantile_ns(0.5), None);
    }
}
