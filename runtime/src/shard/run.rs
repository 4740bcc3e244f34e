//! The loop of a shard: tick, run turns, submit, sleep.
//!
//! One step of it is [`Shard::step`], which both the real loop and the simulator call.

use std::sync::atomic::Ordering;

use crate::actor::ExitReason;
use crate::clock;
use crate::driver::Driver;
use crate::limits::{INJECT_DRAIN, PARK_MAX};
use crate::mesh::Lane;
use crate::stall::{Name, Watch};
use crate::task::Wakee;
use crate::timer;

use super::{Phase, Shard};

/// Looks at the doorbell between two looks at the ring, while spinning.
const SPINS_A_LOOK: u32 = 8;
/// Time the kernel gets to let go of sockets when the shard ends.
const CLOSE_NS: u64 = 500_000_000;
#[expect(clippy::cast_possible_truncation, reason = "a quarter of a second")]
const PARK_MAX_NS: u64 = PARK_MAX.as_nanos() as u64;

/// What a shard wants after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is more to do.
    Again,
    /// Nothing is ready: spin, then sleep.
    Rest,
    /// The runtime stops.
    Stop,
}

/// Runs `shard` until the runtime stops. This is the one glommio task of the shard's executor.
pub(crate) async fn run(shard: &Shard, spin_ns: u64) {
    let mut wakes = Vec::new();
    let mut rest = Rest::new(spin_ns);
    loop {
        match shard.step(&mut wakes) {
            Next::Stop => break,
            Next::Rest => shard.rest(&mut rest, &mut wakes),
            Next::Again => {}
        }
        // The executor's own sources (its preemption timer among them) get their turn here.
        glommio::yield_if_needed().await;
    }
    shard.stop_everything();
}

/// How long an idle shard spins: as long as it usually waits, if that is less than a sleep costs.
struct Rest {
    most_ns: u64,
    /// Mean of the recent waits that ended within the most it may spin.
    gap_ns: u64,
}

impl Rest {
    fn new(most_ns: u64) -> Self {
        Rest {
            most_ns,
            gap_ns: most_ns,
        }
    }

    /// Twice the usual wait, but a quarter of the most at least, so that it finds out when waits
    /// get shorter again.
    fn spin_ns(&self) -> u64 {
        (2 * self.gap_ns).clamp(self.most_ns / 4, self.most_ns)
    }

    /// Work came after `waited_ns` of spinning; or it did not come.
    fn learn(&mut self, waited_ns: Option<u64>) {
        let waited = waited_ns.unwrap_or(0).min(self.most_ns);
        self.gap_ns = (7 * self.gap_ns + waited) / 8;
    }
}

impl Shard {
    /// One tick: rings, I/O, timers, then a few turns.
    pub(crate) fn step(&self, wakes: &mut Vec<Wakee>) -> Next {
        if self.is_disturbed() {
            self.look_around(wakes);
        }
        self.run_turns();
        self.return_credits();
        if self.mesh.is_dirty() {
            self.mesh.flush(self);
        }
        self.arm_deadlines();
        if self.phase() == Phase::Stopping {
            Next::Stop
        } else if self.ready.is_empty() && !self.mesh.is_dirty() {
            self.end_lap();
            self.clock_is_fresh.set(false);
            self.forget_delays();
            Next::Rest
        } else {
            Next::Again
        }
    }

    /// Whether a tick has more to do than turns. While it has not, the clock as it was read after
    /// the last turn serves the next one too.
    #[inline(always)]
    fn is_disturbed(&self) -> bool {
        self.ticks.set(self.ticks.get() + 1);
        let fresh = self.clock_is_fresh.replace(false) && self.lap.is_fresh();
        !fresh || self.house_is_due() || self.has_arrivals() || self.has_io()
    }

    #[inline(always)]
    fn has_arrivals(&self) -> bool {
        let doorbell = self.doorbell();
        doorbell.is_rung(Lane::Express)
            || doorbell.is_rung(Lane::Bulk)
            || doorbell.is_injected()
            || self.mesh.has_unrung()
    }

    #[inline(always)]
    fn has_io(&self) -> bool {
        let mut driver = self.driver.borrow_mut();
        driver.as_mut().is_some_and(Driver::has_work)
    }

    fn look_around(&self, wakes: &mut Vec<Wakee>) {
        if self.lap.is_fresh() {
            self.now.set(self.time.cycles());
        } else {
            // What waits to be charged is charged before anything else takes time.
            self.end_lap();
            self.clock_is_fresh.set(false);
        }
        self.ready.refill(self.now.get());
        if self.house_is_due() {
            self.house_due.set(false);
            self.keep_house();
        }
        self.take_arrivals();
        self.turn_driver(wakes);
    }

