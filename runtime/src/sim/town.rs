//! The shards of a simulation and how they are driven, from the first step to the quiet end.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::shards::{self, Shards};
use super::world::{self, World};
use super::{Fault, Report, SimConfig, check, sabotage, workload};
use crate::blocking::Work;
use crate::handle::Handle;
use crate::mesh::Lane;
use crate::runtime::{Config, SchedulingGroup, Shared};
use crate::sched::Policy;
use crate::shard::{Next, Phase, Shard};
use crate::task::Wakee;

/// Shards of a simulation.
const SHARDS_MAX: u64 = 4;
/// Steps after which the end must be quiet.
const QUIET_STEPS: u64 = 200_000;
/// The longest jump of the clock.
const JUMP_NS: u64 = 4_000_000_000;
/// Share of the seeds that stop everything in the middle instead of waiting for the quiet end.
const ABRUPT: f64 = 0.2;

/// Whether a shard runs or sleeps.
#[derive(Clone, Copy, Debug)]
enum Nap {
    Awake,
    Asleep {
        /// When the park ends by itself.
        until: u64,
        /// When a wake-up that is under way arrives.
        woken_at: Option<u64>,
    },
}

/// All shards of a simulation.
pub(super) struct Town {
    seed: u64,
    steps: u64,
    world: Rc<World>,
    shared: Arc<Shared>,
    shards: Vec<Rc<Shard>>,
    naps: Vec<Nap>,
    /// A second wake-up, which ends the next sleep at once.
    echoes: Vec<bool>,
    policy: Policy,
    blocking: Receiver<Work>,
    wakes: Vec<Wakee>,
}

/// How the shards schedule in this seed.
fn scheduling(world: &World) -> Config {
    let group = |n: u64| SchedulingGroup {
        name: n.to_string(),
        shares: 1 + u32::try_from(world.below(1000)).unwrap_or(0),
    };
    Config {
        policy: match world.below(6) {
            0 => Policy::Fifo,
            1 => Policy::Edf,
            _ => Policy::Drr,
        },
        groups: (0..world.below(3)).map(group).collect(),
        turn_scale: [0.05, 0.5, 1.0, 1.0, 10.0][world.index(5)],
        ..Config::default()
    }
}

impl Town {
    /// Builds everything that `seed` says.
    pub(super) fn found(seed: u64, config: &SimConfig) -> io::Result<Self> {
        let world = World::new(seed, config);
        let count = 1 + world.index(usize::try_from(SHARDS_MAX).unwrap_or(1));
        let scheduling = scheduling(&world);
        let slots = [(); 2].map(|()| 2_usize << world.below(9));
        let seeds = || world.below(u64::MAX);
        let Shards {
            shared,
            all,
            blocking,
        } = shards::build(count, slots, &scheduling, &world.clock, seeds)?;
        Ok(Town {
            seed,
            steps: config.steps,
            world,
            shared,
            shards: all,
            naps: vec![Nap::Awake; count],
            echoes: vec![false; count],
            policy: scheduling.policy,
            blocking,
            wakes: Vec::new(),
        })
    }

    /// Runs it to its end.
    pub(super) fn live(mut self) -> Report {
        let world = self.world.clone();
        let inside = world.enter();
        *world.workloads.borrow_mut() = workload::choose(&world);
        let workloads = world.workloads.borrow().clone();
        for shard in &self.shards {
            let _entered = Shard::enter(shard.clone());
            workloads.iter().for_each(|workload| workload.begin(&world));
        }
        for _ in 0..self.steps {
            self.act();
            self.check();
            if world.is_violated() {
                break;
            }
        }
        let abrupt = world.chance(ABRUPT);
        if !world.is_violated() && !abrupt {
            self.calm_down();
        }
        if !world.is_violated() && !abrupt {
            workloads
                .iter()
                .for_each(|workload| workload.finish(&world, &self.shards));
            self.check_quiet();
        }
        let messages = |shard: &Rc<Shard>| shard.messages_handled();
        let messages = self.shards.iter().map(messages).sum();
        self.end();
        drop(workloads);
        drop(inside);
        Report {
            seed: self.seed,
            steps: world.step.get(),
            messages,
            hash: world.hash(),
            violations: world.take_violations(),
        }
    }

    /// One step: something happens somewhere.
    fn act(&mut self) {
        let world = self.world.clone();
        world.step.set(world.step.get() + 1);
        world.spend(world.below(2_000));
        let any = world.index(self.shards.len());
        match world.below(200) {
            0 => world.spend(world.span(JUMP_NS)),
            1..16 => self.inject(any),
            16..19 => self.work_off(),
            19..22 => {
                let turns = u32::try_from(1 + world.below(64)).unwrap_or(1);
                self.shards[any].set_turns_a_tick(turns);
            }
            22 => self.echoes[any] = true,
            23..25 => self.rouse(any),
            25 if world.chance(0.02) => self.drain(),
            _ => self.go_on_somewhere(),
        }
        self.gather_wake_ups();
        sabotage::work(&world, &self.shards[any]);
    }

