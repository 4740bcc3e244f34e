//! What the protocol needs of tasks: calls that outlive their answer. They are an extension of the
//! modern era (`io.modelcontextprotocol/tasks`) and experimental in 2025-11-25, where each belongs
//! to the session that began it. The node implements them over actors, the same for both.

use std::rc::Rc;
use std::task::{Context, Poll};

use crate::auth::Owner;
use crate::mcp::work::Made;
use crate::rpc::RpcError;
use crate::talk::Talk;
use crate::tool::LocalBoxFuture;

/// Name of the extension, in capabilities of both sides.
pub(crate) const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// Key of the task in the `_meta` of what belongs to it, in 2025-11-25.
pub(crate) const RELATED: &str = "io.modelcontextprotocol/related-task";

/// A call that goes on as a task.
pub(crate) struct Job {
    pub(crate) name: Box<str>,
    pub(crate) future: LocalBoxFuture<'static, Made>,
    pub(crate) talk: Rc<Talk>,
    /// The id of the legacy session that it belongs to.
    pub(crate) session: Option<Box<str>>,
    /// How long its client wants it to be remembered; no longer than the limit.
    pub(crate) ttl_ms: Option<u64>,
}

/// To whom a task belongs, all of which must match; to everybody else there is no such task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The id of the legacy session that asks; `None` in the modern era. Whoever has come this far
    /// has shown that the session is its own.
    pub(crate) session: Option<Box<str>>,
    /// The subject that asks; `None` where nobody has to say who they are.
    pub(crate) owner: Option<Owner>,
}

impl Holder {
    /// A client of the modern era.
    pub(crate) fn modern(owner: Option<Owner>) -> Self {
        Self {
            session: None,
            owner,
        }
    }
}

/// A task that was begun.
pub(crate) struct Begun {
    pub(crate) id: String,
    /// The members of its description, an object left open.
    pub(crate) members: String,
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

/// What a task says to those who watch it.
pub(crate) enum TaskNews {
    /// How it stands now: the members of its description, an object left open.
    Stands(String),
    /// A request for its client, in the legacy era.
    Asks(String),
    /// What its call has made: the result, as JSON.
    Ended(Result<String, RpcError>),
}

/// Why a task could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskError {
    /// Never begun, forgotten since, or another's.
    Unknown,
    /// Its owner did not answer in time.
    Busy,
    /// It has ended already, and cannot be cancelled.
    Ended,
    /// As many watch it as may.
    Watched,
}

impl From<TaskError> for RpcError {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Unknown => Self::invalid_params("Invalid params: unknown taskId"),
            TaskError::Busy => Self::busy("Task is busy: try again later"),
            TaskError::Ended => Self::invalid_params("Invalid params: the task has ended already"),
            TaskError::Watched => Self::busy("Too many wait for this task: ask with tasks/get"),
        }
    }
}

/// What a task says, as it says it. Dropping it ends the watch.
pub(crate) trait TaskFeed {
    /// The next news, beginning with how the task stands; `None` when there is no such task any
    /// more.
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Option<TaskNews>>;
}

/// A watch that is about to begin.
pub(crate) type Watching = LocalBoxFuture<'static, Result<Box<dyn TaskFeed>, TaskError>>;

/// The tasks of the node, as one shard sees them.
pub(crate) trait Tasks {
    /// Begins a task. Gives the job back when there is no room for one more.
    fn begin(&self, job: Job) -> Result<Begun, Job>;

    /// Asks the task `id` of `holder`; the members of its answer, an object left open, or nothing
    /// for an answer that only agrees.
    fn ask(
        &self,
        holder: Holder,
        id: &str,
        want: Want,
    ) -> LocalBoxFuture<'static, Result<String, TaskError>>;

    /// Watches the task `id` of `holder`.
    fn watch(&self, holder: Holder, id: &str) -> Watching;
}
