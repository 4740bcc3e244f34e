//! Invariants of a shard, looked up in its slots, queues and counters between two steps.

use super::world::World;
use crate::actor::{EnvelopeId, SIZE_UNIT};
use crate::sched::{Class, LANE_HIGH, LANE_NORMAL, LANE_SYSTEM, Policy, Slot, flag};
use crate::shard::Shard;

/// Checks one shard; `policy` is that of all shards.
pub(super) fn shard(world: &World, shard: &Shard, policy: Policy) {
    let mut live = 0;
    let mut waiting = 0;
    for slot in (0..shard.slots.made()).filter_map(|index| shard.slots.at(index)) {
        live += u32::from(!slot.is_free());
        waiting += mailbox(world, shard, slot);
        readiness(world, shard, slot, policy);
    }
    let found = |holds: bool, invariant, details: String| {
        if !holds {
            world.violated(invariant, Some(shard.id()), details);
        }
    };
    found(
        shard.envelopes.live() == waiting,
        "envelopes in use are those in mailboxes",
        format!("{} in use, {waiting} in mailboxes", shard.envelopes.live()),
    );
    let stats = shard.stats();
    let begun = stats.actors_spawned.get() + stats.tasks_spawned.get();
    let ended = stats.actors_stopped.get() + stats.tasks_ended.get();
    found(
        shard.slots.live() == live && begun == ended + u64::from(live),
        "slots in use are what began and has not ended",
        format!(
            "{live} used, {} counted, {begun} begun, {ended} ended",
            shard.slots.live()
        ),
    );
    found(
        shard.ready.is_in_bounds(),
        "credits and debts of classes are bounded",
        String::from("one is not"),
    );
    found(
        stats.signals_lost.get() == 0,
        "no signal is lost",
        format!("{} lost", stats.signals_lost.get()),
    );
}

/// Checks counts and bounds of a mailbox; the messages in it.
fn mailbox(world: &World, shard: &Shard, slot: &Slot) -> usize {
    let pool = &shard.envelopes;
    let mut bytes = 0;
    let mut queued = [0; 2];
    for (lane, queued) in [LANE_HIGH, LANE_NORMAL].into_iter().zip(&mut queued) {
        let aside = slot.cold().map(|cold| &cold.postponed[lane - LANE_HIGH]);
        let lanes = [Some(&slot.lanes[lane]), aside];
        let ids: Vec<EnvelopeId> = lanes.iter().flatten().flat_map(|l| l.ids(pool)).collect();
        bytes += ids
            .iter()
            .map(|id| u32::from(pool.get(*id).stamp.get().size))
            .sum::<u32>();
        *queued = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    }
    let is_actor = slot.vtable.get().is_some_and(|body| body.poll.is_none());
    let counted = if is_actor {
        [shard.queued_in(slot, 0), shard.queued_in(slot, 1)]
    } else {
        [0, 0]
    };
    let counted_bytes = if is_actor { shard.held_units(slot) } else { 0 };
    let violated = |invariant, details| {
        world.violated(
            invariant,
            Some(shard.id()),
            format!("slot {}: {details}", slot.index),
        );
    };
    if queued != counted || i64::from(bytes) != i64::from(counted_bytes) {
        violated(
            "a mailbox counts its messages and bytes",
            format!("{queued:?}, {bytes} units there; {counted:?}, {counted_bytes} counted"),
        );
    }
    if !slot.is_free() {
        let options = shard.options.get(slot.options.get());
        // High messages may fill as much again.
        let most = 2 * u64::from(options.bytes) + u64::from(SIZE_UNIT);
        let over = queued.iter().any(|n| *n > options.capacity)
            || u64::from(bytes) * u64::from(SIZE_UNIT) > most;
        if is_actor && over && !slot.has(flag::MOVED) {
            violated(
                "a mailbox keeps within its bounds",
                format!(
                    "{queued:?} messages, {} bytes, {options:?}",
                    bytes * SIZE_UNIT
                ),
            );
        }
    }
    let signals = slot.lanes[LANE_SYSTEM].ids(pool).count();
    queued.iter().sum::<u32>() as usize + signals
}

/// Checks that a slot with something to do is in the run queue of its class.
fn readiness(world: &World, shard: &Shard, slot: &Slot, policy: Policy) {
    if slot.is_free() {
        return;
    }
    let Some(wanted) = slot.wanted_class() else {
        return;
    };
    let linked = slot.linked.get();
    let low = Class::Normal.bit() | Class::Low.bit();
    let enough = match wanted {
        Class::System => linked & Class::System.bit(),
        _ if policy == Policy::Fifo => linked & Class::Normal.bit(),
        Class::High => linked & Class::High.bit(),
        Class::Normal | Class::Low => linked & (low | Class::High.bit()),
    };
    if enough == 0 {
        let body = slot.vtable.get().map_or("-", |body| (body.name)());
        let details = format!(
            "slot {} ({body}) wants {wanted:?}, is linked in {linked:#b}, flags {:#b}",
            slot.index,
            slot.flags.get()
        );
        world.violated(
            "what has something to do is in a run queue",
            Some(shard.id()),
            details,
        );
    }
    if slot.has(flag::RUNNING) {
        let details = format!("slot {}", slot.index);
        world.violated("nothing runs between two steps", Some(shard.id()), details);
    }
}

/// Checks what concerns all shards together.
pub(super) fn all(world: &World, shards: &[std::rc::Rc<Shard>]) {
    let sum = |count: fn(&Shard) -> u64| shards.iter().map(|shard| count(shard)).sum::<u64>();
    let sent = sum(|shard| shard.stats().mesh_sent.get());
    let received = sum(|shard| shard.stats().mesh_received.get());
    let under_way = sum(|shard| shard.mesh.under_way() as u64);
    world.expect(
        sent == received + under_way,
        "frames sent arrive once",
        || format!("{sent} sent, {received} received, {under_way} under way"),
    );
    let panics = sum(|shard| shard.stats().panics.get());
    world.expect(
        panics == world.panics.get(),
        "every panic is wanted",
        || format!("{panics} panics, {} wanted", world.panics.get()),
    );
    let stray = sum(|shard| shard.stats().tasks_panicked.get());
    world.expect(
        stray == world.drop_panics.get(),
        "panics of drops are caught where they happen",
        || format!("{stray} caught, {} wanted", world.drop_panics.get()),
    );
    let handled = sum(|shard| shard.messages_handled());
    let read = world.letters.read.get();
    world.expect(handled >= read, "what is handled is counted", || {
        format!("{read} messages were handled, {handled} were counted")
    });
    let given_up = sum(|shard| {
        let stats = shard.stats();
        stats.messages_dropped.get() + stats.messages_expired.get()
    });
    let dropped = world.letters.dropped.get();
    world.expect(given_up == dropped, "what is dropped is counted", || {
        format!("{dropped} messages were dropped, {given_up} were counted")
    });
}
