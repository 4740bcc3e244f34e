//! Supervision as in OTP's `supervisor`, but in place: a restarted child keeps its address, its
//! mailbox, its links and its monitors, and loses its state and the message that it failed on.
//!
//! A supervisor is no actor: it has no mailbox and costs nothing while all goes well. It works at
//! the end of the turn in which a child has failed, or in a timer of its shard when a back-off is
//! over. Its children are found through it, and it through them, so that it lives as long as one
//! of them or a handle does.
//!
//! While the supervisor works, code of the user's runs (`make`, `started`, `stopped`, drops), which
//! may use the supervisor. Two rules make that safe: no borrow is held meanwhile, and what would
//! end or restart actors of a tree in which somebody works or runs is put off until that is over
//! (see [`Supervisor::stop`]).

mod backoff;
mod dynamic;
mod intensity;
mod members;
mod options;
mod restart;
mod stop;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::exit::ExitReason;
use super::spawn::{self, Rebuild};
use super::{Actor, ActorId, Address, Context};
use crate::sched::Slot;
use crate::shard::Shard;
use crate::task::SpawnError;
use crate::timer::{self, TimerKey};

pub use backoff::Backoff;
pub use dynamic::DynamicSupervisor;
pub use intensity::Intensity;
pub use options::{ChildOptions, Restart, Strategy, SupervisorBuilder};

use intensity::Window;
use members::{ChildKey, Member, Members};
use options::OnGiveUp;

/// Whether the children of a supervisor run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Up,
    /// It has failed, or its parent has; the parent will start it again.
    Down,
    /// For good.
    Stopped,
}

pub(crate) struct State {
    name: &'static str,
    strategy: Strategy,
    intensity: Intensity,
    backoff: Option<Backoff>,
    max_children: u32,
    parent: Option<Child>,
    members: RefCell<Members>,
    window: RefCell<Window>,
    status: Cell<Status>,
    /// Why it gave up.
    gave_up: RefCell<Option<ExitReason>>,
    on_give_up: RefCell<Option<OnGiveUp>>,
    /// Starts the vacant children of a group again when their back-off is over.
    group_timer: Cell<Option<TimerKey>>,
    /// Of the root only: somebody in the tree starts, restarts or stops actors right now.
    busy: Cell<bool>,
    /// Runtime and shard of its children.
    home: Cell<Option<(u16, u16)>>,
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(parent) = &self.parent {
            parent.supervisor.forget(parent.key);
        }
    }
}

/// A child as the child itself knows it: its supervisor, and which one it is there.
#[derive(Clone)]
pub(crate) struct Child {
    supervisor: Supervisor,
    key: ChildKey,
}

/// The id given is not that of a living child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted a child of supervisor {supervisor}, but {id:?} is none (any more)")]
pub struct NotAChild {
    /// The name of the supervisor that was asked.
    pub supervisor: &'static str,
    /// The id given.
    pub id: ActorId,
}

/// A look at one child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildInfo {
    /// The actor; `None` for a supervisor.
    pub id: Option<ActorId>,
    /// The type of the actor, or the name of the supervisor.
    pub name: &'static str,
    /// When it is restarted.
    pub restart: Restart,
    /// How often it was restarted.
    pub restarts: u32,
    /// Does not run: waits to be started again.
    pub waiting: bool,
}

/// Starts children and restarts them in place. Belongs to the shard of its first child; clones are
/// the same supervisor.
#[derive(Clone)]
pub struct Supervisor(Rc<State>);

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Supervisor({}, {:?})", self.0.name, self.0.strategy)
    }
}

impl Supervisor {
    /// A supervisor without children, one for one; `name` appears in its log lines.
    #[must_use]
    pub fn new(name: &'static str, intensity: Intensity) -> Self {
        let builder = Self::builder(name).intensity(intensity);
        Supervisor(Rc::new(State::new(builder, None)))
    }

    /// A supervisor of another kind.
    pub fn builder(name: &'static str) -> SupervisorBuilder {
        SupervisorBuilder::new(name)
    }

    fn from_builder(mut builder: SupervisorBuilder) -> Result<Self, SpawnError> {
        let Some((parent, restart)) = builder.parent.take() else {
            return Ok(Supervisor(Rc::new(State::new(builder, None))));
        };
        parent.has_room()?;
        let state = Rc::new_cyclic(|me| {
            let member = Member::Supervisor(me.clone());
            let key = parent.0.members.borrow_mut().add(member, restart);
            let supervisor = parent;
            State::new(builder, Some(Child { supervisor, key }))
        });
        Ok(Supervisor(state))
    }

