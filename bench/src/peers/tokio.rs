//! Tokio without an actor crate: a task that reads an unbounded channel is the actor.

use std::future::Future;
use std::ops::ControlFlow;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

use crate::measure::hist::Latency;
use crate::workload::{Backend, Failed, Role};

/// The current thread's runtime.
pub(super) struct Tokio;

/// What goes through a channel.
pub(crate) enum Envelope<M> {
    Tell(M),
    Ask(u64, oneshot::Sender<u64>),
}

/// Runs `round` as a task of a current-thread runtime.
pub(super) fn run<T: Send + 'static>(
    round: impl Future<Output = Result<T, Failed>> + Send + 'static,
) -> Result<T, Failed> {
    let runtime = Builder::new_current_thread()
        .build()
        .map_err(|why| Failed(format!("start tokio: {why}")))?;
    // As a task: the future of `block_on` itself is polled less readily than tasks are.
    runtime
        .block_on(async { tokio::spawn(round).await })
        .map_err(|why| Failed(format!("tokio: {why}")))?
}

impl Backend for Tokio {
    type Address<R: Role> = mpsc::UnboundedSender<Envelope<R::Message>>;

    async fn spawn<R: Role>(mut role: R) -> Result<Self::Address<R>, Failed> {
        let (sender, mut mailbox) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(envelope) = mailbox.recv().await {
                match envelope {
                    Envelope::Tell(message) => {
                        if role.on(message) == ControlFlow::Break(()) {
                            return;
                        }
                    }
                    Envelope::Ask(question, answer) => {
                        // Nobody waits any more: nothing to do about it.
                        let _ = answer.send(role.answer(question));
                    }
                }
            }
        });
        Ok(sender)
    }

    #[inline]
    fn tell<R: Role>(to: &Self::Address<R>, message: R::Message) -> Result<(), R::Message> {
        to.send(Envelope::Tell(message))
            .map_err(|refused| match refused.0 {
                Envelope::Tell(message) => message,
                Envelope::Ask(..) => unreachable!("a tell was sent"),
            })
    }

    async fn ask<R: Role>(to: &Self::Address<R>, question: u64) -> Option<u64> {
        let (sender, answer) = oneshot::channel();
        to.send(Envelope::Ask(question, sender)).ok()?;
        answer.await.ok()
    }

    fn task(work: impl Future<Output = ()> + Send + 'static) -> Result<(), Failed> {
        tokio::spawn(work);
        Ok(())
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    async fn restarts(_: u64) -> Result<Option<Latency>, Failed> {
        Ok(None)
    }
}
