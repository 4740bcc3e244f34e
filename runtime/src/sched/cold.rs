//! What few actors have: links, monitors, a supervisor, postponed messages, a place they moved to.
//! An actor without any of it pays eight bytes.

use std::cell::{Cell, RefCell};

use crate::actor::{ActorId, EnvelopeId, ExitReason, Lane, Monitor, Rebuild, ReplyTo};
use crate::timer::TimerKey;

/// The cold part of a slot, boxed when first needed.
#[derive(Default)]
pub(crate) struct Cold {
    /// How often the actor was restarted.
    pub(crate) incarnation: Cell<u32>,
    /// Why the actor is about to end.
    pub(crate) ending: RefCell<Option<ExitReason>>,
    /// Builds the actor again, and names its supervisor.
    pub(crate) rebuild: RefCell<Option<Box<dyn Rebuild>>>,
    /// Actors that end with this one.
    pub(crate) links: RefCell<Vec<ActorId>>,
    /// Who is told when this actor ends.
    pub(crate) watchers: RefCell<Vec<(Monitor, ActorId)>>,
    /// Whom this actor watches, so that they can forget it.
    pub(crate) watching: RefCell<Vec<(Monitor, ActorId)>>,
    /// Messages set aside until the actor changes its state: high and normal.
    pub(crate) postponed: [Lane; 2],
    /// The time-out of the present state.
    pub(crate) state_timer: Cell<Option<TimerKey>>,
    /// The message of a time-out that fired in the present state, with the mark it carries.
    pub(crate) state_message: Cell<Option<(EnvelopeId, ReplyTo)>>,
    /// Where the actor has moved.
    pub(crate) moved_to: Cell<Option<ActorId>>,
    /// A forwarder's batch is on its way and not reached: of high messages, of normal ones.
    pub(crate) in_flight: [Cell<bool>; 2],
    /// Where the actor has lived before, oldest first: forwarders that end with it.
    pub(crate) former: RefCell<Vec<ActorId>>,
    /// Tasks that run asynchronous handlers of this actor; they end with it.
    pub(crate) tasks: RefCell<Vec<super::SlotKey>>,
}
