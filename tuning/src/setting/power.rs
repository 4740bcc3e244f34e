//! Power management: what a core saves while idle it pays for when work arrives.

use super::{Change, Reading, Scope, Setting, Severity, Target, Value, Want, to};
use crate::check::Context;

/// Leaving the first halt state takes about a microsecond, the deeper ones tens to hundreds.
const EXIT_LATENCY_US_MAX: u64 = 10;

pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        id: "freq.governor",
        why: "Other governors lower the frequency of a waiting core; the first requests after a \
              pause run at a third of the speed.",
        severity: Severity::Production,
        scope: Scope::Bare,
        source: "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor",
        remedy: "echo performance | tee /sys/devices/system/cpu/cpufreq/policy*/scaling_governor",
        risk: "power and heat",
        reboot: false,
        change: Change::Files(&[Target::word(
            "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor",
            |_| to("performance"),
        )]),
        absent: Some("no cpufreq driver: the firmware sets the frequency"),
        read: governors,
        want: |_| Want::OneOf(&["performance"]),
    },
    Setting {
        id: "idle.latency",
        why: "Waking from a deep idle state takes up to 200 us, and a shard that parks pays it.",
        severity: Severity::Advised,
        scope: Scope::Bare,
        source: "/sys/devices/system/cpu/cpu0/cpuidle",
        remedy: "hold /dev/cpu_dma_latency open with 10 written to it (cpupower idle-set -D 10 \
                 does it for all idle states)",
        risk: "power and heat; neighbouring cores boost less",
        reboot: false,
        change: Change::Person,
        absent: Some("no cpuidle driver: idle CPUs only halt"),
        read: |at| {
            let enabled = at
                .facts
                .cpu
                .idle_states
                .iter()
                .filter(|state| !state.disabled);
            enabled
                .map(|state| state.exit_latency_us)
                .max()
                .map(Value::Micros)
                .into()
        },
        want: |_| Want::AtMost(Value::Micros(EXIT_LATENCY_US_MAX)),
    },
];

/// The one governor of all CPUs, or each with its CPUs.
fn governors(at: &Context<'_>) -> Reading {
    let governors = &at.facts.cpu.governors;
    let mixed = || {
        let parts: Vec<_> = governors
            .iter()
            .map(|(name, cpus)| format!("{name}: {cpus}"))
            .collect();
        parts.join(", ")
    };
    match governors.len() {
        0 => Reading::Absent,
        1 => governors.keys().next().cloned().into(),
        _ => Reading::Found(Value::Text(mixed())),
    }
}
