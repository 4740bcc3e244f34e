//! How long a message of the high class takes to its handler on a shard that has no time: to an
//! idle actor of a flooded shard, and to an actor whose own mailbox is the flood; from the shard
//! beside it, and from a task of the same shard.

use std::process;
use std::time::Duration;

use ninefold_runtime::{
    Actor, Address, Class, Context, Handle, Handler, Message, SendError, SpawnOptions, sleep,
    spawn_actor, spawn_local_in, yield_now,
};
use ninefold_tuning::facts::process::context_switches;

use super::{Scenario, ScenarioError};
use crate::inproc::{self, CALL_WITHIN, refused};
use crate::load::flood;
use crate::load::schedule::{Arrival, Schedule};
use crate::measure::clock;
use crate::measure::hist::Latency;
use crate::plan::{Phase, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::Unit;
use crate::workload::Latch;

/// Probes per second: what the peers were measured with.
const RATE: f64 = 2_000.0;
/// Time for the flood to settle before probing.
const SETTLE: Duration = Duration::from_millis(300);
/// How long probes may be awaited after the last was sent, in ns.
const DRAIN_NS: u64 = 2_000_000_000;
/// Messages that always wait in the mailbox of the busy actor, and the length of their handler.
const QUEUED: usize = 1_000;
const WORK_NS: u64 = 1_000;
/// Room for those and for the probes of a long pause of the host.
const CAPACITY: u32 = 1 << 16;

pub(super) struct IsolationActors;

impl Scenario for IsolationActors {
    fn id(&self) -> &'static str {
        "isolation_actors"
    }

    fn describe(&self) -> &'static str {
        "high-class messages to an idle actor of a flooded shard, and to a flooded actor"
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Quick, Phase::Overload, Phase::Full]
    }

    fn run(
        &self,
        plan: &Plan,
        recorder: &mut Recorder,
        progress: &Progress,
    ) -> Result<(), ScenarioError> {
        let seconds = plan.seconds_or(6.0, 20.0) / 2.0;
        progress.doing("isolation: idle actor, flooded shard");
        recorder.note(format!(
            "isolation.high: the flood is {}",
            flood::DESCRIPTION
        ));
        let runtime = inproc::start(plan, 2)?;
        if runtime.plan().oversubscribed {
            recorder.note("isolation: prober and flooded shard share one CPU");
        }
        let handle = runtime.handle();
        let mut probe = Probe {
            plan,
            recorder,
            handle: &handle,
        };
        inproc::run_on(&handle, 0, || async {
            flood::start().map_err(refused("start the flood"))
        })?;
        probe.both("isolation.high", seconds, Patient::idle)?;
        let make = |intended_ns| Routine { intended_ns };
        probe.outside("isolation.normal", seconds / 2.0, Patient::idle, make)?;
        drop(runtime);

        progress.doing("isolation: busy actor");
        let runtime = inproc::start(plan, 2)?;
        let handle = runtime.handle();
        let mut probe = Probe {
            plan,
            recorder,
            handle: &handle,
        };
        probe.both("isolation.busy", seconds, Patient::busy)
    }
}

/// Sends probes to actors of shard 0, and records how late they are.
struct Probe<'a> {
    plan: &'a Plan,
    recorder: &'a mut Recorder,
    handle: &'a Handle,
}

