//! Interrupts and the kernel's own deferred work, which should run where no shard does.

use super::change::mask_of;
use super::{Change, Reading, Scope, Setting, Severity, Target, Value, Want};
use crate::check::Context;
use crate::facts::CpuList;

pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        id: "irq.affinity",
        why: "A device's interrupt on a shard's CPU stops the shard for as long as the handler and \
              its soft interrupts run.",
        severity: Severity::Advised,
        scope: Scope::Kernel,
        source: "/proc/interrupts",
        remedy: "write the CPUs without shards to /proc/irq/*/smp_affinity_list; interrupts that \
                 the kernel manages refuse it, and stay",
        risk: "too few CPUs for interrupts make a slow network card",
        reboot: false,
        change: Change::Files(&[Target {
            may_refuse: true,
            ..Target::cpus("/proc/irq/*/smp_affinity_list", housekeeping_list)
        }]),
        absent: Some("no interrupt of a device was found"),
        read: |at| {
            let affinities = &at.facts.irq.affinities;
            let shards = shard_cpus(at);
            match (affinities.is_empty(), at.housekeeping.is_empty()) {
                (true, _) => Reading::Absent,
                (false, true) => NO_CPU_LEFT,
                (false, false) => {
                    let mut hits = 0_usize;
                    for cpus in affinities.values() {
                        hits += usize::from(!cpus.intersection(&shards).is_empty());
                    }
                    Reading::Found(hits.into())
                }
            }
        },
        want: |_| Want::AtMost(Value::Count(0)),
    },
    Setting {
        id: "irq.default",
        why: "Interrupts of devices that come later go where this mask says.",
        severity: Severity::Advised,
        scope: Scope::Kernel,
        source: "/proc/irq/default_smp_affinity",
        remedy: "write the mask of the CPUs without shards to /proc/irq/default_smp_affinity",
        risk: "low",
        reboot: false,
        change: Change::Files(&[Target::mask(
            "/proc/irq/default_smp_affinity",
            housekeeping_mask,
        )]),
        absent: Some("this kernel has no default for interrupts"),
        read: |at| shard_cpus_in(at, at.facts.irq.default_cpus.as_ref()),
        want: |_| Want::AtMost(Value::Count(0)),
    },
    Setting {
        id: "irq.balance",
        why: "irqbalance moves interrupts again every ten seconds, also back onto shards.",
        severity: Severity::Advised,
        scope: Scope::Kernel,
        source: "/proc",
        remedy: "stop irqbalance, or set IRQBALANCE_BANNED_CPULIST to the shards' CPUs and restart \
                 it",
        risk: "interrupts stay where they are put",
        reboot: false,
        change: Change::Person,
        absent: Some("no process can be seen"),
        read: |at| {
            let running = at.facts.irq.irqbalance;
            let word = |runs| if runs { "runs" } else { "does not run" };
            running.map(|runs| word(runs).to_owned()).into()
        },
        want: |_| Want::OneOf(&["does not run"]),
    },
    Setting {
        id: "isol.workqueue",
        why: "Work that the kernel puts off to any CPU lands on shards and preempts them.",
        severity: Severity::Advised,
        scope: Scope::Kernel,
        source: "/sys/devices/virtual/workqueue/cpumask",
        remedy: "write the mask of the CPUs without shards to \
                 /sys/devices/virtual/workqueue/cpumask",
        risk: "low",
        reboot: false,
        change: Change::Files(&[Target::mask(
            "/sys/devices/virtual/workqueue/cpumask",
            housekeeping_mask,
        )]),
        absent: Some("this kernel has no mask for its work queues"),
        read: |at| shard_cpus_in(at, at.facts.irq.workqueue_cpus.as_ref()),
        want: |_| Want::AtMost(Value::Count(0)),
    },
    Setting {
        id: "watchdog.mask",
        why: "The lockup watchdog wakes a thread on every CPU of its mask every few seconds.",
        severity: Severity::Advised,
        scope: Scope::Kernel,
        source: "/proc/sys/kernel/watchdog_cpumask",
        remedy: "sysctl -w kernel.watchdog_cpumask=LIST, with the CPUs without shards",
        risk: "lockups on shards go unseen",
        reboot: false,
        change: Change::Files(&[Target::cpus(
            "/proc/sys/kernel/watchdog_cpumask",
            housekeeping_list,
        )]),
        absent: Some("this kernel was built without the lockup watchdog"),
        read: |at| shard_cpus_in(at, at.facts.kernel.watchdog_cpus.as_ref()),
        want: |_| Want::AtMost(Value::Count(0)),
    },
];

const NO_CPU_LEFT: Reading = Reading::Moot("no CPU is left without a shard");

/// CPUs on which a shard may run.
pub(super) fn shard_cpus(at: &Context<'_>) -> CpuList {
    let topology = &at.facts.cpu.topology;
    match &at.options.shard_cpus {
        Some(named) => named.clone(),
        None => topology.allowed.difference(&at.housekeeping),
    }
}

/// How many of the shards' CPUs are in a mask that should spare them.
fn shard_cpus_in(at: &Context<'_>, mask: Option<&CpuList>) -> Reading {
    match mask {
        Some(_) if at.housekeeping.is_empty() => NO_CPU_LEFT,
        mask => mask
            .map(|mask| mask.intersection(&shard_cpus(at)).len())
            .into(),
    }
}

fn housekeeping_list(at: &Context<'_>) -> Option<String> {
    (!at.housekeeping.is_empty()).then(|| at.housekeeping.to_string())
}

fn housekeeping_mask(at: &Context<'_>) -> Option<String> {
    (!at.housekeeping.is_empty()).then(|| mask_of(&at.housekeeping))
}
