//! Messages between actors of one shard: told, asked, thrown round, and between one and many.

use ninefold_runtime::{
    Actor, Address, Context, Handler, Message, SendError, SpawnOptions, spawn_actor, yield_now,
};

use super::{Scenario, ScenarioError, cases};
use crate::inproc::{self, CALL_WITHIN, refused};
use crate::measure::clock;
use crate::measure::hist::Latency;
use crate::plan::{Phase, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::Unit;
use crate::workload::Case;

/// Casts between two yields of the producer: what the peers were measured with.
pub(super) const BURST: u64 = 256;

pub(super) struct Mailbox;

impl Scenario for Mailbox {
    fn id(&self) -> &'static str {
        "mailbox"
    }

    fn describe(&self) -> &'static str {
        "one shard: casts to one actor, calls, a rally, a ring of 1,000, 100 to 1 and 1 to 100"
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Quick, Phase::Baseline, Phase::Full]
    }

    fn run(
        &self,
        plan: &Plan,
        recorder: &mut Recorder,
        progress: &Progress,
    ) -> Result<(), ScenarioError> {
        let runtime = inproc::start(plan, 1)?;
        let handle = runtime.handle();
        let rounds = plan.rounds(5, 15);

        progress.doing("mailbox: tell");
        let told = plan.rounds(1_000_000, 4_000_000) as u64;
        let streams = inproc::run_on(&handle, 0, move || async move {
            let sink = sink()?;
            tell(sink, told / 4).await?;
            let mut streams = Vec::with_capacity(rounds);
            for _ in 0..rounds {
                streams.push(tell(sink, told).await?);
            }
            Ok(streams)
        })?;
        record_streams(recorder, "mailbox.tell", &streams, told);

        progress.doing("mailbox: ask");
        let asked = plan.rounds(200_000, 2_000_000) as u64;
        let asks = inproc::run_on(&handle, 0, move || async move {
            let sink = sink()?;
            ask(sink, asked / 10).await?;
            ask(sink, asked).await
        })?;
        recorder.latency("mailbox.ask", &asks, Unit::Ns);

        let cases = [Case::PingPong, Case::Ring, Case::FanIn, Case::FanOut];
        cases::measure(plan, recorder, progress, &cases)
    }
}

/// Counts what it is told and answers what it is asked.
#[derive(Default)]
pub(super) struct Sink {
    handled: u64,
}

/// 24 bytes, the size that the peers were measured with.
pub(super) struct Tell([u64; 3]);

pub(super) struct Ask(pub(super) u64);

pub(super) struct Handled;

impl Actor for Sink {}
impl Message for Tell {
    type Reply = ();
}
impl Message for Ask {
    type Reply = u64;
}
impl Message for Handled {
    type Reply = u64;
}

impl Handler<Tell> for Sink {
    #[inline]
    fn handle(&mut self, tell: Tell, _: &mut Context<'_, Self>) {
        std::hint::black_box(tell.0);
        self.handled += 1;
    }
}
impl Handler<Ask> for Sink {
    #[inline]
    fn handle(&mut self, ask: Ask, _: &mut Context<'_, Self>) -> u64 {
        ask.0 + 1
    }
}
impl Handler<Handled> for Sink {
    fn handle(&mut self, _: Handled, _: &mut Context<'_, Self>) -> u64 {
        self.handled
    }
}

/// A sink on the current shard.
pub(super) fn sink() -> Result<Address<Sink>, ScenarioError> {
    spawn_actor(SpawnOptions::default(), Sink::default()).map_err(refused("start an actor"))
}

/// One stream of casts, from the first cast until the last message was handled.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    ns_each: f64,
    refused: u64,
}

/// Casts `messages` messages to `sink` and waits until it has handled them all.
pub(super) async fn tell(sink: Address<Sink>, messages: u64) -> Result<Stream, ScenarioError> {
    let before = handled(sink).await?;
    let (mut sent, mut refusals) = (0, 0);
    let start = clock::now_ns();
    while sent < messages {
        let end = messages.min(sent + BURST);
        while sent < end {
            match sink.cast(Tell([sent, start, 0])) {
                Ok(()) => sent += 1,
                Err(SendError::Full(_)) => {
                    refusals += 1;
                    break;
                }
                Err(why) => return Err(refused("tell")(why)),
            }
        }
        yield_now().await;
    }
    let handled = handled(sink).await? - before;
    let ns = clock::now_ns() - start;
    if handled != messages {
        let found = format!("tell: wanted {messages} messages handled, found {handled}");
        return Err(ScenarioError::Host(found));
    }
    Ok(Stream {
        ns_each: ns as f64 / messages as f64,
        refused: refusals,
    })
}

async fn handled(sink: Address<Sink>) -> Result<u64, ScenarioError> {
    loop {
        match sink.call(Handled, CALL_WITHIN).await {
            Err(ninefold_runtime::CallError::Full(_)) => yield_now().await,
            other => return other.map_err(refused("ask for the count")),
        }
    }
}

/// Streams as `<id>.ns`, and how often a full mailbox or lane made the producer yield.
pub(super) fn record_streams(recorder: &mut Recorder, id: &str, streams: &[Stream], each: u64) {
    let ns: Vec<f64> = streams.iter().map(|stream| stream.ns_each).collect();
    let refused: u64 = streams.iter().map(|stream| stream.refused).sum();
    let n = each * streams.len() as u64;
    recorder.samples(&format!("{id}.ns"), &ns, Unit::Ns, n);
    recorder.note(format!(
        "{id}: {refused} casts were refused and sent again after a yield, {n} were handled"
    ));
}

/// `asks` calls, one after the other; each span includes one reading of the counter.
pub(super) async fn ask(sink: Address<Sink>, asks: u64) -> Result<Latency, ScenarioError> {
    let mut latency = Latency::new();
    let mut last = clock::ticks();
    for number in 0..asks {
        let answer = sink
            .call(Ask(number), CALL_WITHIN)
            .await
            .map_err(refused("ask"))?;
        let now = clock::ticks();
        latency.record(clock::ticks_to_ns(now - last));
        if answer != number + 1 {
            let found = format!("ask: wanted {} back, found {answer}", number + 1);
            return Err(ScenarioError::Host(found));
        }
        last = clock::ticks();
    }
    Ok(latency)
}
