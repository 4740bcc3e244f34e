//! The host as the node finds it at its start: what `ninefold-tune check` asks for, pages that
//! stay in memory, and idle states that end fast.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use ninefold_runtime::{Config, Plan};
use ninefold_tuning::facts::CpuList;
use ninefold_tuning::{CheckOptions, Facts, Finding, Level, Profile, Report, Root, check};
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use crate::limits::HOST_LINES;

/// Longest way out of an idle state that the node holds, in microseconds: what the setting
/// `idle.latency` of `ninefold-tune` wants. Zero would keep idle CPUs polling.
const IDLE_EXIT_US: i32 = 10;
/// While it is open, the kernel keeps the latency that was written to it (PM QoS).
const DMA_LATENCY: &str = "/dev/cpu_dma_latency";

/// What is asked of the host at the start of a node.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// What the host is meant for: under [`Profile::Production`] a required setting that is not met
    /// is an error, under any other it is logged.
    pub profile: Profile,
    /// Check the saved `proc` and `sys` below this folder in place of the host's own.
    pub root: Option<PathBuf>,
    /// Keep every page that was touched in memory (mlockall).
    pub lock_memory: bool,
    /// Keep idle CPUs out of states that take longer than 10 us to leave.
    pub hold_c_states: bool,
}

/// How the host was found and what is held of it, as long as this lives.
#[derive(Debug)]
pub struct Host {
    pub(crate) profile: Profile,
    pub(crate) memory_locked: bool,
    pub(crate) c_states: Option<File>,
    pub(crate) required_unmet: Vec<String>,
    pub(crate) advised_unmet: Vec<String>,
}

/// Why a node does not start on this host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Required settings are not met.
    #[error(
        "wanted a host that is fit for production, but {count} required settings are not met:\n\
         {lines}or start with --profile dev; all of it: ninefold-tune check --profile production"
    )]
    Unfit {
        /// How many.
        count: usize,
        /// What was found and wanted of each, and the command that mends it.
        lines: String,
    },
    /// The process may not lock its memory.
    #[error(
        "wanted to lock all memory (--lock-memory), but this process may lock {found} only; set \
         LimitMEMLOCK=infinity in the unit, `ulimit -l unlimited`, or give it CAP_IPC_LOCK"
    )]
    MemoryLimit {
        /// The limit found.
        found: String,
    },
    /// The system refused to lock the memory.
    #[error(
        "wanted to lock all memory (--lock-memory), but {0}; start without the flag, or allow \
         mlockall in the filter of system calls"
    )]
    Mlock(io::Error),
    /// The saved host is none.
    #[error("wanted the saved proc and sys of a host below {0} (--check-root), but found no proc")]
    Root(PathBuf),
}

impl Host {
    /// Checks the host for shards as `config` places them, and takes what `options` ask for. What
    /// is not as wanted, and no error, is logged in at most [`HOST_LINES`] lines and one.
    ///
    /// # Errors
    /// [`HostError`], which says what was wanted, what was found and what to do.
    pub fn prepare(options: &HostOptions, config: &Config) -> Result<Self, HostError> {
        let root = match &options.root {
            Some(dir) if !dir.join("proc").is_dir() => return Err(HostError::Root(dir.clone())),
            Some(dir) => Root::at(dir),
            None => Root::host(),
        };
        let report = examine(&root, options.profile, config);
        let summary = &report.summary;
        let required: Vec<_> = findings(&report, Level::Required, &summary.required_unmet);
        let advised: Vec<_> = findings(&report, Level::Advised, &summary.advised_unmet);
        if options.profile == Profile::Production && !required.is_empty() {
            return Err(HostError::Unfit {
                count: required.len(),
                lines: bounded(&required),
            });
        }
        warn(options.profile, &[required, advised].concat());
        if options.lock_memory {
            lock_memory()?;
        }
        let c_states = options
            .hold_c_states
            .then(|| hold_c_states(&root))
            .flatten();
        Ok(Self {
            profile: options.profile,
            memory_locked: options.lock_memory,
            c_states,
            required_unmet: summary.required_unmet.clone(),
            advised_unmet: summary.advised_unmet.clone(),
        })
    }
}

