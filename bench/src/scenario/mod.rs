//! Scenarios: each measures one thing on real parts and leaves metrics behind.

mod actor;
mod c1m;
mod calibration;
mod cases;
mod conn;
mod http;
mod http_cost;
mod isolation_actors;
mod isolation_control;
mod mailbox;
mod mesh;
mod overload;
mod pauses;
#[cfg(feature = "peers")]
mod peers;
mod savina;
mod sustained_http;
mod sustained_inproc;

use ninefold_runtime::InjectError;
use ninefold_runtime::StartError;

use crate::load::spec::LoadError;
use crate::measure::hist::DecodeError;
use crate::plan::{Phase, Plan};
use crate::process::ProcessError;
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::workload::Failed;

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
    /// A case of the workload did not come to its result.
    #[error(transparent)]
    Workload(#[from] Failed),
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
        Box::new(savina::Savina),
        Box::new(isolation_actors::IsolationActors),
        Box::new(isolation_control::IsolationControl),
        Box::new(sustained_inproc::SustainedInproc),
        Box::new(http::Http),
        Box::new(sustained_http::SustainedHttp),
        Box::new(pauses::Pauses),
        Box::new(overload::Overload),
        Box::new(conn::Conn),
        Box::new(c1m::Million),
        #[cfg(feature = "peers")]
        Box::new(peers::Peers),
    ]
}

/// Names for several scenarios at once; what is not compiled in is left out.
pub const GROUPS: [(&str, &[&str]); 3] = [
    (
        "actors",
        &[
            "mailbox",
            "actor",
            "mesh",
            "savina",
            "isolation_actors",
            "peers",
        ],
    ),
    ("isolation", &["isolation_actors", "isolation_control"]),
    ("sustained", &["sustained_inproc", "sustained_http"]),
];

/// The scenarios that `names`, of scenarios or groups, stand for, in the order they run.
///
/// # Errors
/// The name that stands for nothing.
pub fn named(names: &[String]) -> Result<Vec<Box<dyn Scenario>>, &str> {
    let all = all();
    let stands_for = |name: &str, id: &str| {
        name == id
            || GROUPS
                .iter()
                .any(|(group, ids)| *group == name && ids.contains(&id))
    };
    let nothing = |name: &&String| !all.iter().any(|scenario| stands_for(name, scenario.id()));
    if let Some(unknown) = names.iter().find(nothing) {
        return Err(unknown);
    }
    let wanted = |id: &str| names.iter().any(|name| stands_for(name, id));
    Ok(all
        .into_iter()
        .filter(|scenario| wanted(scenario.id()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_scenarios_and_groups() {
        let ids = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            let found = named(&names).map_err(str::to_owned)?;
            Ok::<_, String>(
                found
                    .iter()
                    .map(|scenario| scenario.id())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(ids(&["mesh", "mailbox"]).unwrap(), ["mailbox", "mesh"]);
        assert_eq!(ids(&["isolation", "isolation_control"]).unwrap().len(), 2);
        assert!(ids(&["actors"]).unwrap().contains(&"savina"));
        assert_eq!(ids(&["mesh", "nonsense"]).unwrap_err(), "nonsense");
        let known: Vec<_> = all().iter().map(|scenario| scenario.id()).collect();
        for id in GROUPS.iter().flat_map(|(_, ids)| *ids) {
            assert!(known.contains(id) || *id == "peers", "{id}");
        }
    }
}
