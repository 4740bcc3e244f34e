//! Timers by the million, on a real shard.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait and measure from outside the runtime"
)]

#[macro_use]
mod support;

use std::time::{Duration, Instant};

use ninefold_runtime::{
    Actor, Context, Handler, SpawnOptions, sleep, spawn_actor, spawn_local, yield_now,
};
use support::{SECOND, on_shards, stat, until};

const TIMERS: u32 = 1_000_000;

/// Starts timers, cancels every other one, and judges those that fire.
#[derive(Default)]
struct Clock {
    fired: u32,
    early: u32,
    cancelled: u32,
}
struct Start;
struct Due(Instant, bool);
struct Found;
messages! {
    Start => ();
    Due => ();
    Found => (u32, u32, u32);
}
impl Actor for Clock {}
impl Handler<Start> for Clock {
    fn handle(&mut self, _: Start, context: &mut Context<'_, Self>) {
        let mut random = 1_u64;
        for n in 0..TIMERS {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let delay = Duration::from_micros(500 + (random >> 33) % 300_000);
            let cancelled = n % 2 == 0;
            let timer = context.send_after(delay, Due(Instant::now() + delay, cancelled));
            if cancelled {
                context.cancel(timer);
            }
        }
    }
}
impl Handler<Due> for Clock {
    fn handle(&mut self, due: Due, _: &mut Context<'_, Self>) {
        self.fired += 1;
        self.early += u32::from(Instant::now() < due.0);
        self.cancelled += u32::from(due.1);
    }
}
impl Handler<Found> for Clock {
    fn handle(&mut self, _: Found, _: &mut Context<'_, Self>) -> (u32, u32, u32) {
        (self.fired, self.early, self.cancelled)
    }
}

#[test]
fn a_million_timers_half_of_them_cancelled() {
    on_shards(1, || async {
        let options = SpawnOptions {
            capacity: TIMERS,
            bytes: u32::MAX,
            ..SpawnOptions::default()
        };
        let clock = spawn_actor(options, Clock::default()).unwrap();
        let before = stat(0, |s| s.timers_fired.get());
        clock.call(Start, 60 * SECOND).await.unwrap();
        let half = u64::from(TIMERS / 2);
        // The test's own sleeps are timers, too.
        until("half have fired", || {
            stat(0, |s| s.timers_fired.get()) - before >= half
        })
        .await;
        let mut found = (0, 0, 0);
        while found.0 < TIMERS / 2 {
            found = clock.call(Found, 60 * SECOND).await.unwrap();
            yield_now().await;
        }
        assert_eq!(found, (TIMERS / 2, 0, 0));
        sleep(Duration::from_millis(5)).await;
        assert_eq!(
            clock.call(Found, 60 * SECOND).await.unwrap(),
            found,
            "no more come"
        );
        assert_eq!(stat(0, |s| s.timer_messages_refused.get()), 0);
    });
}

#[test]
fn many_sleeps_that_end_at_once_end() {
    const SLEEPERS: u64 = 100_000;
    on_shards(1, || async {
        let end = Instant::now() + Duration::from_millis(300);
        let early = std::rc::Rc::new(std::cell::Cell::new(0));
        for _ in 0..SLEEPERS {
            let early = early.clone();
            spawn_local(async move {
                sleep(end.saturating_duration_since(Instant::now())).await;
                early.set(early.get() + u64::from(Instant::now() < end));
            })
            .unwrap();
        }
        until("all have slept", || {
            stat(0, |s| s.tasks_ended.get()) >= SLEEPERS
        })
        .await;
        assert_eq!(early.get(), 0);
    });
}
