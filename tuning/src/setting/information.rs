//! What explains figures and is never ours to set, and the last resorts of a host in need.

use super::{Change, Scope, Setting, Severity, Target, Value, Want, to};

/// The kernel's default: real-time tasks leave a twentieth of each second to the others.
const RT_RUNTIME_US: i64 = 950_000;

pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        id: "oom.score",
        why: "When memory runs out the kernel kills the largest process, which is the node.",
        severity: Severity::Advised,
        scope: Scope::Kernel,
        source: "/proc/self/oom_score_adj",
        remedy: "OOMScoreAdjust=-900 in the unit",
        risk: "others are killed first",
        reboot: false,
        change: Change::unit(|_| to("OOMScoreAdjust=-900")),
        absent: Some("it could not be seen"),
        read: |at| at.facts.limits.oom_score_adj.map(Value::Signed).into(),
        want: |_| Want::AtMost(Value::Signed(-900)),
    },
    Setting {
        id: "blk.scheduler",
        why: "Where a journal is on a fast disk, an I/O scheduler adds a queue of its own.",
        severity: Severity::Advised,
        scope: Scope::Bare,
        source: "/sys/block",
        remedy: "echo none > /sys/block/DISK/queue/scheduler",
        risk: "low: slow disks lose their elevator",
        reboot: false,
        change: Change::Files(&[Target::word("/sys/block/nvme*/queue/scheduler", |_| {
            to("none")
        })]),
        absent: Some("no NVMe disk"),
        read: |at| {
            let others = at.facts.block.iter().filter(|of| of.scheduler != "none");
            (!at.facts.block.is_empty()).then(|| others.count()).into()
        },
        want: |_| Want::AtMost(Value::Count(0)),
    },
    Setting {
        id: "blk.nomerges",
        why: "Looking for requests to merge costs CPU time that a fast disk does not pay back.",
        severity: Severity::Advised,
        scope: Scope::Bare,
        source: "/sys/block",
        remedy: "echo 2 > /sys/block/DISK/queue/nomerges",
        risk: "low: small sequential writes are no longer joined",
        reboot: false,
        change: Change::Files(&[Target::word("/sys/block/nvme*/queue/nomerges", |_| to("2"))]),
        absent: Some("no NVMe disk"),
        read: |at| {
            let others = at.facts.block.iter().filter(|of| of.nomerges != 2);
            (!at.facts.block.is_empty()).then(|| others.count()).into()
        },
        want: |_| Want::AtMost(Value::Count(0)),
    },
    Setting {
        id: "freq.throttle",
        why: "A core that was throttled for heat ran slower than its governor says; a run in which \
              this count grows is void.",
        severity: Severity::Information,
        scope: Scope::Bare,
        source: "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count",
        remedy: "mend the cooling",
        risk: "none",
        reboot: false,
        change: Change::Person,
        absent: Some("this processor does not count it"),
        read: |at| at.facts.cpu.throttle_count.into(),
        want: |_| Want::AtMost(Value::Count(0)),
    },
    Setting {
        id: "sched.rt_runtime",
        why: "Were shards to run under SCHED_FIFO, this share of each second is all they get.",
        severity: Severity::Information,
        scope: Scope::Kernel,
        source: "/proc/sys/kernel/sched_rt_runtime_us",
        remedy: "leave it: without the reserve a shard that spins locks the host up",
        risk: "lockup",
        reboot: false,
        change: Change::Person,
        absent: Some("this kernel has no such limit"),
        read: |at| at.facts.kernel.rt_runtime_us.map(Value::Signed).into(),
        want: |_| Want::Exactly(Value::Signed(RT_RUNTIME_US)),
    },
    Setting {
        id: "sec.mitigations",
        why: "Mitigations of processor flaws make system calls dearer, which explains differences \
              between hosts; this tool never switches them off.",
        severity: Severity::Information,
        scope: Scope::Kernel,
        source: "/proc/cmdline",
        remedy: "leave them on",
        risk: "secrets leak",
        reboot: true,
        change: Change::Person,
        absent: None,
        read: |at| {
            let value = |cmdline: &String| {
                let mut words = cmdline.split(' ');
                let word = words.find_map(|word| word.strip_prefix("mitigations="));
                let off = word.is_some_and(|word| word.starts_with("off"));
                if off { "off" } else { "on" }.to_owned()
            };
            at.facts.kernel.cmdline.as_ref().map(value).into()
        },
        want: |_| Want::OneOf(&["on"]),
    },
    Setting {
        id: "hw.machinecheck",
        why: "Looking for corrected memory errors costs a little; not looking hides a module that \
              is about to fail.",
        severity: Severity::Information,
        scope: Scope::Bare,
        source: "/sys/devices/system/machinecheck/machinecheck0/ignore_ce",
        remedy: "leave it at 0",
        risk: "faults stay hidden",
        reboot: false,
        change: Change::Person,
        absent: Some("this processor has no machine checks"),
        read: |at| at.facts.cpu.ignore_corrected_errors.into(),
        want: |_| Want::AtMost(Value::Count(0)),
    },
    Setting {
        id: "obs.perf",
        why: "Whether the cause of a miss can be found by perf without root.",
        severity: Severity::Information,
        scope: Scope::Kernel,
        source: "/proc/sys/kernel/perf_event_paranoid",
        remedy: "sysctl -w kernel.perf_event_paranoid=1 while looking for something",
        risk: "users see more of each other",
        reboot: false,
        change: Change::Person,
        absent: Some("this kernel was built without perf"),
        read: |at| {
            at.facts
                .kernel
                .perf_event_paranoid
                .map(Value::Signed)
                .into()
        },
        want: |_| Want::AtMost(Value::Signed(2)),
    },
];