    /// Starts a child on the current shard; `make` builds it now and again for each restart.
    ///
    /// # Errors
    /// [`SpawnError`] when this thread is no shard or not the supervisor's, when the shard is full
    /// or shutting down, when the supervisor has stopped or has its most children, and
    /// [`SpawnError::Died`] when `make` or [`Actor::started`] panicked or the actor stopped there:
    /// a child that fails its first start is not started again.
    pub fn spawn<A: Actor>(
        &self,
        options: impl Into<ChildOptions>,
        make: impl FnMut() -> A + 'static,
    ) -> Result<Address<A>, SpawnError> {
        let mut make = make;
        self.try_spawn(options, move || Ok::<A, std::convert::Infallible>(make()))
    }

    /// As [`Supervisor::spawn`] when building the actor may fail: that counts as a failed start,
    /// for [`ExitReason::Failed`] with the error's text.
    ///
    /// # Errors
    /// As [`Supervisor::spawn`].
    pub fn try_spawn<A: Actor, E: fmt::Display>(
        &self,
        options: impl Into<ChildOptions>,
        make: impl FnMut() -> Result<A, E> + 'static,
    ) -> Result<Address<A>, SpawnError> {
        let options = options.into();
        Shard::with(|shard| {
            self.settle_on(shard)?;
            self.has_room()?;
            let slot = spawn::prepare::<A>(shard, options.spawn)?;
            let member = Member::Actor(slot.key());
            let key = self.0.members.borrow_mut().add(member, options.restart);
            let child = Child {
                supervisor: self.clone(),
                key,
            };
            *slot.cold_or_new().rebuild.borrow_mut() = Some(Box::new(Plan { make, child }));
            let address = Context::new(shard, slot).address();
            let _busy = self.work();
            match shard.build_actor(slot) {
                Ok(()) => Ok(address),
                Err(why) => {
                    shard.end_actor(slot, &why);
                    Err(SpawnError::Died(why))
                }
            }
        })
        .unwrap_or(Err(SpawnError::OffShard))
    }

    /// Whether the restart intensity was exceeded. A supervisor without a parent has then stopped
    /// for good; one with a parent only until that starts it again.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.0.gave_up.borrow().is_some()
    }

    /// The children that there are, those that wait to be started again included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.members.borrow().len() as usize
    }

    /// The children in start order.
    #[must_use]
    pub fn children(&self) -> Vec<ChildInfo> {
        Shard::with(|shard| {
            let members = self.0.members.borrow();
            let keys = members.keys(None);
            let entries = keys.into_iter().filter_map(|key| members.get(key));
            entries
                .filter_map(|entry| {
                    let (id, name) = match &entry.member {
                        Member::Actor(key) => {
                            let slot = shard.slots.get(*key)?;
                            (Some(shard.id_of(slot)), (slot.vtable.get()?.name)())
                        }
                        Member::Supervisor(state) => (None, state.upgrade()?.name),
                    };
                    Some(ChildInfo {
                        id,
                        name,
                        restart: entry.restart,
                        restarts: entry.restarts,
                        waiting: restart::is_down(shard, &entry.member),
                    })
                })
                .collect()
        })
        .unwrap_or_default()
    }

    /// Replaces a child that makes no progress, such as one whose exclusive asynchronous handler
    /// does not come to its end: it fails for [`ExitReason::Killed`], without a goodbye, and is
    /// restarted by the strategy, within the intensity. Its asynchronous handlers end, and who
    /// waits for them is told.
    ///
    /// A handler that does not return cannot be replaced by anybody on its shard: the shard
    /// itself is stuck then, which its stall reports and the heartbeat tell.
    ///
    /// # Errors
    /// [`NotAChild`].
    pub fn replace(&self, id: ActorId) -> Result<(), NotAChild> {
        self.with_child(id, |shard, slot, key| {
            if self.is_busy() || self.root().is_running(shard) {
                self.later(shard, move |supervisor, _| {
                    // As in `stop_child`.
                    let _ = supervisor.replace(id);
                });
            } else {
                let supervisor = self.clone();
                Child { supervisor, key }.ended(shard, slot, &ExitReason::Killed);
            }
        })
    }

    fn with_child(
        &self,
        id: ActorId,
        f: impl FnOnce(&Shard, &Slot, ChildKey),
    ) -> Result<(), NotAChild> {
        let none = NotAChild {
            supervisor: self.0.name,
            id,
        };
        Shard::with(|shard| {
            if id.runtime != shard.runtime_id() || id.shard != shard.id() {
                return Err(none);
            }
            let slot = shard.slots.get(id.key()).ok_or(none)?;
            let child = slot
                .cold()
                .and_then(|cold| cold.rebuild.borrow().as_ref().map(|plan| plan.child()))
                .filter(|child| Rc::ptr_eq(&child.supervisor.0, &self.0))
                .ok_or(none)?;
            f(shard, slot, child.key);
            Ok(())
        })
        .unwrap_or(Err(none))
    }

    /// Does `work` when no code of the user's runs any more, in a timer of the shard's.
    fn later(&self, shard: &Shard, work: impl FnOnce(&Supervisor, &Shard) + 'static) {
        let supervisor = self.clone();
        timer::start_job(shard, Duration::ZERO, move || {
            Shard::with(|shard| work(&supervisor, shard));
        });
    }

    fn has_room(&self) -> Result<(), SpawnError> {
        let state = &self.0;
        if state.status.get() != Status::Up {
            return Err(SpawnError::SupervisorDown { name: state.name });
        }
        if state.members.borrow().len() >= state.max_children {
            return Err(SpawnError::TooManyChildren {
                name: state.name,
                limit: state.max_children,
            });
        }
        Ok(())
    }

    /// Binds the supervisor and those above it to `shard`, if they are not bound yet.
    fn settle_on(&self, shard: &Shard) -> Result<(), SpawnError> {
        if !self.is_at_home(shard) {
            return Err(SpawnError::OffShard);
        }
        if self.0.home.get().is_none() {
            if let Some(parent) = &self.0.parent {
                parent.supervisor.settle_on(shard)?;
            }
            self.0.home.set(Some((shard.runtime_id(), shard.id())));
        }
        Ok(())
    }

    fn is_at_home(&self, shard: &Shard) -> bool {
        let here = (shard.runtime_id(), shard.id());
        self.0.home.get().is_none_or(|home| home == here)
    }

    /// Forgets a child that has ended.
    fn forget(&self, key: ChildKey) {
        let entry = self.0.members.borrow_mut().remove(key);
        if let Some(timer) = entry.and_then(|entry| entry.timer) {
            Shard::with(|shard| timer::cancel(shard, timer));
        }
    }

    fn root(&self) -> &State {
        let mut state = &*self.0;
        while let Some(parent) = &state.parent {
            state = &parent.supervisor.0;
        }
        state
    }

    fn is_busy(&self) -> bool {
        self.root().busy.get()
    }

    /// Marks the tree as being worked on until the guard is dropped.
    fn work(&self) -> Working<'_> {
        let busy = &self.root().busy;
        let before = busy.replace(true);
        Working { busy, before }
    }
}

