//! Scheduling: classes, slots, run queues, statistics.

mod class;
mod ready;
mod slot;

pub use class::Class;
pub(crate) use class::{CLASSES, Quanta};
pub(crate) use ready::Ready;
pub(crate) use slot::{BodyVtable, LANE_HIGH, LANE_NORMAL, Slot, SlotKey, Slots};
