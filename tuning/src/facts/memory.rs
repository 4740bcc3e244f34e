//! Memory: how much there is, where it stands, and how the kernel manages it.

use serde::{Deserialize, Serialize};

use super::cpu_list::CpuList;
use super::root::{Probe, Root};
use super::{chosen, field};

/// Memory and how the kernel manages it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryFacts {
    /// The size of a page, in bytes.
    pub page_bytes: u64,
    /// Memory that the kernel manages, in bytes.
    pub total_bytes: Option<u64>,
    /// Memory that could be had without swapping, in bytes.
    pub available_bytes: Option<u64>,
    /// Swap space, in bytes; zero when there is none.
    pub swap_bytes: Option<u64>,
    /// The mode of transparent huge pages: `always`, `madvise` or `never`.
    pub thp: Option<String>,
    /// What a fault does when no huge page is free.
    pub thp_defrag: Option<String>,
    /// Reserved huge pages, by size.
    pub huge_pages: Vec<HugePages>,
    /// NUMA nodes with memory or CPUs.
    pub nodes: Vec<MemoryNode>,
    /// `vm.swappiness`.
    pub swappiness: Option<u64>,
    /// `vm.stat_interval`, in seconds.
    pub stat_interval_s: Option<u64>,
    /// `vm.zone_reclaim_mode`.
    pub zone_reclaim_mode: Option<u64>,
    /// `vm.compaction_proactiveness`.
    pub compaction_proactiveness: Option<u64>,
    /// Whether same-page merging runs: 0 no, 1 yes, 2 undoes what it merged.
    pub ksm_run: Option<u64>,
}

/// Reserved huge pages of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HugePages {
    /// The size of each, in bytes.
    pub size_bytes: u64,
    /// How many are reserved.
    pub total: u64,
    /// How many of them are free.
    pub free: u64,
}

/// A NUMA node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryNode {
    /// The kernel's number of the node.
    pub id: u32,
    /// The CPUs beside it.
    pub cpus: CpuList,
    /// Its memory, in bytes.
    pub total_bytes: Option<u64>,
    /// Its unused memory, in bytes.
    pub free_bytes: Option<u64>,
}

impl MemoryFacts {
    pub(super) fn read(probe: &Probe<'_>) -> Self {
        let meminfo = probe.text("/proc/meminfo").unwrap_or_default();
        let thp = |file| format!("/sys/kernel/mm/transparent_hugepage/{file}");
        let vm = |name| probe.value(&format!("/proc/sys/vm/{name}"));
        Self {
            page_bytes: u64::try_from(rustix::param::page_size()).unwrap_or(0),
            total_bytes: bytes(&meminfo, "MemTotal"),
            available_bytes: bytes(&meminfo, "MemAvailable"),
            swap_bytes: bytes(&meminfo, "SwapTotal"),
            thp: probe.with(&thp("enabled"), chosen),
            thp_defrag: probe.with(&thp("defrag"), chosen),
            huge_pages: huge_pages(probe.root()),
            nodes: nodes(probe.root()),
            swappiness: vm("swappiness"),
            stat_interval_s: vm("stat_interval"),
            zone_reclaim_mode: vm("zone_reclaim_mode"),
            compaction_proactiveness: vm("compaction_proactiveness"),
            ksm_run: probe.value("/sys/kernel/mm/ksm/run"),
        }
    }
}

/// What the kernel keeps in small objects (sockets, their entries and buffers), in bytes: the whole
/// host's.
pub fn slab_bytes() -> Option<u64> {
    bytes(&Root::host().text("/proc/meminfo").ok()?, "Slab")
}

/// The bytes in a line `key: 123 kB`.
fn bytes(meminfo: &str, key: &str) -> Option<u64> {
    let kib: u64 = field(meminfo, key, ':')?
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    kib.checked_mul(1024)
}

fn huge_pages(root: &Root) -> Vec<HugePages> {
    const POOLS: &str = "/sys/kernel/mm/hugepages";
    let pool = |name: String| {
        let kib: u64 = name
            .strip_prefix("hugepages-")?
            .strip_suffix("kB")?
            .parse()
            .ok()?;
        let read = |file: &str| {
            root.text(&format!("{POOLS}/{name}/{file}"))
                .ok()?
                .parse()
                .ok()
        };
        Some(HugePages {
            size_bytes: kib.checked_mul(1024)?,
            total: read("nr_hugepages")?,
            free: read("free_hugepages")?,
        })
    };
    let mut pools: Vec<_> = root.names(POOLS).into_iter().filter_map(pool).collect();
    pools.sort_unstable_by_key(|pool| pool.size_bytes);
    pools
}

fn nodes(root: &Root) -> Vec<MemoryNode> {
    const NODES: &str = "/sys/devices/system/node";
    let node = |name: String| {
        let id = name.strip_prefix("node")?.parse().ok()?;
        let read = |file: &str| root.text(&format!("{NODES}/{name}/{file}")).ok();
        // Each line begins with `Node 0`, which is no part of its key.
        let meminfo = read("meminfo")
            .unwrap_or_default()
            .replace(&format!("Node {id} "), "");
        Some(MemoryNode {
            id,
            cpus: read("cpulist")?.parse().ok()?,
            total_bytes: bytes(&meminfo, "MemTotal"),
            free_bytes: bytes(&meminfo, "MemFree"),
        })
    };
    let mut nodes: Vec<_> = root.names(NODES).into_iter().filter_map(node).collect();
    nodes.sort_unstable_by_key(|node| node.id);
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kibibytes_and_nothing_else() {
        assert_eq!(
            bytes("MemTotal:  2 kB\nMemFree: 1 kB", "MemFree"),
            Some(1024)
        );
        for text in [
            "",
            "MemFree",
            "MemFree: kB",
            "MemFree: 1",
            "MemFree: 1 MB",
            "MemFree: -1 kB",
        ] {
            assert_eq!(bytes(text, "MemFree"), None, "{text:?}");
        }
        assert_eq!(bytes(&format!("MemFree: {} kB", u64::MAX), "MemFree"), None);
    }
}
