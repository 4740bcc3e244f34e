//! Scheduling: classes, slots, run queues, policies.

mod class;
mod cold;
mod drr;
mod edf;
mod fifo;
mod policy;
mod queue;
mod ready;
mod slot;

pub use class::Class;
pub(crate) use class::{CLASSES, Quanta};
pub use policy::{Policy, UnknownPolicy};
pub(crate) use ready::Ready;
pub(crate) use slot::{
    BodyVtable, LANE_HIGH, LANE_NORMAL, LANE_SYSTEM, Slot, SlotKey, Slots, flag,
};
