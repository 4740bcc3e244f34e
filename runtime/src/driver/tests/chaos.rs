//! Peers that reset and vanish, connections and listeners closed in the middle of anything.

use fastrand::Rng;

use super::super::{SimNet, SocketKey};
use super::connected;
use super::echo::Client;
use super::node::Node;
use crate::stats::ShardStats;

/// Everything at once for a while; the node is left as it is.
fn run(seed: u64, net: &SimNet) -> Node {
    let mut rng = Rng::with_seed(seed ^ 0x000c_4a05);
    let mut node = Node::new(net, seed);
    let mut clients: Vec<Client> = Vec::new();
    for id in 0..1000 {
        match rng.u8(..50) {
            0..=4 => clients.extend(Client::connect(net, id, rng.usize(..30_000)).ok()),
            5 if !clients.is_empty() => {
                clients.swap_remove(rng.usize(..clients.len())).reset();
            }
            6 if !clients.is_empty() => {
                clients.swap_remove(rng.usize(..clients.len()));
            }
            7 => node.close_one(),
            8 => node.toggle_listener(),
            _ => {}
        }
        node.turn();
        // A stream that was cut off is no error here; bytes that are not its own are.
        clients.retain_mut(|client| client.step(&mut rng).unwrap_or(false));
    }
    node
}

#[test]
fn closing_at_any_moment_leaves_nothing_and_reaches_nobody_else() {
    let mut failed = 0;
    for seed in 0..200 {
        let net = SimNet::new(seed);
        let mut node = run(seed, &net);
        failed += node.seen.failed;
        node.driver.close_all(&ShardStats::default(), 500_000_000);
        // A wake-up read may have completed and be armed again.
        node.driver.park(&ShardStats::default(), 0, &mut Vec::new());
        node.check_all_closed(&net);
    }
    assert!(failed > 0, "no connection was reset");
}

#[test]
fn a_driver_dropped_in_the_middle_closes_its_sockets() {
    for seed in 200..230 {
        let net = SimNet::new(seed);
        drop(run(seed, &net));
        assert_eq!(net.open_count(), 0, "seed {seed}");
    }
}

#[test]
fn a_socket_closed_with_unread_bytes_resets_its_peer() {
    let (_net, mut driver, key, mut peer) = connected(1);
    assert!(peer.write(b"unread").unwrap() > 0);
    driver.close(key);
    assert!(peer.is_reset());
    let refused = peer.write(b"more").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn the_key_of_a_closed_socket_reaches_nobody() {
    let (_net, mut driver, old, peer) = connected(2);
    driver.close(old);
    drop(peer);
    let is_new = |key: SocketKey| key.index == old.index;
    let mut taken = vec![driver.listen_simulated(80).unwrap()];
    while !taken.last().copied().is_some_and(is_new) {
        taken.push(driver.listen_simulated(80).unwrap());
    }
    let new = *taken.last().unwrap();
    assert_ne!(old, new);
    driver.close(old);
    assert!(driver.send(old, vec![1]).is_err());
    assert!(driver.sockets.get(new).is_some_and(|s| !s.closing));
}

#[test]
fn nobody_listens_on_another_port() {
    let net = SimNet::new(1);
    let refused = net.connect(81).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}
