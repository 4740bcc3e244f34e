//! Files that lie, are broken, or are not files: nothing panics, nothing is made up.

mod support;

use ninefold_tuning::facts::Gap;
use ninefold_tuning::journal::{STATE_DIR, Store};
use ninefold_tuning::{CheckOptions, Choice, Facts, Root, Status, Step, check, plan};
use support::{HOSTS, Host, files};

/// Contents that a file of procfs or sysfs should never have.
fn lies() -> [Vec<u8>; 8] {
    [
        Vec::new(),
        b"\n".to_vec(),
        vec![0xff; 4096],
        vec![b'9'; 1 << 16],
        b"-1".to_vec(),
        b"0-511".to_vec(),
        b":: - , = [ ] -> 0-4294967295 ()".to_vec(),
        (0..=255).collect(),
    ]
}

#[test]
fn no_single_lie_breaks_the_reader() {
    for name in HOSTS {
        let host = Host::load(name);
        // What is alike for every CPU is told about one of them.
        let alike = |path: &String| {
            let of_cpu = path.contains("/topology/") || path.contains("/cpufreq/");
            !of_cpu || path.contains("/cpu0/") || path.contains("/policy0/")
        };
        for path in files(host.path()).into_iter().filter(alike) {
            let truth = std::fs::read(host.path().join(&path[1..])).unwrap();
            for lie in lies() {
                host.write(&path, lie);
                let report = check(&host.facts(), &CheckOptions::default());
                assert!(matches!(report.exit, 0 | 3 | 4), "{name} {path}");
            }
            host.write(&path, truth);
        }
    }
}

#[test]
fn when_every_file_lies_nothing_is_taken_for_fit() {
    for lie in lies() {
        let host = Host::load("kvm-8c");
        for path in files(host.path()) {
            host.write(&path, &lie);
        }
        let (facts, options) = (host.facts(), CheckOptions::default());
        let report = check(&facts, &options);
        assert_eq!(report.exit, 4, "{lie:?}");
        let plan = plan(&Root::at(host.path()), &facts, &options, &Choice::default());
        assert_eq!(plan.exit, 4, "{lie:?}");
        let unread = |step: &Step| step.found.len() <= 1 << 16;
        assert!(plan.steps.iter().all(unread), "{lie:?}");
    }
}

#[test]
fn an_empty_tree_gives_empty_facts() {
    let facts = Host::empty().facts();
    assert_eq!(facts.kernel.release, None);
    assert_eq!(facts.limits.nofile, None);
    assert_eq!(facts.memory.total_bytes, None);
    assert!(facts.cpu.topology.cpus.is_empty());
    assert_eq!(facts.gaps["/proc/stat"], Gap::Missing);
    assert_eq!(
        facts,
        Facts {
            memory: facts.memory.clone(),
            gaps: facts.gaps.clone(),
            ..Facts::default()
        }
    );
}

#[test]
fn a_folder_in_place_of_a_file_is_a_gap() {
    let host = Host::load("kvm-8c");
    host.remove("/proc/sys/net/core/somaxconn");
    host.write("/proc/sys/net/core/somaxconn/inner", "4096");
    let facts = host.facts();
    assert_eq!(facts.net.somaxconn, None);
    assert_eq!(facts.gaps["/proc/sys/net/core/somaxconn"], Gap::Garbled);
    let report = check(&facts, &CheckOptions::default());
    let finding = report
        .settings
        .iter()
        .find(|of| of.id == "net.somaxconn")
        .unwrap();
    assert_eq!(finding.status, Status::Unknown);
}

#[test]
fn a_pipe_in_place_of_a_file_is_no_value_and_stops_nobody() {
    let host = Host::load("kvm-8c");
    host.pipe("/proc/sys/net/core/somaxconn");
    host.pipe("/proc/stat");
    let facts = host.facts();
    assert_eq!(facts.net.somaxconn, None);
    assert_eq!(facts.gaps["/proc/sys/net/core/somaxconn"], Gap::Garbled);
    assert!(facts.pressure.ticks.is_empty());
}

#[test]
fn garbage_is_unknown_even_where_absence_would_be_excused() {
    let host = Host::load("kvm-8c");
    host.write("/proc/pressure/cpu", "some avg10=high total=1\n");
    let report = check(&host.facts(), &CheckOptions::default());
    let finding = report
        .settings
        .iter()
        .find(|of| of.id == "virt.pressure")
        .unwrap();
    assert_eq!(finding.status, Status::Unknown);
}

#[test]
fn a_tree_that_somebody_sent_leads_no_journal_out_of_it() {
    let elsewhere = Host::load("small-vm-2c");
    for link in [
        "/var",
        "/var/lib",
        "/var/lib/ninefold",
        "/var/lib/ninefold/tune",
    ] {
        let host = Host::load("kvm-8c");
        let (above, _) = link.rsplit_once('/').unwrap();
        std::fs::create_dir_all(host.path().join(above.trim_start_matches('/'))).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), host.path().join(&link[1..])).unwrap();
        let before = files(elsewhere.path());
        let error = Store::of(&Root::at(host.path()), None).unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
        assert_eq!(files(elsewhere.path()), before);
    }
    let host = Host::load("kvm-8c");
    Store::of(&Root::at(host.path()), None).unwrap();
    assert!(host.path().join(&STATE_DIR[1..]).join("lock").is_file());
}
