//! Any number of children of one kind, each made from an argument of its own (OTP's
//! `simple_one_for_one`).

use std::fmt;
use std::rc::Rc;

use super::{ChildOptions, NotAChild, Strategy, Supervisor, SupervisorBuilder};
use crate::actor::{Actor, ActorId, Address};
use crate::task::SpawnError;

/// A supervisor whose children are all built by one function, from one argument each.
///
/// Starting and removing a child takes the same time however many there are.
pub struct DynamicSupervisor<A, T> {
    supervisor: Supervisor,
    options: ChildOptions,
    make: Rc<dyn Fn(&T) -> A>,
}

impl<A, T> Clone for DynamicSupervisor<A, T> {
    fn clone(&self) -> Self {
        DynamicSupervisor {
            supervisor: self.supervisor.clone(),
            options: self.options,
            make: self.make.clone(),
        }
    }
}

impl<A, T> fmt::Debug for DynamicSupervisor<A, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynamicSupervisor({})", self.supervisor.0.name)
    }
}

impl SupervisorBuilder {
    /// A supervisor whose children are all built by `make`; see [`DynamicSupervisor`]. It is one
    /// for one whatever the builder was told: the children know nothing of each other.
    ///
    /// # Errors
    /// As [`SupervisorBuilder::build`].
    pub fn build_dynamic<A: Actor, T: 'static>(
        self,
        options: impl Into<ChildOptions>,
        make: impl Fn(&T) -> A + 'static,
    ) -> Result<DynamicSupervisor<A, T>, SpawnError> {
        Ok(DynamicSupervisor {
            supervisor: self.strategy(Strategy::OneForOne).build()?,
            options: options.into(),
            make: Rc::new(make),
        })
    }
}

impl<A: Actor, T: 'static> DynamicSupervisor<A, T> {
    /// Starts a child; a restart builds it again from `argument`.
    ///
    /// # Errors
    /// As [`Supervisor::spawn`]; [`SpawnError::TooManyChildren`] beyond
    /// [`SupervisorBuilder::max_children`].
    pub fn start(&self, argument: T) -> Result<Address<A>, SpawnError> {
        let make = self.make.clone();
        self.supervisor.spawn(self.options, move || make(&argument))
    }

    /// Stops one child for good; see [`Supervisor::stop_child`].
    ///
    /// # Errors
    /// [`NotAChild`].
    pub fn remove(&self, id: ActorId) -> Result<(), NotAChild> {
        self.supervisor.stop_child(id)
    }

    /// The supervisor behind it, to look at its children or to stop them.
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }
}
