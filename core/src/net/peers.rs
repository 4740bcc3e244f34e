//! Connections by peer, so that one address cannot have them all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

/// How many connections of a shard each peer holds.
#[derive(Debug, Default)]
pub(super) struct Peers(RefCell<HashMap<IpAddr, usize>>);

/// One connection's place among those of its peer, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    peers: Rc<Peers>,
    peer: IpAddr,
}

/// The peer holds as many connections as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Peers {
    /// Takes a place for a connection of `peer`, who may hold `limit`.
    pub(super) fn admit(self: &Rc<Self>, peer: IpAddr, limit: usize) -> Result<Place, Full> {
        let peer = whose(peer);
        let mut counts = self.0.borrow_mut();
        let count = counts.entry(peer).or_default();
        if *count >= limit {
            return Err(Full);
        }
        *count += 1;
        Ok(Place {
            peers: self.clone(),
            peer,
        })
    }
}

impl Place {
    /// Whose place it is: an IPv4 address, or the first of the /64 of an IPv6 one.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.peers.0.borrow_mut().entry(self.peer) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Whom an address belongs to: whoever has one IPv6 address has its whole /64 (RFC 6177).
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_holds_its_own_and_gives_back_what_it_held() {
        let peers = Rc::new(Peers::default());
        let admit = |peer: &str| peers.admit(peer.parse().unwrap(), 2);
        let held = [
            admit("192.0.2.1").unwrap(),
            admit("::ffff:192.0.2.1").unwrap(),
        ];
        assert_eq!(admit("192.0.2.1").err(), Some(Full));
        let other = admit("192.0.2.2").unwrap();
        let network = [admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap()];
        assert_eq!(admit("2001:db8::3").err(), Some(Full));
        assert!(admit("2001:db8:0:1::3").is_ok());
        drop((held, other, network));
        assert!(
            peers.0.borrow().is_empty(),
            "peers that have gone take room"
        );
    }
}
