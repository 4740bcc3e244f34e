//! A runtime in this process, laid over the CPUs of the plan, and work on its shards.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use ninefold_runtime::{Config, Handle, Placement, Runtime, limits};

use crate::plan::Plan;
use crate::scenario::ScenarioError;

/// How long a call between actors may take before the scenario is given up.
pub(crate) const CALL_WITHIN: Duration = Duration::from_secs(30);

/// Starts `shards` shards: the first on the server's first CPU, the second on the client's last.
///
/// # Errors
/// When the runtime does not start.
pub(crate) fn start(plan: &Plan, shards: usize) -> Result<Runtime, ScenarioError> {
    let ends = [plan.cpus.server.first(), plan.cpus.client.last()];
    let mut cpus: Vec<u32> = ends
        .into_iter()
        .flatten()
        .filter_map(|&cpu| u32::try_from(cpu).ok())
        .take(shards)
        .collect();
    cpus.dedup();
    start_on(cpus, shards)
}

/// Starts `shards` shards on `cpus`, in turn.
///
/// # Errors
/// When the runtime does not start.
pub(crate) fn start_on(cpus: Vec<u32>, shards: usize) -> Result<Runtime, ScenarioError> {
    let config = Config {
        shards: Some(shards),
        // No control plane runs here, so shards with a CPU each may spin.
        spin: (cpus.len() == shards).then_some(limits::SPIN),
        placement: Placement::Explicit(cpus),
        own_control_cpu: false,
        blocking_threads: 1,
        ..Config::default()
    };
    Ok(Runtime::start(&config)?)
}

/// Runs the future that `make` builds on `shard` and waits for it.
///
/// # Errors
/// The future's own, or that it was lost.
pub(crate) fn run_on<T, F>(
    handle: &Handle,
    shard: usize,
    make: impl FnOnce() -> F + Send + 'static,
) -> Result<T, ScenarioError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ScenarioError>> + 'static,
{
    handle.run_on(shard, make)?
}

/// Names the step of a scenario that the runtime refused.
pub(crate) fn refused<E: Display>(step: &'static str) -> impl FnOnce(E) -> ScenarioError {
    move |why| ScenarioError::Host(format!("{step}: {why}"))
}
