//! The coordinator's side of the load processes: start one, wait with a bound, take its answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::floor::{FloorReport, FloorSpec};
use super::idle::{Greeting, IdleReport, IdleSpec};
use super::rolling::RollingSpec;
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

/// A running floor.
#[derive(Debug)]
pub struct FloorProcess {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl FloorProcess {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Ends it and takes what it counted.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn finish(mut self) -> Result<FloorReport, ScenarioError> {
        self.child.close_stdin();
        let report: Result<FloorReport, String> = self.child.read_json(seconds(GRACE_SECONDS))?;
        report.map_err(ScenarioError::Host)
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
    /// Lets it make calls over its connections; [`IdleClients::rolled`] has the result.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn roll(&mut self, spec: &RollingSpec) -> Result<(), ScenarioError> {
        Ok(self.child.say(&json(spec)?)?)
    }

    /// What the calls of `spec` came to.
    ///
    /// # Errors
    /// When the process fails or does not answer in time.
    pub fn rolled(&mut self, spec: &RollingSpec) -> Result<LoadResult, ScenarioError> {
        let busy = spec.warmup_seconds + spec.seconds + spec.drain_seconds;
        let answer: Result<LoadResult, String> =
            self.child.read_json(seconds(busy + GRACE_SECONDS))?;
        answer.map_err(ScenarioError::Host)
    }

    /// Lets the connections go; the answer says how many the server had kept open.
    ///
    /// # Errors
    /// When the process does not answer.
    pub fn release(mut self) -> Result<IdleReport, ProcessError> {
        self.child.close_stdin();
        let report = self.child.read_json(seconds(GRACE_SECONDS))?;
        // Its connections are closed when it has ended.
        self.child.wait(seconds(GRACE_SECONDS))?;
        Ok(report)
    }
}

/// A load under way.
#[derive(Debug)]
pub struct Load {
    within: Duration,
    child: Child,
}

impl Load {
    /// Waits for its end.
    ///
    /// # Errors
    /// When the process fails or does not answer in time.
    pub fn finish(mut self) -> Result<LoadResult, ScenarioError> {
        let answer: Result<LoadResult, String> = self.child.read_json(self.within)?;
        answer.map_err(ScenarioError::Host)
    }
}

/// Starts one order in a process pinned to the CPU it names.
///
/// # Errors
/// When the process does not start.
pub fn start(plan: &Plan, spec: &LoadSpec) -> Result<Load, ScenarioError> {
    let cpus: Vec<usize> = spec.cpu.into_iter().collect();
    let child = Child::spawn_own(&plan.exe, &["client-load", "--spec", &json(spec)?], &cpus)?;
    let busy = spec.warmup_seconds + spec.seconds + spec.drain_seconds;
    let within = seconds(busy + GRACE_SECONDS);
    Ok(Load { within, child })
}

/// Runs one order in a process pinned to the CPU it names.
///
/// # Errors
/// When the process fails or does not answer in time.
pub fn run(plan: &Plan, spec: &LoadSpec) -> Result<LoadResult, ScenarioError> {
    start(plan, spec)?.finish()
}

/// Starts a floor on the server's first CPU.
///
/// # Errors
/// When the process fails or does not answer in time.
pub fn floor(plan: &Plan, spec: &FloorSpec) -> Result<FloorProcess, ScenarioError> {
    let cpu = &plan.cpus.server[..1];
    let mut child = Child::spawn_own(&plan.exe, &["floor", "--spec", &json(spec)?], cpu)?;
    let address: Result<SocketAddr, String> = child.read_json(seconds(GRACE_SECONDS))?;
    Ok(FloorProcess {
        address: address.map_err(ScenarioError::Host)?,
        child,
    })
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
    let ready: Result<IdleReport, String> = child.read_json(seconds(within))?;
    let ready = ready.map_err(ScenarioError::Host)?;
    Ok(IdleClients { ready, child })
}

/// Many connections to hold.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// How many.
    pub connections: u64,
    /// What each says first.
    pub greeting: Greeting,
    /// Loopback addresses to leave out. Crowds that follow one another take other addresses: the
    /// ports of the one before are still in TIME_WAIT, and `bind` would search them one by one.
    pub addresses_used: u64,
}

impl Crowd {
    /// Loopback addresses that it takes at most.
    #[must_use]
    pub fn addresses(&self) -> u64 {
        let each = connections_of_one_client();
        let of_one_client = each.min(self.connections).div_ceil(PORTS_OF_ONE_ADDRESS);
        self.connections.div_ceil(each) * of_one_client
    }
}

/// Connections that the descriptors of one client allow.
#[must_use]
pub fn connections_of_one_client() -> u64 {
    crate::process::raise_descriptor_limit()
        .saturating_sub(DESCRIPTORS_SPARE)
        .max(1)
}

/// Holds a crowd in as many processes as the descriptor limit asks for, each with loopback
/// addresses of its own, so that ports do not run out. `opened` is told how many there are.
///
/// # Errors
/// When a process fails or does not answer in time.
pub fn hold_many(
    plan: &Plan,
    target: SocketAddr,
    crowd: Crowd,
    mut opened: impl FnMut(u64),
) -> Result<Vec<IdleClients>, ScenarioError> {
    let each = connections_of_one_client();
    let own_addresses = target.ip().is_loopback() && target.is_ipv4();
    let mut address = crowd.addresses_used;
    let (mut holders, mut left, mut open) = (Vec::new(), crowd.connections, 0);
    while left > 0 {
        let share = left.min(each);
        let count = share.div_ceil(PORTS_OF_ONE_ADDRESS);
        let sources = (address..address + count).map(loopback);
        let holder = hold_idle(
            plan,
            &IdleSpec {
                target,
                path: "/mcp".into(),
                connections: share,
                sources: sources.filter(|_| own_addresses).collect(),
                greeting: crowd.greeting,
            },
        )?;
        open += holder.ready.open;
        opened(open);
        let had_enough = holder.ready.open == 0;
        holders.push(holder);
        if had_enough {
            break;
        }
        address += count;
        left -= share;
    }
    Ok(holders)
}

/// The loopback address of number `index`, from 127.0.1.1 on: 250 in a row of the last byte.
fn loopback(index: u64) -> IpAddr {
    let [second, third, last] = [
        (index / 62_500) % 250,
        (index / 250) % 250 + 1,
        index % 250 + 1,
    ]
    .map(|part| u8::try_from(part).unwrap_or(1));
    Ipv4Addr::new(127, second, third, last).into()
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
