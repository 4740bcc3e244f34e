//! Contention seen from inside: stalls for want of a CPU, and CPU time that the host stole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::root::{Probe, Root};

/// Contention, as seen from inside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PressureFacts {
    /// Share of the last 10 s in which some task waited for a CPU, in percent.
    pub cpu_some_avg10_percent: Option<f64>,
    /// Such time since boot, in microseconds.
    pub cpu_some_total_us: Option<u64>,
    /// Ticks of each CPU since boot; two snapshots give a rate.
    pub ticks: BTreeMap<u32, CpuTicks>,
}

/// How a CPU has spent its ticks since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuTicks {
    /// Ticks in which the hypervisor ran something else.
    pub steal: u64,
    /// Ticks in which the CPU had nothing to do.
    pub idle: u64,
    /// All of them.
    pub total: u64,
}

impl PressureFacts {
    pub(super) fn read(probe: &Probe<'_>) -> Self {
        Self {
            cpu_some_avg10_percent: probe.with("/proc/pressure/cpu", |text| {
                some(text, "avg10")?.parse().ok()
            }),
            cpu_some_total_us: probe.with("/proc/pressure/cpu", |text| {
                some(text, "total")?.parse().ok()
            }),
            ticks: probe.with("/proc/stat", ticks).unwrap_or_default(),
        }
    }

    /// The share of CPU time that was stolen, in percent, since `earlier` or else since boot.
    pub fn steal_percent(&self, earlier: Option<&Self>) -> Option<f64> {
        let sum = |pressure: &Self| {
            pressure
                .ticks
                .values()
                .fold((0u64, 0u64), |(steal, total), cpu| {
                    (
                        steal.saturating_add(cpu.steal),
                        total.saturating_add(cpu.total),
                    )
                })
        };
        let (steal, total) = sum(self);
        let (steal_before, total_before) = earlier.map(sum).unwrap_or_default();
        let total = total.checked_sub(total_before).filter(|&ticks| ticks > 0)?;
        Some(100.0 * steal.saturating_sub(steal_before) as f64 / total as f64)
    }
}

/// Ticks of each CPU of this host since boot, stolen ones among them (`/proc/stat`).
pub fn steal() -> Option<BTreeMap<u32, CpuTicks>> {
    ticks(&Root::host().text("/proc/stat").ok()?)
}

/// Lines `cpuN user nice system idle iowait irq softirq steal guest guest_nice`.
fn ticks(stat: &str) -> Option<BTreeMap<u32, CpuTicks>> {
    let ticks: BTreeMap<_, _> = stat.lines().filter_map(cpu_ticks).collect();
    (!ticks.is_empty()).then_some(ticks)
}

fn cpu_ticks(line: &str) -> Option<(u32, CpuTicks)> {
    let mut words = line.strip_prefix("cpu")?.split(' ');
    let cpu = words.next()?.parse().ok()?;
    // Guest time, behind the eighth, is already within user time.
    let counts: Vec<u64> = words.map_while(|word| word.parse().ok()).take(8).collect();
    let &[.., idle, iowait, _, _, steal] = counts.as_slice() else {
        return None;
    };
    let total = counts
        .iter()
        .fold(0u64, |sum, &count| sum.saturating_add(count));
    (counts.len() == 8).then_some((
        cpu,
        CpuTicks {
            steal,
            idle: idle.saturating_add(iowait),
            total,
        },
    ))
}

/// The text of `key=` in the line `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn some<'t>(psi: &'t str, key: &str) -> Option<&'t str> {
    let line = psi.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split(' ')
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 10 0 20 60 5 0 0 5 3 0\n\
                        cpu2 1 1 1 1 1 1 1 1\n\
                        cpu3 1 2\nintr 5\n";

    #[test]
    fn reads_each_cpu_and_leaves_guest_time_out() {
        let found = ticks(STAT).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[&0],
            CpuTicks {
                steal: 5,
                idle: 65,
                total: 100
            }
        );
        assert_eq!(found[&2].total, 8);
        assert_eq!(ticks(""), None);
        assert_eq!(ticks("cpu0 a b c"), None);
    }

    #[test]
    fn steal_is_a_share_of_the_time_between() {
        let now = PressureFacts {
            ticks: ticks(STAT).unwrap(),
            ..PressureFacts::default()
        };
        let share = now.steal_percent(None).unwrap();
        assert!((share - 100.0 * 6.0 / 108.0).abs() < 1e-9, "{share}");
        assert_eq!(now.steal_percent(Some(&now)), None, "no time has passed");
        assert_eq!(PressureFacts::default().steal_percent(None), None);
    }

    #[test]
    fn reads_the_some_line_only() {
        let psi = "full avg10=9.00 total=9\nsome avg10=0.40 avg60=0.41 avg300=0.51 total=8566893";
        assert_eq!(some(psi, "avg10"), Some("0.40"));
        assert_eq!(some(psi, "total"), Some("8566893"));
        assert_eq!(some("full avg10=1", "avg10"), None);
        assert_eq!(some("", "avg10"), None);
    }
}
