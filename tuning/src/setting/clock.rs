//! The clock that every deadline and every latency figure rests on.

use super::{Change, Scope, Setting, Severity, Target, Want};

pub(super) static SETTINGS: &[Setting] = &[Setting {
    id: "clock.source",
    why: "Clocksources outside the vDSO make each reading of the clock a system call of 0.2 to \
          several us instead of 20 ns.",
    severity: Severity::Production,
    scope: Scope::Kernel,
    source: "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    remedy: "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource if it is \
             among available_clocksource; else find in the kernel log why the TSC was rejected",
    risk: "a TSC that is not steady makes wrong time",
    reboot: false,
    change: Change::Files(&[Target::word(
        "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        |at| {
            let available = &at.facts.cpu.clock.available;
            let mut wanted = clocks_in_vdso(available).iter();
            wanted
                .find(|&&clock| available.iter().any(|name| name == clock))
                .map(|&clock| clock.to_owned())
        },
    )]),
    absent: None,
    read: |at| at.facts.cpu.clock.current.clone().into(),
    want: |at| Want::OneOf(clocks_in_vdso(&at.facts.cpu.clock.available)),
}];

/// The clocksources that a process reads without entering the kernel, of those offered here.
fn clocks_in_vdso(available: &[String]) -> &'static [&'static str] {
    const CLOCKS: [&[&str]; 3] = [
        &["arch_sys_counter"],
        &["kvm-clock", "tsc"],
        &["hyperv_clocksource_tsc_page", "tsc"],
    ];
    let offered = |clocks: &&&[&str]| available.iter().any(|name| name == clocks[0]);
    CLOCKS.iter().find(offered).copied().unwrap_or(&["tsc"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_host_offers_is_wanted() {
        let wanted = |available: &[&str]| {
            clocks_in_vdso(
                &available
                    .iter()
                    .map(|&name| name.to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(wanted(&["tsc", "hpet", "acpi_pm"]), ["tsc"]);
        assert_eq!(wanted(&["tsc", "kvm-clock"]), ["kvm-clock", "tsc"]);
        assert_eq!(wanted(&["arch_sys_counter"]), ["arch_sys_counter"]);
        assert_eq!(wanted(&[]), ["tsc"]);
    }
}