impl Probe<'_> {
    /// High-class probes to what `start` starts, first from the shard beside it, then from within.
    fn both(&mut self, id: &str, seconds: f64, start: Start) -> Result<(), ScenarioError> {
        self.outside(id, seconds, start, |intended_ns| Urgent { intended_ns })?;
        self.inside(&format!("{id}_inside"), seconds, start)
    }

    /// Casts of shard 1 on an open-loop schedule: from the intended start to the handler.
    fn outside<M>(
        &mut self,
        id: &str,
        seconds: f64,
        start: Start,
        make: impl Fn(u64) -> M + Send + 'static,
    ) -> Result<(), ScenarioError>
    where
        M: Message,
        Patient: Handler<M>,
    {
        let patient = self.patient(start)?;
        let (schedule, handle) = (self.schedule(), self.handle);
        self.record(id, || {
            inproc::run_on(handle, 1, move || async move {
                let sent = send(patient, schedule, seconds, make).await?;
                answered(patient, sent).await
            })
        })
    }

    /// Casts of a high-class task of shard 0: from the cast to the handler, since the flood decides
    /// when that task runs.
    fn inside(&mut self, id: &str, seconds: f64, start: Start) -> Result<(), ScenarioError> {
        let patient = self.patient(start)?;
        let (schedule, handle) = (self.schedule(), self.handle);
        self.record(id, || {
            inproc::run_on(handle, 0, move || async move {
                let done = Latch::default();
                let prober = send_from_within(patient, schedule, seconds, done.clone());
                spawn_local_in(Class::High, prober).map_err(refused("start the prober"))?;
                answered(patient, done.wait().await).await
            })
        })
    }

    fn patient(&self, start: Start) -> Result<Address<Patient>, ScenarioError> {
        inproc::run_on(self.handle, 0, move || async move {
            let patient = start()?;
            sleep(SETTLE).await;
            Ok(patient)
        })
    }

    fn schedule(&self) -> Schedule {
        Schedule::new(Arrival::Poisson, RATE, self.plan.seed)
    }

    /// Records what `run` finds, and how often the host took a CPU from us meanwhile.
    fn record(
        &mut self,
        id: &str,
        run: impl FnOnce() -> Result<Latency, ScenarioError>,
    ) -> Result<(), ScenarioError> {
        let preempted = || context_switches(process::id()).map(|all| all.involuntary);
        let before = preempted();
        let latency = run()?;
        self.recorder.latency(id, &latency, Unit::Us);
        let us = |q| latency.at(q) as f64 / 1e3;
        let taken = preempted().zip(before).map_or_else(
            || "an unknown number of".to_owned(),
            |(after, before)| after.saturating_sub(before).to_string(),
        );
        self.recorder.note(format!(
            "{id}: p50 {:.2} us, p99 {:.2} us of {} probes, during {taken} involuntary context \
             switches",
            us(0.5),
            us(0.99),
            latency.n()
        ));
        Ok(())
    }
}

/// Starts the actor that is probed.
type Start = fn() -> Result<Address<Patient>, ScenarioError>;

