//! How settings stand on each kind of host.
#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not get fails it"
)]

mod support;

use ninefold_tuning::{CheckOptions, Finding, Level, Profile, Report, Status, check};
use support::Host;

fn report(host: &Host, options: CheckOptions) -> Report {
    check(&host.facts(), &options)
}

fn production(host: &Host) -> Report {
    report(host, CheckOptions::default())
}

fn finding<'r>(report: &'r Report, id: &str) -> &'r Finding {
    report.settings.iter().find(|of| of.id == id).unwrap()
}

#[test]
fn a_tuned_server_is_fit_and_its_drift_is_advice() {
    let report = production(&Host::load("bare-64c"));
    assert_eq!(report.exit, 3, "{:?}", report.summary);
    assert_eq!(report.shard_count, 62, "one housekeeping CPU per node");
    assert_eq!(
        report.summary.advised_unmet,
        ["cpu.smt", "isol.partition", "sched.numa_balancing"]
    );
    assert_eq!(
        finding(&report, "idle.latency").found.as_deref(),
        Some("2 us")
    );
    assert_eq!(
        finding(&report, "vm.swappiness").reason.as_deref(),
        Some("no swap")
    );
}

#[test]
fn one_shard_a_core_and_two_settings_make_it_exit_0() {
    let host = Host::load("bare-64c");
    host.write("/proc/sys/kernel/numa_balancing", "0\n");
    host.write("/sys/devices/system/cpu/isolated", "2-31\n");
    let options = CheckOptions {
        shard_count: Some(30),
        ..CheckOptions::default()
    };
    let report = report(&host, options);
    assert_eq!(report.exit, 0, "{:?}", report.summary);
    assert!(
        report
            .settings
            .iter()
            .all(|of| of.status != Status::Ok || of.remedy.is_none())
    );
}

#[test]
fn a_server_with_a_power_saving_governor_is_unfit() {
    let host = Host::load("bare-64c");
    host.write(
        "/sys/devices/system/cpu/cpufreq/policy7/scaling_governor",
        "powersave\n",
    );
    let report = production(&host);
    assert_eq!(
        (report.exit, &report.summary.required_unmet[..]),
        (4, &["freq.governor".into()][..])
    );
    let found = finding(&report, "freq.governor").found.as_deref();
    assert_eq!(found, Some("performance: 0-6,8-63, powersave: 7"));
}

#[test]
fn a_guest_answers_for_itself_but_not_for_its_host() {
    let report = production(&Host::load("kvm-8c"));
    assert_eq!(report.exit, 4);
    assert_eq!(
        report.summary.required_unmet,
        ["kernel.version", "cpu.quota", "net.synbacklog"]
    );
    assert_eq!(
        finding(&report, "cpu.quota").found.as_deref(),
        Some("3.00 CPUs")
    );
    assert_eq!(finding(&report, "clock.source").status, Status::Ok);
    let uring = finding(&report, "uring.allowed");
    assert_eq!(
        (uring.status, uring.found.as_deref()),
        (Status::Ok, None),
        "no switch before 6.6"
    );
    let governor = finding(&report, "freq.governor");
    assert_eq!(governor.status, Status::Unsupported);
    assert!(
        governor
            .remedy
            .as_ref()
            .unwrap()
            .starts_with("on the hypervisor's host: ")
    );
    assert_eq!(finding(&report, "cpu.smt").found.as_deref(), Some("4"));
}

#[test]
fn what_voids_a_measurement_is_required_for_bench_only() {
    let host = Host::load("kvm-8c");
    let required = |profile| {
        let report = report(
            &host,
            CheckOptions {
                profile,
                ..CheckOptions::default()
            },
        );
        report.summary.required_unmet
    };
    for id in ["virt.steal", "virt.pressure", "net.client", "net.conntrack"] {
        assert!(required(Profile::Bench).iter().any(|of| of == id), "{id}");
        assert!(
            !required(Profile::Production).iter().any(|of| of == id),
            "{id}"
        );
    }
    assert!(required(Profile::Dev).is_empty());
    assert_eq!(
        report(
            &host,
            CheckOptions {
                profile: Profile::Observe,
                ..CheckOptions::default()
            }
        )
        .exit,
        0
    );
}

