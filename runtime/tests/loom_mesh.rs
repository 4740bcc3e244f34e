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
use ninefold_runtime::mesh::{Doorbell, Lane, ring};

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

/// The consumer sleeps only when nothing is there, or somebody wakes it: no lost wake-up.
#[test]
fn no_wake_up_is_lost() {
    model(|| {
        let (mut producer, mut consumer) = ring::<u32>(2);
        let doorbell = Arc::new(Doorbell::new());
        let woken = Arc::new(AtomicBool::new(false));
        let (bell, wake) = (doorbell.clone(), woken.clone());
        let sender = thread::spawn(move || {
            assert!(producer.push(7).is_ok());
            producer.publish();
            if bell.ring(0, Lane::Bulk) {
                wake.store(true, Ordering::Release);
            }
        });
        let mut got = None;
        if doorbell.take(Lane::Bulk) != 0 {
            got = consumer.pop();
        }
        if got.is_none() && doorbell.try_sleep() {
            // Asleep: from here on the sender must either have been seen or must wake.
            sender.join().unwrap();
            assert!(
                woken.load(Ordering::Acquire),
                "asleep, and nobody woke the shard"
            );
            assert_ne!(doorbell.take(Lane::Bulk), 0);
            got = consumer.pop();
        } else {
            sender.join().unwrap();
            if got.is_none() {
                assert_ne!(doorbell.take(Lane::Bulk), 0);
                got = consumer.pop();
            }
        }
        assert_eq!(got, Some(7));
    });
}

#[test]
fn an_injected_job_is_seen_or_wakes() {
    model(|| {
        let doorbell = Arc::new(Doorbell::new());
        let woken = Arc::new(AtomicBool::new(false));
        let (bell, wake) = (doorbell.clone(), woken.clone());
        let sender = thread::spawn(move || {
            if bell.ring_injected() {
                wake.store(true, Ordering::Release);
            }
        });
        let seen = doorbell.take_injected();
        let asleep = !seen && doorbell.try_sleep();
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
        let mut got = 0;
        let mut drain = |bits: u64| {
            if bits & 1 != 0 {
                got += c0.pop().unwrap_or(0);
            }
            if bits & 2 != 0 {
                got += c1.pop().unwrap_or(0);
            }
        };
        drain(doorbell.take(Lane::Express));
        first.join().unwrap();
        second.join().unwrap();
        drain(doorbell.take(Lane::Express));
        assert_eq!(got, 3);
    });
}
