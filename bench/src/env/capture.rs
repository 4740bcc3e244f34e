//! The environment block of a report.

use ninefold_tuning::{CheckOptions, Profile, check};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fitness::{Fitness, Signs};
use crate::plan::CpuPlan;

/// The host, as far as it matters for the figures.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Host facts, as `ninefold-tune` reads them, before the run.
    pub facts: Value,
    /// What `ninefold-tune check --profile bench` says of them: summary and settings.
    pub check: Value,
    /// What this host is fit for.
    pub fitness: Fitness,
    /// Who ran where.
    pub cpus: CpuPlan,
    /// CPU time stolen by the hypervisor during the run, in percent.
    pub steal_percent: Option<f64>,
    /// Share of time in which some task waited for a CPU while only the hiccup probes ran.
    pub quiet_pressure_share: Option<f64>,
}

impl Environment {
    /// Describes the host of a run from the facts before and after it.
    #[must_use]
    pub fn describe(signs: &Signs<'_>) -> Self {
        let earlier = Some(&signs.before.pressure);
        Self {
            // Facts are plain data: serialising them cannot fail.
            facts: serde_json::to_value(signs.before).unwrap_or_default(),
            check: tuning(signs),
            fitness: Fitness::of(signs),
            cpus: signs.cpus.clone(),
            steal_percent: signs.after.pressure.steal_percent(earlier),
            quiet_pressure_share: signs.quiet_pressure_share,
        }
    }
}

/// The tuning report without the facts, which stand beside it.
fn tuning(signs: &Signs<'_>) -> Value {
    let earlier = Some(Box::new(signs.before.clone()));
    let options = CheckOptions {
        profile: Profile::Bench,
        earlier,
        ..CheckOptions::default()
    };
    let report = check(signs.after, &options);
    json!({"profile": report.profile, "summary": report.summary, "settings": report.settings})
}
