//! What a run is told: the phase, its length, and which CPUs do what.

use std::path::PathBuf;

use ninefold_tuning::Facts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gate::slo::ClaimTerms;
use crate::workload::Depth;

/// Messages per second of the sustained scenarios unless `--rate` says otherwise.
pub const RATE_DEFAULT: f64 = 100_000.0;

/// The phases of the suite, as the ancestor had them, and a short one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Every scenario, short: for CI, where only counts and ratios gate.
    Quick,
    /// The undisturbed node: throughput and latency; its report becomes the stored baseline.
    Baseline,
    /// Floods and twice the rated load: isolation, shedding, recovery.
    Overload,
    /// All of it.
    Full,
}

impl Phase {
    /// Its name on the command line and in the objectives file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Baseline => "baseline",
            Self::Overload => "overload",
            Self::Full => "full",
        }
    }
}

/// Which CPUs serve and which generate load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CpuPlan {
    /// CPUs of the node under test.
    pub server: Vec<usize>,
    /// CPUs of the load generators.
    pub client: Vec<usize>,
    /// Server and clients share a CPU: the figures hold for both together.
    pub shared: bool,
}

impl CpuPlan {
    /// Divides the allowed CPUs: the first to the server, the last to the clients, what lies
    /// between to the server; a quarter of a large machine generates load.
    #[must_use]
    pub fn divide(allowed: &[usize]) -> Self {
        let clients = (allowed.len() / 4).max(1);
        let (server, client) = allowed.split_at(allowed.len().saturating_sub(clients));
        let shared = server.is_empty();
        let server = if shared { client } else { server };
        Self {
            server: server.to_vec(),
            client: client.to_vec(),
            shared,
        }
    }

    /// Divides the CPUs that this process may use.
    #[must_use]
    pub fn of_host(facts: &Facts) -> Self {
        let allowed: Vec<usize> = facts
            .cpu
            .topology
            .allowed_cpus()
            .map(|cpu| cpu.id as usize)
            .collect();
        Self::divide(&allowed)
    }

    /// One sentence for the report.
    #[must_use]
    pub fn sentence(&self) -> String {
        if self.shared {
            return format!("server and clients share CPU {:?}", self.client);
        }
        format!(
            "server on CPU {:?}, clients on {:?}",
            self.server, self.client
        )
    }
}

/// One run of the suite.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The phase.
    pub phase: Phase,
    /// `--seconds`: measured time of each timed scenario.
    pub seconds: Option<f64>,
    /// `--rate`: messages per second of open-loop scenarios.
    pub rate: Option<f64>,
    /// `--connections`: how many `c1m` opens.
    pub connections: Option<u64>,
    /// Seed of every schedule and resampling.
    pub seed: u64,
    /// Who runs where.
    pub cpus: CpuPlan,
    /// This program, to start its hidden subcommands.
    pub exe: PathBuf,
    /// Directory of the report, also for logs of the node under test.
    pub out: PathBuf,
    /// Claims that scenarios collect evidence for.
    pub claims: Vec<ClaimTerms>,
}

impl Plan {
    /// `--seconds`, else `quick` in the quick phase and `thorough` in the others.
    #[must_use]
    pub fn seconds_or(&self, quick: f64, thorough: f64) -> f64 {
        self.seconds.unwrap_or(if self.phase == Phase::Quick {
            quick
        } else {
            thorough
        })
    }

    /// `--rate`, else the rated load.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate.unwrap_or(RATE_DEFAULT)
    }

    /// `quick` repetitions in the quick phase, `thorough` in the others.
    #[must_use]
    pub fn rounds(&self, quick: usize, thorough: usize) -> usize {
        if self.phase == Phase::Quick {
            quick
        } else {
            thorough
        }
    }

    /// How much the common workload does in a round.
    #[must_use]
    pub(crate) fn depth(&self) -> Depth {
        if self.phase == Phase::Quick {
            Depth::Quick
        } else {
            Depth::Thorough
        }
    }

    /// The deadline that a claim sets for `scenario`, in ns, if one does.
    #[must_use]
    pub fn deadline_ns(&self, scenario: &str) -> Option<u64> {
        let claim = self
            .claims
            .iter()
            .find(|claim| claim.scenario == scenario)?;
        Some(claim.deadline_ns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_divided_first_to_server_last_to_client() {
        let plan = CpuPlan::divide(&[0, 1]);
        assert_eq!(
            (plan.server, plan.client, plan.shared),
            (vec![0], vec![1], false)
        );
        let plan = CpuPlan::divide(&[4]);
        assert_eq!(
            (plan.server, plan.client, plan.shared),
            (vec![4], vec![4], true)
        );
        let plan = CpuPlan::divide(&(0..8).collect::<Vec<_>>());
        assert_eq!((plan.server.len(), plan.client), (6, vec![6, 7]));
    }
}
