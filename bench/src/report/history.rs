//! The history of a report directory: one JSON line per run.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::model::Report;
use crate::gate::verdict::Verdict;

/// One run in `history.ndjson`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Start, RFC 3339.
    pub started: String,
    /// Phase.
    pub phase: String,
    /// Overall verdict.
    pub verdict: Verdict,
    /// SHA-256 of the benchmark binary.
    pub binary_sha256: Option<String>,
    /// Fitness class of the host.
    pub fitness: crate::env::fitness::Class,
    /// Value of every metric.
    pub metrics: BTreeMap<String, f64>,
}

/// Appends the run to `history.ndjson` in `dir`.
///
/// # Errors
/// When the file cannot be written.
pub fn append(report: &Report, dir: &Path) -> io::Result<()> {
    let line = Line {
        started: report.run.started.clone(),
        phase: report.run.phase.clone(),
        verdict: report.verdict,
        binary_sha256: report.run.binary_sha256.clone(),
        fitness: report.environment.fitness.class,
        metrics: report
            .metrics
            .iter()
            .map(|(id, metric)| (id.clone(), metric.value))
            .collect(),
    };
    let mut text = serde_json::to_string(&line)?;
    text.push('\n');
    let path = dir.join("history.ndjson");
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?
        .write_all(text.as_bytes())
}
