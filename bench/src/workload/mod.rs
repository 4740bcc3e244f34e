//! Work for actors that is the same on every runtime: who sends what to whom, and how much of it.
//!
//! A [`Role`] says what an actor does with a message, a [`Backend`] how a crate starts it and
//! carries its messages. Ours is always here; those of other crates are behind the feature `peers`.
//! Every case checks its own result: a lost or doubled message is an error, never a fast run.

mod bank;
mod big;
mod case;
mod chameneos;
mod counting;
mod forkjoin;
mod latch;
mod ninefold;
mod ping;
mod ring;
mod spawn;
mod stream;

use std::future::Future;
use std::ops::ControlFlow;

pub(crate) use case::{Case, Depth};
pub(crate) use latch::Latch;
pub(crate) use ninefold::{Ninefold, restart};

use crate::measure::hist::Latency;

/// A case did not come to its result.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub(crate) String);

/// What an actor does: a state, and one type of message that it handles to completion.
pub(crate) trait Role: Send + Sync + Unpin + Sized + 'static {
    /// What it is told.
    type Message: Send + 'static;

    /// Handles one message; `Break` stops the actor.
    fn on(&mut self, message: Self::Message) -> ControlFlow<()>;

    /// Answers a question.
    fn answer(&mut self, question: u64) -> u64 {
        question + 1
    }
}

/// How one crate runs roles, all on the current thread, in its fastest documented mode.
///
/// Its futures are driven by its own executor; the caller runs inside it, as a task.
pub(crate) trait Backend: Sized + Send + Sync + Unpin + 'static {
    /// Where an actor is.
    type Address<R: Role>: Clone + Send + Sync + Unpin + 'static;

    /// Starts an actor.
    fn spawn<R: Role>(role: R) -> impl Future<Output = Result<Self::Address<R>, Failed>>;

    /// Queues `message` and goes on; hands it back when the mailbox is full or gone.
    fn tell<R: Role>(to: &Self::Address<R>, message: R::Message) -> Result<(), R::Message>;

    /// Asks and waits for the answer; `None` when there is none.
    fn ask<R: Role>(to: &Self::Address<R>, question: u64) -> impl Future<Output = Option<u64>>;

    /// Runs `work` beside the caller.
    fn task(work: impl Future<Output = ()> + Send + 'static) -> Result<(), Failed>;

    /// Lets everything else that is ready run.
    fn yield_now() -> impl Future<Output = ()> + Send;

    /// `count` times: from a question on which the handler panics until its failure is back and a
    /// fresh actor has answered another; `None` when the crate leaves a panic to its user.
    fn restarts(count: u64) -> impl Future<Output = Result<Option<Latency>, Failed>>;
}

/// Tells until `to` takes the message, letting others run in between.
async fn tell_for_sure<B: Backend, R: Role>(to: &B::Address<R>, mut message: R::Message) {
    while let Err(back) = B::tell(to, message) {
        message = back;
        B::yield_now().await;
    }
}

/// That `found` of something is exactly what was `wanted`.
fn exactly(what: &str, wanted: u64, found: u64) -> Result<(), Failed> {
    if wanted == found {
        return Ok(());
    }
    Err(Failed(format!("{what}: wanted {wanted}, found {found}")))
}
