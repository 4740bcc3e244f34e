//! Ractor: actors that are tokio tasks; a supervisor is told of a failure and acts on it by hand.

use std::future::Future;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use ractor::rpc::CallResult;
use ractor::{
    Actor, ActorCell, ActorProcessingErr, ActorRef, MessagingErr, RpcReplyPort, SupervisionEvent,
};
use tokio::sync::mpsc;

use crate::measure::clock;
use crate::measure::hist::Latency;
use crate::workload::{Backend, Failed, Role};

/// The current thread's tokio runtime.
pub(super) struct Ractor;

/// Behaviour of a role, whose state is the role itself.
struct Host<R>(PhantomData<fn() -> R>);

/// What goes through a mailbox.
pub(crate) enum Envelope<M> {
    Tell(M),
    Ask(u64, RpcReplyPort<u64>),
}

impl<R: Role> Actor for Host<R> {
    type Msg = Envelope<R::Message>;
    type State = R;
    type Arguments = R;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, role: R) -> Result<R, ActorProcessingErr> {
        Ok(role)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        role: &mut R,
    ) -> Result<(), ActorProcessingErr> {
        match envelope {
            Envelope::Tell(message) => {
                if role.on(message) == ControlFlow::Break(()) {
                    myself.stop(None);
                }
            }
            // Nobody waits any more: nothing to do about it.
            Envelope::Ask(question, port) => drop(port.send(role.answer(question))),
        }
        Ok(())
    }
}

impl Backend for Ractor {
    type Address<R: Role> = ActorRef<Envelope<R::Message>>;

    async fn spawn<R: Role>(role: R) -> Result<Self::Address<R>, Failed> {
        let (actor, _) = Actor::spawn(None, Host::<R>(PhantomData), role)
            .await
            .map_err(|why| Failed(format!("ractor: {why}")))?;
        Ok(actor)
    }

    #[inline]
    fn tell<R: Role>(to: &Self::Address<R>, message: R::Message) -> Result<(), R::Message> {
        match to.cast(Envelope::Tell(message)) {
            Err(MessagingErr::SendErr(Envelope::Tell(back))) => Err(back),
            // The others are of questions and of wrong types.
            _ => Ok(()),
        }
    }

    async fn ask<R: Role>(to: &Self::Address<R>, question: u64) -> Option<u64> {
        match to.call(|port| Envelope::Ask(question, port), None).await {
            Ok(CallResult::Success(answer)) => Some(answer),
            _ => None,
        }
    }

    fn task(work: impl Future<Output = ()> + Send + 'static) -> Result<(), Failed> {
        tokio::spawn(work);
        Ok(())
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    async fn restarts(count: u64) -> Result<Option<Latency>, Failed> {
        let failed = |why: String| Failed(format!("ractor: {why}"));
        let (tell, mut children) = mpsc::unbounded_channel();
        let (_supervisor, _) = Actor::spawn(None, Watcher, tell)
            .await
            .map_err(|why| failed(why.to_string()))?;
        let next = |child: Option<_>| child.ok_or_else(|| failed("the supervisor ended".into()));
        let mut child: ActorRef<ToFragile> = next(children.recv().await)?;
        let mut latency = Latency::new();
        for number in 0..count {
            let start = clock::ticks();
            let failure = child.call(ToFragile::Break, None).await;
            child = next(children.recv().await)?;
            let answer = child.call(|port| ToFragile::Ask(number, port), None).await;
            latency.record(clock::ticks_to_ns(clock::ticks() - start));
            let broke = !matches!(failure, Ok(CallResult::Success(_)));
            match answer {
                Ok(CallResult::Success(found)) if broke && found == number => {}
                _ => return Err(failed(format!("wanted a panic, then {number}"))),
            }
        }
        Ok(Some(latency))
    }
}

/// Starts a child, and another when it fails; its address changes and is told.
struct Watcher;

impl Watcher {
    async fn start(
        me: ActorCell,
        children: &mpsc::UnboundedSender<ActorRef<ToFragile>>,
    ) -> Result<(), ActorProcessingErr> {
        let (child, _) = Actor::spawn_linked(None, Fragile, (), me).await?;
        Ok(children.send(child)?)
    }
}

impl Actor for Watcher {
    type Msg = ();
    type State = mpsc::UnboundedSender<ActorRef<ToFragile>>;
    type Arguments = Self::State;

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        children: Self::State,
    ) -> Result<Self::State, ActorProcessingErr> {
        Self::start(myself.get_cell(), &children).await?;
        Ok(children)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        children: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(..) = event {
            Self::start(myself.get_cell(), children).await?;
        }
        Ok(())
    }
}

struct Fragile;

enum ToFragile {
    Break(RpcReplyPort<u64>),
    Ask(u64, RpcReplyPort<u64>),
}

impl Actor for Fragile {
    type Msg = ToFragile;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<ToFragile>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    #[expect(clippy::panic, reason = "the panic is what is measured")]
    async fn handle(
        &self,
        _: ActorRef<ToFragile>,
        message: ToFragile,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ToFragile::Break(port) => {
                // So that whoever asked knows.
                drop(port);
                panic!("as ordered by the benchmark");
            }
            // Nobody waits any more: nothing to do about it.
            ToFragile::Ask(number, port) => drop(port.send(number)),
        }
        Ok(())
    }
}
