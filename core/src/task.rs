//! What the protocol needs of tasks (extension `io.modelcontextprotocol/tasks`): calls that outlive
//! their answer. The node implements it over actors.

use std::rc::Rc;

use crate::auth::Owner;
use crate::mcp::work::Made;
use crate::talk::Talk;
use crate::tool::LocalBoxFuture;

/// Name of the extension, in capabilities of both sides.
pub(crate) const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// A call that goes on as a task.
pub(crate) struct Job {
    pub(crate) name: Box<str>,
    pub(crate) future: LocalBoxFuture<'static, Made>,
    pub(crate) talk: Rc<Talk>,
}

/// What a request wants of a task.
pub(crate) enum Want {
    /// How it stands.
    Get,
    /// Answers to what it asked, as a JSON object.
    Update(String),
    /// Its end.
    Cancel,
}

/// Why a task could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskError {
    /// Never begun, or forgotten since.
    Unknown,
    /// Its owner did not answer in time.
    Busy,
}

/// The tasks of the node, as one shard sees them.
pub(crate) trait Tasks {
    /// Begins a task; the members of its description, an object left open. Gives the job back when
    /// there is no room for one more.
    fn begin(&self, job: Job) -> Result<String, Job>;

    /// Asks the task `id` of `owner`; the members of its answer, an object left open, or nothing
    /// for an answer that only agrees. To everybody else there is no such task.
    fn ask(
        &self,
        id: &str,
        owner: Option<Owner>,
        want: Want,
    ) -> LocalBoxFuture<'static, Result<String, TaskError>>;
}