    /// A thread outside the shards asks a workload to do something.
    fn inject(&self, at: usize) {
        let which = self.world.index(self.world.workloads.borrow().len());
        let asked = Handle::new(self.shared.clone()).spawn_on(at, move || async move {
            let workload = world::with(|world| world.workloads.borrow().get(which).cloned());
            if let Some(workload) = workload.flatten() {
                workload.poke().await;
            }
        });
        self.world.fold(
            "inject",
            &[at as u64, which as u64, u64::from(asked.is_ok())],
        );
    }

    /// Asks everything to finish; the runtime serves on.
    fn drain(&self) {
        self.world.fold("drain", &[]);
        self.shared.enter_phase(Phase::Draining);
    }

    /// A thread of the blocking pool takes a job.
    fn work_off(&self) {
        if let Ok(job) = self.blocking.try_recv() {
            self.world.fold("blocking", &[]);
            job();
        }
    }

    /// Lets an awake shard go on; when all sleep, time passes until one does not.
    fn go_on_somewhere(&mut self) {
        self.wake_who_is_due();
        let awake: Vec<usize> = (0..self.shards.len())
            .filter(|i| matches!(self.naps[*i], Nap::Awake))
            .collect();
        if awake.is_empty() {
            self.pass_time();
        } else {
            self.go_on(awake[self.world.index(awake.len())]);
        }
    }

    fn go_on(&mut self, at: usize) {
        let world = self.world.clone();
        let shard = Shard::enter(self.shards[at].clone());
        // What others send may not be seen before the next step: messages cross on their way.
        let lanes = [Lane::Express, Lane::Bulk].map(|lane| (lane, world.unrest(0.2)));
        let unseen = lanes.map(|(lane, late)| {
            (
                lane,
                if late {
                    shard.mesh.hide(&shard, lane)
                } else {
                    0
                },
            )
        });
        let next = shard.step(&mut self.wakes);
        for (lane, peers) in unseen {
            shard.doorbell().put_back(lane, peers);
        }
        let stats = shard.stats();
        let state = [
            at as u64,
            next as u64,
            stats.turns.get(),
            stats.messages.get(),
            shard.envelopes.live() as u64,
            stats.mesh_sent.get(),
            stats.mesh_received.get(),
            stats.timers_fired.get(),
        ];
        world.fold("step", &state);
        if next != Next::Rest || world.unrest(0.3) {
            return;
        }
        let Some(timeout) = shard.fall_asleep() else {
            return;
        };
        let echo = std::mem::take(&mut self.echoes[at]);
        self.naps[at] = Nap::Asleep {
            until: if world.is_broken(Fault::LostWakeUp) {
                u64::MAX
            } else {
                world.now() + timeout
            },
            woken_at: echo.then(|| world.now()),
        };
        world.fold("sleep", &[at as u64, timeout]);
    }

    /// The earliest moment at which a sleeper wakes comes.
    fn pass_time(&self) {
        let due = self.naps.iter().filter_map(|nap| match nap {
            Nap::Awake => None,
            Nap::Asleep { until, woken_at } => Some(woken_at.map_or(*until, |at| at.min(*until))),
        });
        if let Some(at) = due.min().filter(|at| *at < u64::MAX) {
            self.world.spend(at.saturating_sub(self.world.now()));
        }
    }

    fn wake_who_is_due(&mut self) {
        let now = self.world.now();
        for at in 0..self.shards.len() {
            if let Nap::Asleep { until, woken_at } = self.naps[at]
                && (until <= now || woken_at.is_some_and(|at| at <= now))
                && !self.world.unrest(0.2)
            {
                self.rouse(at);
            }
        }
    }

    /// Ends the sleep of a shard, with or without a reason.
    fn rouse(&mut self, at: usize) {
        let Nap::Asleep { woken_at, .. } = self.naps[at] else {
            return;
        };
        // A wake-up that comes after its sleeper has woken by itself ends the next sleep.
        let later = woken_at.is_some_and(|woken| woken > self.world.now());
        self.echoes[at] |= later;
        self.naps[at] = Nap::Awake;
        self.shards[at].wake_up();
        self.world.fold("wake", &[at as u64]);
    }

