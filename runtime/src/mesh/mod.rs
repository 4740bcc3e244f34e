//! The mesh: two lanes of frames for every ordered pair of shards, and one doorbell a shard.
//!
//! The express lane carries high-class messages and answers and is published at once; the bulk lane
//! carries the rest and is published in batches. Frames of one sender stay in order within a lane.
//! A frame whose mailbox is full waits at the head of its lane, which then fills, which refuses the
//! sender: backpressure without loss.

mod doorbell;
mod frame;
mod ring;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

pub use doorbell::{Doorbell, Lane};
pub(crate) use frame::{Frame, Head};
pub use ring::{Consumer, Producer, ring};

use crate::actor::SendError;
use crate::limits::{BULK_BATCH, BULK_SLOTS, DRAIN_MAX, EXPRESS_SLOTS};
use crate::shard::Shard;

/// The way to one peer.
struct Outbound {
    lanes: [Producer<Frame>; 2],
    /// Answers that found the express lane full: they are never refused. At most one for every
    /// call that the peer has outstanding, since each has its reply cell there.
    spill: VecDeque<Frame>,
}

/// The way from one peer.
type Inbound = [Consumer<Frame>; 2];

/// The ends of the mesh that one shard holds; index is the peer's shard id.
pub(crate) struct Mesh {
    out: Vec<Option<RefCell<Outbound>>>,
    inbound: Vec<Option<RefCell<Inbound>>>,
    /// Peers with unpublished bulk frames or spilled answers.
    dirty: Cell<u64>,
}

/// Makes the meshes of `n` shards, every lane of every ordered pair.
pub(crate) fn full_mesh(n: usize) -> Vec<Mesh> {
    let mut meshes: Vec<Mesh> = (0..n)
        .map(|_| Mesh {
            out: Vec::new(),
            inbound: Vec::new(),
            dirty: Cell::new(0),
        })
        .collect();
    for from in 0..n {
        for to in 0..n {
            if from == to {
                meshes[from].out.push(None);
                meshes[to].inbound.push(None);
                continue;
            }
            let (express_in, express_out) = ring(EXPRESS_SLOTS);
            let (bulk_in, bulk_out) = ring(BULK_SLOTS);
            let lanes = [express_in, bulk_in];
            meshes[from].out.push(Some(RefCell::new(Outbound {
                lanes,
                spill: VecDeque::new(),
            })));
            meshes[to]
                .inbound
                .push(Some(RefCell::new([express_out, bulk_out])));
        }
    }
    meshes
}

impl Mesh {
    /// Sends a message frame to shard `to`, or hands the message back.
    pub(crate) fn send<M>(
        &self,
        shard: &Shard,
        to: u16,
        lane: Lane,
        head: Head,
        message: M,
    ) -> Result<(), SendError<M>> {
        let Some(out) = self.out.get(to as usize).and_then(Option::as_ref) else {
            return Err(SendError::Closed(message));
        };
        let mut out = out.borrow_mut();
        let blocked = lane == Lane::Express && !out.spill.is_empty();
        let producer = &mut out.lanes[lane as usize];
        if blocked || !producer.has_room() {
            return Err(SendError::Full(message));
        }
        // SAFETY: the closure initialises the whole frame: the head, and as much of the payload as
        // the head says. `has_room` was checked, so it runs and the message is not lost.
        unsafe {
            producer.push_with(|frame| {
                (&raw mut (*frame).head).write(head);
                (*frame).payload.write(message);
            });
        }
        shard.stats().mesh_sent.add(1);
        if lane == Lane::Express || producer.pending() >= BULK_BATCH {
            producer.publish();
            drop(out);
            self.ring_peer(shard, to, lane);
        } else {
            self.dirty.set(self.dirty.get() | 1 << to);
        }
        Ok(())
    }