/// What the actor saw, once it has seen `sent` probes or they are overdue.
async fn answered(patient: Address<Patient>, sent: u64) -> Result<Latency, ScenarioError> {
    let give_up = clock::now_ns() + DRAIN_NS;
    loop {
        let seen = patient
            .call(Look, CALL_WITHIN)
            .await
            .map_err(refused("ask the probed actor"))?;
        if seen.n() == sent {
            // A busy actor must not disturb the next.
            patient.cast(Retire).map_err(refused("stop an actor"))?;
            return Ok(seen);
        }
        if clock::now_ns() > give_up {
            let found = format!("isolation: of {sent} probes {} arrived", seen.n());
            return Err(ScenarioError::Host(found));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Casts what `schedule` says for `seconds`; the number sent.
async fn send<M: Message>(
    patient: Address<Patient>,
    mut schedule: Schedule,
    seconds: f64,
    make: impl Fn(u64) -> M,
) -> Result<u64, ScenarioError>
where
    Patient: Handler<M>,
{
    let start = clock::now_ns();
    let end = start + clock::ns(seconds);
    let mut sent = 0;
    loop {
        let intended_ns = start + schedule.peek().at_ns;
        if intended_ns >= end {
            return Ok(sent);
        }
        while clock::now_ns() < intended_ns {
            yield_now().await;
        }
        schedule.take_next();
        let mut probe = make(intended_ns);
        // A full lane only delays the probe: its latency counts from the intended start.
        while let Err(why) = patient.cast(probe) {
            let SendError::Full(back) = why else {
                return Err(refused("probe an actor of a flooded shard")(why));
            };
            probe = back;
            yield_now().await;
        }
        sent += 1;
    }
}

/// Casts what `schedule` says for `seconds`, as far as it gets to run; sets `done` to the number
/// sent.
async fn send_from_within(
    patient: Address<Patient>,
    mut schedule: Schedule,
    seconds: f64,
    done: Latch<u64>,
) {
    let start = clock::now_ns();
    let mut sent = 0;
    loop {
        let at_ns = schedule.take_next().at_ns;
        if at_ns >= clock::ns(seconds) {
            return done.set(sent);
        }
        let ahead = (start + at_ns).saturating_sub(clock::now_ns());
        sleep(Duration::from_nanos(ahead)).await;
        let sent_ticks = clock::ticks();
        sent += u64::from(patient.cast(Near { sent_ticks }).is_ok());
        // The turn ends here: setting the next timer is no part of the way of a message.
        yield_now().await;
    }
}

/// The actor that is probed.
#[derive(Default)]
struct Patient {
    latency: Latency,
}

/// A high-class probe of another shard.
struct Urgent {
    intended_ns: u64,
}

/// A high-class probe of the same shard.
struct Near {
    sent_ticks: u64,
}

/// A probe of the normal class.
struct Routine {
    intended_ns: u64,
}

/// What keeps a busy actor busy: each makes another.
struct Work;

struct Look;

struct Retire;

impl Patient {
    fn idle() -> Result<Address<Self>, ScenarioError> {
        let options = SpawnOptions {
            capacity: CAPACITY,
            ..SpawnOptions::default()
        };
        spawn_actor(options, Self::default()).map_err(refused("start the probed actor"))
    }

    fn busy() -> Result<Address<Self>, ScenarioError> {
        let patient = Self::idle()?;
        for _ in 0..QUEUED {
            patient.cast(Work).map_err(refused("flood an actor"))?;
        }
        Ok(patient)
    }
}

impl Actor for Patient {}
impl Message for Urgent {
    type Reply = ();
    const CLASS: Class = Class::High;
}
impl Message for Near {
    type Reply = ();
    const CLASS: Class = Class::High;
}
impl Message for Routine {
    type Reply = ();
}
impl Message for Work {
    type Reply = ();
}
impl Message for Look {
    type Reply = Latency;
}
impl Message for Retire {
    type Reply = ();
    const CLASS: Class = Class::High;
}
impl Handler<Urgent> for Patient {
    fn handle(&mut self, urgent: Urgent, _: &mut Context<'_, Self>) {
        self.latency.record(clock::now_ns() - urgent.intended_ns);
    }
}
impl Handler<Near> for Patient {
    fn handle(&mut self, near: Near, _: &mut Context<'_, Self>) {
        let span = clock::ticks() - near.sent_ticks;
        self.latency.record(clock::ticks_to_ns(span));
    }
}
impl Handler<Routine> for Patient {
    fn handle(&mut self, routine: Routine, _: &mut Context<'_, Self>) {
        self.latency.record(clock::now_ns() - routine.intended_ns);
    }
}
impl Handler<Work> for Patient {
    fn handle(&mut self, work: Work, context: &mut Context<'_, Self>) {
        clock::spin_for(WORK_NS);
        // As many as it was started with, in a mailbox with room for more: never full.
        let _ = context.address().cast(work);
    }
}
impl Handler<Look> for Patient {
    fn handle(&mut self, _: Look, _: &mut Context<'_, Self>) -> Latency {
        self.latency.clone()
    }
}
impl Handler<Retire> for Patient {
    fn handle(&mut self, _: Retire, context: &mut Context<'_, Self>) {
        context.stop();
    }
}
