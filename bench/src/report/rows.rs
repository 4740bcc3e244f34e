//! The tables of a report, as every rendering shows them.

use super::model::{Metric, Report, show};
use crate::gate::baseline::Change;
use crate::gate::claim::ClaimRow;
use crate::gate::slo::SloRow;
use crate::measure::hist::Latency;

/// Longest list of a metric's samples shown in full.
const SAMPLES_SHOWN: usize = 10;
/// The percentiles of a latency table.
const QUANTILES: [(f64, &str); 6] = [
    (0.5, "p50"),
    (0.9, "p90"),
    (0.99, "p99"),
    (0.999, "p99.9"),
    (0.9999, "p99.99"),
    (0.99999, "p99.999"),
];

/// Header and rows; each row has a cell for each name of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns.
    pub header: Vec<String>,
    /// Cells, row by row.
    pub rows: Vec<Vec<String>>,
    /// The column that holds identifiers, for a typeface of its own.
    pub code: Option<usize>,
}

impl Table {
    fn new(header: &[&str], rows: Vec<Vec<String>>) -> Self {
        Self {
            header: header.iter().map(ToString::to_string).collect(),
            rows,
            code: None,
        }
    }

    fn with_code(self, column: usize) -> Self {
        Self {
            code: Some(column),
            ..self
        }
    }
}

/// Claims with both bounds, those of one level side by side.
#[must_use]
pub fn claims(report: &Report) -> Table {
    let header = [
        "claim",
        "level",
        "verdict",
        "deadline us",
        "asked",
        "trials",
        "misses",
        "episodes",
        "time s",
        "stall ms",
        "U_count",
        "U_time",
        "nines shown",
    ];
    let mut claims: Vec<_> = report.claims.iter().collect();
    claims.sort_by_key(|claim| claim.terms.level);
    Table::new(&header, claims.into_iter().map(claim).collect())
}

fn claim(claim: &ClaimRow) -> Vec<String> {
    let (terms, evidence) = (&claim.terms, &claim.evidence);
    let level = terms.level.map(|level| format!("{level:?}"));
    vec![
        terms.id.clone(),
        level.unwrap_or_else(|| "not stated".into()),
        judged(claim.verdict.to_string(), claim.gates, None),
        show(terms.deadline_us),
        format!(
            "{:.0e} at {:.0} %",
            terms.miss_share_max,
            terms.confidence * 1e2
        ),
        show(evidence.n as f64),
        show(evidence.k as f64),
        show(evidence.e as f64),
        show(evidence.seconds),
        show(evidence.stall_seconds * 1e3),
        format!("{:.2e}", claim.count_upper),
        format!("{:.2e}", claim.time_upper),
        claim.nines_shown.to_string(),
    ]
}

/// What a claim still needs, or why it is not judged, a sentence each.
pub fn reasons(report: &Report) -> impl Iterator<Item = String> {
    let why = |claim: &ClaimRow| Some(format!("{}: {}", claim.terms.id, claim.why.as_ref()?));
    report.claims.iter().filter_map(why)
}

fn judged(verdict: String, gates: bool, why: Option<&str>) -> String {
    let information = if gates { "" } else { " (information)" };
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    format!("{verdict}{information}{why}")
}

/// The objectives that `shown` takes and what was found.
#[must_use]
pub fn objectives(report: &Report, shown: impl Fn(&SloRow) -> bool) -> Table {
    let chosen = report.slo.iter().filter(|row| shown(row));
    let rows = chosen.map(|row| {
        vec![
            row.objective.clone(),
            row.wanted.clone(),
            row.found.map_or_else(|| "-".into(), show),
            judged(row.verdict.to_string(), row.gates, row.why.as_deref()),
            row.profile.clone(),
            row.metric.clone(),
        ]
    });
    let header = [
        "objective",
        "wanted",
        "found",
        "verdict",
        "profile",
        "metric",
    ];
    Table::new(&header, rows.collect()).with_code(5)
}

/// The host's own pauses, a row for each CPU.
#[must_use]
pub fn pauses(report: &Report) -> Table {
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
    Table::new(&header, rows.collect())
}

