//! The loop of a shard: tick, run turns, submit, sleep.

use std::sync::atomic::Ordering;

use crate::clock;
use crate::limits::{INJECT_DRAIN, PARK_MAX, TICK_TURNS};
use crate::mesh::Lane;
use crate::task::Wakee;
use crate::timer;

use super::{Phase, Shard};

/// Ticks between two looks at timers and heartbeat while the shard is busy.
const HOUSEKEEPING_TICKS: u64 = 32;
/// Same, in time: whichever comes first.
const HOUSEKEEPING_NS: u64 = 30_000;
/// Looks at the doorbell between two looks at the ring, while spinning.
const SPINS_A_LOOK: u32 = 8;
/// Time the kernel gets to let go of sockets when the shard ends.
const CLOSE_NS: u64 = 500_000_000;
#[expect(clippy::cast_possible_truncation, reason = "a quarter of a second")]
const PARK_MAX_NS: u64 = PARK_MAX.as_nanos() as u64;

/// Runs `shard` until the runtime stops. This is the one glommio task of the shard's executor.
pub(crate) async fn run(shard: &Shard, spin_ns: u64) {
    let mut wakes = Vec::new();
    let mut ticks = 0_u64;
    let mut kept_house = 0;
    let housekeeping = clock::ns_to_cycles(HOUSEKEEPING_NS);
    loop {
        ticks += 1;
        shard.now.set(clock::cycles());
        if shard.house_due.replace(false)
            || ticks.is_multiple_of(HOUSEKEEPING_TICKS)
            || shard.now.get().saturating_sub(kept_house) > housekeeping
        {
            kept_house = shard.now.get();
            shard.keep_house(ticks);
        }
        shard.tick(&mut wakes);
        if shard.phase.get() == Phase::Stopping {
            break;
        }
        if shard.is_idle() {
            shard.rest(spin_ns, &mut wakes);
        }
        // The executor's own sources (its preemption timer among them) get their turn here.
        glommio::yield_if_needed().await;
    }
    shard.stop_everything();
}

impl Shard {
    /// Rings, I/O, then at most [`TICK_TURNS`] turns.
    fn tick(&self, wakes: &mut Vec<Wakee>) {
        self.take_arrivals();
        self.turn_driver(wakes);
        for _ in 0..TICK_TURNS {
            let Some((slot, class)) = self.ready.pick() else {
                break;
            };
            self.turn(slot, class);
            if self.doorbell().is_rung(Lane::Express) {
                self.mesh.drain(self, Lane::Express);
            }
        }
        if self.mesh.is_dirty() {
            self.mesh.flush(self);
        }
        self.arm_deadlines();
    }

    /// Puts the deadlines of calls that this tick did not answer on the wheel.
    #[inline]
    fn arm_deadlines(&self) {
        let mut watched = self.watched.borrow_mut();
        if watched.is_empty() {
            return;
        }
        let now_ns = self.now_ns();
        for (reply, deadline) in watched.drain(..) {
            if self.replies.is_waiting(reply) {
                let timer = timer::start_deadline(self, now_ns, deadline, reply);
                self.replies.set_timer(reply, timer);
            }
        }
    }

    pub(crate) fn doorbell(&self) -> &crate::mesh::Doorbell {
        &self.port.doorbell
    }

    fn take_arrivals(&self) {
        let doorbell = self.doorbell();
        for lane in [Lane::Express, Lane::Bulk] {
            if doorbell.is_rung(lane) {
                self.mesh.drain(self, lane);
            }
        }
        if doorbell.take_injected() {
            self.take_injected();
        }
    }

    fn take_injected(&self) {
        let port = &self.port;
        for _ in 0..INJECT_DRAIN {
            let woken = port.wakes.1.try_recv();
            let job = port.jobs.1.try_recv();
            if woken.is_err() && job.is_err() {
                return;
            }
            if let Ok(waker) = woken {
                waker.arrive(self);
            }
            if let Ok(job) = job {
                self.run_caught("injected job", || job(self));
                port.injected.fetch_sub(1, Ordering::AcqRel);
            }
        }
        // More may wait: look again in the next tick. Nobody sleeps here, so nobody is to be woken.
        let _ = port.doorbell.ring_injected();
    }

