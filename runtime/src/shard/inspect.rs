//! What is known of an actor without asking it: a look at its slot, which costs the shard less than
//! a message and waits for nothing the actor does (`process_info`, but it cannot stall anybody).

use crate::actor::{ActorId, SIZE_UNIT, SpawnOptions, units};
use crate::sched::{Class, Slot, SlotKey, flag};

use super::Shard;
use super::quarantine::Quarantined;

/// A snapshot of one actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorInfo {
    /// Who.
    pub id: ActorId,
    /// Its type name.
    pub actor_type: &'static str,
    /// The class of its normal messages.
    pub class: Class,
    /// Its scheduling group.
    pub group: u8,
    /// Messages in the high lane, postponed ones included.
    pub queued_high: u32,
    /// Messages in the normal lane, postponed ones included.
    pub queued_normal: u32,
    /// Bytes of its mailbox, rounded up to 64 a message.
    pub mailbox_bytes: u32,
    /// CPU time used since it was spawned, in nanoseconds.
    pub cpu_ns: u64,
    /// How often it was restarted.
    pub incarnation: u32,
    /// Waits to be restarted, or for an exclusive asynchronous handler.
    pub suspended: bool,
    /// Was told to give memory back and has not run since.
    pub hibernated: bool,
    /// Actors that it is linked to.
    pub links: usize,
    /// Who watches it.
    pub watchers: usize,
}

impl Shard {
    /// Looks at an actor of this shard.
    pub(crate) fn inspect(&self, id: ActorId) -> Option<ActorInfo> {
        let slot = self.slots.get(SlotKey {
            index: id.index & !SlotKey::FROM_PARTS,
            generation: id.generation,
        })?;
        self.info(slot.index)
    }

    /// At most `max` actors from slot `from` on, and where to go on; `None` when that was the end.
    pub(crate) fn inspect_from(&self, from: u32, max: usize) -> (Vec<ActorInfo>, Option<u32>) {
        let end = from.saturating_add(crate::limits::INSPECT_SLOTS);
        let mut found = Vec::new();
        for index in from..end.min(self.slots.made()) {
            if found.len() == max {
                return (found, Some(index));
            }
            found.extend(self.info(index));
        }
        (found, (end < self.slots.made()).then_some(end))
    }

    /// Messages in both lanes of a mailbox, postponed ones included.
    pub(crate) fn queued(&self, slot: &Slot) -> u32 {
        self.queued_in(slot, 0) + self.queued_in(slot, 1)
    }

    /// Messages in the high (0) or the normal lane (1).
    pub(crate) fn queued_in(&self, slot: &Slot, lane: usize) -> u32 {
        let capacity = capacity(self.options.get(slot.options.get()));
        u32::try_from(capacity.saturating_sub(slot.room[lane].get())).unwrap_or(0)
    }

    /// Bytes of both lanes, in units of 64.
    pub(crate) fn held_units(&self, slot: &Slot) -> i32 {
        let options = self.options.get(slot.options.get());
        units(options.bytes).saturating_sub(slot.room_bytes.get())
    }

    /// Gives a mailbox that is empty the room that its options say.
    pub(crate) fn make_room(&self, slot: &Slot) {
        let options = self.options.get(slot.options.get());
        let capacity = capacity(options);
        slot.room.iter().for_each(|room| room.set(capacity));
        slot.room_bytes.set(units(options.bytes));
    }

    /// Takes the shard's quarantine, oldest first.
    pub(crate) fn take_quarantine(&self) -> Vec<Quarantined> {
        self.quarantine.borrow_mut().take()
    }

    fn info(&self, index: u32) -> Option<ActorInfo> {
        let slot = self.slots.at(index)?;
        let vtable = slot.vtable.get().filter(|body| body.poll.is_none())?;
        if slot.has(flag::MOVED | flag::ARRIVING) {
            return None;
        }
        let cold = slot.cold();
        let queued = |lane: usize| self.queued_in(slot, lane);
        let mailbox_bytes = u32::try_from(self.held_units(slot))
            .unwrap_or(0)
            .saturating_mul(SIZE_UNIT);
        Some(ActorInfo {
            id: self.id_of(slot),
            actor_type: (vtable.name)(),
            class: slot.class.get(),
            group: slot.group.get(),
            queued_high: queued(0),
            queued_normal: queued(1),
            mailbox_bytes,
            cpu_ns: self.time.to_ns(slot.cpu.get()),
            incarnation: cold.map_or(0, |cold| cold.incarnation.get()),
            suspended: slot.has(flag::SUSPENDED),
            hibernated: slot.has(flag::HIBERNATED) && !slot.has(flag::ACTIVE),
            links: cold.map_or(0, |cold| cold.links.borrow().len()),
            watchers: cold.map_or(0, |cold| cold.watchers.borrow().len()),
        })
    }
}

/// Messages that a lane takes.
fn capacity(options: &SpawnOptions) -> i32 {
    i32::try_from(options.capacity).unwrap_or(i32::MAX)
}
