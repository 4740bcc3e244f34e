//! Kameo: actors that are tokio tasks, with supervisors.

use std::convert::Infallible;
use std::future::Future;
use std::ops::ControlFlow;
use std::time::Duration;

use kameo::actor::{Actor, ActorRef, Spawn as _};
use kameo::error::SendError;
use kameo::mailbox;
use kameo::message::{Context, Message};

use crate::measure::clock;
use crate::measure::hist::Latency;
use crate::workload::{Backend, Failed, Role};

/// The current thread's tokio runtime.
pub(super) struct Kameo;

/// A role as an actor.
pub(super) struct Host<R>(R);

struct Tell<M>(M);
struct Ask(u64);

impl<R: Role> Actor for Host<R> {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(host: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(host)
    }
}
impl<R: Role> Message<Tell<R::Message>> for Host<R> {
    type Reply = ();

    async fn handle(&mut self, tell: Tell<R::Message>, context: &mut Context<Self, ()>) {
        if self.0.on(tell.0) == ControlFlow::Break(()) {
            context.stop();
        }
    }
}
impl<R: Role> Message<Ask> for Host<R> {
    type Reply = u64;

    async fn handle(&mut self, ask: Ask, _: &mut Context<Self, u64>) -> u64 {
        self.0.answer(ask.0)
    }
}

impl Backend for Kameo {
    type Address<R: Role> = ActorRef<Host<R>>;

    async fn spawn<R: Role>(role: R) -> Result<Self::Address<R>, Failed> {
        Ok(Host::spawn_with_mailbox(Host(role), mailbox::unbounded()))
    }

    #[inline]
    fn tell<R: Role>(to: &Self::Address<R>, message: R::Message) -> Result<(), R::Message> {
        match to.tell(Tell(message)).try_send() {
            Err(SendError::ActorNotRunning(back) | SendError::MailboxFull(back)) => Err(back.0),
            // The others are of questions.
            _ => Ok(()),
        }
    }

    async fn ask<R: Role>(to: &Self::Address<R>, question: u64) -> Option<u64> {
        to.ask(Ask(question)).send().await.ok()
    }

    fn task(work: impl Future<Output = ()> + Send + 'static) -> Result<(), Failed> {
        tokio::spawn(work);
        Ok(())
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    async fn restarts(count: u64) -> Result<Option<Latency>, Failed> {
        let supervisor = Watcher::spawn_with_mailbox(Watcher, mailbox::unbounded());
        let fragile = Fragile::supervise(&supervisor, Fragile)
            .restart_limit(u32::MAX, Duration::from_millis(1))
            .spawn_with_mailbox(mailbox::unbounded())
            .await;
        let mut latency = Latency::new();
        for number in 0..count {
            let start = clock::ticks();
            let failure = fragile.ask(Break).send().await;
            let mut answer = fragile.ask(Ask(number)).send().await;
            while let Err(SendError::ActorRestarting(again)) = answer {
                answer = fragile.ask(again).send().await;
            }
            latency.record(clock::ticks_to_ns(clock::ticks() - start));
            if failure.is_ok() || answer.as_ref().ok() != Some(&number) {
                let found = answer.err().map(|why| why.to_string());
                return Err(Failed(format!("kameo: wanted a restart, found {found:?}")));
            }
        }
        Ok(Some(latency))
    }
}

struct Watcher;

impl Actor for Watcher {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(watcher: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(watcher)
    }
}

#[derive(Clone)]
struct Fragile;

struct Break;

impl Actor for Fragile {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(fragile: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(fragile)
    }
}
impl Message<Break> for Fragile {
    type Reply = ();

    #[expect(clippy::panic, reason = "the panic is what is measured")]
    async fn handle(&mut self, _: Break, _: &mut Context<Self, ()>) {
        panic!("as ordered by the benchmark");
    }
}
impl Message<Ask> for Fragile {
    type Reply = u64;

    async fn handle(&mut self, ask: Ask, _: &mut Context<Self, u64>) -> u64 {
        ask.0
    }
}
