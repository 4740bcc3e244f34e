//! Which CPUs there are, which of them we may use, and how they share cores and memory.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::cgroup::Hierarchy;
use super::cpu_list::CpuList;
use super::root::Root;

/// One logical CPU and its place in the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cpu {
    /// The kernel's number of this CPU.
    pub id: u32,
    /// The NUMA node of its memory; 0 where the host does not say.
    pub node: u32,
    /// The socket (`physical_package_id`); 0 where the host does not say.
    pub package: u32,
    /// The lowest CPU of its physical core, siblings that we may not use included.
    ///
    /// Unlike the kernel's `core_id`, which repeats from die to die, it names one core of the host.
    pub core: u32,
    /// Its rank among the SMT siblings of its core: 0 for the first, 1 for the second.
    pub smt_rank: u32,
}

/// The CPUs of a host, from sysfs, with `/proc/cpuinfo` and guesses of one core a CPU behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Topology {
    /// CPUs that the kernel has brought up (`/sys/devices/system/cpu/online`).
    pub online: CpuList,
    /// CPUs that this process may use: its affinity mask within its cpuset, online ones only.
    pub allowed: CpuList,
    /// CPUs that the scheduler leaves alone (`isolcpus=` and isolated cpuset partitions).
    pub isolated: CpuList,
    /// Every online CPU, ordered by node, package, core and SMT rank.
    pub cpus: Vec<Cpu>,
}

impl Topology {
    /// Reads the CPUs of the host this process runs on.
    pub fn host() -> Self {
        Self::read(&Root::host())
    }

    /// Reads the CPUs below `root`; what cannot be read is empty, never an error.
    pub fn read(root: &Root) -> Self {
        let list = |path: &str| root.text(path).ok()?.parse::<CpuList>().ok();
        let affinity = affinity(root);
        let online = list("/sys/devices/system/cpu/online")
            .filter(|cpus| !cpus.is_empty())
            .or_else(|| processors(root))
            .or_else(|| affinity.clone())
            .unwrap_or_default();
        let allowed = [affinity, cpuset(root)]
            .into_iter()
            .flatten()
            .fold(online.clone(), |allowed, mask| allowed.intersection(&mask));
        let isolated = [
            "/sys/devices/system/cpu/isolated",
            "/sys/fs/cgroup/cpuset.cpus.isolated",
        ]
        .into_iter()
        .filter_map(list)
        .fold(CpuList::default(), |all, some| all.union(&some));
        let nodes = node_of_cpu(root);
        let mut cpus: Vec<_> = online
            .iter()
            .map(|id| Cpu {
                node: nodes.get(&id).copied().unwrap_or(0),
                ..place(root, id)
            })
            .collect();
        cpus.sort_unstable_by_key(|cpu| (cpu.node, cpu.package, cpu.core, cpu.smt_rank, cpu.id));
        Self {
            online,
            allowed,
            isolated,
            cpus,
        }
    }

    /// The CPUs that this process may use, ordered by node, package, core and SMT rank.
    pub fn allowed_cpus(&self) -> impl Iterator<Item = Cpu> + '_ {
        self.cpus
            .iter()
            .copied()
            .filter(|cpu| self.allowed.contains(cpu.id))
    }

    /// How many physical cores the allowed CPUs stand on.
    pub fn allowed_cores(&self) -> usize {
        self.allowed_cpus()
            .map(|cpu| cpu.core)
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// How many NUMA nodes have a CPU that is online; at least one.
    pub fn node_count(&self) -> usize {
        let mut nodes: Vec<_> = self.cpus.iter().map(|cpu| cpu.node).collect();
        nodes.dedup();
        nodes.len().max(1)
    }

    /// Whether some core has more than one CPU online.
    pub fn smt_active(&self) -> bool {
        self.cpus
            .windows(2)
            .any(|pair| pair[0].core == pair[1].core)
    }
}

/// The affinity mask of the process: its file first, so that a saved tree has one too.
fn affinity(root: &Root) -> Option<CpuList> {
    let from_file = || {
        let status = root.text("/proc/self/status").ok()?;
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        list.trim()
            .parse::<CpuList>()
            .ok()
            .filter(|cpus| !cpus.is_empty())
    };
    let from_kernel = || {
        let mask = rustix::thread::sched_getaffinity(None).ok()?;
        let ids = (0u32..).take(rustix::thread::CpuSet::MAX_CPU);
        Some(
            ids.filter(|&id| usize::try_from(id).is_ok_and(|id| mask.is_set(id)))
                .collect(),
        )
    };
    from_file().or_else(|| root.is_host().then(from_kernel).flatten())
}

/// The cpuset that holds us: the nearest group with a list; an empty list says "as my parent".
fn cpuset(root: &Root) -> Option<CpuList> {
    let hierarchy = Hierarchy::of(root, "cpuset")?;
    let names: &[&str] = match hierarchy.unified {
        true => &["cpuset.cpus.effective"],
        // The plain name when the hierarchy is mounted with `noprefix`.
        false => &["cpuset.effective_cpus", "cpuset.cpus", "cpus"],
    };
    let list = |path: String| root.text(&path).ok()?.parse::<CpuList>().ok();
    names.iter().find_map(|name| {
        hierarchy
            .files(name)
            .filter_map(list)
            .find(|cpus| !cpus.is_empty())
    })
}

fn processors(root: &Root) -> Option<CpuList> {
    let cpuinfo = root.text("/proc/cpuinfo").ok()?;
    let ids = cpuinfo.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "processor")
            .then(|| value.trim().parse::<u32>().ok())
            .flatten()
    });
    Some(ids.collect::<CpuList>()).filter(|cpus| !cpus.is_empty())
}

fn place(root: &Root, id: u32) -> Cpu {
    let read = |file: &str| {
        root.text(&format!("/sys/devices/system/cpu/cpu{id}/topology/{file}"))
            .ok()
    };
    let siblings = ["core_cpus_list", "thread_siblings_list"]
        .into_iter()
        .find_map(|file| read(file)?.parse::<CpuList>().ok())
        .filter(|cpus| cpus.contains(id))
        .unwrap_or_else(|| [id].into_iter().collect());
    Cpu {
        id,
        node: 0,
        // -1 where the firmware names no package.
        package: read("physical_package_id")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
        core: siblings.iter().next().unwrap_or(id),
        smt_rank: (0..)
            .zip(siblings.iter())
            .find(|&(_, cpu)| cpu == id)
            .map_or(0, |(n, _)| n),
    }
}

fn node_of_cpu(root: &Root) -> BTreeMap<u32, u32> {
    let nodes = root
        .names("/sys/devices/system/node")
        .into_iter()
        .filter_map(|name| {
            let node: u32 = name.strip_prefix("node")?.parse().ok()?;
            let path = format!("/sys/devices/system/node/{name}/cpulist");
            Some((node, root.text(&path).ok()?.parse::<CpuList>().ok()?))
        });
    nodes
        .flat_map(|(node, cpus)| cpus.iter().map(|cpu| (cpu, node)).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_and_the_system_call_agree_on_the_mask() {
        let topology = Topology::host();
        let mask = rustix::thread::sched_getaffinity(None).unwrap();
        let count = usize::try_from(mask.count()).unwrap();
        assert_eq!(topology.allowed_cpus().count(), count);
        assert!(
            topology
                .allowed_cpus()
                .all(|cpu| mask.is_set(cpu.id as usize))
        );
    }
}
