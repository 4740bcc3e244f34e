//! Time-outs of an actor's states: handled in the state that they were set in, or not at all.
//!
//! A time-out that has fired waits in the mailbox like any message. When the state changes before
//! it is reached, it is made void there: the shard remembers its envelope, and the mark that tells
//! whether the envelope still holds it.

use crate::actor::{ActorId, Message, MessageVtable, ReplyTo};
use crate::sched::Slot;
use crate::timer;

use super::Shard;
use super::post::lane_of;

impl Shard {
    /// Casts the message of a time-out to the actor that is still in the state it was set in.
    pub(crate) fn state_timed_out<M: Message>(
        &self,
        to: ActorId,
        vtable: &'static MessageVtable,
        message: M,
    ) {
        let serial = self.state_timeouts.get().wrapping_add(1).max(1);
        self.state_timeouts.set(serial);
        let mark = ReplyTo::mark(serial);
        if self.post(to, vtable, message, mark, 0).is_err() {
            self.stats().timer_messages_refused.add(1);
        } else if let Some(slot) = self.slots.get(to.key())
            && let Some(id) = slot.lanes[lane_of(vtable)].last()
        {
            let cold = slot.cold_or_new();
            cold.state_timer.set(None);
            cold.state_message.set(Some((id, mark)));
        }
    }

    /// The state that a time-out was set in is over.
    pub(crate) fn forget_state_timeout(&self, slot: &Slot) {
        let Some(cold) = slot.cold() else { return };
        if let Some(timer) = cold.state_timer.take() {
            timer::cancel(self, timer);
        }
        if let Some((id, mark)) = cold.state_message.take() {
            self.envelopes.void(id, mark);
        }
    }
}
