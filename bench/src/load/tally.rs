//! What a load run counts, and how misses and episodes follow from it.

use super::conn::{Flight, Outcome};
use super::schedule::Schedule;
use super::spec::Second;
use crate::measure::hist::Latency;

/// Errors kept in words.
const ERRORS_MAX: usize = 8;
/// Least separation of two episodes, in ns.
const EPISODE_GAP_MIN_NS: u64 = 10_000_000;

/// Counters of one run; only trials of the measured window count.
pub(crate) struct Tally {
    window_ns: (u64, u64),
    deadline_ns: u64,
    met: BitSet,
    pub(crate) latency: Latency,
    pub(crate) service: Latency,
    pub(crate) lag: Latency,
    pub(crate) offered: u64,
    pub(crate) correct: u64,
    pub(crate) correct_in_window: u64,
    pub(crate) late: u64,
    pub(crate) shed: u64,
    pub(crate) failed: u64,
    pub(crate) per_second: Vec<Second>,
    pub(crate) errors: Vec<String>,
}

/// Misses of a schedule and how they cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Misses {
    pub(crate) trials: u64,
    pub(crate) misses: u64,
    pub(crate) episodes: u64,
    pub(crate) longest_ns: u64,
}

impl Tally {
    /// Counters for a window of monotonic ns, with room for `trials` trials.
    pub(crate) fn new(window_ns: (u64, u64), deadline_ns: u64, trials: u64) -> Self {
        let seconds = (window_ns.1 - window_ns.0).div_ceil(1_000_000_000);
        let seconds = usize::try_from(seconds).unwrap_or(0);
        Self {
            window_ns,
            deadline_ns,
            met: BitSet::with_capacity(trials),
            latency: Latency::new(),
            service: Latency::new(),
            lag: Latency::new(),
            offered: 0,
            correct: 0,
            correct_in_window: 0,
            late: 0,
            shed: 0,
            failed: 0,
            per_second: vec![Second::default(); seconds],
            errors: Vec::new(),
        }
    }

    /// Whether a trial with this intended start counts.
    #[inline]
    pub(crate) fn measures(&self, intended_ns: u64) -> bool {
        (self.window_ns.0..self.window_ns.1).contains(&intended_ns)
    }

    /// Counts an intended start that the generator turned to at `now`.
    #[inline]
    pub(crate) fn offer(&mut self, intended_ns: u64, now: u64) {
        if self.measures(intended_ns) {
            self.offered += 1;
            self.lag.record(now - intended_ns);
        }
    }

    /// Counts a reply read at `now`.
    #[inline]
    pub(crate) fn complete(&mut self, flight: Flight, outcome: Outcome, now: u64) {
        if let Outcome::Correct = outcome {
            if (self.window_ns.0..self.window_ns.1).contains(&now) {
                self.correct_in_window += 1;
            }
            if self.measures(flight.intended_ns) {
                self.correct_trial(flight, now);
            }
            return;
        }
        let measured = self.measures(flight.intended_ns);
        match outcome {
            Outcome::Shed => self.shed += u64::from(measured),
            Outcome::Wrong(why) => {
                self.failed += u64::from(measured);
                self.note(why);
            }
            Outcome::Correct => {}
        }
    }

    fn correct_trial(&mut self, flight: Flight, now: u64) {
        let latency = now - flight.intended_ns;
        self.correct += 1;
        self.latency.record(latency);
        self.service.record(now - flight.sent_ns);
        if latency <= self.deadline_ns {
            self.met.set(flight.index);
        } else {
            self.late += 1;
        }
        let second = (flight.intended_ns - self.window_ns.0) / 1_000_000_000;
        let second = usize::try_from(second).unwrap_or(usize::MAX);
        if let Some(second) = self.per_second.get_mut(second) {
            second.correct += 1;
            second.max_ns = second.max_ns.max(latency);
        }
    }

    /// Counts a request that its connection took with it.
    pub(crate) fn lose(&mut self, flight: Flight) {
        self.failed += u64::from(self.measures(flight.intended_ns));
    }

    /// Keeps the first few errors in words.
    pub(crate) fn note(&mut self, error: String) {
        if self.errors.len() < ERRORS_MAX && !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Replays the schedule from its zero at `start_ns`: every trial of the window that did not
    /// meet its deadline is a miss, whatever became of it.
    pub(crate) fn misses(&self, mut schedule: Schedule, start_ns: u64) -> Misses {
        let gap_ns = self.deadline_ns.max(EPISODE_GAP_MIN_NS);
        let mut found = Misses::default();
        let (mut first, mut last) = (0, None);
        loop {
            let slot = schedule.take_next();
            let at = start_ns + slot.at_ns;
            if at >= self.window_ns.1 {
                return found;
            }
            if at < self.window_ns.0 {
                continue;
            }
            found.trials += 1;
            if self.met.has(slot.index) {
                continue;
            }
            found.misses += 1;
            if last.is_none_or(|last| at - last > gap_ns) {
                found.episodes += 1;
                first = at;
            }
            last = Some(at);
            found.longest_ns = found.longest_ns.max(at - first);
        }
    }
}

/// One bit per trial.
struct BitSet(Vec<u64>);

impl BitSet {
    fn with_capacity(bits: u64) -> Self {
        Self(vec![0; usize::try_from(bits / 64 + 1).unwrap_or(0)])
    }

    #[inline]
    fn set(&mut self, bit: u64) {
        let Ok(word) = usize::try_from(bit / 64) else {
            return;
        };
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (bit % 64);
    }

    fn has(&self, bit: u64) -> bool {
        let word = usize::try_from(bit / 64)
            .ok()
            .and_then(|word| self.0.get(word));
        word.is_some_and(|word| word & (1 << (bit % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::schedule::Arrival;
    use super::*;

    const MS: u64 = 1_000_000;

    /// 1,000 trials a second for one second; trials 100..110 and 500 are late, 900 is lost.
    #[test]
    fn misses_cluster_into_episodes() {
        let mut tally = Tally::new((0, 1000 * MS), MS, 1000);
        for index in 0..1000_u64 {
            let intended_ns = index * MS;
            tally.offer(intended_ns, intended_ns);
            let late = (100..110).contains(&index) || index == 500;
            let flight = Flight {
                index,
                intended_ns,
                sent_ns: intended_ns,
            };
            if index == 900 {
                tally.lose(flight);
            } else {
                let took = if late { 5 * MS } else { MS / 2 };
                tally.complete(flight, Outcome::Correct, intended_ns + took);
            }
        }
        let misses = tally.misses(Schedule::new(Arrival::Constant, 1000.0, 0), 0);
        let wanted = Misses {
            trials: 1000,
            misses: 12,
            episodes: 3,
            longest_ns: 9 * MS,
        };
        assert_eq!(misses, wanted);
        assert_eq!((tally.correct, tally.late, tally.failed), (999, 11, 1));
    }

    #[test]
    fn warm_up_and_drain_do_not_count() {
        let mut tally = Tally::new((100 * MS, 200 * MS), MS, 10);
        let flight = |at| Flight {
            index: 0,
            intended_ns: at,
            sent_ns: at,
        };
        tally.offer(50 * MS, 50 * MS);
        tally.complete(flight(50 * MS), Outcome::Correct, 51 * MS);
        tally.complete(flight(199 * MS), Outcome::Correct, 201 * MS);
        assert_eq!(
            (tally.offered, tally.correct, tally.correct_in_window),
            (0, 1, 0)
        );
        tally.complete(flight(150 * MS), Outcome::Shed, 151 * MS);
        assert_eq!(tally.shed, 1);
    }
}
