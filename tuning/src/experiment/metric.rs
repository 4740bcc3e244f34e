//! The figure of a run, in what its program said.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How much of an answer is shown where it makes no sense.
const SHOWN_CHARS: usize = 80;

/// Which way a figure gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Less time, fewer bytes.
    Lower,
    /// More per second.
    Higher,
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The answer is one number.
    Number,
    /// The answer is JSON: a JSON pointer (RFC 6901), or the id of a metric of the bench's report.
    Named(String),
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum MetricError {
    /// No number.
    #[error(
        "wanted one number above zero from the command, found {found:?}; or name a JSON metric \
         with --metric"
    )]
    Number {
        /// What it said, cut.
        found: String,
    },
    /// No JSON.
    #[error("wanted JSON from the command, found {found:?} ({why})")]
    Json {
        /// What it said, cut.
        found: String,
        /// Why that is none.
        why: String,
    },
    /// Not in it.
    #[error("wanted a number above zero as {name:?} in the command's JSON, found {found}")]
    Missing {
        /// The metric.
        name: String,
        /// What stands there, or which metrics there are.
        found: String,
    },
}

impl Metric {
    /// Reads the figure.
    ///
    /// # Errors
    /// When there is none, or none above zero: effects are ratios.
    pub fn read(&self, answer: &str) -> Result<f64, MetricError> {
        let usable = |value: &f64| value.is_finite() && *value > 0.0;
        match self {
            Self::Number => answer
                .trim()
                .parse()
                .ok()
                .filter(usable)
                .ok_or_else(|| MetricError::Number { found: cut(answer) }),
            Self::Named(name) => {
                let document: Value =
                    serde_json::from_str(answer).map_err(|error| MetricError::Json {
                        found: cut(answer),
                        why: error.to_string(),
                    })?;
                let value = lookup(&document, name);
                value
                    .and_then(Value::as_f64)
                    .filter(usable)
                    .ok_or_else(|| MetricError::Missing {
                        name: name.clone(),
                        found: value.map_or_else(|| offered(&document), |v| cut(&v.to_string())),
                    })
            }
        }
    }

    /// Which way it gets better, where its name says so: `..._us`, `..._per_s`.
    pub fn better(&self) -> Option<Better> {
        let Self::Named(name) = self else {
            return None;
        };
        let ends = |all: &[&str]| all.iter().any(|end| name.ends_with(end));
        match () {
            () if ends(&["per_s"]) => Some(Better::Higher),
            () if ends(&["ns", "us", "ms", "seconds", "bytes"]) => Some(Better::Lower),
            () => None,
        }
    }
}

fn lookup<'d>(document: &'d Value, name: &str) -> Option<&'d Value> {
    if name.starts_with('/') {
        return document.pointer(name);
    }
    let found = document.get("metrics").and_then(|all| all.get(name));
    let found = found.or_else(|| document.get(name))?;
    Some(found.get("value").unwrap_or(found))
}

fn offered(document: &Value) -> String {
    let metrics = document.get("metrics").unwrap_or(document);
    let names = metrics.as_object().map(|all| {
        let names: Vec<_> = all.keys().map(String::as_str).collect();
        names.join(", ")
    });
    names.map_or_else(
        || cut(&document.to_string()),
        |names| format!("only {}", cut(&names)),
    )
}

fn cut(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_or_missed_clearly() {
        let named = |name: &str| Metric::Named(name.to_owned());
        let report = r#"{"metrics": {"a.us": {"value": 2.5, "unit": "us"}}, "plain": 3}"#;
        assert!((Metric::Number.read(" 12.5\n").unwrap() - 12.5).abs() < 1e-9);
        for (metric, value) in [("a.us", 2.5), ("plain", 3.0), ("/metrics/a.us/value", 2.5)] {
            assert!((named(metric).read(report).unwrap() - value).abs() < 1e-9);
        }
        for nonsense in ["", "fast", "-1", "0", "inf", "NaN", "1 2"] {
            assert!(Metric::Number.read(nonsense).is_err(), "{nonsense}");
        }
        let error = named("b.us").read(report).unwrap_err().to_string();
        assert!(error.contains("only a.us"), "{error}");
        assert!(matches!(
            named("a").read("no"),
            Err(MetricError::Json { .. })
        ));
        assert_eq!(named("x.per_s").better(), Some(Better::Higher));
        assert_eq!(named("x.p99_us").better(), Some(Better::Lower));
        assert_eq!(named("x.ratio").better(), None);
    }
}