    fn turn_driver(&self, wakes: &mut Vec<Wakee>) {
        if let Some(driver) = self.driver.borrow_mut().as_mut()
            && driver.has_work()
        {
            driver.turn(self.stats(), wakes);
        }
        wakes.drain(..).for_each(Wakee::wake);
    }

    /// Timers, heartbeat, gauges, phase.
    fn keep_house(&self, ticks: u64) {
        let now_ns = clock::monotonic_ns();
        self.epoch.set((now_ns, clock::cycles()));
        let due = self
            .timers
            .borrow()
            .next_ns()
            .is_some_and(|at| at <= now_ns);
        if due {
            let fired = timer::fire(self, now_ns);
            self.stats().timers_fired.add(fired as u64);
        }
        let stats = self.stats();
        stats.heartbeat_ns.set(now_ns);
        stats.ticks.set(ticks);
        stats.cells_live.set(u64::from(self.slots.live()));
        stats.mailbox_messages.set(self.nodes.live() as u64);
        if let Some(driver) = self.driver.borrow_mut().as_mut() {
            driver.retry_starved(now_ns);
            stats.sockets_open.set(driver.open_count() as u64);
        }
        let phase = self.shared.phase();
        if phase > self.phase.replace(phase) {
            self.wake_all_tasks();
        }
    }

    /// Every task is polled once, so that those waiting for [`crate::draining`] see it begin.
    fn wake_all_tasks(&self) {
        for slot in (0..self.slots.made()).filter_map(|index| self.slots.at(index)) {
            if slot.vtable.get().is_some_and(|body| body.poll.is_some()) {
                self.wake(slot.key());
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.ready.is_empty() && !self.mesh.is_dirty()
    }

    /// Spins for a while, then sleeps until something comes in or a timer is due.
    fn rest(&self, spin_ns: u64, wakes: &mut Vec<Wakee>) {
        let doorbell = self.doorbell();
        let begin = clock::cycles();
        let spin = clock::ns_to_cycles(spin_ns);
        let mut driver = self.driver.borrow_mut();
        let Some(driver) = driver.as_mut() else {
            return;
        };
        loop {
            for _ in 0..SPINS_A_LOOK {
                if doorbell.is_rung(Lane::Express) || doorbell.is_rung(Lane::Bulk) {
                    return;
                }
                std::hint::spin_loop();
            }
            if driver.has_work() || doorbell.is_injected() {
                return;
            }
            if clock::cycles().saturating_sub(begin) >= spin {
                break;
            }
        }
        let now_ns = clock::monotonic_ns();
        let timer_at = self.timers.borrow().next_ns();
        let mut timeout = PARK_MAX_NS;
        for at in timer_at.into_iter().chain(driver.retry_ns()) {
            timeout = timeout.min(at.saturating_sub(now_ns));
        }
        if timeout > 0 && doorbell.try_sleep() {
            self.stats().parks.add(1);
            driver.park(self.stats(), timeout, wakes);
            doorbell.awake();
        }
        self.house_due.set(true);
    }

    /// The end of the shard: tasks are dropped, actors stop newest first, sockets close.
    fn stop_everything(&self) {
        for index in (0..self.slots.made()).rev() {
            let Some(slot) = self.slots.at(index) else {
                continue;
            };
            let Some(vtable) = slot.vtable.get() else {
                continue;
            };
            if vtable.poll.is_some() {
                self.end_body(slot, vtable);
            } else {
                self.stop_actor(slot, vtable);
            }
        }
        self.mesh.flush(self);
        let driver = self.driver.borrow_mut().take();
        if let Some(mut driver) = driver {
            driver.close_all(self.stats(), CLOSE_NS);
            self.stats().sockets_open.set(driver.open_count() as u64);
        }
        self.stats().cells_live.set(u64::from(self.slots.live()));
    }
}
