//! Compares what a host is with what a node wants: facts in, report out, nothing changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::virt::HostKind;
use crate::facts::{Cpu, CpuList, Facts, Gap, Topology};
use crate::profile::{Level, Profile};
use crate::setting::{self, Reading, Scope, Setting, Want};

/// The name and version of the report's shape.
pub const SCHEMA: &str = "ninefold.tune.check.v1";

/// What is asked of the host.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// What the host is meant for.
    pub profile: Profile,
    /// Shards that will run; without it, one per allowed CPU, less one per NUMA node.
    pub shard_count: Option<usize>,
    /// Connections that should fit at once.
    pub connection_count_max: u64,
    /// Whether a ring could be set up, from whoever tried; no file tells what seccomp blocks.
    pub io_uring_works: Option<bool>,
    /// The CPUs that shards will run on; without them, all allowed ones but the first of each node.
    pub shard_cpus: Option<CpuList>,
    /// An earlier snapshot: steal is then judged over the time between, not since boot.
    pub earlier: Option<Box<Facts>>,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            shard_count: None,
            connection_count_max: 50_000,
            io_uring_works: None,
            shard_cpus: None,
            earlier: None,
        }
    }
}

/// What settings are read and wanted from.
pub(crate) struct Context<'c> {
    pub(crate) facts: &'c Facts,
    pub(crate) options: &'c CheckOptions,
    pub(crate) shard_count: usize,
    /// CPUs without a shard, to which the kernel's own work may go; empty when none is left.
    pub(crate) housekeeping: CpuList,
}

/// Every setting compared with what it should be; serialises as the document of `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// What the host was checked for.
    pub profile: Profile,
    /// The shards that were reckoned with.
    pub shard_count: usize,
    /// The host.
    pub facts: Facts,
    /// Each setting, family by family.
    pub settings: Vec<Finding>,
    /// What it comes to.
    pub summary: Summary,
    /// The exit code of `ninefold-tune check`: 0, 3 or 4.
    pub exit: u8,
}

/// What was found of one setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The setting's name.
    pub id: String,
    /// How much it counts under the report's profile.
    pub severity: Level,
    /// How it stands.
    pub status: Status,
    /// What it holds, where that could be read.
    pub found: Option<String>,
    /// What it should hold.
    pub wanted: String,
    /// Why it stands so, where the value alone does not tell.
    pub reason: Option<String>,
    /// The file it was read from.
    pub source: String,
    /// How to put it right, and who can; absent when it is right.
    pub remedy: Option<String>,
    /// Whether that takes a reboot.
    pub reboot: bool,
    /// What that costs.
    pub risk: String,
}

/// How a setting stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As wanted, or it cannot matter here.
    Ok,
    /// Not as wanted.
    Drift,
    /// The kernel lacks what we want.
    Missing,
    /// Not this host's to have or to change.
    Unsupported,
    /// We may not read it.
    Forbidden,
    /// It could not be read, or not be understood.
    Unknown,
}

impl Status {
    /// The name in tables and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Drift => "drift",
            Self::Missing => "missing",
            Self::Unsupported => "unsupported",
            Self::Forbidden => "forbidden",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing is left to do here.
    pub fn settled(self) -> bool {
        matches!(self, Self::Ok | Self::Unsupported)
    }
}

/// What a report comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many settings stand how.
    pub counts: BTreeMap<Status, usize>,
    /// Required settings that are not shown to be met, unreadable ones included.
    pub required_unmet: Vec<String>,
    /// Advised settings that are not as wanted.
    pub advised_unmet: Vec<String>,
}

/// Compares every setting with what it should be on this host.
pub fn check(facts: &Facts, options: &CheckOptions) -> Report {
    let context = Context::new(facts, options);
    let settings: Vec<_> = setting::all()
        .map(|setting| context.judge(setting))
        .collect();
    let summary = Summary::of(&settings);
    Report {
        schema: SCHEMA.to_owned(),
        profile: options.profile,
        shard_count: context.shard_count,
        facts: facts.clone(),
        exit: summary.exit(),
        settings,
        summary,
    }
}

/// Compares one setting with what it should be on this host.
pub fn check_one(setting: &Setting, facts: &Facts, options: &CheckOptions) -> Finding {
    Context::new(facts, options).judge(setting)
}

impl<'c> Context<'c> {
    pub(crate) fn new(facts: &'c Facts, options: &'c CheckOptions) -> Self {
        let topology = &facts.cpu.topology;
        let spare = topology
            .allowed
            .len()
            .saturating_sub(topology.node_count())
            .max(1);
        let named = options.shard_cpus.as_ref();
        let shard_count = named.map_or(spare, CpuList::len);
        Self {
            facts,
            options,
            shard_count: options.shard_count.unwrap_or(shard_count),
            housekeeping: match named {
                Some(shards) => topology.online.difference(shards),
                None => firsts_of_nodes(topology),
            },
        }
    }

    pub(crate) fn judge(&self, setting: &Setting) -> Finding {
        let want = (setting.want)(self);
        let reading = (setting.read)(self);
        let (status, reason) = self.status(setting, &reading, &want);
        let in_order = status == Status::Ok;
        Finding {
            id: setting.id.to_owned(),
            severity: self.options.profile.level(setting.severity),
            status,
            found: match reading {
                Reading::Found(value) => Some(value.to_string()),
                Reading::Moot(_) | Reading::Unclear(_) | Reading::Absent => None,
            },
            wanted: want.to_string(),
            reason: reason.map(str::to_owned),
            source: setting.source.to_owned(),
            remedy: (!in_order).then(|| self.remedy(setting)).flatten(),
            reboot: setting.reboot,
            risk: setting.risk.to_owned(),
        }
    }

