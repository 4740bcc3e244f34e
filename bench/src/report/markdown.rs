//! `report.md`, rendered from the document and nothing else.

use std::fmt::Write as _;

use super::model::{Metric, Report, show};
use crate::gate::baseline::Change;
use crate::measure::hist::Latency;

/// Longest list of metrics' samples shown in full.
const SAMPLES_SHOWN: usize = 10;

/// Renders a report; `plots` are (title, file name) of the drawings beside it.
#[must_use]
pub fn render(report: &Report, plots: &[(String, String)]) -> String {
    let mut out = String::new();
    for part in [verdict, claims, objectives, host, validity] {
        part(report, &mut out);
    }
    latency(report, plots, &mut out);
    for part in [metrics, peers, comparison, reproduce, limits] {
        part(report, &mut out);
    }
    out
}

fn line(out: &mut String, text: impl AsRef<str>) {
    out.push_str(text.as_ref());
    out.push('\n');
}

/// A table; cells may hold anything but a newline.
fn table(out: &mut String, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let row = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |", cells.join(" | "))
    };
    line(
        out,
        row(&header.iter().map(ToString::to_string).collect::<Vec<_>>()),
    );
    line(out, row(&vec!["---".to_owned(); header.len()]));
    rows.into_iter().for_each(|cells| line(out, row(&cells)));
    out.push('\n');
}

fn verdict(report: &Report, out: &mut String) {
    let run = &report.run;
    let fitness = &report.environment.fitness;
    let _ = writeln!(out, "# Ninefold benchmark: {}\n", run.phase);
    let _ = writeln!(
        out,
        "**{}** (exit {}) on this host (class {:?}), at this load, in these {:.0} s from {}; it \
         says nothing of other hosts, loads or times.\n",
        report.verdict, report.exit_code, fitness.class, run.seconds, run.started
    );
    if run.build != "release" {
        line(out, "**Debug build: the figures below are no figures.**\n");
    }
}

fn claims(report: &Report, out: &mut String) {
    if report.claims.is_empty() {
        return;
    }
    line(out, "## Claims\n");
    let header = [
        "claim",
        "deadline us",
        "asked",
        "n",
        "misses",
        "episodes",
        "T s",
        "stall ms",
        "U_count",
        "U_time",
        "nines shown",
        "verdict",
    ];
    let rows = report.claims.iter().map(|claim| {
        let evidence = &claim.evidence;
        vec![
            claim.terms.id.clone(),
            show(claim.terms.deadline_us),
            format!(
                "{:.0e} at {:.0} %",
                claim.terms.miss_share_max,
                claim.terms.confidence * 1e2
            ),
            show(evidence.n as f64),
            show(evidence.k as f64),
            show(evidence.e as f64),
            show(evidence.seconds),
            show(evidence.stall_seconds * 1e3),
            format!("{:.2e}", claim.count_upper),
            format!("{:.2e}", claim.time_upper),
            claim.nines_shown.to_string(),
            judged(claim.verdict.to_string(), claim.gates, claim.why.as_deref()),
        ]
    });
    table(out, &header, rows);
    line(
        out,
        "A miss is a trial not complete and correct within the deadline from its intended start. \
         U_count holds if misses are independent; U_time if each episode spoils arrivals for the \
         stall length. Nines shown follow the larger.\n",
    );
}

fn judged(verdict: String, gates: bool, why: Option<&str>) -> String {
    let information = if gates { "" } else { " (information)" };
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    format!("{verdict}{information}{why}")
}

fn objectives(report: &Report, out: &mut String) {
    line(out, "## Objectives\n");
    let rows = report.slo.iter().map(|row| {
        vec![
            row.profile.clone(),
            row.objective.clone(),
            format!("`{}`", row.metric),
            row.wanted.clone(),
            row.found.map_or_else(|| "-".into(), show),
            judged(row.verdict.to_string(), row.gates, row.why.as_deref()),
        ]
    });
    table(
        out,
        &[
            "profile",
            "objective",
            "metric",
            "wanted",
            "found",
            "verdict",
        ],
        rows,
    );
}

