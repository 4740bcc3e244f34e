//! The mesh under shuttle: random schedules of a larger race than loom can exhaust. Four peers
//! stream on both lanes, a thread injects jobs, and the shard drains a little, sleeps and is woken.
//!
//! `cargo test -p ninefold-runtime --features shuttle --test shuttle_mesh`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![cfg(feature = "shuttle")]

use std::collections::VecDeque;

use ninefold_runtime::mesh::barrier::ProcessBarrier;
use ninefold_runtime::mesh::{Consumer, Doorbell, Lane, Producer, Recheck, ring};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

const PEERS: usize = 4;
/// Frames of a peer on each lane; more than its ring holds.
const FRAMES: u32 = 6;
const SLOTS: usize = 4;
const JOBS: usize = 3;
/// Frames that the shard takes from a peer at a time: it must come back for the rest.
const DRAIN: usize = 2;
const SCHEDULES: usize = 4_000;
/// Preemptions that the probabilistic search places (Burckhardt et al., 2010).
const DEPTH: usize = 3;

/// What the peers and the shard share.
struct Shared {
    doorbell: Doorbell,
    jobs: Mutex<VecDeque<usize>>,
}

/// One shard and all who talk to it. Shuttle reports a deadlock when a wake-up is lost.
fn race(biased: bool) {
    let barrier = if biased {
        ProcessBarrier::new()
    } else {
        ProcessBarrier::unavailable()
    };
    let doorbell = Doorbell::with_barrier(barrier);
    doorbell.bias();
    let shared = Arc::new(Shared {
        doorbell,
        jobs: Mutex::default(),
    });
    let shard = thread::current();
    let mut lanes = Vec::new();
    let mut senders = Vec::new();
    for peer in 0..PEERS {
        let (express, from_express) = ring(SLOTS);
        let (bulk, from_bulk) = ring(SLOTS);
        lanes.push([from_express, from_bulk]);
        let (shared, shard) = (shared.clone(), shard.clone());
        senders.push(thread::spawn(move || {
            stream(peer, [express, bulk], &shared, &shard);
        }));
    }
    let (injecting, woken) = (shared.clone(), shard);
    senders.push(thread::spawn(move || {
        for job in 0..JOBS {
            injecting.jobs.lock().unwrap().push_back(job);
            if injecting.doorbell.ring_injected() {
                woken.unpark();
            }
        }
    }));
    consume(&mut lanes, &shared);
    senders.into_iter().for_each(|s| s.join().unwrap());
}

/// A peer: numbered frames on both lanes, again while a lane is full.
fn stream(peer: usize, mut lanes: [Producer<u32>; 2], shared: &Shared, shard: &thread::Thread) {
    let mut sent = [0; 2];
    while sent != [FRAMES; 2] {
        for lane in Lane::ALL {
            let (producer, sent) = (&mut lanes[lane as usize], &mut sent[lane as usize]);
            if *sent == FRAMES || producer.push(*sent).is_err() {
                thread::yield_now();
                continue;
            }
            *sent += 1;
            producer.publish();
            if shared.doorbell.ring(peer, lane) {
                shard.unpark();
            }
        }
    }
}

/// The shard: every frame in order of its sender and lane, every job once, and then nothing.
fn consume(lanes: &mut [[Consumer<u32>; 2]], shared: &Shared) {
    let (doorbell, recheck) = (&shared.doorbell, Recheck::default());
    let mut wanted = vec![[0; 2]; PEERS];
    let mut jobs = 0;
    while jobs < JOBS || wanted.iter().any(|peer| *peer != [FRAMES; 2]) {
        for lane in Lane::ALL {
            let mut peers = recheck.peers(lane);
            if doorbell.is_rung(lane) {
                peers |= doorbell.take(lane, &recheck);
            }
            for from in (0..PEERS).filter(|from| peers & 1 << from != 0) {
                let wanted = &mut wanted[from][lane as usize];
                let mut room = DRAIN;
                while room > 0
                    && let Some(frame) = lanes[from][lane as usize].pop()
                {
                    assert_eq!(frame, *wanted, "peer {from}, {lane:?}");
                    *wanted += 1;
                    room -= 1;
                }
                if room == 0 {
                    doorbell.put_back(lane, 1 << from);
                }
            }
        }
        if doorbell.take_injected() {
            while let Some(job) = shared.jobs.lock().unwrap().pop_front() {
                assert_eq!(job, jobs, "a job was lost or came twice");
                jobs += 1;
            }
        }
        let done = jobs == JOBS && wanted.iter().all(|peer| *peer == [FRAMES; 2]);
        let asleep = !done
            && doorbell.try_sleep(&recheck, |from, lane| {
                lanes[from][lane as usize].peek().is_some()
            });
        if asleep {
            thread::park();
            doorbell.awake();
        }
    }
    assert!(lanes.iter_mut().flatten().all(|lane| lane.pop().is_none()));
}

#[test]
fn every_frame_and_job_arrives_under_random_schedules() {
    shuttle::check_random(|| race(false), SCHEDULES);
    shuttle::check_random(|| race(true), SCHEDULES);
}

#[test]
fn every_frame_and_job_arrives_under_chosen_preemptions() {
    shuttle::check_pct(|| race(false), SCHEDULES, DEPTH);
    shuttle::check_pct(|| race(true), SCHEDULES, DEPTH);
}
