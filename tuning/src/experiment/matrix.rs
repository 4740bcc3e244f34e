//! The file of an experiment: factors with levels, and what runs a combination of them.
//!
//! Deterministic: the same file and the same CPUs give the same combinations and the same words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command::{CommandError, words};
use super::effect::PAIRS_MIN;
use super::metric::Better;
use crate::facts::{CpuList, Topology};

/// More combinations than this cannot be told apart in a day.
pub const CELLS_MAX: usize = 64;
/// More rounds than this are a mistake.
const ROUNDS_MAX: usize = 200;

/// An experiment, as its file has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// Its name: that of the files with its results.
    pub name: String,
    /// What runs in the background during a run, such as a node; none to run only `command`.
    pub serve: Option<String>,
    /// Where `serve` answers a GET with 200 once it is ready (`ADDRESS:PORT/PATH`).
    pub ready: Option<String>,
    /// What measures one run. `{FACTOR}` in it stands for the value of that factor's level, which
    /// is also in the environment as `FACTOR_NAME`.
    pub command: String,
    /// Metric in its JSON; none when it prints a number.
    pub metric: Option<String>,
    /// Which way the metric gets better.
    pub better: Better,
    /// Least effect that matters, in percent.
    #[serde(default = "least_percent")]
    pub least_percent: f64,
    /// Rounds that count; in each one every combination runs once.
    #[serde(default = "repeats")]
    pub repeats: usize,
    /// Rounds before them that do not.
    #[serde(default)]
    pub warmup: usize,
    /// Longest run, in s.
    #[serde(default = "run_limit_s")]
    pub run_limit_s: u32,
    /// What is varied.
    #[serde(rename = "factor")]
    pub factors: Vec<Factor>,
    /// What one would like to vary and cannot.
    #[serde(default)]
    pub unavailable: Vec<NotRun>,
}

fn least_percent() -> f64 {
    2.0
}

fn repeats() -> usize {
    8
}

fn run_limit_s() -> u32 {
    60
}

/// Something that is varied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// Its name, of letters, digits and `_`.
    pub name: String,
    /// Its levels; the first is what the others are compared with.
    pub levels: Vec<Level>,
}

/// One way of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Its name.
    pub name: String,
    /// What takes the factor's place. `{cpus_but_first}` in it stands for the allowed CPUs but the
    /// first, `{first_threads_but_first}` for those of them that are the first of their core.
    pub value: String,
    /// Fewer allowed CPUs than this, and it is not run.
    #[serde(default)]
    pub cpus_min: usize,
    /// Whether it makes sense only where cores have siblings.
    #[serde(default)]
    pub smt: bool,
}

/// What is not run, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotRun {
    /// A factor, level or combination.
    pub name: String,
    /// Why.
    pub why: String,
}

/// One combination of levels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The name of each factor's level, in the order of the factors.
    pub levels: Vec<String>,
    /// The value of each, by factor, for this host.
    pub values: BTreeMap<String, String>,
}

/// What of an experiment fits a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitting {
    /// Combinations to run; the first is what the others are compared with.
    pub cells: Vec<Cell>,
    /// What is left out.
    pub not_run: Vec<NotRun>,
}

/// Why a file is no experiment.
#[derive(Debug, thiserror::Error)]
pub enum MatrixError {
    /// It cannot be read.
    #[error("wanted an experiment in {path}: {source}; give the path of a TOML file")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It is not TOML of ours.
    #[error("wanted an experiment in TOML, found: {0}")]
    Toml(#[from] Box<toml::de::Error>),
    /// Something in it makes no sense.
    #[error("{place}: wanted {wanted}, found {found:?}; correct the file")]
    Value {
        /// Where.
        place: String,
        /// What would make sense.
        wanted: String,
        /// What stands there.
        found: String,
    },
    /// A command that is none.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Nothing to compare.
    #[error(
        "wanted two combinations that fit this host, found {found}: {}",
        not_run.join("; ")
    )]
    TooFew {
        /// How many.
        found: usize,
        /// What does not fit.
        not_run: Vec<String>,
    },
}

