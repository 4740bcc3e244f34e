//! What this process may use: resource limits, and the capabilities that lift them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::field;
use super::root::Probe;

/// Resource limits and capabilities of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitFacts {
    /// Open descriptors (RLIMIT_NOFILE).
    pub nofile: Option<Limit>,
    /// Locked memory in bytes (RLIMIT_MEMLOCK).
    pub memlock: Option<Limit>,
    /// The ceiling of RLIMIT_NOFILE (`fs.nr_open`).
    pub nr_open: Option<u64>,
    /// Open files of the whole host (`fs.file-max`).
    pub file_max: Option<u64>,
    /// Whether this process has CAP_IPC_LOCK, which lifts RLIMIT_MEMLOCK.
    pub cap_ipc_lock: Option<bool>,
    /// Whether this process has CAP_SYS_ADMIN, which `io_uring_disabled=1` spares.
    pub cap_sys_admin: Option<bool>,
    /// How much sooner or later than others this process is killed when memory runs out.
    pub oom_score_adj: Option<i64>,
}

/// A soft limit, in force, and the hard limit up to which we may raise it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// In force now.
    pub soft: Bound,
    /// What the soft limit may be raised to.
    pub hard: Bound,
}

/// A number, or none; serialises as the number or as `"unlimited"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// At most so many.
    Finite(u64),
    /// As many as there are.
    Unlimited(Unlimited),
}

/// The word `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unlimited {
    /// The only one.
    Unlimited,
}

impl Bound {
    /// The number, `u64::MAX` standing for none.
    pub fn ceiling(self) -> u64 {
        match self {
            Self::Finite(bound) => bound,
            Self::Unlimited(_) => u64::MAX,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finite(bound) => bound.fmt(f),
            Self::Unlimited(_) => f.write_str("unlimited"),
        }
    }
}

const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;

impl LimitFacts {
    pub(super) fn read(probe: &Probe<'_>) -> Self {
        const LIMITS: &str = "/proc/self/limits";
        let capable = |bit| probe.with("/proc/self/status", |status| capable(status, bit));
        Self {
            nofile: probe.with(LIMITS, |text| limit(text, "Max open files")),
            memlock: probe.with(LIMITS, |text| limit(text, "Max locked memory")),
            nr_open: probe.value("/proc/sys/fs/nr_open"),
            file_max: probe.value("/proc/sys/fs/file-max"),
            cap_ipc_lock: capable(CAP_IPC_LOCK),
            cap_sys_admin: capable(CAP_SYS_ADMIN),
            oom_score_adj: probe.value("/proc/self/oom_score_adj"),
        }
    }
}

fn limit(limits: &str, name: &str) -> Option<Limit> {
    let mut columns = limits
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace();
    let mut bound = || match columns.next()? {
        "unlimited" => Some(Bound::Unlimited(Unlimited::Unlimited)),
        number => number.parse().ok().map(Bound::Finite),
    };
    Some(Limit {
        soft: bound()?,
        hard: bound()?,
    })
}

fn capable(status: &str, bit: u32) -> Option<bool> {
    let effective = u64::from_str_radix(field(status, "CapEff", ':')?, 16).ok()?;
    Some(effective >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNLIMITED: Bound = Bound::Unlimited(Unlimited::Unlimited);

    #[test]
    fn reads_both_columns() {
        let text = "Max open files            1024      unlimited   files\nMax locked memory x 1 b";
        let want = Limit {
            soft: Bound::Finite(1024),
            hard: UNLIMITED,
        };
        assert_eq!(limit(text, "Max open files"), Some(want));
        assert_eq!(limit(text, "Max locked memory"), None);
        assert_eq!(limit("Max open files", "Max open files"), None);
        assert_eq!(limit("", "Max open files"), None);
    }

    #[test]
    fn no_limit_is_beyond_every_limit_and_reads_so_in_json() {
        assert!(UNLIMITED > Bound::Finite(u64::MAX));
        let limit = Limit {
            soft: Bound::Finite(20_000),
            hard: UNLIMITED,
        };
        let json = serde_json::to_string(&limit).unwrap();
        assert_eq!(json, r#"{"soft":20000,"hard":"unlimited"}"#);
        assert_eq!(serde_json::from_str::<Limit>(&json).unwrap(), limit);
    }

    #[test]
    fn capabilities_are_bits_of_a_hexadecimal_word() {
        assert_eq!(
            capable("CapEff:\t0000000000004000", CAP_IPC_LOCK),
            Some(true)
        );
        assert_eq!(
            capable("CapEff:\t0000000000004000", CAP_SYS_ADMIN),
            Some(false)
        );
        assert_eq!(capable("CapEff:\tzz", CAP_IPC_LOCK), None);
    }
}
