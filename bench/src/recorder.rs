//! What scenarios leave behind, before it becomes a report.

use std::collections::BTreeMap;

use crate::load::spec::LoadResult;
use crate::measure::clock::Calibration;
use crate::measure::hiccup::Hiccups;
use crate::measure::hist::{DecodeError, Dump, Latency};
use crate::report::model::{Check, Metric, Unit};
use crate::stats::bounds::Evidence;
use crate::stats::median;

/// The percentiles that become metrics, with the name each has in an id.
const PERCENTILES: [(f64, &str); 6] = [
    (0.5, "p50"),
    (0.95, "p95"),
    (0.99, "p99"),
    (0.999, "p999"),
    (0.9999, "p9999"),
    (0.99999, "p99999"),
];

/// Collects the results of all scenarios of a run.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// Metrics by dotted id.
    pub metrics: BTreeMap<String, Metric>,
    /// Histograms by dotted id.
    pub histograms: BTreeMap<String, Dump>,
    /// Evidence for claims, by scenario.
    pub evidence: BTreeMap<String, Evidence>,
    /// Whether the measurement itself was sound.
    pub checks: Vec<Check>,
    /// What reading the clock costs.
    pub clock: Option<Calibration>,
    /// The host's own pauses, one entry per CPU probed.
    pub hiccups: Vec<Hiccups>,
    /// Share of the probe's time in which some task waited for a CPU.
    pub quiet_pressure_share: Option<f64>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

impl Recorder {
    /// One measured value with the number of observations behind it; a value that is not finite
    /// was not measured and becomes a note.
    pub fn metric(&mut self, id: &str, value: f64, unit: Unit, n: u64) {
        self.insert(
            id,
            Metric {
                value,
                unit,
                n,
                samples: Vec::new(),
            },
        );
    }

    /// Repeated measurements: the value is their median, and all are kept for `compare`. One that
    /// is not finite (a quotient of nothing) measured nothing, and JSON has no number for it: it is
    /// left out, and a note says so.
    pub fn samples(&mut self, id: &str, samples: &[f64], unit: Unit, n: u64) {
        let finite = samples.iter().copied().filter(|value| value.is_finite());
        let finite: Vec<f64> = finite.collect();
        let left_out = samples.len() - finite.len();
        if left_out > 0 && !finite.is_empty() {
            let of = samples.len();
            self.note(format!(
                "{id}: {left_out} of {of} samples left out, they are not finite"
            ));
        }
        self.insert(
            id,
            Metric {
                value: median(&finite),
                unit,
                n,
                samples: finite,
            },
        );
    }

    /// The resolved percentiles of `latency` as `<prefix>.p50_us` and so on, and the histogram
    /// itself under `<prefix>`.
    pub fn latency(&mut self, prefix: &str, latency: &Latency, unit: Unit) {
        for (q, name) in PERCENTILES {
            if let Some(ns) = latency.resolved(q) {
                let value = ns as f64 / unit.ns_per();
                let id = format!("{prefix}.{name}_{}", unit.suffix());
                self.metric(&id, value, unit, latency.n());
            }
        }
        self.histogram(prefix, latency.dump());
    }

    /// Everything an open-loop run over sockets measured: percentiles from the intended start,
    /// rates, the histograms with their companion from the send, evidence for claims, and whether
    /// the generator kept up with `deadline_ns`.
    ///
    /// # Errors
    /// When a histogram in `result` is damaged.
    pub fn open_loop(
        &mut self,
        prefix: &str,
        result: &LoadResult,
        deadline_ns: u64,
    ) -> Result<(), DecodeError> {
        self.latency(prefix, &Latency::from_dump(&result.latency)?, Unit::Us);
        self.histogram(&format!("{prefix}.sent"), result.service.clone());
        let offered_per_s = result.offered_per_s.unwrap_or(f64::NAN);
        let mut rate = |name, value| {
            self.metric(
                &format!("{prefix}.{name}"),
                value,
                Unit::PerSecond,
                result.offered,
            );
        };
        rate("offered_per_s", offered_per_s);
        rate("achieved_per_s", result.achieved_per_s);
        self.evidence(prefix, result.evidence());
        if let Some(lag) = &result.lag {
            self.generator_lag(prefix, &Latency::from_dump(lag)?, deadline_ns);
        }
        if !result.errors.is_empty() {
            self.note(format!("{prefix}: {}", result.errors.join("; ")));
        }
        Ok(())
    }

    /// The generator must not be what is measured: its lag at p99.99 stays under D/20.
    pub(crate) fn generator_lag(&mut self, prefix: &str, lag: &Latency, deadline_ns: u64) {
        let id = format!("{prefix}.lag");
        self.latency(&id, lag, Unit::Us);
        let Some(p9999) = lag.resolved(0.9999) else {
            return self.note(format!(
                "{id}: p99.99 not resolved from {} arrivals",
                lag.n()
            ));
        };
        let what = format!("generator lag p99.99 of {prefix}, us");
        let bound = deadline_ns as f64 / 20.0 / 1e3;
        self.check(Check::at_most(&what, prefix, bound, p9999 as f64 / 1e3));
    }

    /// A histogram for the report's plots and for merging later.
    pub fn histogram(&mut self, id: &str, dump: Dump) {
        self.histograms.insert(id.into(), dump);
    }

    /// What an open-loop run showed, for the claims on `scenario`.
    pub fn evidence(&mut self, scenario: &str, evidence: Evidence) {
        self.evidence.insert(scenario.into(), evidence);
    }

    /// Whether something the measurement relies on held.
    pub fn check(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// Something a reader must know.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn insert(&mut self, id: &str, metric: Metric) {
        if metric.value.is_finite() {
            self.metrics.insert(id.into(), metric);
        } else {
            self.note(format!(
                "{id}: not measured (the result is not a finite number)"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_that_is_no_number_is_left_out_and_the_document_stays_readable() {
        let mut recorder = Recorder::default();
        let samples = [4.0, f64::INFINITY, 2.0, f64::NAN, 3.0];
        recorder.samples("a.ratio", &samples, Unit::Ratio, 5);
        let written = serde_json::to_string(&recorder.metrics["a.ratio"]).unwrap();
        let read: Metric = serde_json::from_str(&written).unwrap();
        assert_eq!((read.value, read.samples), (3.0, vec![4.0, 2.0, 3.0]));
        assert!(
            recorder.notes[0].contains("2 of 5 samples"),
            "{:?}",
            recorder.notes
        );
    }

    #[test]
    fn only_what_was_measured_appears() {
        let mut recorder = Recorder::default();
        recorder.metric("a.ns", f64::NAN, Unit::Ns, 0);
        recorder.samples("b.ns", &[3.0, 1.0, 2.0], Unit::Ns, 30);
        let mut latency = Latency::new();
        (1..=1000).for_each(|i| latency.record(i * 1000));
        recorder.latency("c", &latency, Unit::Us);
        assert!(!recorder.metrics.contains_key("a.ns") && recorder.notes.len() == 1);
        assert_eq!(recorder.metrics["b.ns"].value.to_bits(), 2.0_f64.to_bits());
        assert!(recorder.metrics.contains_key("c.p99_us"));
        assert!(
            !recorder.metrics.contains_key("c.p999_us"),
            "1 value lies beyond, 10 are wanted"
        );
    }
}
