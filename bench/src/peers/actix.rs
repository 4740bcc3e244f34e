//! Actix: actors in the arbiter of the current thread.

use std::future::Future;
use std::ops::ControlFlow;

use actix::{Actor, ActorContext as _, Addr, Context, Handler, Message, System};

use crate::measure::hist::Latency;
use crate::workload::{Backend, Failed, Role};

/// The current thread's system.
pub(super) struct Actix;

/// A role as an actor.
pub(super) struct Host<R>(R);

struct Tell<M>(M);
struct Ask(u64);

impl<M> Message for Tell<M> {
    type Result = ();
}
impl Message for Ask {
    type Result = u64;
}

impl<R: Role> Actor for Host<R> {
    type Context = Context<Self>;
}
impl<R: Role> Handler<Tell<R::Message>> for Host<R> {
    type Result = ();

    #[inline]
    fn handle(&mut self, tell: Tell<R::Message>, context: &mut Context<Self>) {
        if self.0.on(tell.0) == ControlFlow::Break(()) {
            context.stop();
        }
    }
}
impl<R: Role> Handler<Ask> for Host<R> {
    type Result = u64;

    fn handle(&mut self, ask: Ask, _: &mut Context<Self>) -> u64 {
        self.0.answer(ask.0)
    }
}

/// Runs `round` as a task of a system on this thread.
pub(super) fn run<T: 'static>(
    round: impl Future<Output = Result<T, Failed>> + 'static,
) -> Result<T, Failed> {
    System::new()
        .block_on(async { actix::spawn(round).await })
        .map_err(|why| Failed(format!("actix: {why}")))?
}

impl Backend for Actix {
    type Address<R: Role> = Addr<Host<R>>;

    async fn spawn<R: Role>(role: R) -> Result<Self::Address<R>, Failed> {
        Ok(Host(role).start())
    }

    #[inline]
    fn tell<R: Role>(to: &Self::Address<R>, message: R::Message) -> Result<(), R::Message> {
        to.do_send(Tell(message));
        Ok(())
    }

    async fn ask<R: Role>(to: &Self::Address<R>, question: u64) -> Option<u64> {
        to.send(Ask(question)).await.ok()
    }

    fn task(work: impl Future<Output = ()> + Send + 'static) -> Result<(), Failed> {
        actix::spawn(work);
        Ok(())
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    /// Its supervisor restarts an actor that stops itself; a panic is not supervised.
    async fn restarts(_: u64) -> Result<Option<Latency>, Failed> {
        Ok(None)
    }
}