/// The settings of the host that `ninefold-tune check` would have otherwise, but for those that its
/// profile ignores.
#[must_use]
pub fn tuning(report: &Report) -> Table {
    let settings = report.environment.check["settings"].as_array();
    let off = settings
        .into_iter()
        .flatten()
        .filter(|setting| setting["status"] != "ok" && setting["severity"] != "ignored");
    let rows = off.map(|setting| {
        let text = |key: &str| setting[key].as_str().unwrap_or("-").to_owned();
        ["id", "status", "found", "wanted", "severity", "remedy"].map(text)
    });
    let header = ["setting", "status", "found", "wanted", "severity", "remedy"];
    Table::new(&header, rows.map(Vec::from).collect()).with_code(0)
}

/// What the measurement relied on.
#[must_use]
pub fn checks(report: &Report) -> Table {
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
    let header = ["check", "needed by", "wanted", "found", "held"];
    Table::new(&header, rows.collect())
}

/// Resolved percentiles with their intervals, in us, of the histograms that `shown` takes.
#[must_use]
pub fn latency(report: &Report, shown: impl Fn(&str) -> bool) -> Table {
    let header: Vec<&str> = ["histogram", "n"]
        .into_iter()
        .chain(QUANTILES.iter().map(|(_, name)| *name))
        .chain(["max"])
        .collect();
    let us = |ns: u64| show(ns as f64 / 1e3);
    let chosen = report.histograms.iter().filter(|(id, _)| shown(id));
    let rows = chosen.filter_map(|(id, dump)| {
        let latency = Latency::from_dump(dump).ok()?;
        let cell = |&(q, _): &(f64, &str)| {
            let Some(ns) = latency.resolved(q) else {
                return "not resolved".into();
            };
            match latency.interval(q, 1.96) {
                Some((low, high)) if low < high => format!("{} ({}-{})", us(ns), us(low), us(high)),
                _ => us(ns),
            }
        };
        let front = [id.clone(), show(latency.n() as f64)];
        let cells = front.into_iter().chain(QUANTILES.iter().map(cell));
        Some(cells.chain([us(latency.max())]).collect())
    });
    Table::new(&header, rows.collect()).with_code(0)
}

/// The metrics that `shown` takes, with their samples.
#[must_use]
pub fn metrics(report: &Report, shown: impl Fn(&str) -> bool) -> Table {
    let chosen = report.metrics.iter().filter(|(id, _)| shown(id));
    let rows = chosen.map(|(id, metric)| {
        vec![
            id.clone(),
            show(metric.value),
            metric.unit.symbol().into(),
            show(metric.n as f64),
            samples(metric),
        ]
    });
    let header = ["metric", "value", "unit", "n", "samples"];
    Table::new(&header, rows.collect()).with_code(0)
}

fn samples(metric: &Metric) -> String {
    let shown = metric.samples.iter().take(SAMPLES_SHOWN);
    let shown: Vec<_> = shown.map(|&value| show(value)).collect();
    let more = if metric.samples.len() > SAMPLES_SHOWN {
        " ..."
    } else {
        ""
    };
    format!("{}{more}", shown.join(" "))
}

/// Other runtimes beside ours.
#[must_use]
pub fn peers(report: &Report) -> Table {
    let (header, rows) = super::peers::table(&report.metrics);
    Table {
        header,
        rows,
        code: None,
    }
}

/// What could be judged against the stored baseline.
#[must_use]
pub fn comparison(report: &Report) -> Table {
    let judged = report.comparison.iter().flat_map(|all| &all.rows);
    let judged = judged.filter(|row| row.change != Change::NotJudged);
    let rows = judged.map(|row| {
        let interval = row.ratio.map_or_else(String::new, |ratio| {
            format!("{:.3} ({:.3}-{:.3})", ratio.mid, ratio.low, ratio.high)
        });
        vec![
            row.metric.clone(),
            show(row.a),
            show(row.b),
            interval,
            format!("{:?}", row.change).to_lowercase(),
        ]
    });
    let header = ["metric", "baseline", "now", "ratio (95 %)", "change"];
    Table::new(&header, rows.collect()).with_code(0)
}
