//! What is read from each kind of host.

mod support;

use ninefold_tuning::facts::cgroup::{CpuQuota, Throttle};
use ninefold_tuning::facts::limits::{Bound, Limit, Unlimited};
use ninefold_tuning::facts::virt::HostKind;
use ninefold_tuning::facts::{Cpu, Facts, Gap};
use support::{HOSTS, Host};

#[test]
fn every_host_survives_the_way_through_json() {
    for name in HOSTS {
        let facts = Host::load(name).facts();
        let json = serde_json::to_string(&facts).unwrap();
        assert_eq!(
            serde_json::from_str::<Facts>(&json).unwrap(),
            facts,
            "{name}"
        );
    }
    let here = Facts::capture();
    let json = serde_json::to_string(&here).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), here);
}

#[test]
fn an_older_document_without_a_field_is_still_read() {
    let facts: Facts = serde_json::from_str(r#"{"kernel":{"release":"6.1.0"}}"#).unwrap();
    assert_eq!(facts.kernel.version(), Some((6, 1)));
    assert!(facts.cpu.topology.cpus.is_empty());
}

#[test]
fn a_server_has_nodes_packages_cores_and_threads() {
    let facts = Host::load("bare-64c").facts();
    let topology = &facts.cpu.topology;
    assert_eq!(topology.allowed.to_string(), "0-63");
    assert_eq!((topology.node_count(), topology.allowed_cores()), (2, 32));
    assert!(topology.smt_active());
    let cpus: Vec<_> = topology.allowed_cpus().collect();
    assert_eq!(cpus.len(), 64);
    // Siblings stand together: CPU 0 and its sibling 32, then the next core.
    assert_eq!(
        cpus[0],
        Cpu {
            id: 0,
            node: 0,
            package: 0,
            core: 0,
            smt_rank: 0
        }
    );
    assert_eq!(
        cpus[1],
        Cpu {
            id: 32,
            node: 0,
            package: 0,
            core: 0,
            smt_rank: 1
        }
    );
    assert_eq!(cpus[2].id, 1);
    assert_eq!(
        cpus[32],
        Cpu {
            id: 16,
            node: 1,
            package: 1,
            core: 16,
            smt_rank: 0
        }
    );
    assert_eq!(
        cpus[63],
        Cpu {
            id: 63,
            node: 1,
            package: 1,
            core: 31,
            smt_rank: 1
        }
    );
}

#[test]
fn a_server_is_bare_and_its_settings_are_read() {
    let facts = Host::load("bare-64c").facts();
    assert_eq!(facts.virt.kind, HostKind::Bare);
    assert_eq!(
        (&facts.virt.container, &facts.virt.hypervisor),
        (&None, &None)
    );
    assert_eq!(facts.cpu.governors["performance"].to_string(), "0-63");
    assert_eq!(facts.cpu.boost, Some(true));
    assert_eq!(facts.cpu.clock.tsc_khz, Some(2_900_000));
    let states: Vec<_> = facts
        .cpu
        .idle_states
        .iter()
        .map(|of| (&*of.name, of.exit_latency_us, of.disabled))
        .collect();
    assert_eq!(
        states,
        [("POLL", 0, false), ("C1", 2, false), ("C6", 190, true)]
    );
    assert_eq!(
        (facts.cgroup.version, facts.cgroup.cpu_quota),
        (Some(2), None)
    );
    assert_eq!(facts.memory.thp.as_deref(), Some("madvise"));
    assert_eq!(facts.memory.nodes[1].free_bytes, Some(121_000_000 << 10));
    assert_eq!(
        (
            facts.memory.huge_pages[0].total,
            facts.memory.huge_pages[0].free
        ),
        (512, 500)
    );
    let unlimited = Bound::Unlimited(Unlimited::Unlimited);
    assert_eq!(
        facts.limits.memlock,
        Some(Limit {
            soft: unlimited,
            hard: unlimited
        })
    );
    assert_eq!(facts.limits.cap_ipc_lock, Some(false));
    assert_eq!(facts.net.port_range.unwrap().len(), 64_512);
    assert_eq!(facts.gaps, [].into());
}

#[test]
fn a_guest_names_its_hypervisor_and_the_tightest_quota_above_it() {
    let facts = Host::load("kvm-8c").facts();
    assert_eq!(facts.virt.kind, HostKind::Guest);
    assert_eq!(facts.virt.hypervisor.as_deref(), Some("kvm"));
    assert!(
        facts
            .virt
            .evidence
            .iter()
            .any(|seen| seen.contains("sys_vendor: has QEMU"))
    );
    let quota = facts.cgroup.cpu_quota.unwrap();
    assert_eq!(
        quota,
        CpuQuota {
            quota_us: 150_000,
            period_us: 50_000
        }
    );
    let throttle = Throttle {
        periods: 1000,
        throttled_periods: 12,
        throttled_us: 340_000,
    };
    assert_eq!(facts.cgroup.throttle, Some(throttle));
    assert_eq!(facts.cpu.topology.isolated.to_string(), "6-7");
    assert_eq!(facts.pressure.cpu_some_avg10_percent, Some(22.5));
    assert!((facts.pressure.steal_percent(None).unwrap() - 4.0).abs() < 1e-9);
    assert_eq!(
        facts.gaps["/proc/sys/kernel/io_uring_disabled"],
        Gap::Missing
    );
}

#[test]
fn a_container_is_known_by_its_namespaces_and_held_by_its_cpuset() {
    let facts = Host::load("container").facts();
    assert_eq!(facts.virt.kind, HostKind::Container);
    assert_eq!(facts.virt.container.as_deref(), Some("docker"));
    assert_eq!(facts.cpu.topology.online.to_string(), "0-7");
    assert_eq!(facts.cpu.topology.allowed.to_string(), "2-5");
    assert!((facts.cgroup.cpu_quota.unwrap().cpus() - 2.0).abs() < 1e-9);
}

#[test]
fn a_marker_file_alone_makes_no_container() {
    let host = Host::load("small-vm-2c");
    let facts = host.facts();
    assert_eq!(
        facts.virt.kind,
        HostKind::Guest,
        "{:?}",
        facts.virt.evidence
    );
    assert_eq!(facts.virt.hypervisor.as_deref(), Some("firecracker"));
    assert!(
        facts
            .virt
            .evidence
            .contains(&"/.dockerenv: exists".to_owned())
    );
    assert_eq!(
        (facts.cgroup.version, facts.cgroup.cpu_quota),
        (Some(1), None)
    );
    // Where namespaces cannot be seen, the marker is all there is.
    host.remove("/proc/self/ns");
    assert_eq!(host.facts().virt.kind, HostKind::Container);
}

#[test]
fn the_affinity_mask_and_the_cpuset_both_count() {
    let host = Host::load("container");
    host.write("/proc/self/status", "Cpus_allowed_list:\t0-3\n");
    assert_eq!(host.facts().cpu.topology.allowed.to_string(), "2-3");
    host.write("/proc/self/cgroup", "");
    assert_eq!(host.facts().cpu.topology.allowed.to_string(), "0-3");
}

#[test]
fn half_of_each_core_is_still_a_core() {
    let host = Host::load("bare-64c");
    host.write("/proc/self/status", "Cpus_allowed_list:\t32-35\n");
    let topology = host.facts().cpu.topology;
    assert_eq!(topology.allowed_cores(), 4);
    let ranks: Vec<_> = topology
        .allowed_cpus()
        .map(|cpu| (cpu.core, cpu.smt_rank))
        .collect();
    assert_eq!(ranks, [(0, 1), (1, 1), (2, 1), (3, 1)]);
}

#[test]
fn without_sysfs_every_processor_is_a_core_of_its_own() {
    let host = Host::empty();
    host.write(
        "/proc/cpuinfo",
        "processor : 0\n\nprocessor : 1\nmodel name : x\n",
    );
    let topology = host.facts().cpu.topology;
    let places: Vec<_> = topology
        .cpus
        .iter()
        .map(|cpu| (cpu.id, cpu.core, cpu.node))
        .collect();
    assert_eq!(places, [(0, 0, 0), (1, 1, 0)]);
    assert_eq!(topology.allowed, topology.online);
}

#[test]
fn the_host_that_runs_the_tests_is_readable() {
    let facts = Facts::capture();
    assert!(facts.cpu.topology.allowed_cpus().count() > 0);
    assert!(facts.kernel.version().is_some());
    assert!(facts.memory.total_bytes.unwrap() > 0);
    assert!(facts.limits.nofile.is_some());
    assert!(!facts.pressure.ticks.is_empty());
    assert!(!facts.virt.evidence.is_empty());
}
