//! What a handler that waits can say to its client, and ask of it: the same in both eras.
//!
//! Progress and log messages turn the answer into a stream of events. A question goes out on that
//! stream in the legacy era, and its answer comes back by another request. In the modern era
//! servers send no requests: the call ends with `input_required`, the client calls again with the
//! answers, and the handler runs anew from its start; what it asked before is then answered at
//! once. So a handler asks before it changes anything.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::ask::{AskError, Elicit, Elicited, Root, Sample, Sampled};
use crate::auth::Identity;
use crate::mcp::{Capabilities, Era};
use crate::talk::{Need, Talk};

/// How grave a log message is, from RFC 5424.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For those who look for a mistake.
    Debug,
    /// As expected.
    Info,
    /// As expected, but worth knowing.
    Notice,
    /// Something may go wrong.
    Warning,
    /// Something went wrong.
    Error,
    /// A part has failed.
    Critical,
    /// Somebody must act.
    Alert,
    /// Nothing works.
    Emergency,
}

impl Level {
    /// The level called `name`.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "notice" => Self::Notice,
            "warning" => Self::Warning,
            "error" => Self::Error,
            "critical" => Self::Critical,
            "alert" => Self::Alert,
            "emergency" => Self::Emergency,
            _ => return None,
        })
    }
}

/// The client of one call, as its handler reaches it. Clones speak to the same client; what is
/// said after the call has ended is dropped.
#[derive(Clone, Debug)]
pub struct Context(Rc<Talk>);

impl Context {
    pub(crate) fn new(talk: Rc<Talk>) -> Self {
        Self(talk)
    }

    /// The era of the request.
    pub fn era(&self) -> Era {
        self.0.era
    }

    /// What the client is able to do.
    pub fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    /// Who calls, by the token of this very request; `None` where the server asks for none.
    pub fn identity(&self) -> Option<&Identity> {
        self.0.identity()
    }

    /// Tells how far the call has come: `done` of `total`, if that is known. Dropped when the
    /// client gave no progress token, and when `done` has not grown since the last time.
    pub fn progress(&self, done: f64, total: Option<f64>, message: Option<&str>) {
        self.0.progress(done, total, message);
    }

    /// Sends a log message, unless the client wants none of this level. In the modern era it is
    /// the request that asks for log messages.
    pub fn log(&self, level: Level, data: impl Serialize) {
        self.0.log(level, &data);
    }

    /// Asks the person at the client for input, or to visit a URL. `key` names the question among
    /// those of this call.
    ///
    /// # Errors
    /// [`AskError`]. In the modern era a client that cannot be asked is refused with -32021, and
    /// the handler does not go on.
    pub async fn elicit(&self, key: &str, question: Elicit) -> Result<Elicited, AskError> {
        let need = question.need();
        let params = question.params(self.0.era);
        self.0
            .ask(key, "elicitation/create", Some(params), need)
            .await
    }

    /// Tells the client that what [`Elicit::url`] sent its person to is done, by the `id` given
    /// there, so that it can go on (`notifications/elicitation/complete` of 2025-11-25). It goes to
    /// the stream of the session that this call belongs to, also after the call has ended. Of no
    /// effect in the modern era, which has no such message, and for clients without elicitation by
    /// URL.
    pub fn complete_elicitation(&self, id: &str) {
        self.0.complete_elicitation(id);
    }

    /// Asks the client's model to go on from messages.
    ///
    /// # Errors
    /// As [`Context::elicit`]; [`AskError::Turns`] before anything is asked.
    pub async fn sample(&self, key: &str, question: Sample) -> Result<Sampled, AskError> {
        question.check()?;
        let need = question.need();
        let params = question.params();
        self.0
            .ask(key, "sampling/createMessage", Some(params), need)
            .await
    }

    /// Asks for the roots that the client works in.
    ///
    /// # Errors
    /// As [`Context::elicit`].
    pub async fn roots(&self, key: &str) -> Result<Vec<Root>, AskError> {
        #[derive(Deserialize)]
        struct Roots {
            roots: Vec<Root>,
        }
        let roots: Roots = self.0.ask(key, "roots/list", None, Need::Roots).await?;
        Ok(roots.roots)
    }

    /// Ends the stream of this call's answer for now, as the server of the legacy era may (SSE
    /// polling): the client comes back for the rest with `Last-Event-ID` after the `retry` it was
    /// told. Without effect where there is no session to come back to.
    pub fn end_stream(&self) {
        self.0.end_stream();
    }

    /// Makes the call a task from here on (extension `io.modelcontextprotocol/tasks`): the client
    /// is told at once, and comes back for what the handler makes and to answer what it asks. False
    /// where the client or the server has no tasks, or no room for one: the call goes on as a call.
    pub async fn become_task(&self) -> bool {
        self.0.become_task().await
    }

    /// As [`Context::become_task`], for what makes no sense but as a task: other clients are
    /// refused with -32021, and the handler does not go on.
    pub async fn require_task(&self) {
        self.0.require_task().await;
    }
}
