//! Interrupts, and where they and the kernel's deferred work may run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cpu_list::{CpuList, cpu_mask};
use super::root::{Probe, Root};

/// Where interrupts and deferred work may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IrqFacts {
    /// The CPUs to which each interrupt of a device goes.
    pub affinities: BTreeMap<u32, CpuList>,
    /// The CPUs to which those of later devices will go.
    pub default_cpus: Option<CpuList>,
    /// The CPUs of work queues that are bound to none.
    pub workqueue_cpus: Option<CpuList>,
    /// Whether irqbalance runs; absent where no other process can be seen.
    pub irqbalance: Option<bool>,
}

impl IrqFacts {
    pub(super) fn read(probe: &Probe<'_>) -> Self {
        Self {
            affinities: affinities(probe.root()),
            default_cpus: probe.with("/proc/irq/default_smp_affinity", cpu_mask),
            workqueue_cpus: probe.with("/sys/devices/virtual/workqueue/cpumask", cpu_mask),
            irqbalance: irqbalance(probe.root()),
        }
    }
}

/// Only interrupts that somebody handles: those have a folder of the handler's name.
fn affinities(root: &Root) -> BTreeMap<u32, CpuList> {
    const IRQS: &str = "/proc/irq";
    let affinity = |name: String| {
        let number = name.parse().ok()?;
        let folder = format!("{IRQS}/{name}");
        let names = root.names(&folder);
        names
            .iter()
            .find(|name| root.is_folder(&format!("{folder}/{name}")))?;
        let read = |file: &str| root.text(&format!("{folder}/{file}")).ok()?.parse().ok();
        let effective = read("effective_affinity_list").filter(|cpus: &CpuList| !cpus.is_empty());
        Some((number, effective.or_else(|| read("smp_affinity_list"))?))
    };
    root.names(IRQS).into_iter().filter_map(affinity).collect()
}

fn irqbalance(root: &Root) -> Option<bool> {
    let names = root.names("/proc");
    let pids = names.iter().filter(|name| name.parse::<u32>().is_ok());
    let mut commands = pids.filter_map(|pid| root.text(&format!("/proc/{pid}/comm")).ok());
    let first = commands.next()?;
    Some(first == "irqbalance" || commands.any(|name| name == "irqbalance"))
}

/// Interrupts that each online CPU of this host has taken since boot (`/proc/interrupts`).
pub fn interrupts() -> Option<BTreeMap<u32, u64>> {
    totals(&Root::host().text("/proc/interrupts").ok()?)
}

/// Soft interrupts that each CPU of this host has run since boot (`/proc/softirqs`).
pub fn softirqs() -> Option<BTreeMap<u32, u64>> {
    totals(&Root::host().text("/proc/softirqs").ok()?)
}

/// Columns are CPUs, named in the first line; `ERR` and `MIS` count for the host as a whole.
fn totals(text: &str) -> Option<BTreeMap<u32, u64>> {
    let mut lines = text.lines();
    let cpus: Option<Vec<u32>> = lines
        .next()?
        .split_whitespace()
        .map(|name| name.strip_prefix("CPU")?.parse().ok())
        .collect();
    let cpus = cpus.filter(|cpus| !cpus.is_empty())?;
    let mut totals: BTreeMap<u32, u64> = cpus.iter().map(|&cpu| (cpu, 0)).collect();
    for line in lines {
        let Some((label, counts)) = line.split_once(':') else {
            continue;
        };
        if matches!(label.trim(), "ERR" | "MIS") {
            continue;
        }
        let counts = counts
            .split_whitespace()
            .map_while(|count| count.parse::<u64>().ok());
        for (cpu, count) in cpus.iter().zip(counts) {
            totals
                .entry(*cpu)
                .and_modify(|total| *total = total.saturating_add(count));
        }
    }
    Some(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_each_column_over_its_own_cpu() {
        let text = "           CPU0       CPU3\n 24:   1   2  IO-APIC 5-edge\nLOC:  10  20  Local\n\
                    ERR:          7\nMIS: 9\n";
        assert_eq!(totals(text), Some(BTreeMap::from([(0, 11), (3, 22)])));
    }

    #[test]
    fn garbage_is_none_or_no_count() {
        for text in ["", "\n", "cpu x", "CPU0 CPUx\n1: 1 1"] {
            assert_eq!(totals(text), None, "{text:?}");
        }
        assert_eq!(
            totals("CPU0\nno colon\n1: x\n"),
            Some(BTreeMap::from([(0, 0)]))
        );
    }

    #[test]
    fn this_host_takes_interrupts() {
        assert!(interrupts().unwrap().values().sum::<u64>() > 0);
    }
}