struct Working<'a> {
    busy: &'a Cell<bool>,
    before: bool,
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.busy.set(self.before);
    }
}

impl State {
    fn new(builder: SupervisorBuilder, parent: Option<Child>) -> Self {
        State {
            name: builder.name,
            strategy: builder.strategy,
            intensity: builder.intensity,
            backoff: builder.backoff,
            max_children: builder.max_children,
            parent,
            members: RefCell::new(Members::new()),
            window: RefCell::default(),
            status: Cell::new(Status::Up),
            gave_up: RefCell::new(None),
            on_give_up: RefCell::new(builder.on_give_up),
            group_timer: Cell::new(None),
            busy: Cell::new(false),
            home: Cell::new(None),
        }
    }

    /// Whether code of an actor of this tree runs right now.
    fn is_running(&self, shard: &Shard) -> bool {
        let keys = self.members.borrow().keys(None);
        keys.into_iter().any(|key| match self.member(key) {
            Some(Member::Actor(key)) => shard.slots.get(key).is_some_and(|s| shard.is_running(s)),
            Some(Member::Supervisor(state)) => state.upgrade().is_some_and(|s| s.is_running(shard)),
            None => false,
        })
    }

    fn member(&self, key: ChildKey) -> Option<Member> {
        let members = self.members.borrow();
        members.get(key).map(|entry| entry.member.clone())
    }
}

/// How a child is built, in its slot.
struct Plan<F> {
    make: F,
    child: Child,
}

impl<F> Drop for Plan<F> {
    /// The plan ends with the child, however that ended.
    fn drop(&mut self) {
        self.child.supervisor.forget(self.child.key);
    }
}

impl<A: Actor, E: fmt::Display, F: FnMut() -> Result<A, E>> Rebuild for Plan<F> {
    fn rebuild(&mut self, slot: &Slot) -> Result<(), String> {
        let actor = (self.make)().map_err(|error| error.to_string())?;
        slot.install(actor);
        Ok(())
    }

    fn child(&self) -> Child {
        self.child.clone()
    }
}
