//! Which CPUs the shards get, and who else runs there.

use super::{Change, Reading, Scope, Setting, Severity, Want, to};

pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        id: "cpu.allowed",
        why: "A shard owns its CPU; two shards on one CPU wait for each other's whole turns.",
        severity: Severity::Production,
        scope: Scope::Anywhere,
        source: "/proc/self/status",
        remedy: "start with fewer shards (--shards), or widen the affinity mask (taskset, \
                 CPUAffinity=) or the cpuset (AllowedCPUs=, docker run --cpuset-cpus)",
        risk: "none",
        reboot: false,
        change: Change::Person,
        absent: None,
        read: |at| some_cpus(at.facts.cpu.topology.allowed.len()),
        want: |at| Want::AtLeast(at.shard_count.into()),
    },
    Setting {
        id: "cpu.housekeeping",
        why: "Kernel threads, interrupts and the control plane need a CPU per NUMA node that no \
              shard keeps busy, or they preempt shards.",
        severity: Severity::Production,
        scope: Scope::Anywhere,
        source: "/sys/devices/system/cpu/online",
        remedy: "start with fewer shards (--shards): leave one online CPU per NUMA node free",
        risk: "fewer shards",
        reboot: false,
        change: Change::Person,
        absent: None,
        read: |at| match at.facts.cpu.topology.online.len() {
            0 => Reading::Absent,
            online => Reading::Found(online.saturating_sub(at.shard_count).into()),
        },
        want: |at| Want::AtLeast(at.facts.cpu.topology.node_count().into()),
    },
    Setting {
        id: "cpu.quota",
        why: "A CFS quota stops the whole process for the rest of each period once it is used up: \
              stalls of tens of milliseconds.",
        severity: Severity::Production,
        scope: Scope::Anywhere,
        source: "/proc/self/cgroup",
        remedy: "remove the quota (CPUQuota= empty, no docker run --cpus, no Kubernetes CPU limit) \
                 and give whole CPUs instead (AllowedCPUs=, --cpuset-cpus, static CPU manager)",
        risk: "neighbours can no longer count on the rest",
        reboot: false,
        change: Change::unit(|_| to("CPUQuota=")),
        absent: Some("no control group rules CPU time here"),
        read: |at| {
            let quota = at.facts.cgroup.cpu_quota;
            let text = quota.map_or("none".to_owned(), |of| format!("{:.2} CPUs", of.cpus()));
            at.facts.cgroup.version.map(|_| text).into()
        },
        want: |_| Want::OneOf(&["none"]),
    },
    Setting {
        id: "cpu.smt",
        why: "A busy SMT sibling takes a third or more of a core's cycles, unevenly.",
        severity: Severity::Advised,
        scope: Scope::Anywhere,
        source: "/sys/devices/system/cpu/smt/control",
        remedy: "start at most one shard per physical core, or \
                 echo off > /sys/devices/system/cpu/smt/control",
        risk: "off halves the CPUs of the whole host",
        reboot: false,
        change: Change::Person,
        absent: None,
        read: |at| match at.facts.cpu.topology.allowed_cores() {
            cores if cores == 0 || at.facts.cpu.topology.smt_active() => some_cpus(cores),
            _ => Reading::Moot("no core runs two threads"),
        },
        want: |at| Want::AtLeast(at.shard_count.into()),
    },
    Setting {
        id: "isol.partition",
        why: "On CPUs that the scheduler balances, other tasks may preempt a shard at any time.",
        severity: Severity::Advised,
        scope: Scope::Kernel,
        source: "/sys/devices/system/cpu/isolated",
        remedy: "put the node into a cgroup v2 cpuset of its own and write \
                 `isolated` to its cpuset.cpus.partition",
        risk: "all other work piles up on the housekeeping CPUs",
        reboot: false,
        change: Change::Person,
        absent: None,
        read: |at| {
            let topology = &at.facts.cpu.topology;
            let isolated = topology.isolated.intersection(&topology.allowed).len();
            Some(isolated)
                .filter(|_| !topology.allowed.is_empty())
                .into()
        },
        want: |at| Want::AtLeast(at.shard_count.into()),
    },
];

/// No CPU at all means that none could be read.
fn some_cpus(count: usize) -> Reading {
    Some(count).filter(|&count| count > 0).into()
}
