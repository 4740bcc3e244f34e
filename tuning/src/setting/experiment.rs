//! What may help or hurt, and so is asked for by no profile: plan it by name, and measure.

use super::interrupts::shard_cpus;
use super::{Change, Reading, Scope, Setting, Severity, Target, Value, Want, to};
use crate::check::Context;
use crate::facts::CpuList;

pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        id: "isol.isolcpus",
        why: "The older way to keep other tasks off shards; unlike a cpuset partition it cannot be \
              undone without a reboot.",
        severity: Severity::Experiment,
        scope: Scope::Bare,
        source: "/proc/cmdline",
        remedy: "isolcpus=domain,managed_irq,LIST on the kernel's command line",
        risk: "nothing is balanced onto these CPUs, whatever happens elsewhere",
        reboot: true,
        change: Change::boot(|at| on_shards(at, "isolcpus=domain,managed_irq,")),
        absent: None,
        read: |at| cpus_of_parameter(at, "isolcpus="),
        want: |at| Want::AtLeast(at.shard_count.into()),
    },
    Setting {
        id: "isol.nohz_full",
        why: "A CPU with one task takes no timer tick, but each system call costs more, and a node \
              makes many.",
        severity: Severity::Experiment,
        scope: Scope::Bare,
        source: "/proc/cmdline",
        remedy: "nohz_full=LIST on the kernel's command line",
        risk: "entering the kernel costs up to a microsecond more",
        reboot: true,
        change: Change::boot(|at| on_shards(at, "nohz_full=")),
        absent: None,
        read: |at| cpus_of_parameter(at, "nohz_full="),
        want: |at| Want::AtLeast(at.shard_count.into()),
    },
    Setting {
        id: "isol.rcu_nocbs",
        why: "Callbacks that the kernel runs after a grace period can run on other CPUs.",
        severity: Severity::Experiment,
        scope: Scope::Bare,
        source: "/proc/cmdline",
        remedy: "rcu_nocbs=LIST on the kernel's command line",
        risk: "more work for the CPUs without shards",
        reboot: true,
        change: Change::boot(|at| on_shards(at, "rcu_nocbs=")),
        absent: None,
        read: |at| cpus_of_parameter(at, "rcu_nocbs="),
        want: |at| Want::AtLeast(at.shard_count.into()),
    },
    Setting {
        id: "freq.boost",
        why: "Boost depends on heat and on neighbours, so that runs differ by tens of percent.",
        severity: Severity::Experiment,
        scope: Scope::Bare,
        source: "/sys/devices/system/cpu/cpufreq/boost",
        remedy: "echo 0 > /sys/devices/system/cpu/cpufreq/boost (intel_pstate: 1 to no_turbo)",
        risk: "slower by a third; do not leave it so",
        reboot: false,
        change: Change::Files(&[
            Target::word("/sys/devices/system/cpu/cpufreq/boost", |_| to("0")),
            Target::word("/sys/devices/system/cpu/intel_pstate/no_turbo", |_| to("1")),
        ]),
        absent: Some("this processor has no switch for its boost"),
        read: |at| {
            let word = |on| if on { "on" } else { "off" };
            at.facts.cpu.boost.map(|on| word(on).to_owned()).into()
        },
        want: |_| Want::OneOf(&["off"]),
    },
    Setting {
        id: "idle.haltpoll",
        why: "A guest that polls before it halts spares itself an exit to the hypervisor.",
        severity: Severity::Experiment,
        scope: Scope::Kernel,
        source: "/sys/module/haltpoll/parameters/guest_halt_poll_ns",
        remedy: "echo 200000 > /sys/module/haltpoll/parameters/guest_halt_poll_ns",
        risk: "the hypervisor's host is busier",
        reboot: false,
        change: Change::Files(&[Target::word(
            "/sys/module/haltpoll/parameters/guest_halt_poll_ns",
            |_| to("200000"),
        )]),
        absent: Some("the haltpoll governor is not loaded"),
        read: |at| at.facts.cpu.haltpoll_ns.into(),
        want: |_| Want::AtLeast(Value::Count(200_000)),
    },
    Setting {
        id: "sched.timer_migration",
        why: "Timers of idle CPUs move to busy ones, which the shards' CPUs always are.",
        severity: Severity::Experiment,
        scope: Scope::Kernel,
        source: "/proc/sys/kernel/timer_migration",
        remedy: "sysctl -w kernel.timer_migration=0",
        risk: "low: idle CPUs wake for their own timers",
        reboot: false,
        change: Change::Files(&[Target::word("/proc/sys/kernel/timer_migration", |_| {
            to("0")
        })]),
        absent: Some("this kernel does not move timers"),
        read: |at| at.facts.kernel.timer_migration.into(),
        want: |_| Want::Exactly(Value::Count(0)),
    },
    Setting {
        id: "mem.hugepages",
        why: "Pools on huge pages miss the TLB less; reserved ones cannot fail later.",
        severity: Severity::Experiment,
        scope: Scope::Bare,
        source: "/sys/kernel/mm/hugepages",
        remedy: "echo COUNT > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages, early after \
                 boot",
        risk: "that memory serves nothing else",
        reboot: false,
        change: Change::Person,
        absent: Some("this kernel was built without huge pages"),
        read: |at| {
            let pools = &at.facts.memory.huge_pages;
            let total = pools
                .iter()
                .fold(0u64, |sum, of| sum.saturating_add(of.total));
            (!pools.is_empty()).then_some(total).into()
        },
        want: |_| Want::AtLeast(Value::Count(1)),
    },
    Setting {
        id: "net.busy_poll",
        why: "A socket that polls its queue for some microseconds does not wait for an interrupt.",
        severity: Severity::Experiment,
        scope: Scope::Bare,
        source: "/proc/sys/net/core/busy_poll",
        remedy: "sysctl -w net.core.busy_poll=50 net.core.busy_read=50",
        risk: "CPU time while nothing arrives",
        reboot: false,
        change: Change::Files(&[
            Target::word("/proc/sys/net/core/busy_poll", |_| to("50")),
            Target::word("/proc/sys/net/core/busy_read", |_| to("50")),
        ]),
        absent: Some("this kernel was built without busy polling"),
        read: |at| at.facts.net.busy_poll_us.map(Value::Micros).into(),
        want: |_| Want::AtLeast(Value::Micros(50)),
    },
];

/// A parameter with the CPUs of the shards.
fn on_shards(at: &Context<'_>, parameter: &str) -> Option<String> {
    let shards = shard_cpus(at);
    let some = !shards.is_empty() && !at.housekeeping.is_empty();
    some.then(|| format!("{parameter}{shards}"))
}

/// How many CPUs a parameter of the command line names; flags among them are passed over.
fn cpus_of_parameter(at: &Context<'_>, parameter: &str) -> Reading {
    let Some(cmdline) = &at.facts.kernel.cmdline else {
        return Reading::Absent;
    };
    let lists = cmdline
        .split(' ')
        .filter_map(|word| word.strip_prefix(parameter));
    let ranges = lists.flat_map(|list| list.split(','));
    let cpus = ranges
        .filter_map(|range| range.parse::<CpuList>().ok())
        .fold(CpuList::default(), |all, some| all.union(&some));
    Reading::Found(cpus.len().into())
}
