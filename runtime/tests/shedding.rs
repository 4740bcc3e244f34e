//! Shedding by queue delay: low messages first, then normal ones, high ones never.
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

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ninefold_runtime::{
    Actor, Address, CallError, Config, Context, Handler, SendError, Shedding, SpawnOptions,
    current_handle, sleep, spawn_actor,
};
use support::{SECOND, on_config, stat, until};

struct Worker;
/// Takes 300 us.
struct Work;
struct Low;
struct Normal;
struct High;
messages! {
    Work => ();
    Low => (), Low;
    Normal => ();
    High => (), High;
}
impl Actor for Worker {}
impl Handler<Work> for Worker {
    fn handle(&mut self, _: Work, _: &mut Context<'_, Self>) {
        std::thread::sleep(Duration::from_micros(300));
    }
}
impl Handler<Low> for Worker {
    fn handle(&mut self, _: Low, _: &mut Context<'_, Self>) {}
}
impl Handler<Normal> for Worker {
    fn handle(&mut self, _: Normal, _: &mut Context<'_, Self>) {}
}
impl Handler<High> for Worker {
    fn handle(&mut self, _: High, _: &mut Context<'_, Self>) {}
}

fn worker() -> Address<Worker> {
    spawn_actor(SpawnOptions::default(), Worker).unwrap()
}

fn config(shards: usize) -> Config {
    Config {
        shards: Some(shards),
        shedding: Shedding {
            high: None,
            normal: Some(Duration::from_millis(2)),
            low: Some(Duration::from_millis(2)),
            interval: Duration::from_millis(60),
        },
        ..Config::default()
    }
}

/// Keeps every worker busy, so that whatever comes waits for a turn of each; how often that was
/// refused.
fn feed(busy: &[Address<Worker>]) -> u64 {
    if stat(0, |s| s.mailbox_messages.get()) >= 200 {
        return 0;
    }
    let all = busy.iter().flat_map(|worker| [worker; 10]);
    let refused = all.filter(|worker| matches!(worker.cast(Work), Err(SendError::Shed(_))));
    refused.count() as u64
}

/// What a sender has seen refused: low while normal was accepted, and normal.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Seen {
    low_alone: bool,
    normal: bool,
    shed: u64,
}

impl Seen {
    fn probe(&mut self, idle: Address<Worker>) {
        let low = matches!(idle.cast(Low), Err(SendError::Shed(Low)));
        let normal = matches!(idle.cast(Normal), Err(SendError::Shed(Normal)));
        assert!(!matches!(idle.cast(High), Err(SendError::Shed(_))));
        assert!(low || !normal, "low ones are refused first");
        self.low_alone |= low && !normal;
        self.normal |= normal;
        self.shed += u64::from(low) + u64::from(normal);
    }

    fn all(&self) -> bool {
        self.low_alone && self.normal
    }
}

#[test]
fn a_standing_queue_sheds_low_then_normal_and_stops_when_it_is_gone() {
    on_config(&config(1), || async {
        let (busy, idle) = ([(); 30].map(|()| worker()), worker());
        let mut seen = Seen::default();
        for _ in 0..1_000 {
            seen.shed += feed(&busy);
            seen.probe(idle);
            if seen.all() {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
        assert!(seen.all(), "{seen:?}");
        let refused = busy[0].call(Normal, SECOND).await;
        assert!(matches!(refused, Err(CallError::Shed(Normal))));
        assert!(idle.call(High, SECOND).await.is_ok());
        assert_eq!(stat(0, |s| s.messages_shed.get()), seen.shed + 1);
        assert_eq!(stat(0, |s| s.shedding.get()), 2);
        until("the queue is gone", || stat(0, |s| s.shedding.get()) == 0).await;
        idle.cast(Low).unwrap();
        assert!(busy[0].call(Normal, SECOND).await.is_ok());
    });
}

#[test]
fn senders_on_another_shard_are_refused_at_home() {
    on_config(&config(2), || async {
        let (busy, idle) = ([(); 30].map(|()| worker()), worker());
        let done = Arc::new(AtomicBool::new(false));
        let found = Arc::new(Mutex::new(Seen::default()));
        let (finished, report) = (done.clone(), found.clone());
        let probing = move || async move {
            let mut seen = Seen::default();
            while !seen.all() && !finished.load(Ordering::SeqCst) {
                seen.probe(idle);
                sleep(Duration::from_millis(1)).await;
            }
            *report.lock().unwrap() = seen;
            finished.store(true, Ordering::SeqCst);
        };
        current_handle().unwrap().spawn_on(1, probing).unwrap();
        for _ in 0..1_000 {
            feed(&busy);
            if done.load(Ordering::SeqCst) {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
        done.store(true, Ordering::SeqCst);
        sleep(Duration::from_millis(5)).await;
        until("the queue is gone", || stat(0, |s| s.shedding.get()) == 0).await;
        let seen = *found.lock().unwrap();
        assert!(seen.all(), "{seen:?}");
        assert_eq!(stat(1, |s| s.messages_shed.get()), seen.shed);
    });
}
