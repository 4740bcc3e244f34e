//! What a supervisor and its children are made with.

use super::Supervisor;
use super::backoff::Backoff;
use super::intensity::Intensity;
use crate::actor::{ExitReason, SpawnOptions};
use crate::limits::ACTORS_MAX;
use crate::task::SpawnError;

/// Who is restarted when one child fails, as in OTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// That child.
    #[default]
    OneForOne,
    /// All children: the others are stopped newest first, then all start again in start order.
    OneForAll,
    /// That child and those that were started after it, stopped and started as above.
    RestForOne,
}

/// After what end a child is started again, as in OTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// After every end, a normal one too. To end it for good there is
    /// [`Supervisor::stop_child`].
    #[default]
    Permanent,
    /// After an abnormal end ([`ExitReason::is_abnormal`]).
    Transient,
    /// Never: neither after its own end nor when it is stopped because a sibling has failed.
    Temporary,
}

impl Restart {
    /// Whether a child that ended for `why` is started again.
    pub(super) fn after(self, why: &ExitReason) -> bool {
        match self {
            Restart::Permanent => true,
            Restart::Transient => why.is_abnormal(),
            Restart::Temporary => false,
        }
    }
}

/// How a child is spawned and when it is restarted. Plain [`SpawnOptions`] make a permanent child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChildOptions {
    /// Its mailbox and class.
    pub spawn: SpawnOptions,
    /// When it is restarted.
    pub restart: Restart,
}

impl From<SpawnOptions> for ChildOptions {
    fn from(spawn: SpawnOptions) -> Self {
        ChildOptions {
            spawn,
            restart: Restart::default(),
        }
    }
}

impl From<Restart> for ChildOptions {
    fn from(restart: Restart) -> Self {
        ChildOptions {
            spawn: SpawnOptions::default(),
            restart,
        }
    }
}

/// Called when a supervisor gives up, after its children have ended.
pub(super) type OnGiveUp = Box<dyn FnOnce(&ExitReason)>;

/// Makes a [`Supervisor`]: one for one, without back-off and without a parent unless told.
#[must_use = "a builder does nothing until it builds"]
pub struct SupervisorBuilder {
    pub(super) name: &'static str,
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    pub(super) backoff: Option<Backoff>,
    pub(super) max_children: u32,
    pub(super) parent: Option<(Supervisor, Restart)>,
    pub(super) on_give_up: Option<OnGiveUp>,
}

impl SupervisorBuilder {
    pub(super) fn new(name: &'static str) -> Self {
        SupervisorBuilder {
            name,
            strategy: Strategy::default(),
            intensity: Intensity::default(),
            backoff: None,
            max_children: ACTORS_MAX,
            parent: None,
            on_give_up: None,
        }
    }

    /// Who is restarted when a child fails.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// How many restarts are granted before the supervisor itself fails.
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// Lets a child that keeps failing wait before it is started again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Children that there may be at once; beyond, `SpawnError::TooManyChildren`.
    pub fn max_children(mut self, limit: u32) -> Self {
        self.max_children = limit;
        self
    }

    /// Makes it a permanent child of `parent`, to which it fails beyond its intensity, and which
    /// then restarts it with all its children.
    pub fn parent(self, parent: &Supervisor) -> Self {
        self.parent_restarting(parent, Restart::Permanent)
    }

    /// The same with another [`Restart`]. Giving up is an abnormal end.
    pub fn parent_restarting(mut self, parent: &Supervisor, restart: Restart) -> Self {
        self.parent = Some((parent.clone(), restart));
        self
    }

    /// Calls `f` once, with the reason, when the supervisor gives up for good: it exceeded its
    /// intensity and nobody restarts it. Its children have ended by then.
    pub fn on_give_up(mut self, f: impl FnOnce(&ExitReason) + 'static) -> Self {
        self.on_give_up = Some(Box::new(f));
        self
    }

    /// The supervisor, still without children.
    ///
    /// # Errors
    /// [`SpawnError::TooManyChildren`] and [`SpawnError::SupervisorDown`] from the parent; without
    /// one there is none.
    pub fn build(self) -> Result<Supervisor, SpawnError> {
        Supervisor::from_builder(self)
    }
}
