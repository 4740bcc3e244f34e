//! The report document, schema `ninefold.report.v1`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::env::capture::Environment;
use crate::gate::baseline::Comparison;
use crate::gate::claim::ClaimRow;
use crate::gate::slo::SloRow;
use crate::gate::verdict::Verdict;
use crate::measure::clock::{Calibration, Drift};
use crate::measure::hiccup::Hiccups;
use crate::measure::hist::Dump;

/// The schema name of this document.
pub const SCHEMA: &str = "ninefold.report.v1";

/// Everything one run found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// How it was made.
    pub run: RunInfo,
    /// The overall verdict and its exit code.
    pub verdict: Verdict,
    /// Exit code of the process that wrote this.
    pub exit_code: u8,
    /// Metrics by dotted id; what was not measured is absent.
    pub metrics: BTreeMap<String, Metric>,
    /// Comparison with the stored baseline of the report directory, if there is one: information.
    #[serde(default)]
    pub comparison: Option<Comparison>,
    /// Miss-rate claims with their evidence.
    pub claims: Vec<ClaimRow>,
    /// Objectives.
    pub slo: Vec<SloRow>,
    /// The host.
    pub environment: Environment,
    /// Whether the measurement itself was sound.
    pub validity: Validity,
    /// The host's own pauses, one entry per CPU probed.
    pub host_floor: Vec<Hiccups>,
    /// Histograms by dotted id.
    pub histograms: BTreeMap<String, Dump>,
    /// Scenarios that could not run, and why.
    pub skipped: BTreeMap<String, String>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// How a report was made.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunInfo {
    /// Version of the benchmark.
    pub version: String,
    /// Command line.
    pub command: Vec<String>,
    /// SHA-256 of the benchmark binary.
    pub binary_sha256: Option<String>,
    /// Start, RFC 3339.
    pub started: String,
    /// Length, in s.
    pub seconds: f64,
    /// Phase.
    pub phase: String,
    /// Scenarios that ran.
    pub scenarios: Vec<String>,
    /// Seed of schedules and resampling.
    pub seed: u64,
    /// `debug` or `release`: figures of a debug build are no figures.
    pub build: String,
}

/// One measured value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    /// The value, or the median of the samples.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
    /// Observations behind it.
    pub n: u64,
    /// Repeated measurements, when there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<f64>,
}

/// Units of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Ns,
    /// Microseconds.
    #[serde(rename = "us")]
    Us,
    /// Events per second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Bytes.
    #[serde(rename = "bytes")]
    Bytes,
    /// A count.
    #[serde(rename = "count")]
    Count,
    /// A share or quotient.
    #[serde(rename = "ratio")]
    Ratio,
}

/// Which way a metric gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less time, fewer bytes.
    Lower,
    /// More per second.
    Higher,
}

impl Unit {
    /// As written in documents.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Ns => "ns",
            Self::Us => "us",
            Self::PerSecond => "1/s",
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Ratio => "ratio",
        }
    }

    /// As the last part of a metric id.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::PerSecond => "per_s",
            other => other.symbol(),
        }
    }

    /// Nanoseconds in one of a unit of time; 1 for other units.
    #[must_use]
    pub fn ns_per(self) -> f64 {
        if self == Self::Us { 1e3 } else { 1.0 }
    }

    /// Which way is better, where the unit alone says so.
    #[must_use]
    pub fn better(self) -> Option<Better> {
        match self {
            Self::Ns | Self::Us | Self::Bytes => Some(Better::Lower),
            Self::PerSecond => Some(Better::Higher),
            Self::Count | Self::Ratio => None,
        }
    }
}

/// Whether durations of this run can be trusted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Validity {
    /// What the clocks did during the run.
    pub clock: Drift,
    /// What reading the clock costs, if that was calibrated.
    pub clock_cost: Option<Calibration>,
    /// What each scenario relied on.
    pub checks: Vec<Check>,
}

/// One thing a measurement relied on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What had to hold.
    pub what: String,
    /// Metrics that are worth nothing without it: ids with this prefix; all when empty.
    pub scope: String,
    /// The bound.
    pub wanted: String,
    /// What was found.
    pub found: f64,
    /// Whether it held.
    pub held: bool,
}

impl Check {
    /// `found` must be at least `bound`.
    #[must_use]
    pub fn at_least(what: &str, scope: &str, bound: f64, found: f64) -> Self {
        let wanted = format!(">= {bound}");
        Self {
            what: what.into(),
            scope: scope.into(),
            wanted,
            found,
            held: found >= bound,
        }
    }

    /// `found` must be at most `bound`.
    #[must_use]
    pub fn at_most(what: &str, scope: &str, bound: f64, found: f64) -> Self {
        let wanted = format!("<= {bound}");
        Self {
            what: what.into(),
            scope: scope.into(),
            wanted,
            found,
            held: found <= bound,
        }
    }
}

impl Validity {
    /// Why the metric `id` is worth nothing, if it is.
    #[must_use]
    pub fn objection(&self, id: &str) -> Option<String> {
        if !self.clock.sound() {
            return Some("a clock stepped during the run".into());
        }
        let broken = self
            .checks
            .iter()
            .find(|check| !check.held && id.starts_with(&check.scope))?;
        Some(format!(
            "{}: wanted {}, found {:.4}",
            broken.what, broken.wanted, broken.found
        ))
    }
}

/// A value with about four significant digits and thousands separators, as people read it.
#[must_use]
pub fn show(value: f64) -> String {
    let magnitude = value.abs();
    if value.fract() == 0.0 && magnitude < 1e15 || magnitude >= 1000.0 {
        return grouped(value);
    }
    match magnitude {
        m if m >= 100.0 => format!("{value:.1}"),
        m if m >= 10.0 => format!("{value:.2}"),
        m if m >= 0.001 => format!("{value:.3}"),
        _ => format!("{value:.2e}"),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let shown = [
            0.0,
            0.00025,
            0.5,
            12.345,
            250.04,
            1234.5,
            100_000.0,
            -4_000_000.0,
        ]
        .map(show);
        let wanted = [
            "0",
            "2.50e-4",
            "0.500",
            "12.35",
            "250.0",
            "1,234",
            "100,000",
            "-4,000,000",
        ];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn a_broken_check_spoils_only_its_scope() {
        let clock = Drift {
            elapsed_ns: 1,
            wall_step_ns: 0,
            suspended_ns: 0,
            slew_ppm: 0.0,
        };
        let mut validity = Validity {
            clock,
            clock_cost: None,
            checks: vec![Check::at_least("kept", "sustained.http", 0.99, 0.5)],
        };
        assert!(validity.objection("sustained.http.p99_us").is_some());
        assert!(validity.objection("mailbox.tell.ns").is_none());
        validity.clock.suspended_ns = 5_000_000;
        assert!(validity.objection("mailbox.tell.ns").is_some());
    }

    #[test]
    fn a_metric_keeps_the_agreed_shape() {
        let metric = Metric {
            value: 1.5,
            unit: Unit::PerSecond,
            n: 3,
            samples: vec![],
        };
        assert_eq!(
            serde_json::to_string(&metric).unwrap(),
            r#"{"value":1.5,"unit":"1/s","n":3}"#
        );
    }
}
