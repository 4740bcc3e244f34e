//! Interrupts.

use std::collections::BTreeMap;

use super::root::Root;

/// Interrupts that each online CPU of this host has taken since boot (`/proc/interrupts`).
pub fn interrupts() -> Option<BTreeMap<u32, u64>> {
    totals(&Root::host().text("/proc/interrupts").ok()?)
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
