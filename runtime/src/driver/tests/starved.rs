//! Want of buffers and descriptors: who waits, when it is tried again, and that it then goes on.

use std::task::{Context, Poll, Waker};

use fastrand::Rng;

use super::super::{Driver, Receive, SimNet, SocketKey};
use super::node::Woken;
use super::{TURNS, connected, until};
use crate::stats::ShardStats;
use crate::task::Wakee;

#[test]
fn a_shard_waits_for_buffers_without_waking_for_them() {
    for seed in 0..50 {
        let (_net, mut driver, key, mut peer) = connected(seed);
        let (stats, mut wakes, mut held) = (ShardStats::default(), Vec::new(), Vec::new());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..TURNS {
            peer.write(&[7; 512]).unwrap();
            while let Poll::Ready(received) = driver.poll_receive(key, &mut cx) {
                held.push(received.unwrap().expect("the peer has not finished"));
            }
            driver.park(&stats, 0, &mut wakes);
            if stats.recv_starved.get() > 0 {
                break;
            }
        }
        assert_eq!(driver.buffers.free(), 0, "seed {seed}");
        assert_eq!(driver.retry_ns(), None, "only a task can free a buffer");
        driver.retry_starved(u64::MAX);
        assert_eq!(driver.starved.len(), 1, "it goes on waiting");
        while let Poll::Ready(received) = driver.poll_receive(key, &mut cx) {
            held.push(received.unwrap().unwrap());
        }
        held.pop();
        assert_eq!(driver.retry_ns(), Some(0), "now there is one");
        let more = until(&mut driver, |driver, cx| driver.poll_receive(key, cx));
        assert!(more.unwrap().is_some());
    }
}

#[test]
fn a_freed_buffer_is_tried_by_one_of_a_crowd() {
    let (_net, mut driver, first, _peer) = connected(1);
    let crowd = [first, driver.listen_simulated(80).unwrap()];
    for key in crowd {
        driver.sockets.get(key).unwrap().receive = Receive::Starved;
        driver.starved.push_back(key);
    }
    for _ in 1..driver.buffers.free() {
        driver.buffers.picked();
    }
    driver.retry_starved(0);
    assert_eq!(
        driver.starved,
        [crowd[1]],
        "the other waits on, and is first now"
    );
}

#[test]
fn accepting_goes_on_after_its_pause() {
    let (stats, mut wakes, mut failed) = (ShardStats::default(), Vec::new(), 0);
    for seed in 0..50 {
        let net = SimNet::new(seed);
        let mut driver = Driver::simulated(&net, seed);
        let listener = driver.listen_simulated(80).unwrap();
        let peers: Vec<_> = (0..40).map(|_| net.connect(80).unwrap()).collect();
        let mut accepted = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..TURNS {
            while let Poll::Ready(result) = driver.poll_accept(listener, &mut cx) {
                match result {
                    Ok(fd) => accepted.push(fd),
                    Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EMFILE)),
                }
            }
            if accepted.len() == peers.len() {
                break;
            }
            if let Some(at) = driver.retry_ns() {
                driver.retry_starved(at - 1);
                assert_eq!(driver.retry_ns(), Some(at), "not before its time");
                driver.retry_starved(at);
                assert_eq!(driver.retry_ns(), None, "armed again");
                failed += 1;
            }
            driver.park(&stats, 0, &mut wakes);
        }
        assert_eq!(accepted.len(), peers.len(), "seed {seed}");
    }
    assert!(failed > 0, "no accept failed");
}

/// Takes all that is there, if the reader was woken: bytes taken, and whether the stream ended.
fn take_all(driver: &mut Driver, key: SocketKey, reader: &Woken) -> (usize, bool) {
    let waker = reader.waker();
    let (mut taken, mut ended) = (0, false);
    while let Poll::Ready(received) = driver.poll_receive(key, &mut Context::from_waker(&waker)) {
        match received.unwrap() {
            Some(bytes) => taken += bytes.len(),
            None => {
                ended = true;
                break;
            }
        }
    }
    (taken, ended)
}

#[test]
fn a_reader_that_catches_up_while_its_receive_is_being_paused_is_woken() {
    const TOTAL: usize = 100_000;
    let mut dry = 0;
    for seed in 0..100 {
        let (_net, mut driver, key, mut peer) = connected(seed);
        let (stats, mut wakes) = (ShardStats::default(), Vec::new());
        let (reader, mut rng) = (Woken::new(key), Rng::with_seed(seed));
        let (mut written, mut taken, mut ended) = (0, 0, false);
        for _ in 0..TURNS {
            if written < TOTAL {
                written += peer.write(&vec![7; (TOTAL - written).min(5000)]).unwrap();
            } else {
                peer.finish();
            }
            driver.park(&stats, 0, &mut wakes);
            wakes.drain(..).for_each(Wakee::wake);
            driver.retry_starved(u64::MAX);
            if rng.u8(..32) == 0 && reader.is_due() {
                let (more, end) = take_all(&mut driver, key, &reader);
                (taken, ended) = (taken + more, end);
                let socket = driver.sockets.get(key).unwrap();
                dry += u32::from(socket.receive == Receive::Pausing);
            }
            if ended {
                break;
            }
        }
        assert_eq!((taken, ended), (TOTAL, true), "seed {seed}");
    }
    assert!(dry > 0, "no reader caught up in time");
}
