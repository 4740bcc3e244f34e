//! Housekeeping between ticks: timers, heartbeat, gauges, trimming, hibernation, phase.

use std::sync::atomic::Ordering;

use crate::clock::Cycles;
use crate::limits::SWEEP_SLOTS;
use crate::panics;
use crate::sched::{Slot, flag};
use crate::timer;

use super::{Phase, Shard};

/// Ticks between two looks at timers and heartbeat while the shard is busy.
const TICKS: u64 = 32;
/// Same, in time: whichever comes first.
pub(super) const NS: u64 = 30_000;
/// A housekeeping's mean queue delay counts for one in so many in the recent one.
const DELAY_WEIGHT: u64 = 8;
/// Units of time in which idle actors are judged, as a shift of cycles: about a millisecond.
const IDLE_UNIT: u32 = 21;

impl Shard {
    /// Whether it is time to keep house.
    #[inline(always)]
    pub(super) fn house_is_due(&self) -> bool {
        self.house_due.get()
            || self.ticks.get().is_multiple_of(TICKS)
            || self.now.get().saturating_sub(self.house_kept_at.get()) > self.thresholds.house
    }

    pub(super) fn keep_house(&self) {
        self.house_kept_at.set(self.now.get());
        let now_ns = self.time.monotonic_ns();
        self.epoch.set((now_ns, self.time.cycles()));
        let due = self
            .timers
            .borrow()
            .next_ns()
            .is_some_and(|at| at <= now_ns);
        if due {
            let fired = timer::fire(self, now_ns);
            self.stats().timers_fired.add(fired as u64);
        }
        self.publish_gauges(now_ns);
        if let Some(driver) = self.driver.borrow_mut().as_mut() {
            driver.retry_starved(now_ns);
            self.stats().sockets_open.set(driver.open_count() as u64);
        }
        if self.options.any_hibernate() {
            self.sweep_idle();
        }
        self.follow_phase();
    }

    /// Notes how far the runtime is on its way down.
    pub(super) fn follow_phase(&self) {
        let phase = self.shared.phase();
        if phase > self.phase.replace(phase) {
            self.wake_all_tasks();
        }
    }

    fn publish_gauges(&self, now_ns: u64) {
        let stats = self.stats();
        stats.heartbeat_ns.set(now_ns);
        stats.ticks.set(self.ticks.get());
        stats.cells_live.set(u64::from(self.slots.live()));
        stats.calls_open.set(u64::from(self.replies.open_count()));
        stats.mailbox_messages.set(self.envelopes.live() as u64);
        let bytes = self.slots.bytes() + self.envelopes.bytes();
        stats.arena_bytes.set(bytes as u64);
        self.publish_delay();
    }

    /// Publishes how long messages have waited of late: whoever looks for a shard to spawn on
    /// compares that.
    fn publish_delay(&self) {
        let stats = self.stats();
        let sum = (stats.queue_delay.iter()).fold(0, |sum: u64, h| sum.wrapping_add(h.sum()));
        let turns = stats.turns.get();
        let (sum_before, turns_before) = self.delays_seen.replace((sum, turns));
        let waited = sum.wrapping_sub(sum_before);
        if let Some(mean) = waited.checked_div(turns.wrapping_sub(turns_before)) {
            let mean = self.time.to_ns(mean);
            let gauge = &stats.queue_delay_ns;
            let old = gauge.get();
            gauge.set(old - old.div_ceil(DELAY_WEIGHT) + mean / DELAY_WEIGHT);
        }
    }

    /// Nothing waits: no delay stands.
    pub(super) fn forget_delays(&self) {
        if self.codel.idle(self.now.get()) {
            self.publish_shedding();
        }
    }

    /// Nothing has come for a while: a moment to give memory back.
    pub(super) fn on_idle(&self) {
        if self.envelopes.trim() {
            self.stats().arena_trims.add(1);
        }
    }

    /// Tells this shard and all senders what is refused now.
    #[cold]
    pub(super) fn publish_shedding(&self) {
        let level = self.codel.level();
        self.shed.set(level);
        self.port.shedding.store(level, Ordering::Relaxed);
        self.stats().shedding.set(u64::from(level));
        tracing::warn!(
            shard = self.id(),
            level,
            "shedding by queue delay: 0 nothing, 1 low messages, 2 normal ones too"
        );
    }

    /// Looks at a few slots, in turn, for actors that have been idle for long.
    fn sweep_idle(&self) {
        #[expect(clippy::cast_possible_truncation, reason = "compared modulo 2^32")]
        let now = (self.now.get() >> IDLE_UNIT) as u32;
        for _ in 0..SWEEP_SLOTS.min(self.slots.made()) {
            let index = self.swept.get();
            self.swept.set((index + 1) % self.slots.made().max(1));
            if let Some(slot) = self.slots.at(index) {
                self.judge_idle(slot, now);
            }
        }
    }

    fn judge_idle(&self, slot: &Slot, now: u32) {
        let Some(vtable) = slot.vtable.get() else {
            return;
        };
        let idle = self.options.get(slot.options.get()).hibernate;
        let (Some(idle), None) = (idle, vtable.poll) else {
            return;
        };
        if slot.has(flag::ACTIVE) {
            slot.unset(flag::ACTIVE | flag::HIBERNATED);
            slot.woken_at.set(now);
            return;
        }
        let waited = Cycles::from(now.wrapping_sub(slot.woken_at.get())) << IDLE_UNIT;
        let wanted = self
            .time
            .to_cycles(u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX / 8));
        let body = slot.body.get();
        if waited < wanted || slot.has(flag::HIBERNATED | flag::RUNNING) || body.is_null() {
            return;
        }
        slot.set(flag::HIBERNATED | flag::RUNNING);
        self.stats().actors_hibernated.add(1);
        // SAFETY: the actor is live and between turns, so this is the only reference to it.
        if let Err(caught) = panics::catch(|| unsafe { (vtable.hibernate)(body) }) {
            self.log_panic(slot, vtable, "hibernate", &caught, "goes on");
        }
        slot.unset(flag::RUNNING);
    }

    /// Every task is polled once, so that those waiting for [`crate::draining`] see it begin.
    fn wake_all_tasks(&self) {
        if self.phase() == Phase::Running {
            return;
        }
        for slot in (0..self.slots.made()).filter_map(|index| self.slots.at(index)) {
            if slot.vtable.get().is_some_and(|body| body.poll.is_some()) {
                self.wake(slot.key());
            }
        }
    }
}
