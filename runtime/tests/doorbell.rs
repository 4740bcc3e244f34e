//! The doorbell on the machine itself, with membarrier and without: rounds of publication, sleep
//! and wake-up between two threads, in which nothing may be lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait and measure from outside the runtime"
)]
#![cfg(not(ninefold_loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ninefold_runtime::mesh::barrier::ProcessBarrier;
use ninefold_runtime::mesh::{Consumer, Doorbell, Lane, Producer, Recheck, ring};

/// Sleeps and wake-ups in one run; `NINEFOLD_ROUNDS` asks for more (2,000,000 before a release).
fn rounds() -> u64 {
    let asked = std::env::var("NINEFOLD_ROUNDS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(50_000)
}

/// A consumer that sees nothing for this long has lost something. Far above any scheduling delay.
const LOST: Duration = Duration::from_secs(30);

struct Side {
    doorbell: Doorbell,
    /// Wake-ups given, where a shard has an eventfd.
    wakes: AtomicU64,
}

impl Side {
    fn new(barrier: ProcessBarrier) -> Arc<Self> {
        Arc::new(Side {
            doorbell: Doorbell::with_barrier(barrier),
            wakes: AtomicU64::new(0),
        })
    }

    /// Tries to sleep, and if it does, waits for the wake-up alone.
    fn sleep(&self, recheck: &Recheck, ring: &mut Consumer<u64>, slept: &mut u64) {
        let before = self.wakes.load(Ordering::Acquire);
        if !self
            .doorbell
            .try_sleep(recheck, |_, _| ring.peek().is_some())
        {
            return;
        }
        *slept += 1;
        let begin = Instant::now();
        let mut spins = 0_u32;
        while self.wakes.load(Ordering::Acquire) == before {
            spins += 1;
            if spins.is_multiple_of(256) {
                assert!(begin.elapsed() < LOST, "asleep, and nobody woke it");
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
        self.doorbell.awake();
    }
}

/// Publishes `1..=last`, with pauses of every length from none to longer than a membarrier.
fn produce(side: &Side, ring: &mut Producer<u64>, last: u64, seen: &AtomicU64) {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for value in 1..=last {
        while ring.push(value).is_err() {
            std::thread::yield_now();
        }
        ring.publish();
        if side.doorbell.ring(0, Lane::Bulk) {
            side.wakes.fetch_add(1, Ordering::Release);
        }
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        match random >> 60 {
            // In step with the consumer: its next sleep races with the next publication.
            0..8 => {
                let mut spins = 0_u32;
                while seen.load(Ordering::Acquire) < value {
                    spins += 1;
                    if spins.is_multiple_of(256) {
                        std::thread::yield_now();
                    }
                    std::hint::spin_loop();
                }
            }
            8..12 => (0..random >> 52 & 0xFF).for_each(|_| std::hint::spin_loop()),
            _ => {}
        }
    }
}

/// Runs one producer against one consumer. Gives the number of sleeps.
fn run(barrier: ProcessBarrier, biased: bool, rounds: u64) -> u64 {
    let side = Side::new(barrier);
    let (mut producer, mut consumer) = ring::<u64>(64);
    let seen = Arc::new(AtomicU64::new(0));
    let (theirs, shown) = (side.clone(), seen.clone());
    let sender = std::thread::spawn(move || produce(&theirs, &mut producer, rounds, &shown));
    let recheck = Recheck::default();
    let (mut last, mut slept, mut ticks) = (0, 0, 0_u64);
    let mut found = Instant::now();
    while last < rounds {
        // The bias of a busy shard, in every tick but a few.
        if biased && !ticks.is_multiple_of(16) {
            side.doorbell.bias();
        }
        ticks += 1;
        let bits = side.doorbell.take(Lane::Bulk, &recheck) | recheck.peers(Lane::Bulk);
        let before = last;
        while bits != 0
            && let Some(value) = consumer.pop()
        {
            assert_eq!(value, last + 1);
            last = value;
            seen.store(last, Ordering::Release);
        }
        if last != before {
            found = Instant::now();
            continue;
        }
        assert!(found.elapsed() < LOST, "{last} of {rounds} arrived");
        side.sleep(&recheck, &mut consumer, &mut slept);
    }
    sender.join().unwrap();
    slept
}

#[test]
fn nothing_is_lost_with_the_barrier() {
    let barrier = ProcessBarrier::new();
    if !barrier.is_available() {
        eprintln!("skipped: this kernel has no private expedited membarrier");
        return;
    }
    let slept = run(barrier, true, rounds());
    assert!(slept > rounds() / 100, "{slept} sleeps tested nothing");
}

#[test]
fn nothing_is_lost_without_the_barrier() {
    let slept = run(ProcessBarrier::unavailable(), true, rounds());
    assert!(slept > rounds() / 100, "{slept} sleeps tested nothing");
}

#[test]
fn a_doorbell_is_biased_after_a_thousand_takes_and_no_more_after_a_sleep() {
    let doorbell = Doorbell::new();
    let recheck = Recheck::default();
    for _ in 0..2 {
        for _ in 1..ninefold_runtime::limits::BIAS_TAKES {
            let _ = doorbell.take(Lane::Express, &recheck);
        }
        assert!(!doorbell.is_biased());
        let _ = doorbell.ring(3, Lane::Express);
        assert_eq!(doorbell.take(Lane::Express, &recheck), 1 << 3);
        assert_eq!(doorbell.is_biased(), doorbell.barrier().is_available());
        if doorbell.is_biased() {
            assert_eq!(recheck.peers(Lane::Express), 1 << 3);
        }
        assert!(doorbell.try_sleep(&recheck, |_, _| false));
        assert!(!doorbell.is_biased());
        assert_eq!(recheck.peers(Lane::Express), 0);
        doorbell.awake();
    }
}

#[test]
fn a_frame_without_a_bit_keeps_the_shard_awake() {
    let doorbell = Doorbell::new();
    doorbell.bias();
    if !doorbell.is_biased() {
        return;
    }
    let recheck = Recheck::default();
    let _ = doorbell.ring(5, Lane::Bulk);
    assert_eq!(doorbell.take(Lane::Bulk, &recheck), 1 << 5);
    assert!(!doorbell.try_sleep(&recheck, |from, lane| (from, lane) == (5, Lane::Bulk)));
    assert_eq!(doorbell.take(Lane::Bulk, &recheck), 1 << 5);
}
