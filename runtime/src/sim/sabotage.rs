//! Faults that the simulator puts into a shard, to see that its checks find them.

use std::rc::Rc;

use super::Fault;
use super::world::World;
use crate::actor::{EnvelopeId, Stamp};
use crate::sched::{LANE_HIGH, LANE_NORMAL, Slot};
use crate::shard::Shard;
use crate::timer;

/// Messages of this type may be doubled: plain data, whose drop only counts.
const DOUBLED: &str = "Plain";
/// How much too early timers fire.
const EARLY_NS: u64 = 1_000_000_000;

/// Breaks `shard` between two steps, if that is what is wanted.
pub(super) fn work(world: &World, shard: &Rc<Shard>) {
    let Some(fault) = world.fault.filter(|_| world.unrest(0.05)) else {
        return;
    };
    match fault {
        Fault::LostMessage => lose(shard),
        Fault::DoubledMessage => double(shard),
        Fault::SwappedMessages => swap(shard),
        Fault::ForgottenActor => {
            shard.ready.pick(&shard.slots);
        }
        Fault::MiscountedBytes => {
            if let Some(slot) = full(shard) {
                slot.room_bytes.set(slot.room_bytes.get() - 1);
            }
        }
        Fault::EarlyTimer => {
            let entered = Shard::enter(shard.clone());
            timer::fire(&entered, world.now() + EARLY_NS);
        }
        Fault::LostWakeUp
        | Fault::SkippedNumber
        | Fault::GenerousSupervisor
        | Fault::WrongAnswer
        | Fault::DoubledDown => {}
    }
}

/// The first slot with two messages in its normal lane.
fn full(shard: &Shard) -> Option<&Slot> {
    let slots = (0..shard.slots.made()).filter_map(|index| shard.slots.at(index));
    let mut full = slots.filter(|slot| slot.lanes[LANE_NORMAL].ids(&shard.envelopes).count() > 1);
    full.next()
}

fn count(shard: &Shard, slot: &Slot, id: EnvelopeId) {
    let room = &slot.room[LANE_NORMAL - LANE_HIGH];
    room.set(room.get() - 1);
    let size = shard.envelopes.get(id).stamp.get().size;
    slot.room_bytes.set(slot.room_bytes.get() - i32::from(size));
}

/// The message is neither handled nor dropped.
fn lose(shard: &Shard) {
    if let Some(slot) = full(shard)
        && let Some((id, _)) = shard.unqueue(slot, LANE_NORMAL)
    {
        let used = shard.envelopes.get(id).vtable.get().map_or(0, |m| m.used);
        shard.envelopes.put(id, used);
    }
}

fn swap(shard: &Shard) {
    if let Some(slot) = full(shard)
        && let Some((id, _)) = shard.unqueue(slot, LANE_NORMAL)
    {
        slot.lanes[LANE_NORMAL].push(&shard.envelopes, id);
        count(shard, slot, id);
    }
}

fn double(shard: &Shard) {
    let slots = (0..shard.slots.made()).filter_map(|index| shard.slots.at(index));
    for slot in slots {
        let Some(first) = slot.lanes[LANE_NORMAL].peek() else {
            continue;
        };
        let original = shard.envelopes.get(first);
        let Some(vtable) = original.vtable.get() else {
            continue;
        };
        if !(vtable.name)().ends_with(DOUBLED) {
            continue;
        }
        let Some((id, copy)) = shard.envelopes.take(vtable.used) else {
            return;
        };
        // SAFETY: both payloads are those of envelopes; the message is plain data that owns nothing
        // outside itself, so that a second one of it harms nobody.
        unsafe {
            std::ptr::copy_nonoverlapping(
                shard.envelopes.payload(first),
                shard.envelopes.payload(id),
                vtable.used,
            );
        };
        copy.vtable.set(Some(vtable));
        copy.reply.set(crate::actor::ReplyTo::NONE);
        copy.posted_at.set(original.posted_at.get());
        copy.stamp.set(Stamp {
            deadline_us: 0,
            from: shard.mark(),
            ..original.stamp.get()
        });
        slot.lanes[LANE_NORMAL].push(&shard.envelopes, id);
        count(shard, slot, id);
        return;
    }
}