    /// Sends an answer on the express lane; when that is full, the answer waits here.
    pub(crate) fn send_reserved(&self, shard: &Shard, to: u16, frame: Frame) {
        let Some(out) = self.out.get(to as usize).and_then(Option::as_ref) else {
            return;
        };
        let mut out = out.borrow_mut();
        shard.stats().mesh_sent.add(1);
        let refused = if out.spill.is_empty() {
            out.lanes[Lane::Express as usize].push(frame).err()
        } else {
            Some(frame)
        };
        if let Some(frame) = refused {
            out.spill.push_back(frame);
            self.dirty.set(self.dirty.get() | 1 << to);
        }
        out.lanes[Lane::Express as usize].publish();
        drop(out);
        self.ring_peer(shard, to, Lane::Express);
    }

    fn ring_peer(&self, shard: &Shard, to: u16, lane: Lane) {
        let port = &shard.shared().ports[to as usize];
        if port.doorbell.ring(shard.id() as usize, lane) {
            shard.stats().wakes_sent.add(1);
            port.wake();
        }
    }

    /// Publishes what was gathered since the last call.
    #[inline]
    pub(crate) fn flush(&self, shard: &Shard) {
        let mut dirty = self.dirty.replace(0);
        while dirty != 0 {
            #[expect(clippy::cast_possible_truncation, reason = "at most 63")]
            let to = dirty.trailing_zeros() as u16;
            dirty &= dirty - 1;
            self.flush_peer(shard, to);
        }
    }

    fn flush_peer(&self, shard: &Shard, to: u16) {
        let Some(out) = self.out.get(to as usize).and_then(Option::as_ref) else {
            return;
        };
        let mut out = out.borrow_mut();
        let Outbound { lanes, spill } = &mut *out;
        let express = &mut lanes[Lane::Express as usize];
        while express.has_room()
            && let Some(frame) = spill.pop_front()
        {
            if let Err(frame) = express.push(frame) {
                spill.push_front(frame);
                break;
            }
        }
        if !spill.is_empty() {
            self.dirty.set(self.dirty.get() | 1 << to);
        }
        let published = [express.publish(), lanes[Lane::Bulk as usize].publish()];
        drop(out);
        for (lane, published) in [Lane::Express, Lane::Bulk].into_iter().zip(published) {
            if published {
                self.ring_peer(shard, to, lane);
            }
        }
    }

    /// Whether anything waits to be published.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.get() != 0
    }

    /// Takes what peers have sent on `lane`, at most [`DRAIN_MAX`] frames of each.
    pub(crate) fn drain(&self, shard: &Shard, lane: Lane) {
        let doorbell = shard.doorbell();
        let mut peers = doorbell.take(lane);
        let mut unfinished = 0;
        while peers != 0 {
            let from = peers.trailing_zeros();
            peers &= peers - 1;
            if !self.drain_peer(shard, from as usize, lane) {
                unfinished |= 1_u64 << from;
            }
        }
        doorbell.put_back(lane, unfinished);
    }

    /// True when the lane was drained to its end.
    fn drain_peer(&self, shard: &Shard, from: usize, lane: Lane) -> bool {
        let Some(inbound) = self.inbound.get(from).and_then(Option::as_ref) else {
            return true;
        };
        // A message dropped on arrival may send from its `drop`, but nothing in there drains.
        let mut inbound = inbound.borrow_mut();
        let consumer = &mut inbound[lane as usize];
        let mut received = 0;
        let drained = loop {
            if received == DRAIN_MAX {
                break false;
            }
            let Some(frame) = consumer.peek() else {
                break true;
            };
            // SAFETY: `peek` returned a published frame, which this side owns until `release`.
            if !shard.receive(unsafe { &*frame }) {
                shard.stats().mesh_blocked.add(1);
                break false;
            }
            // SAFETY: `receive` returned true: it has moved the payload out or dropped it.
            unsafe { consumer.advance() };
            received += 1;
        };
        if received > 0 {
            consumer.release();
            shard.stats().mesh_received.add(received as u64);
        }
        drained
    }
}
