//! One setting, on and off in turns: kept only if it is shown to help, else put back.

use std::io;

use serde::{Deserialize, Serialize};

use super::Deadline;
use super::command::CommandError;
use super::effect::{self, Arm, Effect, Rule, Verdict, effect, order};
use super::metric::{Better, MetricError};
use crate::apply::{ApplyError, apply};
use crate::facts::{Facts, Identity, Root};
use crate::journal::Store;
use crate::plan::{Plan, Step};
use crate::revert::{RevertError, RevertOptions, RevertOutcome, Which, revert};

/// The name and version of the evidence's shape.
pub const PROVE_SCHEMA: &str = "ninefold.tune.prove.v1";

/// What to do and what counts.
#[derive(Clone, Copy, Debug)]
pub struct ProveOptions {
    /// Pairs that count.
    pub pairs: usize,
    /// Pairs before them that do not.
    pub warmup_pairs: usize,
    /// Which way the metric gets better.
    pub better: Better,
    /// Least effect that matters, in percent.
    pub least_percent: f64,
    /// Seed of the order and of the resampling.
    pub seed: u64,
}

/// One pair of runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Which came first.
    pub first: Arm,
    /// The metric without the setting.
    pub off: f64,
    /// The metric with it.
    pub on: f64,
}

/// What was done with the setting in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It is in force.
    Kept,
    /// All is as it was before.
    Reverted,
}

/// What was measured, how, where, and what follows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// [`PROVE_SCHEMA`].
    pub schema: String,
    /// The setting.
    pub setting: String,
    /// What was written in its runs.
    pub steps: Vec<Step>,
    /// The command of each run.
    pub command: Vec<String>,
    /// The metric's name; none for a plain number.
    pub metric: Option<String>,
    /// Which way it gets better.
    pub better: Better,
    /// Least effect that matters, in percent.
    pub least_percent: f64,
    /// Seed of the order and of the resampling.
    pub seed: u64,
    /// The order that was drawn, of warm-up pairs and pairs.
    pub order: Vec<[Arm; 2]>,
    /// Pairs that do not count.
    pub warmup: Vec<Pair>,
    /// Pairs that count.
    pub pairs: Vec<Pair>,
    /// Whether the time was up before all pairs were run.
    pub cut_short: bool,
    /// What they show; none without a pair.
    pub effect: Option<Effect>,
    /// What was done with the setting.
    pub decision: Decision,
    /// The journal that undoes it, when it was kept.
    pub journal: Option<u64>,
    /// The host and its boot.
    pub identity: Identity,
    /// The facts of the host, before the first run.
    pub facts: Facts,
}

/// Why nothing was proved.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// There is nothing to write.
    #[error(
        "{setting}: nothing to prove: {why}; `ninefold-tune explain {setting}` says how it is set"
    )]
    Nothing {
        /// The setting.
        setting: String,
        /// How it stands.
        why: String,
    },
    /// The setting could not be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The setting could not be put back.
    #[error("the setting may still be in force: {0}; then run `ninefold-tune revert --yes`")]
    Revert(#[from] RevertError),
    /// A file of it could not be put back.
    #[error(
        "the setting is still in force in {}: run `ninefold-tune revert {journal} --yes` once the \
         cause is gone",
        left.join(", ")
    )]
    NotReverted {
        /// The journal.
        journal: u64,
        /// The files and why.
        left: Vec<String>,
    },
    /// A run failed.
    #[error("{0}; the setting was reverted")]
    Run(#[from] RunError),
}

/// Why a run gave no figure.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The command.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// What it said.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// The host.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl RunError {
    /// Whether somebody asked us to end.
    pub fn is_interrupt(&self) -> bool {
        matches!(self, Self::Command(CommandError::Interrupted))
    }
}

/// A setting that is switched by the journalled apply, and back by its journal.
#[derive(Debug)]
pub struct Switch<'s> {
    root: &'s Root,
    store: &'s Store,
    plan: &'s Plan,
    identity: Identity,
    journal: Option<u64>,
    kept: bool,
}

/// Whatever ends an experiment, a panic too, a setting that was not shown to help is put back.
impl Drop for Switch<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // Nobody is left to tell; the journal stays open, and the next apply says so.
            self.set(Arm::Off).ok();
        }
    }
}

impl<'s> Switch<'s> {
    /// A switch for what `plan` writes, off.
    pub fn new(root: &'s Root, store: &'s Store, plan: &'s Plan) -> Self {
        Self {
            root,
            store,
            plan,
            identity: Identity::read(root),
            journal: None,
            kept: false,
        }
    }

