//! Which host this is, and which of its lives.

use serde::{Deserialize, Serialize};

use super::root::Root;

/// What tells a host from another, and from itself before a reboot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// The kernel's random name of this boot.
    pub boot_id: Option<String>,
    /// The installation's name (`/etc/machine-id`).
    pub host_id: Option<String>,
}

impl Identity {
    /// Reads both below `root`.
    pub fn read(root: &Root) -> Self {
        let text = |path| root.text(path).ok().filter(|text| !text.is_empty());
        Self {
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            host_id: text("/etc/machine-id"),
        }
    }
}
