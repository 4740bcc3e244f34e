//! What is planned for each kind of host.
#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not get fails it"
)]

mod support;

use ninefold_tuning::setting::{self, Change};
use ninefold_tuning::{Advice, By, CheckOptions, Choice, Level, Plan, Profile, Root, Status, plan};
use support::{HOSTS, Host, files};

fn planned(host: &Host, profile: Profile, only: &[&str]) -> Plan {
    let options = CheckOptions {
        profile,
        ..CheckOptions::default()
    };
    let only = Choice {
        only: only.iter().map(|&id| id.to_owned()).collect(),
        ..Choice::default()
    };
    plan(&Root::at(host.path()), &host.facts(), &options, &only)
}

fn production(host: &Host) -> Plan {
    planned(host, Profile::Production, &[])
}

fn steps(plan: &Plan) -> Vec<(&str, &str, &str)> {
    plan.steps
        .iter()
        .map(|of| (of.setting.as_str(), of.path.as_str(), of.write.as_str()))
        .collect()
}

fn advice<'p>(plan: &'p Plan, id: &str) -> &'p Advice {
    plan.advice.iter().find(|of| of.setting == id).unwrap()
}

#[test]
fn a_tuned_server_has_one_switch_left() {
    let host = Host::load("bare-64c");
    let plan = production(&host);
    assert_eq!(
        steps(&plan),
        [(
            "sched.numa_balancing",
            "/proc/sys/kernel/numa_balancing",
            "0"
        )]
    );
    let ids: Vec<_> = plan.advice.iter().map(|of| of.setting.as_str()).collect();
    assert_eq!(ids, ["cpu.smt", "isol.partition"]);
    assert_eq!(plan.exit, 3);
    assert_eq!(planned(&host, Profile::Observe, &[]).exit, 0);
    assert!(planned(&host, Profile::Dev, &[]).steps.is_empty());
}

#[test]
fn a_guest_is_written_to_and_its_hypervisor_is_spoken_of() {
    let host = Host::load("kvm-8c");
    let plan = production(&host);
    assert_eq!(
        steps(&plan),
        [
            (
                "net.synbacklog",
                "/proc/sys/net/ipv4/tcp_max_syn_backlog",
                "4096"
            ),
            (
                "net.client",
                "/proc/sys/net/ipv4/ip_local_port_range",
                "1024 65535"
            ),
            (
                "net.conntrack",
                "/proc/sys/net/netfilter/nf_conntrack_max",
                "262144"
            ),
            (
                "sched.autogroup",
                "/proc/sys/kernel/sched_autogroup_enabled",
                "0"
            ),
            ("watchdog.nmi", "/proc/sys/kernel/nmi_watchdog", "0"),
            ("irq.affinity", "/proc/irq/24/smp_affinity_list", "0"),
            ("irq.affinity", "/proc/irq/25/smp_affinity_list", "0"),
            ("irq.affinity", "/proc/irq/9/smp_affinity_list", "0"),
            ("irq.default", "/proc/irq/default_smp_affinity", "1"),
            (
                "isol.workqueue",
                "/sys/devices/virtual/workqueue/cpumask",
                "1"
            ),
            ("watchdog.mask", "/proc/sys/kernel/watchdog_cpumask", "0"),
            (
                "mem.thp",
                "/sys/kernel/mm/transparent_hugepage/enabled",
                "madvise"
            ),
            ("vm.swappiness", "/proc/sys/vm/swappiness", "1"),
            ("vm.stat_interval", "/proc/sys/vm/stat_interval", "10"),
        ]
    );
    assert_eq!(plan.exit, 4);
    let governor = advice(&plan, "freq.governor");
    assert_eq!(
        (governor.by, governor.status),
        (By::HostOperator, Status::Unsupported)
    );
    assert_eq!(advice(&plan, "kernel.version").by, By::Person);
    let quota = advice(&plan, "cpu.quota");
    assert_eq!((quota.by, quota.what.as_str()), (By::Unit, "CPUQuota="));
    assert_eq!(advice(&plan, "oom.score").what, "OOMScoreAdjust=-900");
}

