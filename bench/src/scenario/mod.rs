//! Scenarios: each measures one thing on real parts and leaves metrics behind.

mod actor;
mod calibration;
mod idle;
mod isolation;
mod mailbox;
mod mesh;
mod overload;
mod pauses;
mod sustained_http;
mod sustained_inproc;

use ninefold_runtime::StartError;
use ninefold_runtime::runtime::InjectError;

use crate::load::spec::LoadError;
use crate::measure::hist::DecodeError;
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
    /// A runtime in this process did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Work did not reach its shard or did not come back.
    #[error(transparent)]
    Inject(#[from] InjectError),
    /// A histogram from another process is damaged.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The host lacks something.
    #[error("{0}")]
    Host(String),
}

/// All scenarios, in the order they run.
#[must_use]
pub fn all() -> Vec<Box<dyn Scenario>> {
    vec![
        Box::new(calibration::Calibration),
        Box::new(mailbox::Mailbox),
        Box::new(actor::Actors),
        Box::new(mesh::Mesh),
        Box::new(isolation::Isolation),
        Box::new(sustained_inproc::SustainedInproc),
        Box::new(sustained_http::SustainedHttp),
        Box::new(pauses::Pauses),
        Box::new(overload::Overload),
        Box::new(idle::Idle),
    ]
}
