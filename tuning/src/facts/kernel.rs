//! The kernel: its version, its command line, and the switches that concern a node.

use serde::{Deserialize, Serialize};

use super::cpu_list::CpuList;
use super::field;
use super::root::Probe;

/// The kernel and its switches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KernelFacts {
    /// The release, such as `6.18.44-generic`.
    pub release: Option<String>,
    /// The parameters of its command line that bear on latency.
    ///
    /// The others are left out: reports travel, and a command line may hold names and secrets.
    pub cmdline: Option<String>,
    /// `kernel.io_uring_disabled`: 0 all may, 1 only privileged, 2 nobody; absent before 6.6.
    pub io_uring_disabled: Option<u64>,
    /// The seccomp mode of this process: 0 none, 1 strict, 2 filtered.
    pub seccomp: Option<u64>,
    /// `kernel.sched_autogroup_enabled`.
    pub sched_autogroup: Option<u64>,
    /// `kernel.numa_balancing`.
    pub numa_balancing: Option<u64>,
    /// `kernel.timer_migration`.
    pub timer_migration: Option<u64>,
    /// `kernel.nmi_watchdog`.
    pub nmi_watchdog: Option<u64>,
    /// The CPUs that the lockup watchdog looks after (`kernel.watchdog_cpumask`).
    pub watchdog_cpus: Option<CpuList>,
    /// `kernel.sched_rt_runtime_us`; -1 for no limit.
    pub rt_runtime_us: Option<i64>,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i64>,
}

impl KernelFacts {
    pub(super) fn read(probe: &Probe<'_>) -> Self {
        Self {
            release: probe.text("/proc/sys/kernel/osrelease"),
            cmdline: probe
                .text("/proc/cmdline")
                .map(|text| bearing_on_latency(&text)),
            io_uring_disabled: probe.value("/proc/sys/kernel/io_uring_disabled"),
            seccomp: probe.with("/proc/self/status", |status| {
                field(status, "Seccomp", ':')?.parse().ok()
            }),
            sched_autogroup: probe.value("/proc/sys/kernel/sched_autogroup_enabled"),
            numa_balancing: probe.value("/proc/sys/kernel/numa_balancing"),
            timer_migration: probe.value("/proc/sys/kernel/timer_migration"),
            nmi_watchdog: probe.value("/proc/sys/kernel/nmi_watchdog"),
            watchdog_cpus: probe.value("/proc/sys/kernel/watchdog_cpumask"),
            rt_runtime_us: probe.value("/proc/sys/kernel/sched_rt_runtime_us"),
            perf_event_paranoid: probe.value("/proc/sys/kernel/perf_event_paranoid"),
        }
    }

    /// Major and minor version, where the release begins with them.
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self
            .release
            .as_deref()?
            .split(|c: char| !c.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

/// What the parameters that move work, clocks, frequencies or memory begin with.
#[rustfmt::skip]
const CMDLINE: [&str; 29] = [
    "amd_pstate", "clocksource", "cpufreq.", "cpuidle", "default_hugepagesz", "haltpoll.",
    "hugepages", "idle=", "intel_idle.", "intel_pstate", "irqaffinity", "isolcpus", "kthread_cpus",
    "maxcpus", "mce", "mitigations", "nmi_watchdog", "nohz", "nosmt", "nosoftlockup", "nr_cpus",
    "numa", "preempt", "processor.", "psi=", "rcu", "skew_tick", "transparent_hugepage", "tsc",
];

fn bearing_on_latency(cmdline: &str) -> String {
    // Behind `--` stand the arguments of the first process.
    let parameters = cmdline.split_whitespace().take_while(|&word| word != "--");
    let bearing = parameters.filter(|word| CMDLINE.iter().any(|name| word.starts_with(name)));
    bearing.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_of_the_command_line_what_bears_on_latency() {
        let text = "root=/dev/sda token=abc isolcpus=2-7 nohz_full=2-7 quiet psi=1 -- idle=1";
        assert_eq!(bearing_on_latency(text), "isolcpus=2-7 nohz_full=2-7 psi=1");
        assert_eq!(bearing_on_latency(""), "");
    }

    #[test]
    fn reads_versions_of_all_spellings() {
        for (release, version) in [
            ("6.18.44-fc", Some((6, 18))),
            ("5.14.0-427.el9.x86_64", Some((5, 14))),
            ("7.0-rc1", Some((7, 0))),
            ("6", None),
            ("", None),
            ("linux", None),
            ("99999999999.1", None),
        ] {
            let kernel = KernelFacts {
                release: Some(release.into()),
                ..KernelFacts::default()
            };
            assert_eq!(kernel.version(), version, "{release}");
        }
    }
}
