//! Our runtime: one shard, mailboxes bounded at their default.

use std::future::Future;
use std::ops::ControlFlow;
use std::time::Duration;

use ninefold_runtime::{
    Actor, Address, CallError, Context, Handler, Intensity, Message, SpawnOptions, Supervisor,
    spawn_actor, spawn_local, yield_now,
};

use super::{Backend, Failed, Role};
use crate::inproc::CALL_WITHIN;
use crate::measure::clock;
use crate::measure::hist::Latency;

/// The shard that runs the caller.
pub(crate) struct Ninefold;

/// A role as an actor.
pub(crate) struct Host<R>(R);

struct Tell<M>(M);
struct Ask(u64);

impl<M: Send + 'static> Message for Tell<M> {
    type Reply = ();
}
impl Message for Ask {
    type Reply = u64;
}

impl<R: Role> Actor for Host<R> {}
impl<R: Role> Handler<Tell<R::Message>> for Host<R> {
    #[inline]
    fn handle(&mut self, tell: Tell<R::Message>, context: &mut Context<'_, Self>) {
        if self.0.on(tell.0) == ControlFlow::Break(()) {
            context.stop();
        }
    }
}
impl<R: Role> Handler<Ask> for Host<R> {
    #[inline]
    fn handle(&mut self, ask: Ask, _: &mut Context<'_, Self>) -> u64 {
        self.0.answer(ask.0)
    }
}

impl Backend for Ninefold {
    type Address<R: Role> = Address<Host<R>>;

    async fn spawn<R: Role>(role: R) -> Result<Self::Address<R>, Failed> {
        spawn_actor(SpawnOptions::default(), Host(role))
            .map_err(|why| Failed(format!("start an actor: {why}")))
    }

    #[inline]
    fn tell<R: Role>(to: &Self::Address<R>, message: R::Message) -> Result<(), R::Message> {
        to.cast(Tell(message))
            .map_err(|refused| refused.into_message().0)
    }

    #[inline]
    async fn ask<R: Role>(to: &Self::Address<R>, question: u64) -> Option<u64> {
        to.call(Ask(question), CALL_WITHIN).await.ok()
    }

    fn task(work: impl Future<Output = ()> + Send + 'static) -> Result<(), Failed> {
        spawn_local(work).map_err(|why| Failed(format!("start a task: {why}")))
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        yield_now()
    }

    async fn restarts(count: u64) -> Result<Option<Latency>, Failed> {
        restart(count, true).await.map(Some)
    }
}

/// Panics when asked to.
struct Fragile;

struct Break;

impl Actor for Fragile {}
impl Message for Break {
    type Reply = ();
}
impl Handler<Break> for Fragile {
    #[expect(clippy::panic, reason = "the panic is what is measured")]
    fn handle(&mut self, _: Break, _: &mut Context<'_, Self>) {
        panic!("as ordered by the benchmark");
    }
}
impl Handler<Ask> for Fragile {
    fn handle(&mut self, ask: Ask, _: &mut Context<'_, Self>) -> u64 {
        ask.0
    }
}

/// From a call whose handler panics until its failure is back, the fresh actor then in place; with
/// `answered` until that has answered a call, too.
pub(crate) async fn restart(count: u64, answered: bool) -> Result<Latency, Failed> {
    // As many as there come, in a window so short that the supervisor remembers few.
    let intensity = Intensity {
        restarts: u32::MAX,
        within: Duration::from_millis(1),
    };
    let fragile = Supervisor::new("bench", intensity)
        .spawn(SpawnOptions::default(), || Fragile)
        .map_err(|why| Failed(format!("start a supervised actor: {why}")))?;
    let mut latency = Latency::new();
    for number in 0..count {
        let start = clock::ticks();
        let failure = fragile.call(Break, CALL_WITHIN).await;
        let answer = match answered {
            true => fragile.call(Ask(number), CALL_WITHIN).await.ok(),
            false => Some(number),
        };
        latency.record(clock::ticks_to_ns(clock::ticks() - start));
        if !matches!(failure, Err(CallError::Panicked)) || answer != Some(number) {
            return Err(Failed(format!(
                "restart: wanted a panicked call and then {number}, found {failure:?}, {answer:?}"
            )));
        }
    }
    Ok(latency)
}

#[cfg(test)]
mod tests {
    use ninefold_tuning::Facts;

    use crate::inproc;
    use crate::plan::CpuPlan;
    use crate::workload::{Case, Ninefold};

    /// As small as a crowd of a thousand can be; the cases check their own counts.
    #[test]
    fn every_savina_case_comes_to_its_result() {
        let cpus = CpuPlan::of_host(&Facts::capture());
        let cpu = u32::try_from(cpus.server[0]).unwrap();
        for case in Case::SAVINA {
            for amount in [1, 999] {
                let runtime = inproc::start_on(vec![cpu], 1).unwrap();
                let found = inproc::run_on(&runtime.handle(), 0, move || async move {
                    let round = case.round::<Ninefold>(amount);
                    let within = std::time::Duration::from_secs(10);
                    Ok(ninefold_runtime::timeout(within, round)
                        .await
                        .map_err(|_| amount))
                });
                let found = found
                    .unwrap()
                    .unwrap_or_else(|_| panic!("{case:?} {amount} hangs"));
                assert!(found.unwrap()[0] > 0.0, "{case:?} {amount}");
            }
        }
    }
}