fn wrong(place: &str, wanted: impl Into<String>, found: impl Into<String>) -> MatrixError {
    MatrixError::Value {
        place: place.to_owned(),
        wanted: wanted.into(),
        found: found.into(),
    }
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

/// What stands in curly braces and could be the name of a factor; JSON could not.
fn places(line: &str) -> impl Iterator<Item = &str> {
    let opened = line.split('{').skip(1);
    opened
        .filter_map(|rest| Some(rest.split_once('}')?.0))
        .filter(|name| is_name(name))
}

impl Matrix {
    /// Reads an experiment from its text.
    ///
    /// # Errors
    /// [`MatrixError`], which names what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, MatrixError> {
        let matrix: Self = toml::from_str(text).map_err(Box::new)?;
        let names = [matrix.name.as_str()].into_iter();
        let factors = matrix.factors.iter();
        let names = names.chain(factors.clone().map(|of| of.name.as_str()));
        let levels = factors.clone().flat_map(|of| &of.levels);
        let names = names.chain(levels.map(|of| of.name.as_str()));
        for name in names {
            if !is_name(name) {
                return Err(wrong("a name", "1 to 64 letters, digits and _", name));
            }
        }
        for (index, factor) in matrix.factors.iter().enumerate() {
            if factor.levels.is_empty() {
                return Err(wrong(&factor.name, "at least one level", "none"));
            }
            if matrix.factors[..index]
                .iter()
                .any(|of| of.name == factor.name)
            {
                return Err(wrong("factor", "each name once", &factor.name));
            }
        }
        if !(PAIRS_MIN..=ROUNDS_MAX).contains(&matrix.repeats) || matrix.warmup > ROUNDS_MAX {
            let wanted = format!("{PAIRS_MIN} to {ROUNDS_MAX} rounds");
            return Err(wrong("repeats", wanted, matrix.repeats.to_string()));
        }
        if !(0.0..100.0).contains(&matrix.least_percent) {
            let found = matrix.least_percent.to_string();
            return Err(wrong("least_percent", "0 to below 100", found));
        }
        if !(1..=3_600).contains(&matrix.run_limit_s) {
            let found = matrix.run_limit_s.to_string();
            return Err(wrong("run_limit_s", "1 to 3600", found));
        }
        let cells = factors.map(|of| of.levels.len());
        match cells.clone().try_fold(1, usize::checked_mul) {
            Some(count) if count <= CELLS_MAX => {}
            _ => {
                let found = cells.map(|n| n.to_string()).collect::<Vec<_>>().join(" x ");
                let wanted = format!("at most {CELLS_MAX} combinations");
                return Err(wrong("factor", wanted, found));
            }
        }
        let lines = [Some(&matrix.command), matrix.serve.as_ref()];
        for line in lines.into_iter().flatten() {
            // What cannot be run must be known before the first run.
            words(line)?;
            for place in places(line) {
                if !matrix.factors.iter().any(|of| of.name == place) {
                    return Err(wrong("a place in a command", "the name of a factor", place));
                }
            }
        }
        Ok(matrix)
    }

    /// The combinations that fit `topology`, and what does not.
    ///
    /// # Errors
    /// When fewer than two are left to compare.
    pub fn fit(&self, topology: &Topology) -> Result<Fitting, MatrixError> {
        let mut not_run = Vec::new();
        let mut cells = vec![Cell {
            levels: Vec::new(),
            values: BTreeMap::new(),
        }];
        for factor in &self.factors {
            let mut longer = Vec::new();
            let fitting: Vec<_> = factor
                .levels
                .iter()
                .filter_map(|level| match level.misfit(topology) {
                    None => Some((level, level.on(topology))),
                    Some(why) => {
                        let name = format!("{} = {}", factor.name, level.name);
                        not_run.push(NotRun { name, why });
                        None
                    }
                })
                .collect();
            for cell in &cells {
                longer.extend(fitting.iter().map(|(level, value)| {
                    let mut cell = cell.clone();
                    cell.levels.push(level.name.clone());
                    cell.values.insert(factor.name.clone(), value.clone());
                    cell
                }));
            }
            cells = longer;
        }
        not_run.extend(self.unavailable.iter().map(|of| NotRun {
            name: of.name.clone(),
            why: format!("not available: {}", of.why),
        }));
        match cells.len() {
            0 | 1 => Err(MatrixError::TooFew {
                found: cells.len(),
                not_run: not_run
                    .into_iter()
                    .map(|of| format!("{}: {}", of.name, of.why))
                    .collect(),
            }),
            _ => Ok(Fitting { cells, not_run }),
        }
    }
}

impl Level {
    fn misfit(&self, topology: &Topology) -> Option<String> {
        let found = topology.allowed.len();
        match () {
            () if found < self.cpus_min => {
                let wanted = self.cpus_min;
                Some(format!("wants {wanted} CPUs, this process may use {found}"))
            }
            () if self.smt && !topology.smt_active() => {
                Some("wants cores with siblings, found none".to_owned())
            }
            () => None,
        }
    }

    /// Its value on a host with these CPUs.
    fn on(&self, topology: &Topology) -> String {
        let but_first = |cpus: CpuList| cpus.iter().skip(1).collect::<CpuList>().to_string();
        let firsts = topology.allowed_cpus().filter(|cpu| cpu.smt_rank == 0);
        let firsts = but_first(firsts.map(|cpu| cpu.id).collect());
        self.value
            .replace("{cpus_but_first}", &but_first(topology.allowed.clone()))
            .replace("{first_threads_but_first}", &firsts)
    }
}

impl Cell {
    /// Its name: the names of its levels.
    pub fn name(&self) -> String {
        self.levels.join("/")
    }

    /// The words of `line` for this combination.
    ///
    /// # Errors
    /// When a quote in it is not closed.
    pub fn words(&self, line: &str) -> Result<Vec<String>, CommandError> {
        let filled = self
            .values
            .iter()
            .fold(line.to_owned(), |line, (factor, value)| {
                line.replace(&format!("{{{factor}}}"), value)
            });
        words(&filled)
    }

    /// What is added to the environment of its runs.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let upper = |factor: &str| format!("FACTOR_{}", factor.to_ascii_uppercase());
        self.values
            .iter()
            .map(|(factor, value)| (upper(factor), value.clone()))
            .collect()
    }

    /// Its values one after another: flags for `ninefold serve`.
    pub fn flags(&self, factors: &[Factor]) -> String {
        let values = factors.iter().filter_map(|of| self.values.get(&of.name));
        let values: Vec<_> = values
            .filter(|of| !of.is_empty())
            .map(String::as_str)
            .collect();
        values.join(" ")
    }
}
