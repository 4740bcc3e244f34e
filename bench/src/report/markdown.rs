//! `report.md`, rendered from the document and nothing else.

use std::fmt::Write as _;

use super::model::Report;
use super::rows::{self, Table};

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
fn table(out: &mut String, table: &Table) {
    let row = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |", cells.join(" | "))
    };
    line(out, row(&table.header));
    line(out, row(&vec!["---".to_owned(); table.header.len()]));
    for cells in &table.rows {
        let mut cells = cells.clone();
        if let Some(id) = table.code.and_then(|column| cells.get_mut(column)) {
            *id = format!("`{id}`");
        }
        line(out, row(&cells));
    }
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
    table(out, &rows::claims(report));
    rows::reasons(report).for_each(|why| line(out, format!("- {why}\n")));
    line(
        out,
        "A miss is a trial not complete and correct within the deadline from its intended start. \
         U_count holds if misses are independent; U_time if each episode spoils arrivals for the \
         stall length. Nines shown follow the larger.\n",
    );
}

fn objectives(report: &Report, out: &mut String) {
    line(out, "## Objectives\n");
    table(out, &rows::objectives(report, |_| true));
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
    table(out, &rows::pauses(report));
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
    table(out, &rows::checks(report));
}

fn latency(report: &Report, plots: &[(String, String)], out: &mut String) {
    if report.histograms.is_empty() {
        return;
    }
    line(out, "## Latency, us\n");
    for (title, file) in plots {
        let _ = writeln!(out, "![{title}]({file})\n");
    }
    table(out, &rows::latency(report, |_| true));
    line(
        out,
        "In brackets the 95 % interval from order statistics, for independent values. A percentile \
         with fewer than ten values beyond it is not resolved.\n",
    );
}

fn metrics(report: &Report, out: &mut String) {
    line(out, "## Metrics\n");
    table(out, &rows::metrics(report, |_| true));
}

fn peers(report: &Report, out: &mut String) {
    let peers = rows::peers(report);
    if peers.rows.is_empty() {
        return;
    }
    line(out, "## Other runtimes\n");
    table(out, &peers);
    let _ = writeln!(out, "Times in brackets: {}.\n", super::peers::LEGEND);
}

fn comparison(report: &Report, out: &mut String) {
    let Some(comparison) = &report.comparison else {
        return;
    };
    line(out, "## Against the stored baseline\n");
    table(out, &rows::comparison(report));
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
