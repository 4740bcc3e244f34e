//! The mesh: two lanes of frames for every ordered pair of shards, and one doorbell a shard.
//!
//! The express lane carries high-class messages and answers and is published at once; the bulk lane
//! carries the rest and is published in batches. Frames of one sender stay in order within a lane.
//! A frame whose mailbox is full waits at the head of its lane, which then fills, which refuses the
//! sender: backpressure without loss.
//!
//! # Memory
//! Up to [`EAGER_SHARDS`] shards every lane exists from the start; beyond, the producer makes both
//! lanes of a pair when it first sends there, and hands the consumer its ends through a slot made
//! for the pair at the start. A lane's slots live until the runtime ends: no frame allocates.
//!
//! What a frame holds inline belongs to no allocator. A message or answer beyond `INLINE_BYTES`
//! is boxed by its sender and freed by its receiver: a foreign free, counted by the sender
//! (`foreign_frees`). The box does not travel back: that would cost every large message a second
//! frame and every box a header with its home, while the allocator keeps a box freed abroad for the
//! next large message of that shard. A node whose counter is large should shrink its messages.

pub mod barrier;
pub mod credit;
mod doorbell;
mod frame;
mod handover;
mod ring;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

pub use doorbell::{Doorbell, Lane, Recheck};
pub(crate) use frame::{Frame, Head, MessageHead};
pub use handover::Handover;
pub use ring::{Consumer, Producer, ring};

use crate::actor::{Payload, ReplyTo, SendError};
use crate::limits::{BULK_BATCH, DRAIN_MAX, EAGER_SHARDS};
use crate::shard::Shard;

/// Frames ahead of the present one whose first line is asked for.
const PREFETCH: usize = 2;

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
    id: usize,
    /// Frames in a ring, by lane.
    slots: [usize; 2],
    out: Vec<OnceCell<RefCell<Outbound>>>,
    inbound: Vec<OnceCell<RefCell<Inbound>>>,
    /// Where lanes made late are handed over.
    late: Arc<Handover<Inbound>>,
    /// Peers with unpublished bulk frames or spilled answers.
    dirty: Cell<u64>,
    recheck: Recheck,
}

/// Both lanes of one ordered pair, with rings of `slots` frames by lane.
fn make_lanes(slots: [usize; 2]) -> (Outbound, Inbound) {
    let (express_in, express_out) = ring(slots[Lane::Express as usize]);
    let (bulk_in, bulk_out) = ring(slots[Lane::Bulk as usize]);
    let outbound = Outbound {
        lanes: [express_in, bulk_in],
        spill: VecDeque::new(),
    };
    (outbound, [express_out, bulk_out])
}

/// Makes the meshes of `n` shards, with every lane if there are few; rings of `slots` frames by
/// lane.
pub(crate) fn full_mesh(n: usize, slots: [usize; 2]) -> Vec<Mesh> {
    let late = Arc::new(Handover::new(n));
    let meshes: Vec<Mesh> = (0..n)
        .map(|id| Mesh {
            id,
            slots,
            out: (0..n).map(|_| OnceCell::new()).collect(),
            inbound: (0..n).map(|_| OnceCell::new()).collect(),
            late: late.clone(),
            dirty: Cell::new(0),
            recheck: Recheck::default(),
        })
        .collect();
    if n <= EAGER_SHARDS {
        let pairs = (0..n).flat_map(|from| (0..n).map(move |to| (from, to)));
        for (from, to) in pairs.filter(|(from, to)| from != to) {
            let (outbound, inbound) = make_lanes(slots);
            meshes[from].out[to].get_or_init(|| RefCell::new(outbound));
            meshes[to].inbound[from].get_or_init(|| RefCell::new(inbound));
        }
    }
    meshes
}

impl Mesh {
    /// The way to shard `to`; `None` for a shard that is not there, or this one.
    #[inline(always)]
    fn out(&self, shard: &Shard, to: u16) -> Option<&RefCell<Outbound>> {
        let made = self.out.get(to as usize)?.get();
        made.or_else(|| self.make_out(shard, to as usize))
    }

    #[cold]
    fn make_out(&self, shard: &Shard, to: usize) -> Option<&RefCell<Outbound>> {
        if to == self.id {
            return None;
        }
        let (outbound, inbound) = make_lanes(self.slots);
        self.late.offer(self.id, to, inbound);
        shard.stats().lanes_made.add(1);
        let made = self.out.get(to)?;
        Some(made.get_or_init(|| RefCell::new(outbound)))
    }

    /// The way from shard `from`; `None` before that shard has sent anything.
    #[inline(always)]
    fn inbound(&self, from: usize) -> Option<&RefCell<Inbound>> {
        let made = self.inbound.get(from)?.get();
        made.or_else(|| self.take_inbound(from))
    }

    #[cold]
    fn take_inbound(&self, from: usize) -> Option<&RefCell<Inbound>> {
        let inbound = self.late.take(from, self.id)?;
        let made = self.inbound.get(from)?;
        Some(made.get_or_init(|| RefCell::new(inbound)))
    }

