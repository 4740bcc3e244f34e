//! The coordinator's side of the load processes: start one, wait with a bound, take its answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::idle::{IdleReport, IdleRequest, IdleSpec};
use super::spec::{LoadError, LoadResult, LoadSpec};
use crate::measure::hiccup::Hiccups;
use crate::plan::Plan;
use crate::process::{Child, ProcessError};
use crate::scenario::ScenarioError;

/// How long a process may take for anything but its measured time.
const GRACE_SECONDS: f64 = 20.0;
/// How long opening one idle connection may take on average, in s.
const OPEN_EACH_SECONDS: f64 = 0.002;

/// Descriptors an idle client needs beside its connections.
const DESCRIPTORS_SPARE: u64 = 64;
/// Connections from one source address to one server that cost nothing to open: beyond half of the
/// default port range, `bind` looks for a free port one by one.
const PORTS_OF_ONE_ADDRESS: u64 = 14_000;

/// A running null target.
#[derive(Debug)]
pub struct NullTargetProcess {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl NullTargetProcess {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }
}

/// A process that holds idle connections until it is released or dropped.
#[derive(Debug)]
pub struct IdleClients {
    /// What it opened.
    pub ready: IdleReport,
    child: Child,
}

impl IdleClients {
    /// Lets the connections go; the answer says how many the server had kept open.
    ///
    /// # Errors
    /// When the process does not answer.
    pub fn release(mut self) -> Result<IdleReport, ProcessError> {
        self.child.close_stdin();
        self.child.read_json(seconds(GRACE_SECONDS))
    }
}

/// Runs one order in a process pinned to the CPU it names.
///
/// # Errors
/// When the process fails or does not answer in time.
pub fn run(plan: &Plan, spec: &LoadSpec) -> Result<LoadResult, ScenarioError> {
    let cpus: Vec<usize> = spec.cpu.into_iter().collect();
    let mut child = Child::spawn_own(&plan.exe, &["client-load", "--spec", &json(spec)?], &cpus)?;
    let busy = spec.warmup_seconds + spec.seconds + spec.drain_seconds;
    let answer: Result<LoadResult, String> = child.read_json(seconds(busy + GRACE_SECONDS))?;
    answer.map_err(ScenarioError::Host)
}

/// Starts a null target on the server's CPUs.
///
/// # Errors
/// When the process fails or does not answer in time.
pub fn null_target(plan: &Plan) -> Result<NullTargetProcess, ScenarioError> {
    let spin = if plan.cpus.shared {
        &[][..]
    } else {
        &["--spin"]
    };
    let args = [&["null-target"], spin].concat();
    // One thread needs one CPU, the one that the first shard of a node would have.
    let cpu = &plan.cpus.server[..1];
    let mut child = Child::spawn_own(&plan.exe, &args, cpu)?;
    let address: Result<SocketAddr, String> = child.read_json(seconds(GRACE_SECONDS))?;
    Ok(NullTargetProcess {
        address: address.map_err(ScenarioError::Host)?,
        child,
    })
}

/// Starts a process that opens idle connections, and waits until it holds them.
///
/// # Errors
/// When the process fails or does not answer in time.
pub fn hold_idle(plan: &Plan, spec: &IdleSpec) -> Result<IdleClients, ScenarioError> {
    let args = ["client-idle", "--spec", &json(spec)?];
    let mut child = Child::spawn_own(&plan.exe, &args, &plan.cpus.client)?;
    let within = spec.connections as f64 * OPEN_EACH_SECONDS + GRACE_SECONDS;
    let ready = child.read_json(seconds(within))?;
    Ok(IdleClients { ready, child })
}

/// Holds `connections` idle connections in as many processes as the descriptor limit asks for,
/// each from a loopback address of its own, `127.0.0.first_host` and on, so that ports do not run
/// out. Crowds that follow one another take other addresses: the ports of the one before are still
/// in TIME_WAIT, and `bind` would search them one by one.
///
/// # Errors
/// When a process fails or does not answer in time.
pub fn hold_many(
    plan: &Plan,
    target: SocketAddr,
    connections: u64,
    request: Option<&IdleRequest>,
    first_host: u8,
) -> Result<Vec<IdleClients>, ScenarioError> {
    let limit = crate::process::raise_descriptor_limit();
    let each = limit
        .saturating_sub(DESCRIPTORS_SPARE)
        .clamp(1, PORTS_OF_ONE_ADDRESS);
    let mut holders = Vec::new();
    let mut left = connections;
    for host in first_host..=u8::MAX {
        if left == 0 {
            break;
        }
        let share = left.min(each);
        let own_address = target.ip().is_loopback() && target.is_ipv4();
        let source = own_address.then(|| Ipv4Addr::new(127, 0, 0, host).into());
        let request = request.cloned();
        holders.push(hold_idle(
            plan,
            &IdleSpec {
                target,
                connections: share,
                source,
                request,
            },
        )?);
        left -= share;
    }
    Ok(holders)
}

/// Watches `cpus` for pauses, all at once, each from a process pinned to it.
///
/// # Errors
/// When a process fails or does not answer in time.
pub fn probe_hiccups(
    plan: &Plan,
    cpus: &[usize],
    seconds_each: f64,
) -> Result<Vec<Hiccups>, ScenarioError> {
    let start = |&cpu: &usize| {
        let (cpu_arg, seconds_arg) = (cpu.to_string(), seconds_each.to_string());
        let args = ["hiccup-probe", "--cpu", &cpu_arg, "--seconds", &seconds_arg];
        Child::spawn_own(&plan.exe, &args, &[cpu])
    };
    let probes = cpus.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let answer = |mut probe: Child| {
        let seen: Result<Hiccups, String> =
            probe.read_json(seconds(seconds_each + GRACE_SECONDS))?;
        seen.map_err(ScenarioError::Host)
    };
    probes.into_iter().map(answer).collect()
}

fn json(spec: &impl serde::Serialize) -> Result<String, LoadError> {
    serde_json::to_string(spec).map_err(|e| LoadError::Spec(e.to_string()))
}

fn seconds(value: f64) -> Duration {
    Duration::from_secs_f64(value)
}
