//! Peers that behave: every byte comes back once and in order, and the same seed does the same.

use fastrand::Rng;

use super::super::SimNet;
use super::node::{Node, PORT, Seen};
use super::{TURNS, connected, until};
use crate::net::SimPeer;

/// A peer that writes its stream, finishes and reads it back.
pub(super) struct Client {
    peer: SimPeer,
    id: usize,
    total: usize,
    written: usize,
    read: usize,
}

/// Byte `at` of the stream of client `id`: no two streams agree for long, nor one with itself
/// shifted.
fn byte(id: usize, at: usize) -> u8 {
    at.wrapping_mul(0x9e37_79b9).to_le_bytes()[2] ^ id.wrapping_mul(0x85eb_ca6b).to_le_bytes()[1]
}

impl Client {
    pub(super) fn connect(net: &SimNet, id: usize, total: usize) -> std::io::Result<Self> {
        Ok(Client {
            peer: net.connect(PORT)?,
            id,
            total,
            written: 0,
            read: 0,
        })
    }

    /// Writes and reads some; whether there is more to do.
    pub(super) fn step(&mut self, rng: &mut Rng) -> std::io::Result<bool> {
        let most = 1 << rng.u32(4..14);
        let end = self.total.min(self.written + rng.usize(..most));
        let bytes: Vec<u8> = (self.written..end).map(|at| byte(self.id, at)).collect();
        if self.written < self.total {
            self.written += self.peer.write(&bytes)?;
        }
        if self.written == self.total {
            self.peer.finish();
        }
        let mut back = vec![0; most];
        match self.peer.read(&mut back)? {
            Some(0) => Ok(false),
            read => {
                let read = read.unwrap_or(0);
                let wanted = (self.read..self.read + read).map(|at| byte(self.id, at));
                assert!(wanted.eq(back[..read].iter().copied()), "not its own bytes");
                self.read += read;
                Ok(true)
            }
        }
    }

    pub(super) fn reset(self) {
        self.peer.reset();
    }
}

/// Echoes some streams under `seed`: what was seen, and the trace.
fn run(seed: u64) -> (Seen, u64) {
    let net = SimNet::new(seed);
    let mut rng = Rng::with_seed(seed ^ 0x00c1_1e47);
    let mut node = Node::new(&net, seed);
    let mut to_come: usize = rng.usize(1..12);
    let mut clients = Vec::new();
    for _ in 0..TURNS {
        if to_come > 0 && rng.u8(..3) == 0 {
            to_come -= 1;
            let most = 1 << rng.u32(1..16);
            let total = rng.usize(..most);
            clients.push(Client::connect(&net, to_come, total).unwrap());
        }
        node.turn();
        clients.retain_mut(|client| {
            let goes_on = rng.bool() || client.step(&mut rng).expect("no peer resets");
            assert!(goes_on || client.read == client.total, "bytes were lost");
            goes_on
        });
        if to_come == 0 && clients.is_empty() && node.echoing() == 0 {
            break;
        }
    }
    let done = clients.is_empty() && to_come == 0;
    assert!(
        done,
        "seed {seed} stalls, quiet: {}",
        node.driver.is_quiet()
    );
    node.toggle_listener();
    for _ in 0..TURNS {
        if node.driver.open_count() == 0 && node.driver.is_quiet() {
            break;
        }
        node.turn();
    }
    node.check_all_closed(&net);
    (node.seen, net.trace())
}

#[test]
fn every_byte_comes_back_once_and_in_order_under_every_seed() {
    let mut all = Seen::default();
    for seed in 0..200 {
        let (seen, _) = run(seed);
        all.pauses += seen.pauses;
        all.starved += seen.starved;
        all.accept_errors += seen.accept_errors;
        assert_eq!(seen.failed, 0, "seed {seed}");
    }
    assert!(all.pauses > 0, "no receive was paused");
    assert!(all.starved > 0, "no receive waited for a buffer");
    assert!(all.accept_errors > 0, "no accept failed");
}

#[test]
fn the_same_seed_gives_the_same_completions() {
    let traces: Vec<u64> = (0..20).map(|seed| run(seed).1).collect();
    let again: Vec<u64> = (0..20).map(|seed| run(seed).1).collect();
    assert_eq!(traces, again);
    let distinct: std::collections::BTreeSet<u64> = traces.into_iter().collect();
    assert_eq!(distinct.len(), 20, "seeds differ");
}

#[test]
fn a_finished_stream_ends_after_all_that_was_sent() {
    for seed in 0..100 {
        let (_net, mut driver, key, mut peer) = connected(seed);
        let sent: Vec<u8> = (0..200_000).map(|at| byte(1, at)).collect();
        driver.send(key, sent.clone()).unwrap();
        driver.shutdown_write(key);
        let mut back = Vec::new();
        until(&mut driver, |_, _| {
            let mut some = [0; 4096];
            match peer.read(&mut some).expect("no reset") {
                Some(0) => return std::task::Poll::Ready(()),
                read => back.extend_from_slice(&some[..read.unwrap_or(0)]),
            }
            std::task::Poll::Pending
        });
        assert!(
            back == sent,
            "{} of {} bytes, seed {seed}",
            back.len(),
            sent.len()
        );
    }
}