#[test]
fn the_cpus_of_shards_decide_where_the_rest_goes() {
    let host = Host::load("kvm-8c");
    let options = CheckOptions {
        shard_cpus: Some("2-3,6-7".parse().unwrap()),
        ..CheckOptions::default()
    };
    let plan = plan(
        &Root::at(host.path()),
        &host.facts(),
        &options,
        &Choice::default(),
    );
    let all = steps(&plan);
    assert!(
        all.contains(&("irq.default", "/proc/irq/default_smp_affinity", "33")),
        "{all:?}"
    );
    assert!(all.contains(&("irq.affinity", "/proc/irq/24/smp_affinity_list", "0-1,4-5")));
    assert_eq!(plan.shard_count, 4);
    // Where shards take every CPU, nothing is left to move the rest to.
    let options = CheckOptions {
        shard_cpus: Some("0-7".parse().unwrap()),
        ..CheckOptions::default()
    };
    let plan = ninefold_tuning::plan(
        &Root::at(host.path()),
        &host.facts(),
        &options,
        &Choice::default(),
    );
    assert!(
        plan.steps
            .iter()
            .all(|step| !step.setting.starts_with("irq."))
    );
}

#[test]
fn in_a_container_nothing_is_written_and_the_host_is_told() {
    let host = Host::load("container");
    host.write("/proc/sys/net/core/somaxconn", "128\n");
    let plan = production(&host);
    assert_eq!(steps(&plan), []);
    assert!(
        plan.advice.iter().all(|of| of.by == By::HostOperator),
        "{:?}",
        plan.advice
    );
    assert!(
        advice(&plan, "clock.source")
            .what
            .starts_with("on the host: ")
    );
    assert!(
        advice(&plan, "net.somaxconn")
            .what
            .contains("docker run --sysctl")
    );
    assert_eq!(plan.exit, 4);
}

#[test]
fn experiments_are_planned_by_name_only_and_boots_are_never_steps() {
    let host = Host::load("bare-64c");
    let plan = planned(
        &host,
        Profile::Production,
        &["isol.nohz_full", "freq.boost"],
    );
    assert_eq!(
        steps(&plan),
        [(
            "freq.boost",
            "/sys/devices/system/cpu/intel_pstate/no_turbo",
            "1"
        )]
    );
    let boot = advice(&plan, "isol.nohz_full");
    assert_eq!((boot.by, boot.severity), (By::Boot, Level::Ignored));
    assert_eq!(boot.what, "nohz_full=1-15,17-63");
    assert_eq!(plan.exit, 5);
    host.write("/proc/cmdline", "nohz_full=1-63\n");
    let plan = planned(&host, Profile::Production, &["isol.nohz_full"]);
    assert_eq!((plan.advice.len(), plan.exit), (0, 0));
}

#[test]
fn what_some_cpus_lack_is_written_to_those_only() {
    let host = Host::load("bare-64c");
    host.write(
        "/sys/devices/system/cpu/cpufreq/policy7/scaling_governor",
        "powersave\n",
    );
    host.write(
        "/sys/block/nvme0n1/queue/scheduler",
        "none [mq-deadline] kyber\n",
    );
    let plan = production(&host);
    let all = steps(&plan);
    let path = "/sys/devices/system/cpu/cpufreq/policy7/scaling_governor";
    assert!(all.contains(&("freq.governor", path, "performance")));
    assert!(all.contains(&(
        "blk.scheduler",
        "/sys/block/nvme0n1/queue/scheduler",
        "none"
    )));
    assert_eq!(all.len(), 3);
}

#[test]
fn hosts_of_no_cpu_and_of_thousands_are_planned_for() {
    let none = Host::load("kvm-8c");
    none.remove("/sys/devices/system/cpu");
    none.remove("/proc/cpuinfo");
    none.remove("/proc/self/status");
    let plan = production(&none);
    assert!(
        plan.steps
            .iter()
            .all(|step| !step.setting.starts_with("irq."))
    );
    let many = Host::load("kvm-8c");
    many.write("/sys/devices/system/cpu/online", "0-4095\n");
    many.write("/proc/self/status", "Cpus_allowed_list:\t0-4095\n");
    many.write(
        "/proc/irq/default_smp_affinity",
        ["ffffffff"; 128].join(","),
    );
    let plan = production(&many);
    assert!(steps(&plan).contains(&("irq.default", "/proc/irq/default_smp_affinity", "1")));
    assert_eq!(plan.shard_count, 4_095);
}

#[test]
fn planning_writes_nothing_on_any_host() {
    for name in HOSTS {
        let host = Host::load(name);
        let before = files(host.path());
        for profile in Profile::ALL {
            let plan = planned(&host, profile, &[]);
            let json = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
        }
        assert_eq!(files(host.path()), before);
    }
}

#[test]
fn whatever_is_reverted_by_a_reboot_is_not_said_to_take_one() {
    for setting in setting::all() {
        match setting.change {
            Change::Files(_) | Change::Unit(_) => assert!(!setting.reboot, "{}", setting.id),
            Change::Boot(_) => assert!(setting.reboot, "{}", setting.id),
            Change::Person => {}
        }
    }
}