/// Compares the host with what `profile` wants of it.
fn examine(root: &Root, profile: Profile, config: &Config) -> Report {
    let facts = Facts::read(root);
    let topology = &facts.cpu.topology;
    // What cannot be placed is the start's own to refuse.
    let plan = Plan::make(
        topology,
        config.shards,
        &config.placement,
        config.own_control_cpu,
    )
    .ok();
    let options = CheckOptions {
        profile,
        shard_count: plan
            .as_ref()
            .map(|plan| plan.shards.len())
            .or(config.shards),
        shard_cpus: plan.map(|plan| plan.shards.into_iter().collect::<CpuList>()),
        // No file tells what a filter of system calls blocks, and the start itself tries next.
        io_uring_works: Some(true),
        ..CheckOptions::default()
    };
    check(&facts, &options)
}

fn findings<'r>(report: &'r Report, level: Level, unmet: &[String]) -> Vec<&'r Finding> {
    let of_level = report.settings.iter().filter(|it| it.severity == level);
    of_level.filter(|it| unmet.contains(&it.id)).collect()
}

/// One finding as a line: what it is, how it stands, what mends it.
struct Line<'f>(&'f Finding);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { id, wanted, .. } = self.0;
        let found = self.0.found.as_deref().unwrap_or(self.0.status.name());
        let remedy = self
            .0
            .remedy
            .as_deref()
            .unwrap_or("ninefold-tune explain it");
        write!(f, "{id}: wanted {wanted}, found {found}; {remedy}")
    }
}

/// The first lines, and how many there are beside them.
fn bounded(findings: &[&Finding]) -> String {
    let shown = findings.iter().take(HOST_LINES);
    let mut lines: String = shown.map(|it| format!("  {}\n", Line(it))).collect();
    let more = findings.len().saturating_sub(HOST_LINES);
    if more > 0 {
        lines += &format!("  and {more} more\n");
    }
    lines
}

fn warn(profile: Profile, findings: &[&Finding]) {
    for finding in findings.iter().take(HOST_LINES) {
        let level = finding.severity.name();
        tracing::warn!("host: {level} setting {}", Line(finding));
    }
    let more = findings.len().saturating_sub(HOST_LINES);
    if more > 0 {
        let profile = profile.name();
        tracing::warn!("host: {more} more settings; ninefold-tune check --profile {profile}");
    }
}

/// Locks what is touched from now on and what is in memory already. Not what is merely reserved:
/// each shard reserves gigabytes of addresses.
fn lock_memory() -> Result<(), HostError> {
    let may = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    let Rlimit { maximum, .. } = getrlimit(Resource::Memlock);
    match maximum {
        // Under a limit that holds today, some later allocation would fail.
        Some(bytes) if !may => {
            let found = format!("{} KiB", bytes >> 10);
            return Err(HostError::MemoryLimit { found });
        }
        _ => {
            let all = Rlimit {
                current: maximum,
                maximum,
            };
            // Without effect for whoever has the capability, and never refused to the others.
            let _ = setrlimit(Resource::Memlock, all);
        }
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags).map_err(|error| HostError::Mlock(error.into()))
}

/// The open file that holds the idle states; `None`, and a line in the log, where that is not
/// allowed.
fn hold_c_states(root: &Root) -> Option<File> {
    let path = root.resolve(DMA_LATENCY);
    let held = OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| {
            file.write_all(&IDLE_EXIT_US.to_ne_bytes())?;
            Ok(file)
        });
    held.inspect_err(|error| {
        tracing::warn!(
            path = %path.display(), %error,
            "idle states are not held (--hold-c-states): run as root, or add \
             DeviceAllow=/dev/cpu_dma_latency w to the unit and let its user write there"
        );
    })
    .ok()
}
