//! Actors as such: starting many, what one weighs, restarting one, finding one by name; and the
//! way to the blocking pool and back.

use ninefold_runtime::{
    Actor, Address, Context, Handler, Message, SpawnOptions, blocking, lookup, register,
    spawn_actor, yield_now,
};
use ninefold_tuning::facts::process;

use super::mailbox::{Sink, sink};
use super::{Scenario, ScenarioError};
use crate::inproc::{self, CALL_WITHIN, refused};
use crate::measure::clock;
use crate::measure::hist::Latency;
use crate::plan::{Phase, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::Unit;
use crate::workload;

/// Actors started between two yields.
const SPAWN_BURST: u64 = 4096;
/// Names in the small registry.
const NAMES: usize = 1_000;
/// Names in the large one.
const NAMES_LARGE: usize = 1_000_000;

pub(super) struct Actors;

impl Scenario for Actors {
    fn id(&self) -> &'static str {
        "actor"
    }

    fn describe(&self) -> &'static str {
        "one shard: spawn rate, memory of idle actors, restart after a panic, registry, pool"
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
        progress.doing("actor: spawn");
        crowds(plan, recorder)?;
        let runtime = inproc::start(plan, 1)?;
        let handle = runtime.handle();

        progress.doing("actor: restart");
        let restarts = plan.rounds(20_000, 200_000) as u64;
        let restarted = inproc::run_on(&handle, 0, move || async move {
            Ok(workload::restart(restarts, false).await?)
        })?;
        recorder.latency("actor.restart", &restarted, Unit::Us);

        progress.doing("actor: registry");
        let (rounds, seed) = (plan.rounds(5, 15), plan.seed);
        let lookups = move |names| move || look_up(names, rounds, seed);
        let n = (rounds * LOOKUPS) as u64;
        let found = inproc::run_on(&handle, 0, lookups(NAMES))?;
        recorder.samples("registry.lookup.ns", &found, Unit::Ns, n);
        if plan.phase == Phase::Full {
            let found = inproc::run_on(&handle, 0, lookups(NAMES_LARGE))?;
            recorder.samples("registry.lookup_1m.ns", &found, Unit::Ns, n);
        }

        progress.doing("actor: blocking pool");
        let trips = plan.rounds(5_000, 50_000);
        let trips = inproc::run_on(&handle, 0, move || round_trips(trips))?;
        recorder.latency("pool.roundtrip", &trips, Unit::Us);
        Ok(())
    }
}

/// An actor with nothing to do.
struct Resting(u64);

struct Name;

impl Actor for Resting {}
impl Message for Name {
    type Reply = u64;
}
impl Handler<Name> for Resting {
    fn handle(&mut self, _: Name, _: &mut Context<'_, Self>) -> u64 {
        self.0
    }
}

/// What one crowd of actors took.
struct Crowd {
    per_s: f64,
    rss_bytes: Option<u64>,
}

/// Crowds of idle actors, each on a runtime of its own. Only the first is weighed: what later ones
/// take may be memory that the first gave back to the allocator.
fn crowds(plan: &Plan, recorder: &mut Recorder) -> Result<(), ScenarioError> {
    let count = plan.rounds(200_000, 1_000_000) as u64;
    let mut rates = Vec::new();
    for round in 0..plan.rounds(3, 5) {
        let runtime = inproc::start(plan, 1)?;
        let crowd = inproc::run_on(&runtime.handle(), 0, move || crowd(count))?;
        rates.push(crowd.per_s);
        if let (0, Some(bytes)) = (round, crowd.rss_bytes) {
            let each = bytes as f64 / count as f64;
            recorder.metric("actor.idle.bytes", each, Unit::Bytes, count);
        }
    }
    let n = count * rates.len() as u64;
    recorder.samples("actor.spawn.per_s", &rates, Unit::PerSecond, n);
    Ok(())
}

async fn crowd(count: u64) -> Result<Crowd, ScenarioError> {
    // The first actors bring in the code and the first chunks of every pool.
    let first = start_resting(0)?;
    let before = process::self_rss_bytes();
    let start = clock::now_ns();
    let mut last = first;
    for number in 1..=count {
        last = start_resting(number)?;
        if number % SPAWN_BURST == 0 {
            yield_now().await;
        }
    }
    let seconds = (clock::now_ns() - start) as f64 / 1e9;
    let after = process::self_rss_bytes();
    let answer = last
        .call(Name, CALL_WITHIN)
        .await
        .map_err(refused("ask the last of a crowd"))?;
    if answer != count {
        let found = format!("spawn: wanted {count} from the last actor, found {answer}");
        return Err(ScenarioError::Host(found));
    }
    Ok(Crowd {
        per_s: count as f64 / seconds,
        rss_bytes: after
            .zip(before)
            .map(|(now, then)| now.saturating_sub(then)),
    })
}

fn start_resting(number: u64) -> Result<Address<Resting>, ScenarioError> {
    spawn_actor(SpawnOptions::default(), Resting(number)).map_err(refused("start an actor"))
}

/// Lookups of one round.
const LOOKUPS: usize = 1_000_000;

/// Looks `names` names up in random order; ns each, one sample a round.
async fn look_up(names: usize, rounds: usize, seed: u64) -> Result<Vec<f64>, ScenarioError> {
    let address = sink()?;
    let names: Vec<String> = (0..names).map(|n| format!("{names}/actor-{n}")).collect();
    for name in &names {
        register(name, address).map_err(refused("register a name"))?;
    }
    let mut rng = fastrand::Rng::with_seed(seed);
    let order: Vec<&str> = (0..LOOKUPS)
        .map(|_| names[rng.usize(..names.len())].as_str())
        .collect();
    let mut samples = Vec::with_capacity(rounds);
    for _ in 0..=rounds {
        let start = clock::now_ns();
        let found = order
            .iter()
            .filter(|name| lookup::<Sink>(name).is_some())
            .count();
        samples.push((clock::now_ns() - start) as f64 / LOOKUPS as f64);
        if found != LOOKUPS {
            let why = format!("registry: wanted {LOOKUPS} names found, found {found}");
            return Err(ScenarioError::Host(why));
        }
        yield_now().await;
    }
    // The first round brings the table into the caches.
    samples.remove(0);
    Ok(samples)
}

/// Work that does nothing, to the blocking pool and back.
async fn round_trips(count: usize) -> Result<Latency, ScenarioError> {
    let mut latency = Latency::new();
    for number in 0..count {
        let start = clock::ticks();
        let answer = blocking(move || number)
            .await
            .map_err(refused("blocking pool"))?;
        latency.record(clock::ticks_to_ns(clock::ticks() - start));
        std::hint::black_box(answer);
    }
    Ok(latency)
}
