//! What is said of the run: verdict, claims, objectives, the host, soundness, misses and limits.

use maud::{Markup, html};
use serde_json::Value;

use super::{absent, scrolled};
use crate::gate::slo::{Level, SloRow};
use crate::gate::verdict::Verdict;
use crate::report::model::{Report, show};
use crate::report::rows;

/// The whole run in one sentence.
pub(super) fn verdict(report: &Report) -> Markup {
    let class = match report.verdict {
        Verdict::Pass => "badge pass",
        Verdict::Fail | Verdict::Invalid => "badge fail",
        Verdict::Inconclusive | Verdict::Unfit | Verdict::NotMeasured => "badge open",
    };
    html! {
        p.verdict { strong class=(class) { (report.verdict) } " " (sentence(report)) }
        @if report.run.build != "release" {
            p.warning { "A debug build: the figures below are no figures." }
        }
    }
}

fn sentence(report: &Report) -> String {
    let run = &report.run;
    let objectives = report.slo.iter().map(|row| (row.gates, row.verdict));
    let claims = report.claims.iter().map(|row| (row.gates, row.verdict));
    let judged: Vec<_> = objectives
        .chain(claims)
        .filter(|(_, verdict)| *verdict != Verdict::NotMeasured)
        .collect();
    let met = |gates: bool| {
        let of = judged.iter().filter(|row| row.0 == gates);
        let met = of.clone().filter(|row| row.1 == Verdict::Pass);
        format!("{} of {}", met.count(), of.count())
    };
    format!(
        "(exit {}): {} measured objectives and claims that gate are met, and {} that are \
         information, on this host (class {:?}), at this load, in these {:.0} s from {}; it says \
         nothing of other hosts, loads or times.",
        report.exit_code,
        met(true),
        met(false),
        report.environment.fitness.class,
        run.seconds,
        run.started
    )
}

pub(super) fn claims(report: &Report) -> Markup {
    let at = |level| {
        report
            .claims
            .iter()
            .any(|claim| claim.terms.level.is_none_or(|own| own == level))
    };
    html! {
        @if report.claims.is_empty() {
            (absent("No scenario with a claim was part of this run."))
        } @else {
            (scrolled("Claims", &rows::claims(report)))
            ul { @for why in rows::reasons(report) { li { (why) } } }
            p {
                "A miss is a trial not complete and correct within the deadline from its intended \
                 start. U_count holds if misses are independent; U_time if each episode spoils \
                 arrivals for the stall length. Nines shown follow the larger."
            }
        }
        dl {
            @for (level, about) in LEVELS {
                dt { (format!("{level:?}")) }
                dd { (about) @if !at(level) { " Not claimed in this run." } }
            }
        }
        p { "Evidence of one level says nothing of another." }
    }
}

const LEVELS: [(Level, &str); 3] = [
    (
        Level::L1,
        "Logic: messages lost, duplicated, reordered or leaked. The simulator shows it \
         (ninefold-bench sim), by seed and in a document of its own.",
    ),
    (
        Level::L2,
        "Dispatch: from mailbox to answer on real shards, in one process.",
    ),
    (
        Level::L3,
        "Service: a call end to end over sockets, open loop.",
    ),
];

pub(super) fn objectives(report: &Report) -> Markup {
    let measured = |row: &SloRow| row.verdict != Verdict::NotMeasured;
    let others: Vec<_> = report.slo.iter().filter(|row| !measured(row)).collect();
    html! {
        (scrolled("Objectives", &rows::objectives(report, measured)))
        p { "A row marked (information) does not gate on this host." }
        @if !others.is_empty() {
            p {
                "Not measured by this run: "
                @for (i, row) in others.iter().enumerate() {
                    @if i > 0 { ", " }
                    code { (row.metric) }
                }
                "."
            }
        }
    }
}

