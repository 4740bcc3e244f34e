//! A subset of Savina, the benchmark suite of actor libraries (Imam and Sarkar, "Savina – an actor
//! benchmark suite", AGERE! 2014), with its parameters.

use super::{Scenario, ScenarioError, cases};
use crate::plan::{Phase, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::workload::Case;

pub(super) struct Savina;

impl Scenario for Savina {
    fn id(&self) -> &'static str {
        "savina"
    }

    fn describe(&self) -> &'static str {
        "one shard: ping-pong, thread ring, counting, fork-join, big, chameneos and bank of Savina"
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
        cases::measure(plan, recorder, progress, &Case::SAVINA)
    }
}
