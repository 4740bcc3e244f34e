//! Objectives and claims from `slo.toml`, and their rows in the report.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verdict::Verdict;
use crate::measure::hiccup::Floor;
use crate::plan::Phase;
use crate::report::model::{Metric, Unit, Validity, show};

/// The objectives built into this program.
pub const BUILT_IN: &str = include_str!("../../slo.toml");
/// The schema name of an objectives file.
pub const SCHEMA: &str = "ninefold.slo.v1";

/// An objectives file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SloBook {
    schema: String,
    profile: BTreeMap<String, Profile>,
    #[serde(default)]
    objective: Vec<Objective>,
    /// Claims on miss shares.
    #[serde(default)]
    pub claim: Vec<ClaimTerms>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    #[expect(dead_code, reason = "documents the file for its reader")]
    about: String,
    fit_host_only: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Objective {
    profile: String,
    title: String,
    metric: String,
    op: Op,
    value: f64,
    unit: Unit,
    kind: Kind,
    quantile: Option<f64>,
    #[serde(default)]
    phases: Vec<Phase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Op {
    #[serde(rename = "<=")]
    AtMost,
    #[serde(rename = "<")]
    Below,
    #[serde(rename = ">=")]
    AtLeast,
    #[serde(rename = ">")]
    Above,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Absolute,
    Ratio,
    Count,
}

/// What a claim is about. Evidence of one level says nothing of another.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Level {
    /// Logic: messages lost, duplicated, reordered or leaked.
    L1,
    /// Dispatch: from mailbox to answer on real shards, in process.
    L2,
    /// Service: a call end to end over sockets.
    L3,
}

/// A claim as it was written down before the run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimTerms {
    /// Name of the claim.
    pub id: String,
    /// Its level; documents from before there were levels have none.
    #[serde(default)]
    pub level: Option<Level>,
    /// Scenario whose trials it is about.
    pub scenario: String,
    /// Deadline from the intended start, in us.
    pub deadline_us: f64,
    /// Largest miss share that the claim allows.
    pub miss_share_max: f64,
    /// One-sided confidence.
    pub confidence: f64,
    /// Length of a stall that may spoil arrivals together, in ms.
    pub stall_ms: f64,
}

/// One objective in a report.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SloRow {
    /// Objective in words.
    pub objective: String,
    /// Profile it belongs to.
    pub profile: String,
    /// Metric it is about.
    pub metric: String,
    /// Bound, with its unit.
    pub wanted: String,
    /// Value found, if it was measured.
    pub found: Option<f64>,
    /// Verdict.
    pub verdict: Verdict,
    /// Whether it counts for the exit code here; otherwise it is information.
    pub gates: bool,
    /// Why the verdict is not a plain one.
    pub why: Option<String>,
}

/// Which objectives are shown and which count.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `--profile`: show only this one.
    pub profile: Option<String>,
    /// `--strict`: everything shown counts.
    pub strict: bool,
    /// The host's fitness is A or B.
    pub fit_host: bool,
    /// The phase that ran.
    pub phase: Phase,
    /// `--only` left scenarios out: what is missing was not asked for.
    pub partial: bool,
}

/// What objectives are held against.
#[derive(Clone, Copy, Debug)]
pub struct Findings<'a> {
    /// Metrics of the run.
    pub metrics: &'a BTreeMap<String, Metric>,
    /// Whether they were measured soundly.
    pub validity: &'a Validity,
    /// The slowest host floor, if it was probed.
    pub floor: Option<&'a Floor>,
}

/// An objectives file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SloError {
    /// Not TOML of the right shape.
    #[error("objectives file: {0}")]
    Syntax(#[from] toml::de::Error),
    /// Right shape, wrong content.
    #[error("objectives file: {0}")]
    Content(String),
}

impl SloBook {
    /// Reads an objectives file; unknown keys are refused.
    ///
    /// # Errors
    /// When it is not TOML, has unknown keys, or names a profile it does not define.
    pub fn parse(text: &str) -> Result<Self, SloError> {
        let book: Self = toml::from_str(text)?;
        let wrong = |what: String| Err(SloError::Content(what));
        if book.schema != SCHEMA {
            return wrong(format!("wanted schema {SCHEMA:?}, found {:?}", book.schema));
        }
        for objective in &book.objective {
            if !book.profile.contains_key(&objective.profile) {
                return wrong(format!(
                    "objective {:?} names profile {:?}, which is not defined; add [profile.{1}]",
                    objective.title, objective.profile
                ));
            }
        }
        for claim in &book.claim {
            if claim.level.is_none() {
                return wrong(format!(
                    "claim {:?}: wanted a level (L1, L2 or L3), found none",
                    claim.id
                ));
            }
            let share = 0.0 < claim.miss_share_max && claim.miss_share_max < 1.0;
            let confidence = 0.0 < claim.confidence && claim.confidence < 1.0;
            if !share || !confidence || claim.deadline_us <= 0.0 || claim.stall_ms < 0.0 {
                return wrong(format!(
                    "claim {:?}: wanted a miss share and a confidence between 0 and 1, a deadline \
                     > 0 and a stall >= 0",
                    claim.id
                ));
            }
        }
        Ok(book)
    }

