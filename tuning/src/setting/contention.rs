//! CPU time that others took: no switch, but what a measurement is worth depends on it.

use super::{Change, Scope, Setting, Severity, Value, Want};

pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        id: "virt.steal",
        why: "Stolen time is a pause of milliseconds that no scheduler inside the guest can avoid.",
        severity: Severity::Measurement,
        scope: Scope::Shared,
        source: "/proc/stat",
        remedy: "move to a host with whole, pinned CPUs; a measurement made meanwhile is void",
        risk: "cost",
        reboot: false,
        change: Change::Person,
        absent: None,
        read: |at| {
            let earlier = at.options.earlier.as_deref().map(|facts| &facts.pressure);
            at.facts
                .pressure
                .steal_percent(earlier)
                .map(Value::Percent)
                .into()
        },
        want: |_| Want::AtMost(Value::Percent(1.0)),
    },
    Setting {
        id: "virt.pressure",
        why: "Tasks that wait for a CPU before a measurement begins will wait during it too.",
        severity: Severity::Measurement,
        scope: Scope::Anywhere,
        source: "/proc/pressure/cpu",
        remedy: "stop other work on these CPUs and wait ten seconds",
        risk: "none",
        reboot: false,
        change: Change::Person,
        absent: Some(
            "this kernel does not account pressure (psi=1 on its command line turns it on)",
        ),
        read: |at| {
            at.facts
                .pressure
                .cpu_some_avg10_percent
                .map(Value::Percent)
                .into()
        },
        want: |_| Want::AtMost(Value::Percent(10.0)),
    },
];
