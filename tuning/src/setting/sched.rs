//! Kernel habits that take a shard's CPU away for a moment.

use super::{Change, Scope, Setting, Severity, Target, Value, Want, to};

pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        id: "sched.autogroup",
        why: "Autogroups share CPU time by login session, so a shell's build can outweigh a node.",
        severity: Severity::Advised,
        scope: Scope::Kernel,
        source: "/proc/sys/kernel/sched_autogroup_enabled",
        remedy: "sysctl -w kernel.sched_autogroup_enabled=0",
        risk: "desktops feel heavy work more",
        reboot: false,
        change: Change::Files(&[Target::word(
            "/proc/sys/kernel/sched_autogroup_enabled",
            |_| to("0"),
        )]),
        absent: Some("this kernel was built without autogroups"),
        read: |at| at.facts.kernel.sched_autogroup.into(),
        want: |_| Want::Exactly(Value::Count(0)),
    },
    Setting {
        id: "sched.numa_balancing",
        why: "It unmaps pages to see who touches them; each costs a shard a page fault.",
        severity: Severity::Advised,
        scope: Scope::Kernel,
        source: "/proc/sys/kernel/numa_balancing",
        remedy: "sysctl -w kernel.numa_balancing=0",
        risk: "other programs lose automatic placement",
        reboot: false,
        change: Change::Files(&[Target::word("/proc/sys/kernel/numa_balancing", |_| to("0"))]),
        absent: Some("this kernel was built without NUMA balancing"),
        read: |at| at.facts.kernel.numa_balancing.into(),
        want: |_| Want::Exactly(Value::Count(0)),
    },
    Setting {
        id: "watchdog.nmi",
        why: "The hard-lockup watchdog interrupts every CPU by performance counter.",
        severity: Severity::Advised,
        scope: Scope::Kernel,
        source: "/proc/sys/kernel/nmi_watchdog",
        remedy: "sysctl -w kernel.nmi_watchdog=0",
        risk: "hard lockups go unseen",
        reboot: false,
        change: Change::Files(&[Target::word("/proc/sys/kernel/nmi_watchdog", |_| to("0"))]),
        absent: Some("this kernel was built without the hard-lockup watchdog"),
        read: |at| at.facts.kernel.nmi_watchdog.into(),
        want: |_| Want::Exactly(Value::Count(0)),
    },
];
