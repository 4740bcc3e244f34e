//! Fitness: what absolute figures measured on this host are worth.

use ninefold_tuning::Facts;
use ninefold_tuning::facts::virt::HostKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::clock::Drift;
use crate::measure::hiccup::Hiccups;
use crate::plan::CpuPlan;

/// Steal or CPU pressure beyond this share makes a host unfit.
const CONTENTION_MAX: f64 = 0.01;

/// Classes, best first. Absolute objectives gate on A and B only.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Class {
    /// Bare metal, isolated CPUs, fixed clock, no steal, hiccups below a tenth of the deadline.
    A,
    /// A tuned guest, hiccups below half of the deadline.
    B,
    /// Shared or untuned.
    C,
    /// Unfit: steal or pressure beyond 1 %, throttled, or a clock stepped.
    D,
}

/// A class with its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fitness {
    /// The class.
    pub class: Class,
    /// Everything that kept it from a better one, and what stood out.
    pub reasons: Vec<String>,
}

/// What a class follows from.
#[derive(Clone, Copy, Debug)]
pub struct Signs<'a> {
    /// The host before the run.
    pub before: &'a Facts,
    /// The host after the run.
    pub after: &'a Facts,
    /// Who ran where.
    pub cpus: &'a CpuPlan,
    /// The host floor, if it was probed.
    pub hiccups: &'a [Hiccups],
    /// Share of time with tasks waiting for a CPU while only the probes ran.
    pub quiet_pressure_share: Option<f64>,
    /// What the clocks did.
    pub clock: &'a Drift,
    /// The shortest deadline of a claim, in ns.
    pub deadline_ns: u64,
}

impl Fitness {
    /// Whether absolute objectives may gate here.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        self.class <= Class::B
    }

    /// Classifies the host of a run.
    #[must_use]
    pub fn of(signs: &Signs<'_>) -> Self {
        let mut fitness = Self {
            class: Class::A,
            reasons: Vec::new(),
        };
        fitness.contention(signs);
        fitness.floor(signs);
        fitness.settings(signs);
        fitness
    }

    fn lower(&mut self, class: Class, why: impl Into<String>) {
        self.class = self.class.max(class);
        self.reasons.push(format!("{class:?}: {}", why.into()));
    }

    fn contention(&mut self, signs: &Signs<'_>) {
        if !signs.clock.sound() {
            self.lower(
                Class::D,
                "a clock stepped or the machine was suspended during the run",
            );
        }
        let earlier = Some(&signs.before.pressure);
        if let Some(percent) = signs.after.pressure.steal_percent(earlier) {
            let share = percent / 100.0;
            if share > CONTENTION_MAX {
                self.lower(
                    Class::D,
                    format!("steal {percent:.2} % of CPU time, over 1 %"),
                );
            } else if share > 0.0 {
                self.lower(Class::B, format!("steal {percent:.3} % of CPU time"));
            }
        }
        if let Some(share) = signs
            .quiet_pressure_share
            .filter(|&share| share > CONTENTION_MAX)
        {
            let percent = share * 100.0;
            let why = format!("tasks waited for a CPU {percent:.1} % of a quiet time, over 1 %");
            self.lower(Class::D, why);
        }
        let throttled = |facts: &Facts| facts.cgroup.throttle.map_or(0, |t| t.throttled_us);
        let throttled_us = throttled(signs.after).saturating_sub(throttled(signs.before));
        if throttled_us > 0 {
            self.lower(
                Class::D,
                format!("throttled by its control group for {throttled_us} us"),
            );
        }
    }

    fn floor(&mut self, signs: &Signs<'_>) {
        let lost = signs
            .hiccups
            .iter()
            .map(|h| h.lost_share)
            .fold(0.0, f64::max);
        if lost > CONTENTION_MAX {
            let percent = lost * 100.0;
            let why = format!("the host took {percent:.2} % of a CPU's time in hiccups, over 1 %");
            self.lower(Class::D, why);
        }
        let Some(max_ns) = signs.hiccups.iter().map(|h| h.max_ns).max() else {
            return self.lower(Class::C, "the host floor was not measured");
        };
        let (max_us, deadline_us) = (max_ns / 1000, signs.deadline_ns / 1000);
        if max_ns >= signs.deadline_ns / 2 {
            let why = format!("longest hiccup {max_us} us, half the deadline is {deadline_us}/2");
            self.lower(Class::C, why);
        } else if max_ns >= signs.deadline_ns / 10 {
            let why = format!("longest hiccup {max_us} us, a tenth of the deadline is less");
            self.lower(Class::B, why);
        }
    }

    fn settings(&mut self, signs: &Signs<'_>) {
        match signs.before.virt.kind {
            HostKind::Bare => {}
            HostKind::Guest => self.lower(Class::B, "a virtual machine"),
            HostKind::Container => self.lower(Class::B, "a container: the kernel is shared"),
        }
        let topology = &signs.before.cpu.topology;
        let isolated =
            |cpu: &usize| u32::try_from(*cpu).is_ok_and(|cpu| topology.isolated.contains(cpu));
        let mut used = signs.cpus.server.iter().chain(&signs.cpus.client);
        if !used.all(isolated) {
            self.lower(Class::C, "the CPUs in use are not isolated");
        }
        if signs.cpus.shared {
            self.lower(Class::C, "server and clients share a CPU");
        }
        let governors = &signs.before.cpu.governors;
        if governors.keys().any(|governor| governor != "performance") {
            let names: Vec<_> = governors.keys().map(String::as_str).collect();
            self.lower(Class::C, format!("frequency governor {}", names.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::hiccup::probe;

    fn class(change: impl FnOnce(&mut Facts, &mut CpuPlan, &mut Drift, &mut Hiccups)) -> Fitness {
        let mut before = Facts::default();
        before.cpu.topology.isolated = "0-3".parse().unwrap();
        let mut cpus = CpuPlan::divide(&[0, 1, 2, 3]);
        let mut clock = Drift {
            elapsed_ns: 1,
            wall_step_ns: 0,
            suspended_ns: 0,
            slew_ppm: 0.0,
        };
        let mut quiet = probe(None, 0.001);
        (quiet.max_ns, quiet.lost_share) = (2_000, 0.0001);
        change(&mut before, &mut cpus, &mut clock, &mut quiet);
        Fitness::of(&Signs {
            before: &before,
            after: &before,
            cpus: &cpus,
            hiccups: &[quiet],
            quiet_pressure_share: Some(0.0),
            clock: &clock,
            deadline_ns: 1_000_000,
        })
    }

    #[test]
    fn each_class_is_reachable_and_says_why() {
        let best = class(|_, _, _, _| {});
        assert_eq!((best.class, best.reasons.len()), (Class::A, 0), "{best:?}");
        let guest = class(|facts, _, _, _| facts.virt.kind = HostKind::Guest);
        assert!(guest.class == Class::B && guest.is_fit());
        let shared = class(|_, cpus, _, _| *cpus = CpuPlan::divide(&[7]));
        assert!(shared.class == Class::C && !shared.is_fit() && shared.reasons.len() == 2);
        let stepped = class(|_, _, clock, _| clock.suspended_ns = 9_000_000);
        assert_eq!(stepped.class, Class::D);
        let lost = class(|_, _, _, hiccups| hiccups.lost_share = 0.025);
        assert_eq!(lost.class, Class::D);
        let slow = class(|_, _, _, hiccups| hiccups.max_ns = 600_000);
        assert_eq!(slow.class, Class::C);
    }
}
