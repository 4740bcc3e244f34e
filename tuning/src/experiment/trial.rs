//! The runs of an experiment: rounds in which every combination runs once, in an order that is
//! drawn anew, so that what changes with time meets all of them.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{Timespec, poll};
use serde::{Deserialize, Serialize};

use super::Deadline;
use super::command::{CommandError, Program, Running};
use super::effect::{CONFIDENCE, Effect, Rule, Verdict, effect};
use super::matrix::{Cell, Fitting, Matrix, NotRun};
use super::metric::{Metric, MetricError};
use crate::facts::Facts;

/// The name and version of the result's shape.
pub const EXPERIMENT_SCHEMA: &str = "ninefold.tune.experiment.v1";
/// How long what is served may take to accept connections.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How long to wait between two looks whether it does.
const READY_PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// What an experiment has shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// [`EXPERIMENT_SCHEMA`].
    pub schema: String,
    /// The experiment.
    pub matrix: Matrix,
    /// Seed of the order and of the resampling.
    pub seed: u64,
    /// The combinations, with what they showed.
    pub cells: Vec<CellResult>,
    /// Cells by index, in the order in which they ran; warm-up rounds first.
    pub order: Vec<Vec<usize>>,
    /// Whole rounds that count.
    pub rounds: usize,
    /// Whether the time was up before all rounds were run.
    pub cut_short: bool,
    /// What was not run.
    pub not_run: Vec<NotRun>,
    /// The cell to use: the best of those that are shown to be better than the first, else it.
    pub recommended: usize,
    /// The facts of the host, before the first run.
    pub facts: Facts,
}

/// One combination and its figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CellResult {
    /// The combination.
    pub cell: Cell,
    /// Its figures, round by round.
    pub samples: Vec<f64>,
    /// Its change against the first cell, paired by round; none for the first.
    pub effect: Option<Effect>,
}

/// Why an experiment has no result.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// A run failed.
    #[error("{cell}: {source}")]
    Run {
        /// The combination.
        cell: String,
        /// Why.
        source: CommandError,
    },
    /// A run gave no figure.
    #[error("{cell}: {source}")]
    Metric {
        /// The combination.
        cell: String,
        /// Why.
        source: MetricError,
    },
    /// What is to be served does not.
    #[error("{cell}: wanted `{program}` to accept connections on {address}, found {found}")]
    NotReady {
        /// The combination.
        cell: String,
        /// The program.
        program: String,
        /// Where.
        address: std::net::SocketAddr,
        /// What happened instead.
        found: String,
    },
    /// Not one round was done.
    #[error(
        "wanted at least one round of {cells} runs, the time was up before: give it longer with \
         --for, or a file with fewer levels"
    )]
    NoRound {
        /// Combinations.
        cells: usize,
    },
    /// We are to end.
    #[error("interrupted; nothing was kept")]
    Interrupted,
    /// The kernel.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Runs what fits until all rounds are done or `until` has come.
///
/// `progress` hears of each run: how many are done, of how many, its cell and its figure.
///
/// # Errors
/// [`TrialError`]; nothing that was started is left running.
pub fn run(
    matrix: &Matrix,
    fitting: Fitting,
    seed: u64,
    until: &Deadline,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize, &Cell, f64),
) -> Result<Outcome, TrialError> {
    let cells = fitting.cells;
    let mut rng = fastrand::Rng::with_seed(seed);
    let planned = matrix.warmup + matrix.repeats;
    let (mut order, mut rounds) = (Vec::new(), Vec::<Vec<f64>>::new());
    let mut done = 0;
    'rounds: for _ in 0..planned {
        let mut round: Vec<usize> = (0..cells.len()).collect();
        rng.shuffle(&mut round);
        let mut values = vec![0.0; cells.len()];
        for &at in &round {
            if until.is_over() {
                break 'rounds;
            }
            values[at] = one(matrix, &cells[at], stop)?;
            done += 1;
            progress(done, planned * cells.len(), &cells[at], values[at]);
        }
        order.push(round);
        rounds.push(values);
    }
    let counted = rounds.split_off(matrix.warmup.min(rounds.len()));
    if counted.is_empty() {
        return Err(TrialError::NoRound { cells: cells.len() });
    }
    let cells = judged(matrix, cells, &counted, seed);
    Ok(Outcome {
        schema: EXPERIMENT_SCHEMA.to_owned(),
        matrix: matrix.clone(),
        seed,
        recommended: recommended(&cells),
        cells,
        cut_short: order.len() < planned,
        order,
        rounds: counted.len(),
        not_run: fitting.not_run,
        facts: Facts::capture(),
    })
}