    fn set(&mut self, arm: Arm) -> Result<(), ProveError> {
        match (arm, self.journal) {
            (Arm::On, None) => {
                let applied = apply(self.plan, self.root, self.store, &self.identity)?;
                // Else both arms would be the same, and a kept setting would be none.
                self.journal = Some(applied.journal.ok_or_else(|| ProveError::Nothing {
                    setting: self.name(),
                    why: "every file was refused, or held the value by the time".to_owned(),
                })?);
            }
            (Arm::Off, Some(journal)) => {
                let options = RevertOptions {
                    write: true,
                    force: false,
                };
                let which = Which::Journal(journal);
                let files = revert(&which, options, self.root, self.store, &self.identity)?;
                let left = files
                    .into_iter()
                    .filter(|of| of.outcome == RevertOutcome::Failed);
                let left: Vec<_> = left
                    .map(|of| format!("{} ({})", of.path, of.detail.unwrap_or_default()))
                    .collect();
                if !left.is_empty() {
                    return Err(ProveError::NotReverted { journal, left });
                }
                self.journal = None;
            }
            (Arm::On, Some(_)) | (Arm::Off, None) => {}
        }
        Ok(())
    }

    fn name(&self) -> String {
        let first = self.plan.steps.first();
        first.map(|step| step.setting.clone()).unwrap_or_default()
    }
}

/// Whether there is something to prove; otherwise why not.
///
/// # Errors
/// [`ProveError::Nothing`].
pub fn provable(id: &str, plan: &Plan) -> Result<(), ProveError> {
    if !plan.steps.is_empty() {
        return Ok(());
    }
    let why = match plan.advice.first() {
        Some(of) => format!("it is changed by the {} ({})", of.by.name(), of.what),
        None => "it is as wanted already (if by an apply, revert that first), or this host has no \
                 such switch"
            .to_owned(),
    };
    let setting = id.to_owned();
    Err(ProveError::Nothing { setting, why })
}

/// Runs the pairs, decides, and leaves the setting on only where it was shown to help.
///
/// `measure` makes one run; `progress` hears of each pair. The pairs end at `until`.
///
/// # Errors
/// [`ProveError`]; the setting is off again unless the error says otherwise.
pub fn prove(
    switch: &mut Switch<'_>,
    options: &ProveOptions,
    until: &Deadline,
    measure: &mut dyn FnMut() -> Result<f64, RunError>,
    progress: &mut dyn FnMut(usize, &Pair),
) -> Result<Evidence, ProveError> {
    let facts = Facts::read(switch.root);
    let order = order(options.warmup_pairs + options.pairs, options.seed);
    let ran = run_pairs(switch, &order, until, measure, progress);
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => {
            // Where undoing fails too, that is the worse news.
            switch.set(Arm::Off)?;
            return Err(error);
        }
    };
    let (warmup, pairs) = ran.split_at(options.warmup_pairs.min(ran.len()));
    let values: Vec<_> = pairs.iter().map(|pair| (pair.off, pair.on)).collect();
    let effect = effect(
        &values,
        Rule {
            better: options.better,
            least_percent: options.least_percent,
            confidence: effect::CONFIDENCE,
            seed: options.seed,
        },
    );
    let keep = effect.is_some_and(|of| of.verdict == Verdict::Better);
    switch.set(if keep { Arm::On } else { Arm::Off })?;
    switch.kept = keep;
    Ok(Evidence {
        schema: PROVE_SCHEMA.to_owned(),
        setting: switch.name(),
        steps: switch.plan.steps.clone(),
        command: Vec::new(),
        metric: None,
        better: options.better,
        least_percent: options.least_percent,
        seed: options.seed,
        cut_short: ran.len() < order.len(),
        order,
        warmup: warmup.to_vec(),
        pairs: pairs.to_vec(),
        effect,
        decision: if keep {
            Decision::Kept
        } else {
            Decision::Reverted
        },
        journal: switch.journal,
        identity: switch.identity.clone(),
        facts,
    })
}

fn run_pairs(
    switch: &mut Switch<'_>,
    order: &[[Arm; 2]],
    until: &Deadline,
    measure: &mut dyn FnMut() -> Result<f64, RunError>,
    progress: &mut dyn FnMut(usize, &Pair),
) -> Result<Vec<Pair>, ProveError> {
    let mut pairs = Vec::with_capacity(order.len());
    for &[first, second] in order {
        // The first pair tells at least that the command works.
        if !pairs.is_empty() && until.is_over() {
            break;
        }
        switch.set(first)?;
        let a = measure()?;
        switch.set(second)?;
        let b = measure()?;
        let (off, on) = if first == Arm::Off { (a, b) } else { (b, a) };
        let pair = Pair { first, off, on };
        pairs.push(pair);
        progress(pairs.len(), &pair);
    }
    Ok(pairs)
}
