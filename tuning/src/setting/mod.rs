//! The settings of a host that a node's latency depends on: one file per family.
//!
//! A setting is data: what it is for, how to read it from [`Facts`](crate::Facts), what it should
//! be. [`crate::check()`] is the one place that compares.

pub(crate) mod change;
mod clock;
mod contention;
mod cpu;
mod experiment;
mod information;
mod interrupts;
mod limits;
mod memory;
mod net;
mod power;
mod sched;
mod uring;
mod value;

use serde::{Deserialize, Serialize};

use self::change::to;
pub use self::change::{Answer, Change, Form, Target};
pub use self::value::{Reading, Value, Want};

use crate::check::Context;
use crate::facts::virt::HostKind;

/// One thing about a host that can be right or wrong for a node.
#[derive(Debug)]
pub struct Setting {
    /// Its name, `family.thing`.
    pub id: &'static str,
    /// What it does to latency.
    pub why: &'static str,
    /// How much depends on it.
    pub severity: Severity,
    /// Where it can be changed.
    pub scope: Scope,
    /// The file it is read from.
    pub source: &'static str,
    /// How to put it right.
    pub remedy: &'static str,
    /// What putting it right costs.
    pub risk: &'static str,
    /// Whether it takes a reboot.
    pub reboot: bool,
    /// How it is put right.
    pub change: Change,
    /// What it means when the kernel has no such switch; without it that counts as missing.
    pub absent: Option<&'static str>,
    /// Reads it.
    pub(crate) read: fn(&Context<'_>) -> Reading,
    /// Says what it should be, which may depend on the host and on what is asked of it.
    pub(crate) want: fn(&Context<'_>) -> Want,
}

/// How much depends on a setting; [`Profile::level`](crate::Profile::level) makes a level of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A node does not start without it.
    Vital,
    /// A node in production misses its objectives without it.
    Production,
    /// A measurement made without it means little.
    Measurement,
    /// A node is better with it.
    Advised,
    /// It may help; measure with and without it.
    Experiment,
    /// It explains figures; nothing is asked of it.
    Information,
}

/// The kinds of host on which a setting is ours to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Bare metal only: elsewhere it belongs to the hypervisor's host.
    Bare,
    /// Whoever runs the kernel: bare metal or guest.
    Kernel,
    /// Whoever shares a machine: guest or container.
    Shared,
    /// Everywhere.
    Anywhere,
}

impl Scope {
    /// Whether a setting of this scope is ours to change on such a host.
    pub fn covers(self, kind: HostKind) -> bool {
        match self {
            Self::Bare => kind == HostKind::Bare,
            Self::Kernel => kind != HostKind::Container,
            Self::Shared => kind != HostKind::Bare,
            Self::Anywhere => true,
        }
    }

    /// Why a setting of this scope is not ours to change on a host that it does not cover.
    pub(crate) fn excludes(self, kind: HostKind) -> &'static str {
        match kind {
            HostKind::Bare => "bare metal: nobody else has a share in this machine",
            HostKind::Guest => "guest: the hypervisor's host decides",
            HostKind::Container => "container: the host decides",
        }
    }
}

/// Every setting, family by family.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    [
        uring::SETTINGS,
        limits::SETTINGS,
        cpu::SETTINGS,
        clock::SETTINGS,
        power::SETTINGS,
        net::SETTINGS,
        sched::SETTINGS,
        interrupts::SETTINGS,
        memory::SETTINGS,
        contention::SETTINGS,
        information::SETTINGS,
        experiment::SETTINGS,
    ]
    .into_iter()
    .flatten()
}

/// The setting called `id`.
pub fn find(id: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_setting_is_named_once_and_says_what_a_reader_needs() {
        let ids: BTreeSet<_> = all().map(|setting| setting.id).collect();
        assert_eq!(ids.len(), all().count());
        for setting in all() {
            assert!(setting.id.split_once('.').is_some_and(|(family, name)| {
                [family, name]
                    .iter()
                    .all(|part| part.chars().all(|c| matches!(c, 'a'..='z' | '_')))
            }));
            assert!(
                setting.why.len() > 20 && setting.why.ends_with('.'),
                "{}",
                setting.id
            );
            assert!(
                !setting.remedy.is_empty() && !setting.risk.is_empty(),
                "{}",
                setting.id
            );
            assert!(setting.source.starts_with('/'), "{}", setting.id);
            assert_eq!(find(setting.id).map(|found| found.id), Some(setting.id));
        }
    }
}