/// Each cell beside the first, at a confidence for all of them together (Bonferroni): of many
/// combinations without an effect one would look good.
fn judged(matrix: &Matrix, cells: Vec<Cell>, rounds: &[Vec<f64>], seed: u64) -> Vec<CellResult> {
    let rule = Rule {
        better: matrix.better,
        least_percent: matrix.least_percent,
        confidence: 1.0 - (1.0 - CONFIDENCE) / (cells.len() - 1).max(1) as f64,
        seed,
    };
    let cells = cells.into_iter().enumerate();
    cells
        .map(|(at, cell)| {
            let pairs: Vec<_> = rounds.iter().map(|round| (round[0], round[at])).collect();
            CellResult {
                cell,
                samples: rounds.iter().map(|round| round[at]).collect(),
                effect: (at > 0).then(|| effect(&pairs, rule)).flatten(),
            }
        })
        .collect()
}

fn recommended(cells: &[CellResult]) -> usize {
    let gain = |of: &CellResult| of.effect.filter(|of| of.verdict == Verdict::Better);
    let shown = cells
        .iter()
        .enumerate()
        .filter_map(|(at, of)| Some((at, gain(of)?)));
    let size = |of: &Effect| of.change_percent.mid.abs();
    shown
        .max_by(|a, b| size(&a.1).total_cmp(&size(&b.1)))
        .map_or(0, |(at, _)| at)
}

fn one(matrix: &Matrix, cell: &Cell, stop: &AtomicBool) -> Result<f64, TrialError> {
    let failed = |source| match source {
        CommandError::Interrupted => TrialError::Interrupted,
        source => TrialError::Run {
            cell: cell.name(),
            source,
        },
    };
    let program = |line: &str| -> Result<Program, CommandError> {
        let limit = Duration::from_secs(matrix.run_limit_s.into());
        let mut program = Program::of(cell.words(line)?, limit);
        program.environment = cell.environment();
        Ok(program)
    };
    let served = match &matrix.serve {
        None => None,
        Some(line) => {
            let program = program(line).map_err(failed)?;
            let mut running = program.background().map_err(failed)?;
            wait_until_ready(matrix, cell, &program, &mut running, stop)?;
            Some(running)
        }
    };
    let answer = program(&matrix.command)
        .and_then(|of| of.run(stop))
        .map_err(failed)?;
    drop(served);
    let metric = matrix.metric.clone().map_or(Metric::Number, Metric::Named);
    metric.read(&answer).map_err(|source| TrialError::Metric {
        cell: cell.name(),
        source,
    })
}

fn wait_until_ready(
    matrix: &Matrix,
    cell: &Cell,
    program: &Program,
    running: &mut Running,
    stop: &AtomicBool,
) -> Result<(), TrialError> {
    let Some(address) = matrix.ready else {
        return Ok(());
    };
    let deadline = Deadline::after(READY_LIMIT)?;
    let not_ready = |found: String| TrialError::NotReady {
        cell: cell.name(),
        program: program.words().join(" "),
        address,
        found,
    };
    loop {
        // First: what accepts after this one has ended is not this one.
        if let Some(status) = running.ended() {
            return Err(not_ready(format!(
                "that it ended ({status}); run it by hand"
            )));
        }
        if TcpStream::connect_timeout(&address, READY_LIMIT).is_ok() {
            return Ok(());
        }
        if stop.load(Ordering::Relaxed) {
            return Err(TrialError::Interrupted);
        }
        if deadline.is_over() {
            return Err(not_ready(format!("nobody there for {READY_LIMIT:?}")));
        }
        // Nothing to poll: a sleep that a signal ends.
        poll(&mut [], Some(&READY_PAUSE)).ok();
    }
}
