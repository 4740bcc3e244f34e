//! Where this process stands in the control-group hierarchies, v1 and v2, and what they allow it.

use serde::{Deserialize, Serialize};

use super::field;
use super::root::Root;

/// What the control groups above this process allow it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CgroupFacts {
    /// The version of the hierarchy that rules CPU time: 1 or 2.
    pub version: Option<u32>,
    /// The tightest quota from our own group up; absent when none is set.
    pub cpu_quota: Option<CpuQuota>,
    /// How often our own group had to wait for its quota.
    pub throttle: Option<Throttle>,
}

/// CPU time that a group may use in each period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuQuota {
    /// CPU time per period, in microseconds.
    pub quota_us: u64,
    /// The period, in microseconds.
    pub period_us: u64,
}

impl CpuQuota {
    /// The quota as a number of CPUs.
    pub fn cpus(self) -> f64 {
        self.quota_us as f64 / self.period_us as f64
    }
}

/// Counters of a group that has a quota, or had one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Throttle {
    /// Periods in which the group ran.
    pub periods: u64,
    /// Periods in which it used up its quota.
    pub throttled_periods: u64,
    /// Time that its tasks waited for the next period, in microseconds.
    pub throttled_us: u64,
}

impl CgroupFacts {
    pub(super) fn read(root: &Root) -> Self {
        let Some(hierarchy) = Hierarchy::of(root, "cpu") else {
            return Self::default();
        };
        let tightest = hierarchy
            .quotas(root)
            .min_by(|one, other| one.cpus().total_cmp(&other.cpus()));
        Self {
            version: Some(if hierarchy.unified { 2 } else { 1 }),
            cpu_quota: tightest,
            throttle: hierarchy
                .files("cpu.stat")
                .find_map(|path| throttle(&root.text(&path).ok()?)),
        }
    }
}

/// `cpu.max` of v2: `QUOTA PERIOD`, or `max PERIOD`.
fn quota_v2(text: &str) -> Option<CpuQuota> {
    let (quota, period) = text.split_once(' ')?;
    quota_of(quota.parse().ok()?, period.parse().ok()?)
}

fn quota_of(quota_us: u64, period_us: u64) -> Option<CpuQuota> {
    (period_us > 0).then_some(CpuQuota {
        quota_us,
        period_us,
    })
}

/// v2 counts in microseconds; v1 in nanoseconds, under another name.
fn throttle(stat: &str) -> Option<Throttle> {
    let count = |key| field(stat, key, ' ')?.parse::<u64>().ok();
    Some(Throttle {
        periods: count("nr_periods")?,
        throttled_periods: count("nr_throttled")?,
        throttled_us: count("throttled_usec")
            .or_else(|| count("throttled_time").map(|ns| ns / 1_000))?,
    })
}

/// The directories of one controller, ours first and then each parent up to the mount point.
///
/// Limits add up along the way, so a reader of quotas looks at all of them. A container often sees
/// the host's path in `/proc/self/cgroup` but only its own part mounted: directories that do not
/// exist are simply left out.
pub(crate) struct Hierarchy {
    /// Whether this is the unified (v2) hierarchy.
    pub(crate) unified: bool,
    directories: Vec<String>,
}

impl Hierarchy {
    /// The hierarchy that rules `controller` (`cpu`, `cpuset`, ...): v1 if it is mounted there.
    pub(crate) fn of(root: &Root, controller: &str) -> Option<Self> {
        let memberships = root.text("/proc/self/cgroup").ok()?;
        let mounts = root.text("/proc/self/mountinfo").ok()?;
        [false, true].into_iter().find_map(|unified| {
            let path = membership(&memberships, controller, unified)?;
            let mount = mounts
                .lines()
                .find_map(|line| mount(line, controller, unified))?;
            let directories = ancestors(mount, path)
                .filter(|directory| root.exists(directory))
                .collect::<Vec<_>>();
            // A hybrid host mounts v2 as well, but without the controllers that v1 holds.
            let holds = !unified || controls(root, &directories, controller);
            (holds && !directories.is_empty()).then_some(Self {
                unified,
                directories,
            })
        })
    }

    fn quotas(&self, root: &Root) -> impl Iterator<Item = CpuQuota> {
        let read = |directory: &String, file: &str| root.text(&format!("{directory}/{file}")).ok();
        self.directories
            .iter()
            .filter_map(move |directory| match self.unified {
                true => quota_v2(&read(directory, "cpu.max")?),
                // -1, which is no u64, stands for no quota.
                false => quota_of(
                    read(directory, "cpu.cfs_quota_us")?.parse().ok()?,
                    read(directory, "cpu.cfs_period_us")?.parse().ok()?,
                ),
            })
    }