pub(super) fn host(report: &Report) -> Markup {
    let environment = &report.environment;
    let fact = |pointer: &str| match environment.facts.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(value) if !value.is_null() => value.to_string(),
        _ => "unknown".into(),
    };
    let (pauses, tuning) = (rows::pauses(report), rows::tuning(report));
    html! {
        dl {
            dt { "CPU" } dd { (fact("/cpu/model")) }
            dt { "Kernel" } dd { (fact("/kernel/release")) }
            dt { "Kind" } dd { (fact("/virt/kind")) }
            dt { "Who ran where" } dd { (environment.cpus.sentence()) }
            @if let Some(steal) = environment.steal_percent {
                dt { "Steal" } dd { (format!("{steal:.3} % of the run")) }
            }
            dt { "Fitness" }
            dd {
                (format!("class {:?}", environment.fitness.class))
                ul { @for reason in &environment.fitness.reasons { li { (reason) } } }
            }
        }
        h3 { "Its own pauses" }
        @if pauses.rows.is_empty() {
            (absent("Not probed: the calibration was not part of this run."))
        } @else {
            p { "Seen by a loop that only reads the clock." }
            (scrolled("Pauses of the host", &pauses))
        }
        h3 { "What tuning would change" }
        @if tuning.rows.is_empty() {
            (absent("Nothing: every setting that was checked is in order."))
        } @else {
            p { "From " code { "ninefold-tune check --profile bench" } " after the run." }
            (scrolled("Settings out of order", &tuning))
        }
    }
}

pub(super) fn soundness(report: &Report) -> Markup {
    let (clock, checks) = (&report.validity.clock, rows::checks(report));
    html! {
        p {
            (format!(
                "Clock: wall step {:.3} ms, suspended {:.3} ms, slew {:.1} ppm: {}.",
                clock.wall_step_ns as f64 / 1e6,
                clock.suspended_ns as f64 / 1e6,
                clock.slew_ppm,
                if clock.sound() { "sound" } else { "NOT sound" }
            ))
            @if let Some(cost) = &report.validity.clock_cost {
                (format!(
                    " Reading it costs {:.1} ns; it ticks in steps of {} ns.",
                    cost.cost_ns, cost.resolution_ns
                ))
            }
        }
        @if checks.rows.is_empty() {
            (absent("No scenario of this run relied on anything else."))
        } @else {
            (scrolled("Checks", &checks))
        }
    }
}

/// What became of the requests of an overload, by the end of the metric.
const FATES: [(&str, &str); 4] = [
    ("overload.shed_share", "refused (429 or 503)"),
    ("overload.late_share", "answered after the deadline"),
    ("overload.failed_share", "failed"),
    ("overload.unanswered_share", "without an answer at the end"),
];

pub(super) fn misses(report: &Report) -> Markup {
    let fates: Vec<_> = FATES
        .iter()
        .filter_map(|(id, fate)| Some((fate, report.metrics.get(*id)?)))
        .collect();
    html! {
        @if report.claims.is_empty() {
            (absent("No scenario with a claim was part of this run."))
        } @else {
            ul {
                @for claim in &report.claims {
                    li {
                        code { (claim.terms.id) } ": "
                        (show(claim.evidence.k as f64)) " of "
                        (show(claim.evidence.n as f64)) " trials, in "
                        (show(claim.evidence.e as f64)) " episodes"
                    }
                }
            }
        }
        @if fates.is_empty() {
            (absent("Overload was not part of this run."))
        } @else {
            p { "At twice the capacity:" }
            ul {
                @for (fate, metric) in fates {
                    li { (format!("{:.2} %", metric.value * 1e2)) " " (fate) }
                }
            }
        }
        p { "The document counts misses and keeps no single one: their causes are not in it." }
    }
}

pub(super) fn baseline(report: &Report) -> Markup {
    let Some(comparison) = &report.comparison else {
        return absent("No baseline was stored beside this run.");
    };
    html! {
        (scrolled("Comparison with the baseline", &rows::comparison(report)))
        ul { @for warning in &comparison.warnings { li { (warning) } } }
    }
}

pub(super) fn reproduce(report: &Report) -> Markup {
    let run = &report.run;
    html! {
        pre tabindex="0" { code { (run.command.join(" ")) } }
        dl {
            dt { "Program" } dd { "ninefold-bench " (run.version) " (" (run.build) " build)" }
            dt { "SHA-256" }
            dd { code { (run.binary_sha256.as_deref().unwrap_or("unknown")) } }
            dt { "Seed" } dd { (run.seed) }
            dt { "Scenarios" } dd { (run.scenarios.join(", ")) }
        }
    }
}

pub(super) fn limits(report: &Report) -> Markup {
    html! {
        ul {
            @for (scenario, why) in &report.skipped {
                li { code { (scenario) } " could not run: " (why) }
            }
            li { "Loopback is not a network: no loss, no propagation, one kernel for both ends." }
            li { "Availability (time up over time) is not measured by any run of this suite." }
            @for note in &report.notes { li { (note) } }
        }
    }
}
