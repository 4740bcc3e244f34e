//! Whether the kernel has the io_uring that shards stand on.

use super::{Change, Reading, Scope, Setting, Severity, Target, Value, Want, to};
use crate::check::Context;
use crate::facts::virt::HostKind;

pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        id: "kernel.version",
        why: "Multishot accept and receive, provided buffers and deferred task work came with \
              io_uring up to kernel 6.1; older kernels enter more often and copy more.",
        severity: Severity::Production,
        scope: Scope::Anywhere,
        source: "/proc/sys/kernel/osrelease",
        remedy: "install kernel 6.1 or later",
        risk: "a new kernel",
        reboot: true,
        change: Change::Person,
        absent: None,
        read: |at| at.facts.kernel.version().into(),
        want: |_| Want::AtLeast(Value::Version(6, 1)),
    },
    Setting {
        id: "uring.allowed",
        why: "Every shard does its I/O through io_uring and cannot start when it is switched off.",
        severity: Severity::Vital,
        scope: Scope::Anywhere,
        source: "/proc/sys/kernel/io_uring_disabled",
        remedy: "sysctl -w kernel.io_uring_disabled=0 (1 admits only CAP_SYS_ADMIN); in a \
                 container also allow io_uring_setup, _enter and _register in its seccomp profile",
        risk: "widens the kernel's attack surface",
        reboot: false,
        change: Change::Files(&[Target::word("/proc/sys/kernel/io_uring_disabled", |_| {
            to("0")
        })]),
        absent: None,
        read: allowed,
        want: |at| match at.facts.limits.cap_sys_admin {
            Some(true) => Want::AtMost(Value::Count(1)),
            _ => Want::Exactly(Value::Count(0)),
        },
    },
];

/// A filter in a container's seccomp profile, which Docker's own has, is in no file.
///
/// The switch came with 6.6; before that every kernel since 5.1 that has io_uring lets us use it.
fn allowed(at: &Context<'_>) -> Reading {
    const SECCOMP_FILTERED: u64 = 2;
    let kernel = &at.facts.kernel;
    match at.options.io_uring_works {
        Some(true) => return Reading::Moot("a ring was set up"),
        Some(false) => return Reading::Found(Value::Text("setting up a ring failed".to_owned())),
        None => {}
    }
    let contained = at.facts.virt.kind == HostKind::Container;
    if contained && kernel.seccomp == Some(SECCOMP_FILTERED) && kernel.io_uring_disabled != Some(2)
    {
        return Reading::Unclear("a seccomp filter may block it: start a node to see");
    }
    match (kernel.io_uring_disabled, kernel.version()) {
        (None, Some(version)) if ((5, 1)..(6, 6)).contains(&version) => {
            Reading::Moot("this kernel has no switch against io_uring")
        }
        (disabled, _) => disabled.into(),
    }
}