    /// Sends a message frame to shard `to`, or hands the message back.
    pub(crate) fn send<M: Send>(
        &self,
        shard: &Shard,
        to: u16,
        lane: Lane,
        head: MessageHead,
        message: M,
    ) -> Result<(), SendError<M>> {
        let Some(out) = self.out(shard, to) else {
            return Err(SendError::Closed(message));
        };
        let mut out = out.borrow_mut();
        let blocked = lane == Lane::Express && !out.spill.is_empty();
        let producer = &mut out.lanes[lane as usize];
        if blocked || !producer.has_room() {
            return Err(SendError::Full(message));
        }
        // SAFETY: the slot is a frame's, and `post_remote` takes the vtable from `M`. There is
        // room, so the closure runs and the message is not lost.
        unsafe { producer.push_with(|frame| Frame::message(frame, head, message)) };
        shard.stats().mesh_sent.add(1);
        if !Payload::is_inline::<M>() {
            shard.stats().foreign_frees.add(1);
        }
        if lane == Lane::Express || producer.pending() >= BULK_BATCH {
            producer.publish();
            drop(out);
            self.ring_peer(shard, to, lane);
        } else {
            self.dirty.set(self.dirty.get() | 1 << to);
        }
        Ok(())
    }

    /// Sends the answer to a call on the express lane, built in place when there is room.
    pub(crate) fn send_answer<R: Send>(&self, shard: &Shard, to: ReplyTo, answer: R) {
        if !Payload::is_inline::<R>() {
            shard.stats().foreign_frees.add(1);
        }
        let Some(out) = self.out(shard, to.shard) else {
            return;
        };
        let mut ours = out.borrow_mut();
        let Outbound { lanes, spill } = &mut *ours;
        let express = &mut lanes[Lane::Express as usize];
        if spill.is_empty() && express.has_room() {
            // SAFETY: the slot is a frame's, and a cell is answered with the type it was opened
            // for: both come from the same `Message::Reply`.
            unsafe { express.push_with(|frame| Frame::answer(frame, to, answer)) };
            express.publish();
            drop(ours);
            shard.stats().mesh_sent.add(1);
            self.ring_peer(shard, to.shard, Lane::Express);
            return;
        }
        drop(ours);
        // SAFETY: as above.
        let frame = Frame::build(|at| unsafe { Frame::answer(at, to, answer) });
        self.send_reserved(shard, to.shard, frame);
    }

    /// Sends an answer on the express lane; when that is full, the answer waits here.
    pub(crate) fn send_reserved(&self, shard: &Shard, to: u16, frame: Frame) {
        let Some(out) = self.out(shard, to) else {
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
        let Some(out) = self.out.get(to as usize).and_then(OnceCell::get) else {
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

    /// Frames sent from here that their receivers have not taken: in rings and waiting for room.
    pub(crate) fn under_way(&self) -> usize {
        let of_peer = |out: &RefCell<Outbound>| {
            let out = out.borrow();
            out.lanes.iter().map(Producer::len).sum::<usize>() + out.spill.len()
        };
        self.out.iter().filter_map(OnceCell::get).map(of_peer).sum()
    }

    /// Takes the bits of `lane` without looking into its rings: what was published is not seen yet.
    /// Whoever asked puts them back.
    pub(crate) fn hide(&self, shard: &Shard, lane: Lane) -> u64 {
        shard.doorbell().take(lane, &self.recheck)
    }

    /// Whether a peer has published something that was not taken.
    pub(crate) fn has_arrivals(&self) -> bool {
        let waiting = |lanes: &RefCell<Inbound>| {
            let mut lanes = lanes.borrow_mut();
            lanes.iter_mut().any(|lane| lane.peek().is_some())
        };
        self.inbound.iter().filter_map(OnceCell::get).any(waiting)
    }

    /// Whether anything waits to be published.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.get() != 0
    }

    /// Takes what peers that rang have sent on `lane`, at most [`DRAIN_MAX`] frames of each.
    pub(crate) fn drain(&self, shard: &Shard, lane: Lane) {
        self.drain_peers(shard, lane, shard.doorbell().take(lane, &self.recheck));
    }

    /// Once a tick: as [`Mesh::drain`], and from peers that may have sent without leaving a bit.
    pub(crate) fn drain_all(&self, shard: &Shard, lane: Lane) {
        let mut peers = self.recheck.peers(lane);
        if shard.doorbell().is_rung(lane) {
            peers |= shard.doorbell().take(lane, &self.recheck);
        }
        if peers != 0 {
            self.drain_peers(shard, lane, peers);
        }
    }

    fn drain_peers(&self, shard: &Shard, lane: Lane, mut peers: u64) {
        let mut unfinished = 0;
        while peers != 0 {
            let from = peers.trailing_zeros();
            peers &= peers - 1;
            if !self.drain_peer(shard, from as usize, lane) {
                unfinished |= 1_u64 << from;
            }
        }
        shard.doorbell().put_back(lane, unfinished);
    }

    /// Whether a peer that may leave no bit has sent something: for a shard that spins.
    pub(crate) fn has_unrung(&self) -> bool {
        Lane::ALL.into_iter().any(|lane| {
            let mut peers = self.recheck.peers(lane);
            while peers != 0 {
                let from = peers.trailing_zeros();
                peers &= peers - 1;
                if self.has_frames(from as usize, lane) {
                    return true;
                }
            }
            false
        })
    }

    fn has_frames(&self, from: usize, lane: Lane) -> bool {
        self.inbound(from)
            .is_some_and(|lanes| lanes.borrow_mut()[lane as usize].peek().is_some())
    }

    /// Declares the shard asleep; false when something came in meanwhile.
    pub(crate) fn try_sleep(&self, shard: &Shard) -> bool {
        shard
            .doorbell()
            .try_sleep(&self.recheck, |from, lane| self.has_frames(from, lane))
    }

    /// True when the lane was drained to its end.
    fn drain_peer(&self, shard: &Shard, from: usize, lane: Lane) -> bool {
        let Some(inbound) = self.inbound(from) else {
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
            consumer.prefetch(PREFETCH);
            // SAFETY: `peek` returned a published frame, which this side owns until `release`.
            if !shard.receive(from, unsafe { &*frame }) {
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
