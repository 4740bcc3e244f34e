//! What is true of a host: the one place of the repository that reads `/proc` and `/sys`.
//!
//! [`Facts`] is a snapshot to check, to store in a report and to compare with a later one. Beside
//! it stand cheap single readings for whoever measures: [`process`], [`net::sockstat`],
//! [`memory::slab_bytes`], [`interrupts`], [`steal`]. Whatever cannot be read is `None`, and
//! [`Facts::gaps`] says why.

pub mod block;
pub mod cgroup;
pub mod cpu;
mod cpu_list;
mod identity;
pub mod irq;
pub mod kernel;
pub mod limits;
pub mod memory;
pub mod net;
pub mod pressure;
pub mod process;
mod root;
mod topology;
pub mod virt;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::cpu_list::{CpuList, CpuListError};
pub use self::identity::Identity;
pub use self::irq::{interrupts, softirqs};
pub use self::pressure::{CpuTicks, steal};
pub use self::root::{Gap, Root};
pub use self::topology::{Cpu, Topology};

pub(crate) use self::cpu_list::cpu_mask;

use self::root::Probe;

/// Everything that Ninefold wants to know of a host, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The kernel and its switches.
    pub kernel: kernel::KernelFacts,
    /// CPUs, clocks, frequencies.
    pub cpu: cpu::CpuFacts,
    /// Memory and how the kernel manages it.
    pub memory: memory::MemoryFacts,
    /// Resource limits and capabilities of this process.
    pub limits: limits::LimitFacts,
    /// TCP settings.
    pub net: net::NetFacts,
    /// Bare metal, guest or container.
    pub virt: virt::VirtFacts,
    /// What the control groups above this process allow it.
    pub cgroup: cgroup::CgroupFacts,
    /// Contention, as seen from inside.
    pub pressure: pressure::PressureFacts,
    /// Where interrupts and deferred work may run.
    pub irq: irq::IrqFacts,
    /// NVMe disks.
    pub block: Vec<block::BlockFacts>,
    /// Files that gave no fact, and why.
    pub gaps: BTreeMap<String, Gap>,
}

impl Facts {
    /// The facts of the host this process runs on.
    pub fn capture() -> Self {
        Self::read(&Root::host())
    }

    /// The facts found below `root`.
    pub fn read(root: &Root) -> Self {
        let probe = Probe::new(root);
        Self {
            kernel: kernel::KernelFacts::read(&probe),
            cpu: cpu::CpuFacts::read(&probe),
            memory: memory::MemoryFacts::read(&probe),
            limits: limits::LimitFacts::read(&probe),
            net: net::NetFacts::read(&probe),
            virt: virt::VirtFacts::read(root),
            cgroup: cgroup::CgroupFacts::read(root),
            pressure: pressure::PressureFacts::read(&probe),
            irq: irq::IrqFacts::read(&probe),
            block: block::disks(root),
            gaps: probe.into_gaps(),
        }
    }
}

/// The value behind `key` in text of lines `key<separator>value`.
fn field<'t>(text: &'t str, key: &str, separator: char) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(separator)?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// The choice that sysfs marks in `always [madvise] never`.
pub(crate) fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}
