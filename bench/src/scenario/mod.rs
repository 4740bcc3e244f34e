//! Scenarios: each measures one thing on real parts and leaves metrics behind.

mod calibration;

use crate::load::spec::LoadError;
use crate::plan::{Phase, Plan};
use crate::process::ProcessError;
use crate::progress::Progress;
use crate::recorder::Recorder;

/// One thing that is measured.
pub trait Scenario {
    /// Its name for `--only`, and the first part of its metric ids.
    fn id(&self) -> &'static str;

    /// One sentence on what is done and counted.
    fn describe(&self) -> &'static str;

    /// The phases it belongs to.
    fn phases(&self) -> &'static [Phase];

    /// Runs it. What it could not measure stays absent from the recorder.
    ///
    /// # Errors
    /// When the scenario as a whole could not run; the others still do.
    fn run(
        &self,
        plan: &Plan,
        recorder: &mut Recorder,
        progress: &Progress,
    ) -> Result<(), ScenarioError>;
}

/// Why a scenario could not run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A process of its own failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A generator could not do its work.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The host lacks something.
    #[error("{0}")]
    Host(String),
}

/// All scenarios, in the order they run.
#[must_use]
pub fn all() -> Vec<Box<dyn Scenario>> {
    vec![Box::new(calibration::Calibration)]
}
