//! The driver on a simulated network, under many seeds: what is true whatever completes when.

mod chaos;
mod echo;
mod node;
mod starved;

use std::task::{Context, Poll, Waker};

use super::{Driver, SimNet, SimPeer, SocketKey};
use crate::stats::ShardStats;

/// Turns in which everything must have happened that is bound to happen.
const TURNS: usize = 200_000;

/// A driver with one accepted connection, and the connection's peer.
fn connected(seed: u64) -> (SimNet, Driver, SocketKey, SimPeer) {
    let net = SimNet::new(seed);
    let mut driver = Driver::simulated(&net, seed);
    let listener = driver.listen_simulated(80).unwrap();
    let peer = net.connect(80).unwrap();
    let fd = until(&mut driver, |driver, cx| driver.poll_accept(listener, cx)).unwrap();
    let key = driver.open(fd);
    driver.close(listener);
    (net, driver, key, peer)
}

/// Turns the driver until `poll` is ready.
fn until<R>(
    driver: &mut Driver,
    mut poll: impl FnMut(&mut Driver, &mut Context<'_>) -> Poll<R>,
) -> R {
    let (stats, mut wakes) = (ShardStats::default(), Vec::new());
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..TURNS {
        if let Poll::Ready(result) = poll(driver, &mut cx) {
            return result;
        }
        driver.park(&stats, 0, &mut wakes);
        driver.retry_starved(u64::MAX);
        wakes.clear();
    }
    panic!("not within {TURNS} turns");
}
