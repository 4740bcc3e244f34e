//! What is printed at the end: objectives under 25 lines where they fit, then one verdict line.

use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table};

use super::model::{Report, show};
use super::peers;
use crate::gate::baseline::{Change, Comparison, THRESHOLD};
use crate::gate::slo::SloRow;
use crate::gate::verdict::Verdict;

/// Rows of the objectives table, at most; what is left follows as a paragraph.
const ROWS_MAX: usize = 14;
/// Width of that paragraph.
const WIDTH: usize = 100;

/// Every metric of a run with its notes, and beside ours what other runtimes took.
#[must_use]
pub fn metrics(report: &Report) -> String {
    let mut table = plain_table(&["metric", "value", "unit", "n"]);
    let own = |id: &String| !id.starts_with(peers::PREFIX);
    for (id, metric) in report.metrics.iter().filter(|(id, _)| own(id)) {
        let (value, n) = (show(metric.value), show(metric.n as f64));
        table.add_row([id.clone(), value, metric.unit.symbol().into(), n]);
    }
    right_align(&mut table, 1);
    right_align(&mut table, 3);
    let mut out = String::new();
    if table.row_count() > 0 {
        let _ = writeln!(out, "{table}");
    }
    let (header, rows) = peers::table(&report.metrics);
    if !rows.is_empty() {
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let mut table = plain_table(&header);
        for row in rows {
            table.add_row(row);
        }
        let _ = writeln!(out, "{table}\nin brackets: {}", peers::LEGEND);
    }
    for note in &report.notes {
        let _ = writeln!(out, "note: {note}");
    }
    out
}

/// All objectives on one metric.
struct Subject<'a> {
    rows: Vec<&'a SloRow>,
}

/// The summary of a run.
#[must_use]
pub fn summary(report: &Report) -> String {
    let mut out = String::new();
    let subjects = subjects(&report.slo);
    let (tabled, rest) = subjects.split_at(subjects.len().min(ROWS_MAX));
    if !tabled.is_empty() {
        let _ = writeln!(out, "{}", objectives(tabled));
    }
    out.push_str(&paragraph(rest));
    for claim in &report.claims {
        let _ = writeln!(
            out,
            "claim {}: {} misses in {} trials, {} nines shown: {}",
            claim.terms.id,
            claim.evidence.k,
            show(claim.evidence.n as f64),
            claim.nines_shown,
            claim.verdict
        );
    }
    for (scenario, why) in &report.skipped {
        let _ = writeln!(out, "{scenario}: could not run: {why}");
    }
    if let Some(comparison) = &report.comparison {
        let worse = comparison
            .rows
            .iter()
            .filter(|row| row.change == Change::Regression)
            .count();
        let _ = writeln!(
            out,
            "against the stored baseline: {worse} metrics worse by over 10 %"
        );
    }
    let unmeasured = report.slo.iter().filter(|row| row.found.is_none()).count();
    if unmeasured > 0 {
        let _ = writeln!(out, "{unmeasured} objectives not measured");
    }
    let fitness = &report.environment.fitness;
    let _ = writeln!(
        out,
        "host class {:?}{}; {}",
        fitness.class,
        if fitness.is_fit() {
            ""
        } else {
            ": absolute objectives are information (*)"
        },
        report.environment.cpus.sentence()
    );
    let _ = writeln!(
        out,
        "verdict: {} (exit {})",
        report.verdict, report.exit_code
    );
    out
}

/// The measured or missed objectives by metric: first what decides the exit code, the gravest on
/// top.
fn subjects(rows: &[SloRow]) -> Vec<Subject<'_>> {
    let mut subjects: Vec<Subject<'_>> = Vec::new();
    for row in rows
        .iter()
        .filter(|row| row.verdict != Verdict::NotMeasured)
    {
        match subjects
            .iter_mut()
            .find(|subject| subject.rows[0].metric == row.metric)
        {
            Some(subject) => subject.rows.push(row),
            None => subjects.push(Subject { rows: vec![row] }),
        }
    }
    subjects.sort_by_key(|subject| {
        std::cmp::Reverse(
            subject
                .rows
                .iter()
                .map(|row| (row.gates, row.verdict))
                .max(),
        )
    });
    subjects
}

fn objectives(subjects: &[Subject<'_>]) -> Table {
    let mut profiles: Vec<&str> = Vec::new();
    for row in subjects.iter().flat_map(|subject| &subject.rows) {
        if !profiles.contains(&row.profile.as_str()) {
            profiles.push(&row.profile);
        }
    }
    profiles.sort_unstable();
    let mut table = plain_table(["objective", "found"].iter().chain(&profiles));
    for subject in subjects {
        let first = subject.rows[0];
        let judged = |profile: &&str| {
            let row = subject.rows.iter().find(|row| row.profile == *profile);
            row.map_or_else(String::new, |row| {
                let mark = if row.gates { "" } else { " *" };
                format!("{} {}{mark}", row.wanted, row.verdict)
            })
        };
        let found = first.found.map_or_else(|| "-".into(), show);
        let front = [first.objective.clone(), found];
        table.add_row(front.into_iter().chain(profiles.iter().map(judged)));
    }
    right_align(&mut table, 1);
    table
}

/// What the table has no room for, one clause each.
fn paragraph(subjects: &[Subject<'_>]) -> String {
    let (mut out, mut width) = (String::new(), 0);
    for subject in subjects {
        let first = subject.rows[0];
        let found = first.found.map_or_else(|| "-".into(), show);
        let bounds: Vec<_> = subject
            .rows
            .iter()
            .map(|row| format!("{} {}", row.wanted, row.verdict))
            .collect();
        let clause = format!("{} {found} ({}); ", first.metric, bounds.join(", "));
        if width > 0 && width + clause.len() > WIDTH {
            out.push('\n');
            width = 0;
        }
        width += clause.len();
        out.push_str(&clause);
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// The table of a comparison.
#[must_use]
pub fn comparison(comparison: &Comparison) -> String {
    let mut table = plain_table(&["metric", "A", "B", "B/A", "95 % interval", "p", "change"]);
    for row in &comparison.rows {
        let interval = row.ratio.map_or_else(
            || format!("{} and {} runs", row.runs.0, row.runs.1),
            |ratio| format!("{:.3} to {:.3}", ratio.low, ratio.high),
        );
        table.add_row([
            row.metric.clone(),
            format!("{} {}", show(row.a), row.unit.symbol()),
            show(row.b),
            if row.a == 0.0 {
                "-".into()
            } else {
                format!("{:.3}", row.b / row.a)
            },
            interval,
            row.p_value
                .map_or_else(|| "-".into(), |p| format!("{p:.3}")),
            word(row.change).into(),
        ]);
    }
    let mut out = format!("{table}\n");
    for warning in &comparison.warnings {
        let _ = writeln!(out, "note: {warning}");
    }
    let _ = writeln!(
        out,
        "verdict: {} (a regression is a whole interval beyond {:.0} %)",
        comparison.verdict,
        THRESHOLD * 100.0
    );
    out
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Regression => "REGRESSION",
        Change::Improvement => "improvement",
        Change::Same => "same",
        Change::Unclear => "unclear",
        Change::NotJudged => "not judged",
    }
}

fn plain_table<'a>(header: impl IntoIterator<Item = &'a &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING.header_separator(LineStyle::none().fill('─').junction('─')));
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.into_iter().copied());
    table
}

fn right_align(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