    /// Puts the deadlines of calls that this tick did not answer on the wheel.
    #[inline]
    fn arm_deadlines(&self) {
        let mut watched = self.watched.borrow_mut();
        if watched.is_empty() {
            return;
        }
        let mut now_ns = None;
        for (reply, deadline) in watched.drain(..) {
            if self.replies.is_waiting(reply) {
                let now_ns = *now_ns.get_or_insert_with(|| self.now_ns());
                let timer = timer::start_deadline(self, now_ns, deadline, reply);
                self.replies.set_timer(reply, timer);
            }
        }
    }

    #[inline(always)]
    pub(crate) fn doorbell(&self) -> &crate::mesh::Doorbell {
        &self.port.doorbell
    }

    #[inline]
    fn take_arrivals(&self) {
        let doorbell = self.doorbell();
        for lane in Lane::ALL {
            self.mesh.drain_all(self, lane);
        }
        if doorbell.take_injected() {
            // A new phase rings here too, and the next housekeeping may be a sleep away.
            self.follow_phase();
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
                const JOB: Name = || "injected job";
                self.stall_watch
                    .begin(self.time.cycles(), Watch::NO_SLOT, &JOB);
                self.run_caught(JOB(), || job(self));
                self.stall_watch.end();
                port.injected.fetch_sub(1, Ordering::AcqRel);
            }
        }
        // More may wait: look again in the next tick. Nobody sleeps here, so nobody is to be woken.
        let _ = port.doorbell.ring_injected();
    }

    #[inline]
    fn turn_driver(&self, wakes: &mut Vec<Wakee>) {
        if let Some(driver) = self.driver.borrow_mut().as_mut()
            && driver.has_work()
        {
            driver.turn(self.stats(), wakes);
        }
        wakes.drain(..).for_each(Wakee::wake);
    }

    /// Spins for a while, then sleeps until something comes in or a timer is due.
    fn rest(&self, rest: &mut Rest, wakes: &mut Vec<Wakee>) {
        let begin = clock::cycles();
        let spin = clock::ns_to_cycles(rest.spin_ns());
        if self.spin(begin, spin) {
            rest.learn(Some(clock::cycles_to_ns(
                clock::cycles().saturating_sub(begin),
            )));
            return;
        }
        rest.learn(None);
        if let Some(timeout) = self.fall_asleep() {
            if let Some(driver) = self.driver.borrow_mut().as_mut() {
                driver.park(self.stats(), timeout, wakes);
            }
            self.wake_up();
        }
    }

    /// Declares the shard asleep: for how many nanoseconds at most. `None`, and still awake, when
    /// something came in or is due. After the sleep comes [`Shard::wake_up`].
    pub(crate) fn fall_asleep(&self) -> Option<u64> {
        self.on_idle();
        let timeout = self.park_ns();
        if timeout > 0 && self.mesh.try_sleep(self) {
            self.stats().parks.add(1);
            return Some(timeout);
        }
        self.house_due.set(true);
        None
    }

    /// The sleep is over, whatever ended it.
    pub(crate) fn wake_up(&self) {
        self.doorbell().awake();
        self.house_due.set(true);
    }

    /// True when work came within `spin` cycles.
    fn spin(&self, begin: clock::Cycles, spin: clock::Cycles) -> bool {
        let doorbell = self.doorbell();
        let mut driver = self.driver.borrow_mut();
        loop {
            for _ in 0..SPINS_A_LOOK {
                if doorbell.is_rung(Lane::Express) || doorbell.is_rung(Lane::Bulk) {
                    return true;
                }
                std::hint::spin_loop();
            }
            let io = driver.as_mut().is_some_and(|driver| driver.has_work());
            if doorbell.is_injected() || io || self.mesh.has_unrung() {
                return true;
            }
            if clock::cycles().saturating_sub(begin) >= spin {
                return false;
            }
        }
    }

    /// Time until a timer or a retry is due, at most [`PARK_MAX`].
    pub(crate) fn park_ns(&self) -> u64 {
        let now_ns = self.time.monotonic_ns();
        let timer_at = self.timers.borrow().next_ns();
        let retry_at = self
            .driver
            .borrow()
            .as_ref()
            .and_then(|driver| driver.retry_ns());
        timer_at
            .into_iter()
            .chain(retry_at)
            .map(|at| at.saturating_sub(now_ns))
            .fold(PARK_MAX_NS, u64::min)
    }

    /// The end of the shard: tasks are dropped, actors stop newest first, sockets close.
    pub(crate) fn stop_everything(&self) {
        self.phase.set(Phase::Stopping);
        for index in (0..self.slots.made()).rev() {
            let Some(slot) = self.slots.at(index) else {
                continue;
            };
            let Some(vtable) = slot.vtable.get() else {
                continue;
            };
            if vtable.poll.is_some() {
                self.end_task(slot, vtable);
            } else {
                self.shut_down(slot, &ExitReason::Shutdown);
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
