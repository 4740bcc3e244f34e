//! The mesh's lock-free parts under loom: every interleaving of small models.
//!
//! `RUSTFLAGS="--cfg ninefold_loom" cargo test --release -p ninefold-runtime --test loom_mesh`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait and measure from outside the runtime"
)]
#![cfg(ninefold_loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use ninefold_runtime::mesh::barrier::{ProcessBarrier, strike};
use ninefold_runtime::mesh::{Doorbell, Handover, Lane, Recheck, ring};

/// Bounds the exploration; two preemptions find every bug that loom is known to find in queues.
fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(f);
}

#[test]
fn values_cross_the_ring_once_and_in_order() {
    model(|| {
        let (mut producer, mut consumer) = ring::<u32>(2);
        let sender = thread::spawn(move || {
            let mut sent = 0;
            while sent < 3 {
                match producer.push(sent) {
                    Ok(()) => {
                        producer.publish();
                        sent += 1;
                    }
                    Err(_) => thread::yield_now(),
                }
            }
        });
        let mut wanted = 0;
        while wanted < 3 {
            match consumer.pop() {
                Some(value) => {
                    assert_eq!(value, wanted);
                    wanted += 1;
                }
                None => thread::yield_now(),
            }
        }
        sender.join().unwrap();
        assert_eq!(consumer.pop(), None);
    });
}

#[test]
fn a_batch_becomes_visible_as_a_whole_and_what_is_left_is_dropped() {
    model(|| {
        let counted = std::sync::Arc::new(());
        let (mut producer, mut consumer) = ring(4);
        let value = counted.clone();
        let sender = thread::spawn(move || {
            for _ in 0..3 {
                assert!(producer.push(value.clone()).is_ok());
            }
            producer.publish();
        });
        drop(consumer.pop());
        sender.join().unwrap();
        drop(consumer);
        assert_eq!(std::sync::Arc::strong_count(&counted), 1);
    });
}

/// A barrier for every point of the producer's program at which it may strike, and none.
fn each_strike(f: impl Fn(Option<u8>) + Copy + Sync + Send + 'static) {
    model(move || f(None));
    for point in strike::START..=strike::END {
        model(move || f(Some(point)));
    }
}

fn doorbell(strike: Option<u8>) -> Arc<Doorbell> {
    let Some(point) = strike else {
        return Arc::new(Doorbell::new());
    };
    let doorbell = Doorbell::with_barrier(ProcessBarrier::at(point));
    doorbell.bias();
    assert!(doorbell.is_biased());
    Arc::new(doorbell)
}

/// The consumer takes once, then tries to sleep: it sleeps only when nothing is there, or somebody
/// wakes it. `sent` frames of which each is published and rung on its own.
fn no_wake_up_is_lost(strike: Option<u8>, sent: u32) {
    let (mut producer, mut consumer) = ring::<u32>(2);
    let doorbell = doorbell(strike);
    let woken = Arc::new(AtomicBool::new(false));
    let (bell, wake) = (doorbell.clone(), woken.clone());
    let sender = thread::spawn(move || {
        for value in 0..sent {
            if value + 1 == sent {
                bell.barrier().point(strike::START);
            }
            assert!(producer.push(value).is_ok());
            producer.publish();
            if bell.ring(0, Lane::Bulk) {
                wake.store(true, Ordering::Release);
            }
        }
        bell.barrier().point(strike::END);
    });
    let recheck = Recheck::default();
    let mut wanted = 0;
    let mut drain = |consumer: &mut ninefold_runtime::mesh::Consumer<u32>| {
        while let Some(value) = consumer.pop() {
            assert_eq!(value, wanted);
            wanted += 1;
        }
        wanted
    };
    if doorbell.take(Lane::Bulk, &recheck) != 0 {
        drain(&mut consumer);
    }
    let asleep = doorbell.try_sleep(&recheck, |_, _| consumer.peek().is_some());
    doorbell.barrier().request();
    sender.join().unwrap();
    let rung = doorbell.take(Lane::Bulk, &recheck) != 0;
    if rung {
        drain(&mut consumer);
    }
    // Without a bit there is nothing to find.
    assert!(consumer.pop().is_none(), "a frame, and no bit for it");
    assert_eq!(drain(&mut consumer), sent);
    assert!(
        !asleep || !rung || woken.load(Ordering::Acquire),
        "asleep, and nobody woke it"
    );
}