fn host(report: &Report, out: &mut String) {
    let environment = &report.environment;
    let text = |pointer: &str| match environment.facts.pointer(pointer) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(value) if !value.is_null() => value.to_string(),
        _ => "unknown".into(),
    };
    line(out, "## Host\n");
    let _ = writeln!(
        out,
        "- CPU: {}; kernel {}",
        text("/cpu/model"),
        text("/kernel/release")
    );
    let _ = writeln!(out, "- {}", environment.cpus.sentence());
    let _ = writeln!(out, "- fitness class **{:?}**:", environment.fitness.class);
    for reason in &environment.fitness.reasons {
        let _ = writeln!(out, "  - {reason}");
    }
    if let Some(steal) = environment.steal_percent {
        let _ = writeln!(out, "- steal during the run: {steal:.3} %");
    }
    out.push('\n');
    if report.host_floor.is_empty() {
        return;
    }
    line(
        out,
        "The host's own pauses, seen by a loop that only reads the clock:\n",
    );
    let header = [
        "CPU", "s", "> 10 us", "> 50 us", "> 100 us", "> 1 ms", "max us", "lost",
    ];
    let rows = report.host_floor.iter().map(|seen| {
        vec![
            seen.cpu
                .map_or_else(|| "not pinned".into(), |cpu| cpu.to_string()),
            format!("{:.1}", seen.seconds),
            show(seen.over_10_us as f64),
            show(seen.over_50_us as f64),
            show(seen.over_100_us as f64),
            show(seen.over_1_ms as f64),
            show(seen.max_ns as f64 / 1e3),
            format!("{:.2} %", seen.lost_share * 100.0),
        ]
    });
    table(out, &header, rows);
}

fn validity(report: &Report, out: &mut String) {
    let clock = &report.validity.clock;
    line(out, "## Was the measurement sound\n");
    let _ = writeln!(
        out,
        "Clock: wall step {:.3} ms, suspended {:.3} ms, slew {:.1} ppm: {}.\n",
        clock.wall_step_ns as f64 / 1e6,
        clock.suspended_ns as f64 / 1e6,
        clock.slew_ppm,
        if clock.sound() { "sound" } else { "NOT sound" }
    );
    if let Some(cost) = &report.validity.clock_cost {
        let _ = writeln!(
            out,
            "Reading the clock costs {:.1} ns; it ticks in steps of {} ns.\n",
            cost.cost_ns, cost.resolution_ns
        );
    }
    let rows = report.validity.checks.iter().map(|check| {
        let scope = if check.scope.is_empty() {
            "everything"
        } else {
            &check.scope
        };
        let held = if check.held { "held" } else { "BROKEN" };
        vec![
            check.what.clone(),
            scope.into(),
            check.wanted.clone(),
            show(check.found),
            held.into(),
        ]
    });
    table(out, &["check", "needed by", "wanted", "found", ""], rows);
}

