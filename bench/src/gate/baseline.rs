//! Comparison of two reports: a regression is flagged only when the whole interval of the ratio
//! lies beyond 10 %.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::verdict::Verdict;
use crate::report::model::{Better, Metric, Report, Unit};
use crate::stats::bootstrap::{Interval, ratio_interval};
use crate::stats::rank::{hodges_lehmann, mann_whitney};

/// Least change that matters.
pub const THRESHOLD: f64 = 0.10;
/// Runs wanted on each side before an interval can flag anything.
pub const RUNS_MIN: usize = 3;
const CONFIDENCE: f64 = 0.95;
const SEED: u64 = 0x6e69_6e65;

/// What a comparison says of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The whole interval is worse by more than the threshold.
    Regression,
    /// The whole interval is better by more than the threshold.
    Improvement,
    /// The whole interval lies within the threshold.
    Same,
    /// The interval crosses the threshold: more runs would tell.
    Unclear,
    /// Too few runs for an interval, or no direction is better.
    NotJudged,
}

/// One metric in a comparison.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// Metric id.
    pub metric: String,
    /// Unit.
    pub unit: Unit,
    /// Value in the first report.
    pub a: f64,
    /// Value in the second report.
    pub b: f64,
    /// Runs behind each.
    pub runs: (usize, usize),
    /// Interval of b / a.
    pub ratio: Option<Interval>,
    /// Hodges-Lehmann shift from a to b, in the unit.
    pub shift: Option<f64>,
    /// Mann-Whitney p-value, two-sided.
    pub p_value: Option<f64>,
    /// Verdict.
    pub change: Change,
}

/// Two reports compared.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Schema name.
    pub schema: String,
    /// Ratio b / a of every metric that both have.
    pub metrics: BTreeMap<String, Metric>,
    /// Rows.
    pub rows: Vec<Row>,
    /// Why the two may not be comparable.
    pub warnings: Vec<String>,
    /// Overall verdict.
    pub verdict: Verdict,
}

/// Compares report `b` with report `a`.
#[must_use]
pub fn compare(a: &Report, b: &Report) -> Comparison {
    let both = a
        .metrics
        .iter()
        .filter_map(|(id, a)| Some((id, a, b.metrics.get(id)?)));
    let rows: Vec<Row> = both
        .filter(|(_, a, b)| a.unit == b.unit)
        .map(|(id, a, b)| row(id, a, b))
        .collect();
    let any = |change| rows.iter().any(|row| row.change == change);
    let verdict = if any(Change::Regression) {
        Verdict::Fail
    } else if rows.iter().all(|row| row.change == Change::NotJudged) {
        Verdict::Inconclusive
    } else {
        Verdict::Pass
    };
    let metrics = rows.iter().filter(|row| row.a != 0.0).map(|row| {
        let n = row.runs.0.min(row.runs.1) as u64;
        let metric = Metric {
            value: row.b / row.a,
            unit: Unit::Ratio,
            n,
            samples: vec![],
        };
        (format!("compare.{}.ratio", row.metric), metric)
    });
    Comparison {
        schema: "ninefold.comparison.v1".into(),
        metrics: metrics.collect(),
        warnings: warnings(a, b),
        rows,
        verdict,
    }
}

fn row(id: &str, a: &Metric, b: &Metric) -> Row {
    let runs = (a.samples.len(), b.samples.len());
    let enough = runs.0 >= RUNS_MIN && runs.1 >= RUNS_MIN;
    let ratio = ratio_interval(&a.samples, &b.samples, CONFIDENCE, SEED).filter(|_| enough);
    let change = match (ratio, a.unit.better()) {
        (Some(ratio), Some(better)) => judge(ratio, better),
        _ => Change::NotJudged,
    };
    Row {
        metric: id.into(),
        unit: a.unit,
        a: a.value,
        b: b.value,
        runs,
        ratio,
        shift: enough.then(|| hodges_lehmann(&a.samples, &b.samples)),
        p_value: mann_whitney(&a.samples, &b.samples).filter(|_| enough),
        change,
    }
}

fn judge(ratio: Interval, better: Better) -> Change {
    // Seen as cost: above one is worse. A rate that falls to 1/1.1 costs 10 % more per event.
    let (low, high) = match better {
        Better::Lower => (ratio.low, ratio.high),
        Better::Higher => (1.0 / ratio.high, 1.0 / ratio.low),
    };
    let limit = 1.0 + THRESHOLD;
    if low > limit {
        Change::Regression
    } else if high < 1.0 / limit {
        Change::Improvement
    } else if low >= 1.0 / limit && high <= limit {
        Change::Same
    } else {
        Change::Unclear
    }
}

fn warnings(a: &Report, b: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut differ = |what: &str, a: String, b: String| {
        if a != b {
            warnings.push(format!("{what} differs: {a} against {b}"));
        }
    };
    let host = |report: &Report| {
        let facts = &report.environment.facts;
        format!("{} / {}", facts["cpu"]["model"], facts["kernel"]["release"])
    };
    differ("host", host(a), host(b));
    let cpus = |report: &Report| report.environment.cpus.sentence();
    differ("CPU plan", cpus(a), cpus(b));
    differ("phase", a.run.phase.clone(), b.run.phase.clone());
    differ("build", a.run.build.clone(), b.run.build.clone());
    warnings.push(
        "the runs inside one report share its minutes: drift of the host between the two reports \
         is not in the interval; interleave reports to see it"
            .into(),
    );
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(unit: Unit, samples: &[f64]) -> Metric {
        Metric {
            value: crate::stats::median(samples),
            unit,
            n: 1,
            samples: samples.to_vec(),
        }
    }

    fn change(unit: Unit, a: &[f64], b: &[f64]) -> Change {
        row("x", &metric(unit, a), &metric(unit, b)).change
    }

    const BASE: [f64; 5] = [100.0, 101.0, 99.0, 100.5, 99.5];

    #[test]
    fn only_a_whole_interval_beyond_the_threshold_is_a_regression() {
        let scaled = |by: f64| BASE.map(|x| x * by);
        assert_eq!(change(Unit::Us, &BASE, &scaled(1.2)), Change::Regression);
        assert_eq!(change(Unit::Us, &BASE, &scaled(1.05)), Change::Same);
        assert_eq!(change(Unit::Us, &BASE, &scaled(0.8)), Change::Improvement);
        assert_eq!(
            change(Unit::Us, &BASE, &[90.0, 150.0, 100.0, 140.0, 120.0]),
            Change::Unclear
        );
    }

    #[test]
    fn rates_get_worse_downwards() {
        assert_eq!(
            change(Unit::PerSecond, &BASE, &BASE.map(|x| x * 0.8)),
            Change::Regression
        );
        assert_eq!(
            change(Unit::PerSecond, &BASE, &BASE.map(|x| x * 1.3)),
            Change::Improvement
        );
    }

    #[test]
    fn single_runs_and_plain_counts_are_not_judged() {
        assert_eq!(change(Unit::Us, &BASE[..2], &BASE), Change::NotJudged);
        assert_eq!(
            change(Unit::Count, &BASE, &BASE.map(|x| x * 2.0)),
            Change::NotJudged
        );
    }
}