    fn status(
        &self,
        setting: &Setting,
        reading: &Reading,
        want: &Want,
    ) -> (Status, Option<&'static str>) {
        let kind = self.facts.virt.kind;
        match reading {
            Reading::Moot(why) => (Status::Ok, Some(why)),
            Reading::Unclear(why) => (Status::Unknown, Some(why)),
            Reading::Found(value) if want.met_by(value) => (Status::Ok, None),
            // Good news counts wherever it comes from; bad news only for whom it concerns.
            _ if !setting.scope.covers(kind) => {
                (Status::Unsupported, Some(setting.scope.excludes(kind)))
            }
            Reading::Found(_) => (Status::Drift, None),
            Reading::Absent => match (self.facts.gaps.get(setting.source), setting.absent) {
                (Some(Gap::Forbidden), _) => (Status::Forbidden, Some("we may not read it")),
                (Some(Gap::Garbled), _) => (
                    Status::Unknown,
                    Some("its file holds nothing that we understand"),
                ),
                (_, Some(why)) => (Status::Unsupported, Some(why)),
                (Some(Gap::Missing), None) => (Status::Missing, Some("its file does not exist")),
                (None, None) => (Status::Unknown, Some("nothing was found to read it from")),
            },
        }
    }

    /// What to do, if anything can be done from anywhere.
    fn remedy(&self, setting: &Setting) -> Option<String> {
        let theirs = !setting.scope.covers(self.facts.virt.kind);
        match (self.facts.virt.kind, setting.scope) {
            (HostKind::Bare, Scope::Shared) => None,
            (HostKind::Container, _) if theirs => Some(format!("on the host: {}", setting.remedy)),
            (HostKind::Guest, _) if theirs => {
                Some(format!("on the hypervisor's host: {}", setting.remedy))
            }
            _ => Some(setting.remedy.to_owned()),
        }
    }
}

/// The first allowed CPU of each node, unless no other would be left.
fn firsts_of_nodes(topology: &Topology) -> CpuList {
    let mut firsts: Vec<Cpu> = topology.allowed_cpus().collect();
    firsts.dedup_by_key(|cpu| cpu.node);
    let firsts: CpuList = firsts.iter().map(|cpu| cpu.id).collect();
    match firsts.len() < topology.allowed.len() {
        true => firsts,
        false => CpuList::default(),
    }
}

impl Summary {
    fn of(settings: &[Finding]) -> Self {
        let mut counts = BTreeMap::new();
        for finding in settings {
            *counts.entry(finding.status).or_insert(0) += 1;
        }
        let ids = |wanted: fn(&Finding) -> bool| {
            settings
                .iter()
                .filter(|finding| wanted(finding))
                .map(|of| of.id.clone())
                .collect()
        };
        Self {
            counts,
            required_unmet: ids(|of| of.severity == Level::Required && !of.status.settled()),
            advised_unmet: ids(|of| {
                of.severity == Level::Advised
                    && matches!(of.status, Status::Drift | Status::Missing)
            }),
        }
    }

    fn exit(&self) -> u8 {
        match (
            self.required_unmet.is_empty(),
            self.advised_unmet.is_empty(),
        ) {
            (false, _) => 4,
            (true, false) => 3,
            (true, true) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::Value;
    use std::mem::discriminant;

    /// A want of another kind than the value could never be met, and nobody would notice.
    #[test]
    fn every_setting_is_read_in_the_kind_that_it_is_wanted_in() {
        let (facts, options) = (Facts::capture(), CheckOptions::default());
        let context = Context::new(&facts, &options);
        for setting in setting::all() {
            let Reading::Found(found) = (setting.read)(&context) else {
                continue;
            };
            let alike = match (setting.want)(&context) {
                Want::OneOf(_) => matches!(found, Value::Text(_)),
                Want::AtLeast(want) | Want::AtMost(want) | Want::Exactly(want) => {
                    discriminant(&want) == discriminant(&found)
                }
            };
            assert!(alike, "{}: {found:?}", setting.id);
        }
    }

    #[test]
    fn an_empty_snapshot_is_never_taken_for_a_fit_host() {
        let report = check(&Facts::default(), &CheckOptions::default());
        assert_eq!(report.exit, 4);
        assert!(
            !report.summary.counts.contains_key(&Status::Ok),
            "{:?}",
            report.settings
        );
    }

    #[test]
    fn observing_asks_for_nothing() {
        let options = CheckOptions {
            profile: Profile::Observe,
            ..CheckOptions::default()
        };
        assert_eq!(check(&Facts::default(), &options).exit, 0);
    }

    #[test]
    fn a_gap_says_why_a_setting_could_not_be_read() {
        let uring = setting::find("uring.allowed").unwrap();
        for (gap, status) in [
            (Some(Gap::Forbidden), Status::Forbidden),
            (Some(Gap::Garbled), Status::Unknown),
            (Some(Gap::Missing), Status::Missing),
            (None, Status::Unknown),
        ] {
            let gaps = gap
                .map(|gap| (uring.source.to_owned(), gap))
                .into_iter()
                .collect();
            let facts = Facts {
                gaps,
                ..Facts::default()
            };
            assert_eq!(
                check_one(uring, &facts, &CheckOptions::default()).status,
                status
            );
        }
    }

    #[test]
    fn a_ring_that_was_tried_outweighs_what_the_files_say() {
        let facts = Facts::capture();
        let uring = setting::find("uring.allowed").unwrap();
        for (works, status) in [(true, Status::Ok), (false, Status::Drift)] {
            let options = CheckOptions {
                io_uring_works: Some(works),
                ..CheckOptions::default()
            };
            assert_eq!(check_one(uring, &facts, &options).status, status);
        }
    }
}