fn latency(report: &Report, plots: &[(String, String)], out: &mut String) {
    if report.histograms.is_empty() {
        return;
    }
    line(out, "## Latency, us\n");
    for (title, file) in plots {
        let _ = writeln!(out, "![{title}]({file})\n");
    }
    const QUANTILES: [(f64, &str); 6] = [
        (0.5, "p50"),
        (0.9, "p90"),
        (0.99, "p99"),
        (0.999, "p99.9"),
        (0.9999, "p99.99"),
        (0.99999, "p99.999"),
    ];
    let header: Vec<&str> = ["histogram", "n"]
        .into_iter()
        .chain(QUANTILES.iter().map(|(_, name)| *name))
        .chain(["max"])
        .collect();
    let rows = report.histograms.iter().filter_map(|(id, dump)| {
        let latency = Latency::from_dump(dump).ok()?;
        let us = |ns: u64| show(ns as f64 / 1e3);
        let cell = |q: f64| {
            let Some(ns) = latency.resolved(q) else {
                return "not resolved".into();
            };
            match latency.interval(q, 1.96) {
                Some((low, high)) if low < high => format!("{} ({}-{})", us(ns), us(low), us(high)),
                _ => us(ns),
            }
        };
        let quantiles = QUANTILES.iter().map(|&(q, _)| cell(q));
        let ends = [us(latency.max())];
        let front = [format!("`{id}`"), show(latency.n() as f64)];
        Some(front.into_iter().chain(quantiles).chain(ends).collect())
    });
    table(out, &header, rows);
    line(
        out,
        "In brackets the 95 % interval from order statistics, for independent values. A percentile \
         with fewer than ten values beyond it is not resolved.\n",
    );
}

fn metrics(report: &Report, out: &mut String) {
    line(out, "## Metrics\n");
    let samples = |metric: &Metric| {
        let shown: Vec<_> = metric
            .samples
            .iter()
            .take(SAMPLES_SHOWN)
            .map(|&value| show(value))
            .collect();
        let more = if metric.samples.len() > SAMPLES_SHOWN {
            " ..."
        } else {
            ""
        };
        format!("{}{more}", shown.join(" "))
    };
    let rows = report.metrics.iter().map(|(id, metric)| {
        vec![
            format!("`{id}`"),
            show(metric.value),
            metric.unit.symbol().into(),
            show(metric.n as f64),
            samples(metric),
        ]
    });
    table(out, &["metric", "value", "unit", "n", "samples"], rows);
}

fn peers(report: &Report, out: &mut String) {
    let (header, rows) = super::peers::table(&report.metrics);
    if rows.is_empty() {
        return;
    }
    line(out, "## Other runtimes\n");
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    table(out, &header, rows);
    let _ = writeln!(out, "Times in brackets: {}.\n", super::peers::LEGEND);
}

fn comparison(report: &Report, out: &mut String) {
    let Some(comparison) = &report.comparison else {
        return;
    };
    line(out, "## Against the stored baseline\n");
    let rows = comparison
        .rows
        .iter()
        .filter(|row| row.change != Change::NotJudged)
        .map(|row| {
            let interval = row.ratio.map_or_else(String::new, |ratio| {
                format!("{:.3} ({:.3}-{:.3})", ratio.mid, ratio.low, ratio.high)
            });
            let change = format!("{:?}", row.change).to_lowercase();
            vec![
                format!("`{}`", row.metric),
                show(row.a),
                show(row.b),
                interval,
                change,
            ]
        });
    table(
        out,
        &["metric", "baseline", "now", "ratio (95 %)", "change"],
        rows,
    );
    for warning in &comparison.warnings {
        let _ = writeln!(out, "- {warning}");
    }
    out.push('\n');
}

fn reproduce(report: &Report, out: &mut String) {
    let run = &report.run;
    line(out, "## Reproduce\n");
    let _ = writeln!(out, "```\n{}\n```\n", run.command.join(" "));
    let hash = run.binary_sha256.as_deref().unwrap_or("unknown");
    let _ = writeln!(
        out,
        "ninefold-bench {} ({} build), binary sha256 {hash}, seed {}, scenarios: {}.\n",
        run.version,
        run.build,
        run.seed,
        run.scenarios.join(", ")
    );
}

fn limits(report: &Report, out: &mut String) {
    line(out, "## What this does not show\n");
    for (scenario, why) in &report.skipped {
        let _ = writeln!(out, "- `{scenario}` could not run: {why}");
    }
    for note in &report.notes {
        let _ = writeln!(out, "- {note}");
    }
    line(
        out,
        "- Loopback is not a network: no loss, no propagation, one kernel for both ends.",
    );
    line(
        out,
        "- Availability (time up over time) is not measured by any run of this suite.",
    );
}