    /// Names of the profiles it defines.
    pub fn profiles(&self) -> impl Iterator<Item = &str> {
        self.profile.keys().map(String::as_str)
    }

    /// Holds the findings against every objective that `policy` shows.
    #[must_use]
    pub fn judge(&self, policy: &Policy, findings: Findings<'_>) -> Vec<SloRow> {
        let shown = |objective: &&Objective| {
            policy
                .profile
                .as_ref()
                .is_none_or(|wanted| *wanted == objective.profile)
        };
        let row = |objective: &Objective| {
            let gates = self.gates(objective, policy);
            objective.judge(gates, policy, findings)
        };
        self.objective.iter().filter(shown).map(row).collect()
    }

    fn gates(&self, objective: &Objective, policy: &Policy) -> bool {
        if policy.strict || policy.fit_host {
            return true;
        }
        // Of a profile meant for fit hosts only, counts gate elsewhere when it was asked for.
        let asked_for = policy.profile.is_some();
        let fit_only = self
            .profile
            .get(&objective.profile)
            .is_some_and(|p| p.fit_host_only);
        objective.kind != Kind::Absolute && (asked_for || !fit_only)
    }
}

impl ClaimTerms {
    /// The deadline in ns.
    #[must_use]
    pub fn deadline_ns(&self) -> u64 {
        crate::measure::clock::ns(self.deadline_us / 1e6)
    }
}

impl Objective {
    fn judge(&self, gates: bool, policy: &Policy, findings: Findings<'_>) -> SloRow {
        let found = findings.metrics.get(&self.metric);
        let (verdict, why) = match found {
            None if self.phases.contains(&policy.phase) && !policy.partial => (
                Verdict::Inconclusive,
                Some("not measured, or not resolved".into()),
            ),
            None => (Verdict::NotMeasured, None),
            Some(metric) if metric.unit != self.unit => {
                let (wanted, found) = (self.unit.symbol(), metric.unit.symbol());
                (
                    Verdict::Invalid,
                    Some(format!("wanted a value in {wanted}, found {found}")),
                )
            }
            Some(metric) => self.verdict(metric.value, findings),
        };
        SloRow {
            objective: self.title.clone(),
            profile: self.profile.clone(),
            metric: self.metric.clone(),
            wanted: format!(
                "{} {} {}",
                self.op.symbol(),
                show(self.value),
                self.unit.symbol()
            ),
            found: found.map(|metric| metric.value),
            verdict,
            gates,
            why,
        }
    }

    fn verdict(&self, found: f64, findings: Findings<'_>) -> (Verdict, Option<String>) {
        if let Some(objection) = findings.validity.objection(&self.metric) {
            return (Verdict::Invalid, Some(objection));
        }
        if self.op.holds(found, self.value) {
            return (Verdict::Pass, None);
        }
        if let (Some(q), Some(floor)) = (self.quantile, findings.floor) {
            let floor = floor.at(q) as f64 / self.unit.ns_per();
            if floor > self.value {
                let why = format!(
                    "the host alone takes {} {}",
                    show(floor),
                    self.unit.symbol()
                );
                return (Verdict::Unfit, Some(why));
            }
        }
        (Verdict::Fail, None)
    }
}

