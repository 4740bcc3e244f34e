//! Claims: a miss share, a deadline and a confidence, written down before the run, and what the
//! run showed about them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::slo::ClaimTerms;
use super::verdict::Verdict;
use crate::stats::bounds::{self, Evidence};

/// A claim with its evidence.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClaimRow {
    /// What was claimed.
    #[serde(flatten)]
    pub terms: ClaimTerms,
    /// What was seen.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// Upper bound of the miss share by count.
    #[serde(rename = "u_count", alias = "count_upper")]
    pub count_upper: f64,
    /// Upper bound of the miss share by time.
    #[serde(rename = "u_time", alias = "time_upper")]
    pub time_upper: f64,
    /// Nines shown: of the larger bound, rounded down.
    #[serde(rename = "nines", alias = "nines_shown")]
    pub nines_shown: u32,
    /// Three-valued, or invalid.
    pub verdict: Verdict,
    /// Whether it counts for the exit code on this host.
    pub gates: bool,
    /// What is missing, or why the verdict is not a plain one.
    pub why: Option<String>,
}

/// Judges `terms` by `evidence`; `objection` says why the measurement is worth nothing.
#[must_use]
pub fn judge(
    terms: &ClaimTerms,
    mut evidence: Evidence,
    objection: Option<String>,
    gates: bool,
) -> ClaimRow {
    // The declared stall length, never below the longest seen, never below the deadline.
    let declared = terms.stall_ms / 1e3;
    let deadline = terms.deadline_us / 1e6;
    evidence.stall_seconds = evidence.stall_seconds.max(declared).max(deadline);
    let (count_upper, time_upper) = (
        evidence.count_upper(terms.confidence),
        evidence.time_upper(terms.confidence),
    );
    let bound = count_upper.max(time_upper);
    let wanted = terms.miss_share_max;
    let (verdict, why) = if objection.is_some() {
        (Verdict::Invalid, objection)
    } else if bound <= wanted {
        (Verdict::Pass, None)
    } else if bounds::lower(evidence.n, evidence.k, terms.confidence) > wanted {
        (Verdict::Fail, None)
    } else {
        (Verdict::Inconclusive, Some(still_needed(terms, &evidence)))
    };
    ClaimRow {
        terms: terms.clone(),
        evidence,
        count_upper,
        time_upper,
        nines_shown: bounds::nines(bound),
        verdict,
        gates,
        why,
    }
}

fn still_needed(terms: &ClaimTerms, evidence: &Evidence) -> String {
    let (wanted, confidence) = (terms.miss_share_max, terms.confidence);
    let trials = bounds::trials_needed(wanted, evidence.k, confidence).saturating_sub(evidence.n);
    let time = bounds::poisson_upper(evidence.e, confidence) * evidence.stall_seconds / wanted;
    let time = (time - evidence.seconds).max(0.0);
    format!("without another miss it still needs {trials} trials and {time:.0} s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::slo::Level;

    fn terms(miss_share_max: f64) -> ClaimTerms {
        ClaimTerms {
            id: "x".into(),
            level: Some(Level::L3),
            scenario: "x".into(),
            deadline_us: 1000.0,
            miss_share_max,
            confidence: 0.95,
            stall_ms: 10.0,
        }
    }

    fn judged(wanted: f64, n: u64, k: u64, e: u64, seconds: f64) -> ClaimRow {
        let evidence = Evidence {
            n,
            k,
            e,
            seconds,
            stall_seconds: 0.0,
        };
        judge(&terms(wanted), evidence, None, true)
    }

    #[test]
    fn verdicts_are_three_valued() {
        assert_eq!(judged(1e-2, 3_000_000, 0, 0, 30.0).verdict, Verdict::Pass);
        assert_eq!(
            judged(1e-3, 3_000_000, 30_000, 5, 30.0).verdict,
            Verdict::Fail
        );
        let unclear = judged(1e-6, 3_000_000, 0, 0, 30.0);
        assert_eq!(unclear.verdict, Verdict::Inconclusive);
        assert!(
            unclear.why.unwrap().contains("29927 s"),
            "3.0 * 10 ms / 1e-6, less 30 s"
        );
    }

    #[test]
    fn the_larger_bound_counts_and_unsound_runs_show_nothing() {
        let row = judged(1e-2, 3_000_000, 0, 0, 30.0);
        assert!(row.count_upper < 1.1e-6 && row.time_upper > 9e-4);
        assert_eq!(row.nines_shown, 3);
        let evidence = Evidence {
            n: 10,
            k: 0,
            e: 0,
            seconds: 1.0,
            stall_seconds: 0.5,
        };
        let invalid = judge(&terms(0.9), evidence, Some("lag".into()), true);
        assert_eq!(invalid.verdict, Verdict::Invalid);
        assert!(
            (invalid.evidence.stall_seconds - 0.5).abs() < 1e-12,
            "the longest seen"
        );
    }
}
