//! Cases of the common workload on our runtime, in this process.

use std::time::Duration;

use ninefold_runtime::timeout;

use super::ScenarioError;
use crate::inproc;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::workload::{Case, Ninefold};

/// How long one round may take before a message must have been lost.
const ROUND_WITHIN: Duration = Duration::from_secs(60);

/// Runs each case on a fresh shard, round after round, and records its metrics.
pub(super) fn measure(
    plan: &Plan,
    recorder: &mut Recorder,
    progress: &Progress,
    cases: &[Case],
) -> Result<(), ScenarioError> {
    for &case in cases {
        progress.doing(format!("{case:?}"));
        let rounds = plan.rounds(5, 15);
        let amount = case.amount(plan.depth());
        let runtime = inproc::start(plan, 1)?;
        let found = inproc::run_on(&runtime.handle(), 0, move || async move {
            let mut found = Vec::with_capacity(rounds);
            for _ in 0..rounds {
                let round = timeout(ROUND_WITHIN, case.round::<Ninefold>(amount));
                found.push(round.await.map_err(|_| overdue(case))??);
            }
            Ok(found)
        })?;
        for (index, &(id, unit)) in case.metrics().iter().enumerate() {
            let samples: Vec<f64> = found
                .iter()
                .filter_map(|round| round.get(index).copied())
                .collect();
            recorder.samples(id, &samples, unit, amount * samples.len() as u64);
        }
    }
    Ok(())
}

fn overdue(case: Case) -> ScenarioError {
    ScenarioError::Host(format!(
        "{case:?}: wanted the result of a round within {ROUND_WITHIN:?}, found none: a message \
         was lost or a handler panicked"
    ))
}
