//! What still answers while a shard is flooded: the control plane over TCP, and an actor that gets
//! a message of the high class.

use std::time::Duration;

use ninefold_runtime::{
    Actor, Address, Class, Context, Handle, Handler, Message, SendError, SpawnOptions, spawn_actor,
    yield_now,
};

use super::{Scenario, ScenarioError};
use crate::inproc::{self, CALL_WITHIN, refused};
use crate::load::schedule::{Arrival, Schedule};
use crate::load::spec::{LoadSpec, Pace};
use crate::load::wire::Wire;
use crate::load::{flood, remote};
use crate::measure::clock;
use crate::measure::hist::Latency;
use crate::node::{NodeProcess, NodeSpec};
use crate::plan::{Phase, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::Unit;

/// Probes per second: what the peers were measured with.
const RATE: f64 = 2_000.0;
/// Deadline of a health check, in ns.
const DEADLINE_NS: u64 = 50_000_000;
/// Time for the flood to settle before probing.
const SETTLE: Duration = Duration::from_millis(300);
/// How long answers may be awaited after the last probe, in ns.
const DRAIN_NS: u64 = 2_000_000_000;

pub(super) struct Isolation;

impl Scenario for Isolation {
    fn id(&self) -> &'static str {
        "isolation"
    }

    fn describe(&self) -> &'static str {
        "a flooded shard: health over TCP, and high-class messages to an idle actor on it"
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
        let seconds = plan.seconds_or(6.0, 20.0);
        recorder.note(format!("isolation: the flood is {}", flood::DESCRIPTION));
        progress.doing("isolation: control plane");
        control(plan, recorder, seconds)?;
        progress.doing("isolation: high-class messages");
        messages(plan, recorder, seconds)
    }
}

/// GET /health of a node whose one shard is flooded, while nobody else asks it anything.
fn control(plan: &Plan, recorder: &mut Recorder, seconds: f64) -> Result<(), ScenarioError> {
    let spec = NodeSpec {
        flood: true,
        ..NodeSpec::one_shard(plan)
    };
    let node = NodeProcess::start(plan, &spec)?;
    let client = plan.cpus.client.last().copied();
    let control = node.ready.control_cpu as usize;
    if node.ready.control_shared {
        recorder.note("isolation.control: one CPU for shard, control plane and prober");
    } else if Some(control) == client {
        recorder.note(format!(
            "isolation.control: control plane and prober share CPU {control}, the shard has its own"
        ));
    }
    let turns = || node.scrape("ninefold_messages_total");
    let (handled, start) = (turns()?, clock::now_ns());
    let spec = LoadSpec {
        target: node.ready.admin,
        wire: Wire::Get,
        path: "/health".into(),
        message_bytes: 0,
        connections: 4,
        pipeline: 1,
        pace: Pace::Open {
            rate: RATE,
            arrival: Arrival::Poisson,
            seed: plan.seed,
        },
        warmup_seconds: SETTLE.as_secs_f64(),
        seconds,
        drain_seconds: 2.0,
        deadline_ns: DEADLINE_NS,
        cpu: client,
        spin: Some(control) != client && !plan.cpus.shared,
        server_pid: Some(node.pid()),
    };
    let result = remote::run(plan, &spec)?;
    recorder.open_loop("isolation.control", &result, DEADLINE_NS)?;
    let handled = turns()? - handled;
    let flood_seconds = (clock::now_ns() - start) as f64 / 1e9;
    recorder.metric(
        "isolation.flood.per_s",
        handled / flood_seconds,
        Unit::PerSecond,
        result.offered,
    );
    node.finish()?;
    Ok(())
}

/// High-class and normal messages to an idle actor of the flooded shard, from the shard beside it
/// and from a task on the flooded shard itself.
fn messages(plan: &Plan, recorder: &mut Recorder, seconds: f64) -> Result<(), ScenarioError> {
    let shards = if plan.cpus.shared { 1 } else { 2 };
    let runtime = inproc::start(plan, shards)?;
    let handle = runtime.handle();
    inproc::run_on(&handle, 0, || async {
        flood::start().map_err(refused("start the flood"))?;
        ninefold_runtime::sleep(SETTLE).await;
        Ok(())
    })?;
    let from = shards - 1;
    let probe = Probe {
        plan,
        handle: &handle,
        from,
    };
    let high = probe.run(seconds, |intended_ns| Urgent { intended_ns })?;
    recorder.latency("isolation.high", &high, Unit::Us);
    let normal = probe.run(seconds / 3.0, |intended_ns| Routine { intended_ns })?;
    recorder.latency("isolation.normal", &normal, Unit::Us);
    if from == 0 {
        recorder.note("isolation.high: the prober is a task of the flooded shard itself");
    }
    Ok(())
}

/// Where probes come from.
struct Probe<'a> {
    plan: &'a Plan,
    handle: &'a Handle,
    from: usize,
}

impl Probe<'_> {
    /// Casts messages on an open-loop schedule to a fresh actor on shard 0, which keeps how late
    /// each reached its handler.
    fn run<M>(
        &self,
        seconds: f64,
        make: impl Fn(u64) -> M + Send + 'static,
    ) -> Result<Latency, ScenarioError>
    where
        M: Message,
        Patient: Handler<M>,
    {
        let patient: Address<Patient> = inproc::run_on(self.handle, 0, || async {
            let options = SpawnOptions {
                capacity: 1 << 16,
                ..SpawnOptions::default()
            };
            spawn_actor(options, Patient::default()).map_err(refused("start the probed actor"))
        })?;
        let schedule = Schedule::new(Arrival::Poisson, RATE, self.plan.seed);
        inproc::run_on(self.handle, self.from, move || async move {
            let sent = send(patient, schedule, seconds, make).await?;
            answered(patient, sent).await
        })
    }
}

/// What the actor saw, once it has seen `sent` probes or they are overdue.
async fn answered(patient: Address<Patient>, sent: u64) -> Result<Latency, ScenarioError> {
    let give_up = clock::now_ns() + DRAIN_NS;
    loop {
        let seen = patient
            .call(Look, CALL_WITHIN)
            .await
            .map_err(refused("ask the probed actor"))?;
        if seen.n() == sent {
            return Ok(seen);
        }
        if clock::now_ns() > give_up {
            let found = format!("isolation: of {sent} probes {} arrived", seen.n());
            return Err(ScenarioError::Host(found));
        }
        ninefold_runtime::sleep(Duration::from_millis(20)).await;
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

/// The idle actor of a flooded shard.
#[derive(Default)]
struct Patient {
    latency: Latency,
}

struct Urgent {
    intended_ns: u64,
}

struct Routine {
    intended_ns: u64,
}

struct Look;

impl Actor for Patient {}
impl Message for Urgent {
    type Reply = ();
    const CLASS: Class = Class::High;
}
impl Message for Routine {
    type Reply = ();
}
impl Message for Look {
    type Reply = Latency;
}
impl Handler<Urgent> for Patient {
    fn handle(&mut self, urgent: Urgent, _: &mut Context<'_, Self>) {
        self.latency.record(clock::now_ns() - urgent.intended_ns);
    }
}
impl Handler<Routine> for Patient {
    fn handle(&mut self, routine: Routine, _: &mut Context<'_, Self>) {
        self.latency.record(clock::now_ns() - routine.intended_ns);
    }
}
impl Handler<Look> for Patient {
    fn handle(&mut self, _: Look, _: &mut Context<'_, Self>) -> Latency {
        self.latency.clone()
    }
}
