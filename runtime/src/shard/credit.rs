//! Credits between shards, hooked into sending and dequeueing (see [`crate::mesh::credit`]).

use crate::actor::ActorId;
use crate::mesh::Frame;
use crate::mesh::credit::Batch;
use crate::sched::{Slot, SlotKey};

use super::Shard;

impl Shard {
    /// Takes a credit for a message to `to`, on another shard; false when none is left.
    #[inline]
    pub(super) fn take_credit(&self, to: ActorId) -> bool {
        let mut credits = self.credits.borrow_mut();
        let Some((ours, _)) = credits.get_mut(to.shard as usize) else {
            return true;
        };
        ours.take((to.index & !SlotKey::FROM_PARTS, to.generation))
    }

    /// Takes a credit back at once: its message was not sent.
    #[cold]
    pub(super) fn untake_credit(&self, to: ActorId) {
        if let Some((ours, _)) = self.credits.borrow_mut().get_mut(to.shard as usize) {
            ours.give_back((to.index & !SlotKey::FROM_PARTS, to.generation), 1);
        }
    }

    /// A message of peer `from` has left the mailbox of `slot`.
    #[inline]
    pub(super) fn owe_credit(&self, from: u8, slot: &Slot) {
        self.owe(from, (slot.index, slot.generation.get()));
    }

    /// A message of peer `from` to `target` is out of the way.
    pub(super) fn owe(&self, from: u8, target: (u32, u32)) {
        let due = {
            let mut credits = self.credits.borrow_mut();
            let Some((_, theirs)) = credits.get_mut(usize::from(from)) else {
                return;
            };
            theirs.handled(target)
        };
        self.credits_due.set(self.credits_due.get() | 1 << from);
        if due {
            self.return_credits();
        }
    }

    /// Sends home what is owed.
    #[inline]
    pub(super) fn return_credits(&self) {
        if self.credits_due.get() != 0 {
            self.return_credits_due();
        }
    }

    fn return_credits_due(&self) {
        let mut due = self.credits_due.replace(0);
        while due != 0 {
            let peer = due.trailing_zeros();
            due &= due - 1;
            while let Some(batch) = self.next_returns(peer as usize) {
                let to = u16::try_from(peer).unwrap_or(u16::MAX);
                self.mesh.send_reserved(self, to, Frame::credits(batch));
            }
        }
    }

    fn next_returns(&self, peer: usize) -> Option<Batch> {
        self.credits.borrow_mut().get_mut(peer)?.1.next_batch()
    }

    /// Credits of ours have come home from `peer`.
    pub(super) fn take_returns(&self, peer: usize, batch: &Batch) {
        if let Some((ours, _)) = self.credits.borrow_mut().get_mut(peer) {
            for home in batch.returns() {
                ours.give_back(home.target, home.credits);
            }
        }
    }
}
