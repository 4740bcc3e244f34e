//! CPUs: model, topology, clocks, frequencies, idle states.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use super::cpu_list::CpuList;
pub use super::topology::{Cpu, Topology};

use super::field;
use super::root::{Probe, Root};

/// CPUs, clocks, frequencies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuFacts {
    /// The model as the processor names itself.
    pub model: Option<String>,
    /// Which CPUs there are and how they share cores and memory.
    pub topology: Topology,
    /// The switch of simultaneous multithreading: `on`, `off`, `forceoff`, `notsupported`.
    pub smt_control: Option<String>,
    /// The clocks behind `clock_gettime`.
    pub clock: ClockFacts,
    /// Frequency governors and the CPUs that each one rules; empty without frequency control.
    pub governors: BTreeMap<String, CpuList>,
    /// Whether cores may run above their nominal frequency.
    pub boost: Option<bool>,
    /// Idle states of CPU 0, shallowest first.
    pub idle_states: Vec<IdleState>,
    /// How long a guest polls before it halts, in nanoseconds; absent without haltpoll.
    pub haltpoll_ns: Option<u64>,
    /// How often cores were throttled for heat since boot; absent where that is not counted.
    pub throttle_count: Option<u64>,
    /// Whether corrected errors are ignored (`ignore_ce`); absent without machine checks.
    pub ignore_corrected_errors: Option<u64>,
}

/// The clocks of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClockFacts {
    /// The clocksource in use.
    pub current: Option<String>,
    /// The clocksources that could be used.
    pub available: Vec<String>,
    /// Whether the time-stamp counter ticks evenly at every frequency (x86).
    pub constant_tsc: Option<bool>,
    /// Whether it ticks on in deep idle states (x86).
    pub nonstop_tsc: Option<bool>,
    /// The counter's rate in kHz, within a few parts in a million of the kernel's calibration.
    pub tsc_khz: Option<u64>,
}

/// A state that an idle CPU may enter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdleState {
    /// The driver's name of the state.
    pub name: String,
    /// How long leaving it takes, in microseconds.
    pub exit_latency_us: u64,
    /// Whether it is switched off.
    pub disabled: bool,
}

impl CpuFacts {
    pub(super) fn read(probe: &Probe<'_>) -> Self {
        let cpuinfo = probe.text("/proc/cpuinfo").unwrap_or_default();
        Self {
            model: field(&cpuinfo, "model name", ':').map(str::to_owned),
            topology: Topology::read(probe.root()),
            smt_control: probe.text("/sys/devices/system/cpu/smt/control"),
            clock: ClockFacts::read(probe, &cpuinfo),
            governors: governors(probe),
            boost: boost(probe.root()),
            idle_states: idle_states(probe.root()),
            haltpoll_ns: number(
                probe.root(),
                "/sys/module/haltpoll/parameters/guest_halt_poll_ns",
            ),
            throttle_count: throttle_count(probe.root()),
            ignore_corrected_errors: number(
                probe.root(),
                "/sys/devices/system/machinecheck/machinecheck0/ignore_ce",
            ),
        }
    }
}

/// What many kinds of host lack is no gap worth a note.
fn number(root: &Root, path: &str) -> Option<u64> {
    root.text(path).ok()?.parse().ok()
}

fn throttle_count(root: &Root) -> Option<u64> {
    const CPUS: &str = "/sys/devices/system/cpu";
    let counts = root.names(CPUS).into_iter().filter_map(|cpu| {
        let path = format!("{CPUS}/{cpu}/thermal_throttle/core_throttle_count");
        number(root, &path)
    });
    counts.reduce(u64::saturating_add)
}

const CLOCKSOURCE: &str = "/sys/devices/system/clocksource/clocksource0";

impl ClockFacts {
    fn read(probe: &Probe<'_>, cpuinfo: &str) -> Self {
        let flags = field(cpuinfo, "flags", ':');
        let flag = |name| flags.map(|flags| flags.split_whitespace().any(|flag| flag == name));
        let constant_tsc = flag("constant_tsc");
        Self {
            current: probe.text(&format!("{CLOCKSOURCE}/current_clocksource")),
            available: probe
                .text(&format!("{CLOCKSOURCE}/available_clocksource"))
                .map(|text| text.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
            constant_tsc,
            nonstop_tsc: flag("nonstop_tsc"),
            tsc_khz: (constant_tsc == Some(true))
                .then(|| tsc_khz(cpuinfo))
                .flatten(),
        }
    }
}

/// Linux on x86 derives its delay loop from the counter, so BogoMIPS is twice its rate in MHz.
fn tsc_khz(cpuinfo: &str) -> Option<u64> {
    let (whole, hundredths) = field(cpuinfo, "bogomips", ':')?.split_once('.')?;
    let (whole, hundredths): (u64, u64) = (whole.parse().ok()?, hundredths.parse().ok()?);
    Some(whole.checked_mul(100)?.checked_add(hundredths)? * 5).filter(|&khz| khz > 0)
}

fn governors(probe: &Probe<'_>) -> BTreeMap<String, CpuList> {
    const CPUFREQ: &str = "/sys/devices/system/cpu/cpufreq";
    let policies = probe
        .root()
        .names(CPUFREQ)
        .into_iter()
        .filter(|name| name.starts_with("policy"));
    let mut governors: BTreeMap<String, CpuList> = BTreeMap::new();
    for policy in policies {
        let Some(governor) = probe.text(&format!("{CPUFREQ}/{policy}/scaling_governor")) else {
            continue;
        };
        let cpus = affected(probe, &format!("{CPUFREQ}/{policy}/affected_cpus"));
        let ruled = governors.entry(governor).or_default();
        *ruled = ruled.union(&cpus.unwrap_or_default());
    }
    governors
}

/// `affected_cpus` is the one list that the kernel writes with spaces.
fn affected(probe: &Probe<'_>, path: &str) -> Option<CpuList> {
    probe.with(path, |text| {
        text.split_whitespace()
            .map(|cpu| cpu.parse::<u32>().ok())
            .collect()
    })
}

fn boost(root: &Root) -> Option<bool> {
    let switch = |path| match root.text(path).ok()?.as_str() {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    };
    // intel_pstate has its own switch, and it says no.
    switch("/sys/devices/system/cpu/cpufreq/boost")
        .or_else(|| switch("/sys/devices/system/cpu/intel_pstate/no_turbo").map(|off| !off))
}

fn idle_states(root: &Root) -> Vec<IdleState> {
    let states = "/sys/devices/system/cpu/cpu0/cpuidle";
    let state = |name: String| {
        let read = |file: &str| root.text(&format!("{states}/{name}/{file}")).ok();
        Some(IdleState {
            name: read("name")?,
            exit_latency_us: read("latency")?.parse().ok()?,
            disabled: read("disable").is_some_and(|switch| switch != "0"),
        })
    };
    root.names(states).into_iter().filter_map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_rate_is_half_of_bogomips() {
        assert_eq!(tsc_khz("bogomips\t: 5192.25\n"), Some(2_596_125));
        for text in ["", "bogomips : x", "bogomips : 5192", "bogomips : 0.00"] {
            assert_eq!(tsc_khz(text), None, "{text:?}");
        }
        assert_eq!(tsc_khz("bogomips : 18446744073709551615.99"), None);
    }
}
