//! Other runtimes beside ours, from the metrics `peers.<runtime>.<id>` of a document.

use std::collections::BTreeMap;

use super::model::{Metric, show};
use crate::stats::bootstrap::{Interval, median_interval};

/// What all their metrics begin with.
pub const PREFIX: &str = "peers.";
/// The name of ours among them.
pub const OURS: &str = "ninefold";
/// The end of a metric that says how many times better ours is.
pub const RATIO: &str = ".ratio";
/// What the numbers in brackets mean.
pub const LEGEND: &str =
    "how many times better ninefold is, the median of paired rounds with its 95 % interval";

const CONFIDENCE: f64 = 0.95;
const SEED: u64 = 0x7065_6572;
const BEST: &str = "best";

/// The id of a runtime's metric.
#[must_use]
pub fn id(runtime: &str, metric: &str) -> String {
    format!("{PREFIX}{runtime}.{metric}")
}

/// The id of how many times better ours is than the best of the crates.
#[must_use]
pub fn best(metric: &str) -> String {
    format!("{}{RATIO}", id(BEST, metric))
}

/// The interval of a metric's median from its rounds.
#[must_use]
pub fn interval(metric: &Metric) -> Option<Interval> {
    median_interval(&metric.samples, CONFIDENCE, SEED)
}

/// Header and rows: a metric each, ours first, then what each runtime took and the ratio.
#[must_use]
pub fn table(metrics: &BTreeMap<String, Metric>) -> (Vec<String>, Vec<Vec<String>>) {
    let parsed: Vec<(&str, &str)> = metrics
        .keys()
        .filter(|id| !id.ends_with(RATIO))
        .filter_map(|id| id.strip_prefix(PREFIX)?.split_once('.'))
        .collect();
    let mut runtimes: Vec<&str> = parsed.iter().map(|(runtime, _)| *runtime).collect();
    runtimes.sort_unstable();
    runtimes.dedup();
    runtimes.retain(|runtime| *runtime != OURS);
    let ours = parsed.iter().filter(|(runtime, _)| *runtime == OURS);
    let rows = ours.map(|&(_, metric)| {
        let cell = |runtime: &&str| {
            let Some(found) = metrics.get(&id(runtime, metric)) else {
                return "-".to_owned();
            };
            let ratio = metrics.get(&format!("{}{RATIO}", id(runtime, metric)));
            let ratio = ratio.map_or_else(String::new, times);
            format!("{}{ratio}", show(found.value))
        };
        let own = metrics.get(&id(OURS, metric));
        let own = own.map_or_else(|| "-".into(), |own| show(own.value));
        [metric.to_owned(), own]
            .into_iter()
            .chain(runtimes.iter().map(cell))
            .collect()
    });
    let header = ["metric", OURS].iter().chain(&runtimes);
    (header.map(ToString::to_string).collect(), rows.collect())
}

fn times(ratio: &Metric) -> String {
    interval(ratio).map_or_else(
        || format!(" ({:.2}x)", ratio.value),
        |all| format!(" ({:.2}x {:.2}-{:.2})", all.mid, all.low, all.high),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Unit;

    #[test]
    fn a_row_is_a_metric_and_a_column_a_runtime() {
        let metric = |samples: [f64; 3], unit| Metric {
            value: samples[1],
            unit,
            n: 3,
            samples: samples.to_vec(),
        };
        let metrics: BTreeMap<_, _> = [
            (
                id(OURS, "mailbox.tell.ns"),
                metric([9.0, 10.0, 11.0], Unit::Ns),
            ),
            (
                id("tokio", "mailbox.tell.ns"),
                metric([39.0, 40.0, 41.0], Unit::Ns),
            ),
            (
                format!("{}{RATIO}", id("tokio", "mailbox.tell.ns")),
                metric([3.9, 4.0, 4.1], Unit::Ratio),
            ),
            (
                best("mailbox.tell.ns"),
                metric([3.9, 4.0, 4.1], Unit::Ratio),
            ),
            ("mailbox.tell.ns".into(), metric([1.0, 1.0, 1.0], Unit::Ns)),
        ]
        .into();
        let (header, rows) = table(&metrics);
        assert_eq!(header, ["metric", "ninefold", "tokio"]);
        assert_eq!(rows, [["mailbox.tell.ns", "10", "40 (4.00x 3.90-4.10)"]]);
        assert!(table(&BTreeMap::new()).1.is_empty());
    }
}