impl Op {
    fn symbol(self) -> &'static str {
        match self {
            Self::AtMost => "<=",
            Self::Below => "<",
            Self::AtLeast => ">=",
            Self::Above => ">",
        }
    }

    fn holds(self, found: f64, bound: f64) -> bool {
        match self {
            Self::AtMost => found <= bound,
            Self::Below => found < bound,
            Self::AtLeast => found >= bound,
            Self::Above => found > bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::clock::Drift;
    use crate::measure::hiccup::probe;
    use crate::report::model::Check;

    fn policy(fit_host: bool) -> Policy {
        Policy {
            profile: None,
            strict: false,
            fit_host,
            phase: Phase::Full,
            partial: false,
        }
    }

    fn sound() -> Validity {
        let clock = Drift {
            elapsed_ns: 1,
            wall_step_ns: 0,
            suspended_ns: 0,
            slew_ppm: 0.0,
        };
        Validity {
            clock,
            clock_cost: None,
            checks: vec![],
        }
    }

    fn metrics(id: &str, value: f64, unit: Unit) -> BTreeMap<String, Metric> {
        [(
            id.to_owned(),
            Metric {
                value,
                unit,
                n: 1,
                samples: vec![],
            },
        )]
        .into()
    }

    fn row(id: &str, value: f64, unit: Unit, policy: &Policy) -> SloRow {
        let (metrics, validity) = (metrics(id, value, unit), sound());
        let findings = Findings {
            metrics: &metrics,
            validity: &validity,
            floor: None,
        };
        let book = SloBook::parse(BUILT_IN).unwrap();
        book.judge(policy, findings)
            .into_iter()
            .find(|row| row.metric == id)
            .unwrap()
    }

    #[test]
    fn the_built_in_file_is_sound_and_unknown_keys_are_refused() {
        let book = SloBook::parse(BUILT_IN).unwrap();
        assert_eq!(book.profiles().collect::<Vec<_>>(), ["classic", "ninefold"]);
        let typo = BUILT_IN.replacen("quantile =", "quantil =", 1);
        assert!(
            SloBook::parse(&typo)
                .unwrap_err()
                .to_string()
                .contains("quantil")
        );
        let orphan = BUILT_IN.replacen("profile = \"classic\"", "profile = \"clasic\"", 1);
        assert!(
            SloBook::parse(&orphan)
                .unwrap_err()
                .to_string()
                .contains("clasic")
        );
    }

    #[test]
    fn absolute_objectives_gate_on_fit_hosts_only() {
        let failed = row("sustained.inproc.p50_us", 500.0, Unit::Us, &policy(true));
        assert_eq!((failed.verdict, failed.gates), (Verdict::Fail, true));
        let informed = row("sustained.inproc.p50_us", 500.0, Unit::Us, &policy(false));
        assert_eq!((informed.verdict, informed.gates), (Verdict::Fail, false));
        let strict = Policy {
            strict: true,
            ..policy(false)
        };
        assert!(row("sustained.inproc.p50_us", 500.0, Unit::Us, &strict).gates);
        let counted = row("conn.idle.user_bytes", 2e7, Unit::Bytes, &policy(false));
        assert_eq!((counted.verdict, counted.gates), (Verdict::Fail, true));
    }

    #[test]
    fn what_is_missing_is_inconclusive_only_where_it_was_due() {
        let missing = |policy: &Policy| {
            let (metrics, validity) = (BTreeMap::new(), sound());
            let findings = Findings {
                metrics: &metrics,
                validity: &validity,
                floor: None,
            };
            SloBook::parse(BUILT_IN).unwrap().judge(policy, findings)[0].verdict
        };
        assert_eq!(missing(&policy(true)), Verdict::Inconclusive);
        let partial = Policy {
            partial: true,
            ..policy(true)
        };
        assert_eq!(missing(&partial), Verdict::NotMeasured);
        let quick = Policy {
            phase: Phase::Quick,
            ..policy(true)
        };
        assert_eq!(missing(&quick), Verdict::NotMeasured);
    }

    #[test]
    fn wrong_units_and_broken_checks_are_invalid() {
        let wrong = row("sustained.inproc.p50_us", 0.5, Unit::Ns, &policy(true));
        assert_eq!(wrong.verdict, Verdict::Invalid);
        let metrics = metrics("sustained.inproc.p50_us", 1.0, Unit::Us);
        let mut validity = sound();
        validity
            .checks
            .push(Check::at_most("lag", "sustained", 1.0, 2.0));
        let findings = Findings {
            metrics: &metrics,
            validity: &validity,
            floor: None,
        };
        let rows = SloBook::parse(BUILT_IN)
            .unwrap()
            .judge(&policy(true), findings);
        assert_eq!(rows[0].verdict, Verdict::Invalid);
    }

    /// A floor that is above the objective turns a failure into an unfit host.
    #[test]
    fn a_slow_host_is_unfit() {
        let metrics = metrics("sustained.inproc.p50_us", 500.0, Unit::Us);
        let validity = sound();
        let mut gaps = crate::measure::hist::Latency::new();
        gaps.record_n(10_000_000, 90);
        let mut hiccups = probe(None, 0.001);
        (hiccups.seconds, hiccups.gaps) = (1.0, gaps.dump());
        let floor = hiccups.floor().unwrap();
        let findings = Findings {
            metrics: &metrics,
            validity: &validity,
            floor: Some(&floor),
        };
        let rows = SloBook::parse(BUILT_IN)
            .unwrap()
            .judge(&policy(true), findings);
        assert_eq!(rows[0].verdict, Verdict::Unfit, "{:?}", rows[0]);
    }

    #[test]
    fn a_claim_in_an_objectives_file_says_its_level() {
        let claims = SloBook::parse(BUILT_IN).unwrap().claim;
        let levels: Vec<_> = claims.iter().map(|claim| claim.level).collect();
        assert_eq!(levels, [Some(Level::L3), Some(Level::L2)]);
        let refused = |from: &str, to: &str| {
            let wrong = SloBook::parse(&BUILT_IN.replace(from, to));
            wrong.unwrap_err().to_string()
        };
        let none = refused("level = \"L3\"\n", "");
        assert!(
            none.contains("claim \"http.tools_call\": wanted a level"),
            "{none}"
        );
        let unknown = refused("level = \"L3\"", "level = \"L4\"");
        assert!(
            unknown.contains("expected one of `L1`, `L2`, `L3`"),
            "{unknown}"
        );
    }
}