/// A consumer that does not sleep finds every frame by its bit or among the peers to recheck.
fn no_frame_is_stranded(strike: Option<u8>) {
    let (mut producer, mut consumer) = ring::<u32>(2);
    let doorbell = doorbell(strike);
    let bell = doorbell.clone();
    let sender = thread::spawn(move || {
        for value in 0..2 {
            assert!(producer.push(value).is_ok());
            producer.publish();
            let _ = bell.ring(0, Lane::Express);
        }
    });
    let recheck = Recheck::default();
    let mut got = 0;
    if doorbell.take(Lane::Express, &recheck) != 0 {
        while consumer.pop().is_some() {
            got += 1;
        }
    }
    doorbell.barrier().request();
    sender.join().unwrap();
    if doorbell.take(Lane::Express, &recheck) | recheck.peers(Lane::Express) != 0 {
        while consumer.pop().is_some() {
            got += 1;
        }
    }
    assert_eq!(got, 2);
}

#[test]
fn an_awake_consumer_finds_every_frame() {
    model(|| no_frame_is_stranded(None));
    model(|| no_frame_is_stranded(Some(strike::END)));
}

#[test]
fn no_wake_up_is_lost_for_one_frame() {
    each_strike(|strike| no_wake_up_is_lost(strike, 1));
}

#[test]
fn no_wake_up_is_lost_for_a_frame_that_finds_its_bit_set() {
    each_strike(|strike| no_wake_up_is_lost(strike, 2));
}

#[test]
fn an_injected_job_is_seen_or_wakes() {
    each_strike(|strike| {
        let doorbell = doorbell(strike);
        let woken = Arc::new(AtomicBool::new(false));
        let (bell, wake) = (doorbell.clone(), woken.clone());
        let sender = thread::spawn(move || {
            bell.barrier().point(strike::START);
            if bell.ring_injected() {
                wake.store(true, Ordering::Release);
            }
            bell.barrier().point(strike::END);
        });
        let seen = doorbell.take_injected();
        let asleep = !seen && doorbell.try_sleep(&Recheck::default(), |_, _| false);
        doorbell.barrier().request();
        sender.join().unwrap();
        if asleep {
            assert!(woken.load(Ordering::Acquire));
        }
        assert!(seen || doorbell.take_injected());
    });
}

/// Two producers and a consumer that clears both bits at once.
#[test]
fn bits_of_several_producers_do_not_hide_each_other() {
    model(|| {
        let doorbell = Arc::new(Doorbell::new());
        let (mut p0, mut c0) = ring::<u32>(2);
        let (mut p1, mut c1) = ring::<u32>(2);
        let bell = doorbell.clone();
        let first = thread::spawn(move || {
            assert!(p0.push(1).is_ok());
            p0.publish();
            let _ = bell.ring(0, Lane::Express);
        });
        let bell = doorbell.clone();
        let second = thread::spawn(move || {
            assert!(p1.push(2).is_ok());
            p1.publish();
            let _ = bell.ring(1, Lane::Express);
        });
        let recheck = Recheck::default();
        let mut got = 0;
        let mut drain = |bits: u64| {
            if bits & 1 != 0 {
                got += c0.pop().unwrap_or(0);
            }
            if bits & 2 != 0 {
                got += c1.pop().unwrap_or(0);
            }
        };
        drain(doorbell.take(Lane::Express, &recheck));
        first.join().unwrap();
        second.join().unwrap();
        drain(doorbell.take(Lane::Express, &recheck));
        assert_eq!(got, 3);
    });
}

/// A lane made late is there for whoever finds its producer's bit.
#[test]
fn a_late_lane_is_found_by_its_bit() {
    model(|| {
        let handover = Arc::new(Handover::new(2));
        let doorbell = Arc::new(Doorbell::new());
        let (offered, bell) = (handover.clone(), doorbell.clone());
        let sender = thread::spawn(move || {
            let (mut producer, consumer) = ring::<u32>(2);
            offered.offer(1, 0, consumer);
            assert!(producer.push(7).is_ok());
            producer.publish();
            let _ = bell.ring(1, Lane::Bulk);
        });
        let recheck = Recheck::default();
        let mut got = None;
        let mut look = || {
            if doorbell.take(Lane::Bulk, &recheck) != 0 {
                let mut lane = handover.take(1, 0).expect("a bit, and no lane behind it");
                got = lane.pop();
            }
        };
        look();
        sender.join().unwrap();
        look();
        assert_eq!(got, Some(7));
        assert!(handover.take(1, 0).is_none());
    });
}

/// What nobody took is dropped with the slots.
#[test]
fn a_lane_that_nobody_took_is_dropped() {
    model(|| {
        let counted = std::sync::Arc::new(());
        let handover = Handover::new(2);
        handover.offer(0, 1, counted.clone());
        handover.offer(0, 1, counted.clone());
        assert_eq!(std::sync::Arc::strong_count(&counted), 2);
        drop(handover);
        assert_eq!(std::sync::Arc::strong_count(&counted), 1);
    });
}