#[test]
fn steal_is_judged_over_the_time_between_two_snapshots() {
    let host = Host::load("kvm-8c");
    let earlier = Some(Box::new(host.facts()));
    host.write(
        "/proc/stat",
        "cpu0 1700 0 100 150 10 0 0 40\ncpu1 1500 0 100 350 10 0 0 40\n",
    );
    let report = report(
        &host,
        CheckOptions {
            earlier,
            ..CheckOptions::default()
        },
    );
    assert_eq!(
        finding(&report, "virt.steal").found.as_deref(),
        Some("0.00 %")
    );
}

#[test]
fn a_container_says_what_its_host_must_do() {
    let report = production(&Host::load("container"));
    assert_eq!(report.exit, 4);
    let clock = finding(&report, "clock.source");
    assert_eq!(
        (clock.status, clock.severity),
        (Status::Unsupported, Level::Required)
    );
    assert_eq!(clock.found.as_deref(), Some("hpet"));
    assert_eq!(clock.reason.as_deref(), Some("container: the host decides"));
    assert!(
        clock
            .remedy
            .as_ref()
            .unwrap()
            .starts_with("on the host: echo tsc")
    );
    assert_eq!(finding(&report, "cpu.quota").status, Status::Drift);
    assert_eq!(
        finding(&report, "limits.memlock").found.as_deref(),
        Some("64 KiB")
    );
    let uring = finding(&report, "uring.allowed");
    assert_eq!(
        uring.status,
        Status::Unknown,
        "a seccomp filter is in no file"
    );
    assert!(
        report
            .summary
            .required_unmet
            .contains(&"uring.allowed".to_owned())
    );
}

#[test]
fn io_uring_switched_off_is_said_with_the_sysctl() {
    let host = Host::load("bare-64c");
    for (switch, status) in [
        ("0", Status::Ok),
        ("1", Status::Drift),
        ("2", Status::Drift),
    ] {
        host.write("/proc/sys/kernel/io_uring_disabled", switch);
        let report = report(
            &host,
            CheckOptions {
                profile: Profile::Dev,
                ..CheckOptions::default()
            },
        );
        let uring = finding(&report, "uring.allowed");
        assert_eq!(
            (uring.status, report.exit == 4),
            (status, status == Status::Drift),
            "{switch}"
        );
    }
    let remedy = finding(&production(&host), "uring.allowed")
        .remedy
        .clone()
        .unwrap();
    assert!(remedy.contains("kernel.io_uring_disabled=0"), "{remedy}");
    // 1 spares the privileged.
    let vm = Host::load("small-vm-2c");
    vm.write("/proc/sys/kernel/io_uring_disabled", "1");
    assert_eq!(
        finding(&production(&vm), "uring.allowed").status,
        Status::Ok
    );
}

#[test]
fn limits_are_reckoned_from_what_is_asked() {
    let host = Host::load("small-vm-2c");
    let nofile = |connection_count_max| {
        let options = CheckOptions {
            connection_count_max,
            ..CheckOptions::default()
        };
        finding(&report(&host, options), "limits.nofile").status
    };
    assert_eq!(nofile(18_976), Status::Ok);
    assert_eq!(nofile(18_977), Status::Drift);
    assert_eq!(nofile(u64::MAX), Status::Drift);
    let cpu = |shards| {
        let options = CheckOptions {
            shard_count: Some(shards),
            ..CheckOptions::default()
        };
        let report = report(&host, options);
        (
            finding(&report, "cpu.allowed").status,
            finding(&report, "cpu.housekeeping").status,
        )
    };
    assert_eq!(cpu(1), (Status::Ok, Status::Ok));
    assert_eq!(cpu(2), (Status::Ok, Status::Drift));
    assert_eq!(cpu(usize::MAX), (Status::Drift, Status::Drift));
}

#[test]
fn a_report_survives_the_way_through_json() {
    let report = production(&Host::load("container"));
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}