    /// `file` in each of the directories, the nearest first.
    pub(crate) fn files(&self, file: &str) -> impl Iterator<Item = String> {
        self.directories
            .iter()
            .map(move |directory| format!("{directory}/{file}"))
    }
}

fn controls(root: &Root, directories: &[String], controller: &str) -> bool {
    directories.iter().any(|directory| {
        root.text(&format!("{directory}/cgroup.controllers"))
            .is_ok_and(|list| list.split_whitespace().any(|name| name == controller))
    })
}

/// Our path in the line `ID:CONTROLLERS:PATH`; v2's line has no controllers.
fn membership<'t>(text: &'t str, controller: &str, unified: bool) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let ours = match unified {
            true => controllers.is_empty(),
            false => controllers.split(',').any(|name| name == controller),
        };
        ours.then_some(path)
    })
}

struct Mount<'t> {
    root: &'t str,
    point: &'t str,
}

/// The line `ID PARENT DEV ROOT POINT OPTIONS [TAGS] - TYPE SOURCE SUPEROPTIONS`.
fn mount<'t>(line: &'t str, controller: &str, unified: bool) -> Option<Mount<'t>> {
    let (head, tail) = line.split_once(" - ")?;
    let mut tail = tail.split(' ');
    let kind = tail.next()?;
    let ours = match unified {
        true => kind == "cgroup2",
        false => kind == "cgroup" && tail.nth(1)?.split(',').any(|name| name == controller),
    };
    let mut head = head.split(' ').skip(3);
    ours.then_some(Mount {
        root: head.next()?,
        point: head.next()?,
    })
}

fn ancestors<'t>(mount: Mount<'t>, path: &'t str) -> impl Iterator<Item = String> {
    let below = path
        .strip_prefix(mount.root)
        .unwrap_or(path)
        .trim_matches('/');
    let parents = std::iter::successors(Some(below), |path| path.rsplit_once('/').map(|up| up.0));
    parents
        .filter(|path| !path.is_empty())
        .map(move |path| format!("{}/{path}", mount.point))
        .chain([mount.point.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_v1_by_controller_and_v2_by_its_empty_field() {
        let text = "4:cpu,cpuacct:/a\n3:cpuset:/b\n0::/c";
        assert_eq!(membership(text, "cpuacct", false), Some("/a"));
        assert_eq!(membership(text, "cpuset", true), Some("/c"));
        assert_eq!(membership("", "cpu", false), None);
        assert_eq!(membership("::\n:::\nx", "cpu", false), None);
    }

    #[test]
    fn a_quota_is_two_numbers() {
        let quota = quota_v2("150000 100000").unwrap();
        assert!((quota.cpus() - 1.5).abs() < 1e-9);
        for text in ["max 100000", "", "1", "1 0", "x y", "-1 100000", "1 2 3"] {
            assert_eq!(quota_v2(text), None, "{text:?}");
        }
    }

    #[test]
    fn throttle_counters_of_both_versions_agree() {
        let v1 = "nr_periods 9\nnr_throttled 4\nthrottled_time 7000000";
        let v2 = "usage_usec 1\nnr_periods 9\nnr_throttled 4\nthrottled_usec 7000";
        let want = Throttle {
            periods: 9,
            throttled_periods: 4,
            throttled_us: 7_000,
        };
        assert_eq!((throttle(v1), throttle(v2)), (Some(want), Some(want)));
        assert_eq!(
            throttle("usage_usec 1"),
            None,
            "the root group counts no periods"
        );
    }

    #[test]
    fn walks_from_our_group_to_the_mount_point() {
        let line = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        let found = mount(line, "cpu", true).unwrap();
        let paths: Vec<_> = ancestors(found, "/app.slice/node.service").collect();
        let want = ["/app.slice/node.service", "/app.slice", ""];
        assert_eq!(paths, want.map(|below| format!("/sys/fs/cgroup{below}")));
    }

    #[test]
    fn a_bind_mount_of_our_own_group_is_its_own_root() {
        let line = "9 1 0:3 /docker/ab /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct";
        let found = mount(line, "cpu", false).unwrap();
        assert_eq!(
            ancestors(found, "/docker/ab").collect::<Vec<_>>(),
            ["/sys/fs/cgroup/cpu"]
        );
    }
}
