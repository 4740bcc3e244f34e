//! NVMe disks: the ones on which a journal would be.

use serde::{Deserialize, Serialize};

use super::chosen;
use super::root::Root;

/// How requests to a disk are queued.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockFacts {
    /// The disk's name.
    pub name: String,
    /// Its I/O scheduler.
    pub scheduler: String,
    /// How hard it tries to merge requests: 0 all it can, 1 a little, 2 not at all.
    pub nomerges: u64,
}

pub(super) fn disks(root: &Root) -> Vec<BlockFacts> {
    let disk = |name: String| {
        let read = |file: &str| root.text(&format!("/sys/block/{name}/queue/{file}")).ok();
        let scheduler = read("scheduler")?;
        Some(BlockFacts {
            scheduler: chosen(&scheduler).unwrap_or(scheduler),
            nomerges: read("nomerges")?.parse().ok()?,
            name,
        })
    };
    let names = root.names("/sys/block").into_iter();
    names
        .filter(|name| name.starts_with("nvme"))
        .filter_map(disk)
        .collect()
}