    /// Decides when the wake-ups that were sent arrive.
    fn gather_wake_ups(&mut self) {
        let world = &self.world;
        for (at, port) in self.shared.ports.iter().enumerate() {
            if !port.take_wake_up() {
                continue;
            }
            match &mut self.naps[at] {
                Nap::Awake => self.echoes[at] = true,
                Nap::Asleep { .. } if world.is_broken(Fault::LostWakeUp) => {}
                Nap::Asleep { until, woken_at } => {
                    let now = world.now();
                    let arrives = match world.below(if world.calm.get() { 1 } else { 10 }) {
                        0..6 => now,
                        6..9 => now + world.span(1_000_000),
                        // Lost: only the end of the park helps.
                        _ => *until,
                    };
                    *woken_at = Some(woken_at.map_or(arrives, |before| before.min(arrives)));
                }
            }
        }
    }

    fn check(&self) {
        let world = &self.world;
        for (shard, nap) in self.shards.iter().zip(&self.naps) {
            check::shard(world, shard, self.policy);
            let Nap::Asleep { woken_at: None, .. } = nap else {
                continue;
            };
            let doorbell = shard.doorbell();
            let holds = [
                ("frames", shard.mesh.has_arrivals()),
                ("unpublished frames", shard.mesh.is_dirty()),
                ("an express ring", doorbell.is_rung(Lane::Express)),
                ("a bulk ring", doorbell.is_rung(Lane::Bulk)),
                ("jobs from outside", doorbell.is_injected()),
                ("ready actors", !shard.ready.is_empty()),
            ];
            for (what, _) in holds.into_iter().filter(|(_, there)| *there) {
                let details = format!("{what}, and no wake-up is under way");
                world.violated("nobody sleeps with work waiting", Some(shard.id()), details);
            }
        }
        check::all(world, &self.shards);
    }

    /// Nobody starts anything new; everything that is under way comes to its end.
    fn calm_down(&mut self) {
        let world = self.world.clone();
        world.calm.set(true);
        world.fold("calm", &[]);
        self.drain();
        // Wake-ups that were late or lost arrive; from here on all are in time.
        (0..self.shards.len()).for_each(|at| self.rouse(at));
        for _ in 0..QUIET_STEPS {
            world.step.set(world.step.get() + 1);
            world.spend(1_000);
            self.work_off();
            self.go_on_somewhere();
            self.gather_wake_ups();
            self.check();
            if world.is_violated() || self.is_quiet() {
                return;
            }
        }
        let left = self.shards.iter().map(|shard| {
            let stats = shard.stats();
            let tasks = stats.tasks_spawned.get() - stats.tasks_ended.get();
            let doorbell = shard.doorbell();
            format!(
                "{} messages, {tasks} tasks, parks {} ns, arrivals {}, rung {} {} {}, blocked {}",
                shard.envelopes.live(),
                shard.park_ns(),
                shard.mesh.has_arrivals(),
                doorbell.is_rung(Lane::Express),
                doorbell.is_rung(Lane::Bulk),
                doorbell.is_injected(),
                stats.mesh_blocked.get()
            )
        });
        let left: Vec<String> = left.collect();
        world.violated("the end is quiet", None, left.join("; "));
    }

    fn is_quiet(&self) -> bool {
        let idle = |shard: &Rc<Shard>| shard.timers.borrow().next_ns().is_none();
        self.naps
            .iter()
            .all(|nap| matches!(nap, Nap::Asleep { woken_at: None, .. }))
            && self.shards.iter().all(idle)
            && self.blocking.is_empty()
    }

    fn check_quiet(&self) {
        let world = &self.world;
        for shard in &self.shards {
            let stats = shard.stats();
            let tasks = stats.tasks_spawned.get() - stats.tasks_ended.get();
            let (messages, calls) = (shard.envelopes.live(), shard.replies.open_count());
            if messages > 0 || tasks > 0 || calls > 0 {
                let details = format!("{messages} messages, {tasks} tasks, {calls} calls");
                world.violated("nothing is left at the end", Some(shard.id()), details);
            }
        }
        self.check_letters();
    }

    fn check_letters(&self) {
        let left = self.world.letters.under_way();
        self.world
            .expect(left.is_empty(), "no message is lost", || {
                format!(
                    "{} letters did not arrive, the first is {:?}",
                    left.len(),
                    left.first()
                )
            });
    }

    /// Stops everything, and sees that nothing is left.
    fn end(&mut self) {
        self.shared.enter_phase(Phase::Stopping);
        for shard in &self.shards {
            let shard = Shard::enter(shard.clone());
            shard.stop_everything();
        }
        let was_sound = !self.world.is_violated();
        for shard in self.shards.iter().filter(|_| was_sound) {
            let left = (
                shard.slots.live(),
                shard.envelopes.live(),
                shard.replies.open_count(),
            );
            if left != (0, 0, 0) {
                let details = format!("{left:?} slots, messages, calls");
                self.world
                    .violated("nothing outlives its shard", Some(shard.id()), details);
            }
        }
        while self.blocking.try_recv().is_ok() {}
        self.shards.clear();
        if was_sound {
            self.check_letters();
        }
    }
}
