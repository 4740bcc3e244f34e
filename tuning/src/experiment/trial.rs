//! The runs of an experiment: rounds in which every combination runs once, in an order that is
//! drawn anew, so that what changes with time meets all of them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{Timespec, poll};
use serde::{Deserialize, Serialize};

use super::Deadline;
use super::command::{CommandError, PAUSE, Program, Running};
use super::effect::{CONFIDENCE, Effect, Rule, Verdict, effect};
use super::matrix::{Cell, Fitting, Matrix, NotRun};
use super::metric::{Metric, MetricError};
use crate::facts::Facts;

/// The name and version of the result's shape.
pub const EXPERIMENT_SCHEMA: &str = "ninefold.tune.experiment.v1";
/// How long what is served may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How long it may take to say so.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// How long it may take to end.
const END_LIMIT: Duration = Duration::from_secs(10);
/// How often it is started before its end before it is ready is an error: the port of the one
/// before it may take a moment to be free.
const STARTS_MAX: u32 = 3;
/// How long to wait before it is started again.
const START_PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000_000,
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
    #[error("{cell}: wanted `{program}` to say on {ready} that it is ready, found {found}")]
    NotReady {
        /// The combination.
        cell: String,
        /// The program.
        program: String,
        /// Where.
        ready: String,
        /// What happened instead.
        found: String,
    },
    /// What is to be served ended too early.
    #[error("{cell}: wanted what is served to last for the run, found it ended ({status})")]
    Ended {
        /// The combination.
        cell: String,
        /// How it ended.
        status: std::process::ExitStatus,
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

/// Runs what fits the host of `facts` until all rounds are done or `until` has come.
///
/// `progress` hears of each run: how many are done, of how many, its cell and its figure.
///
/// # Errors
/// [`TrialError`]; nothing that was started is left running.
pub fn run(
    matrix: &Matrix,
    fitting: Fitting,
    facts: Facts,
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
        facts,
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

/// One run of one combination.
fn one(matrix: &Matrix, cell: &Cell, stop: &AtomicBool) -> Result<f64, TrialError> {
    let mut served = match &matrix.serve {
        None => None,
        Some(line) => Some(serve(matrix, cell, &program(matrix, cell, line)?, stop)?),
    };
    let answer = program(matrix, cell, &matrix.command)?.run(stop);
    // Whatever was measured then was not it.
    if let Some(status) = served.as_mut().and_then(Running::ended) {
        let cell = cell.name();
        return Err(TrialError::Ended { cell, status });
    }
    let answer = answer.map_err(|source| run_error(cell, source))?;
    if let Some(served) = served {
        served.end(END_LIMIT);
    }
    let metric = matrix.metric.clone().map_or(Metric::Number, Metric::Named);
    metric.read(&answer).map_err(|source| TrialError::Metric {
        cell: cell.name(),
        source,
    })
}

fn run_error(cell: &Cell, source: CommandError) -> TrialError {
    match source {
        CommandError::Interrupted => TrialError::Interrupted,
        source => TrialError::Run {
            cell: cell.name(),
            source,
        },
    }
}

fn program(matrix: &Matrix, cell: &Cell, line: &str) -> Result<Program, TrialError> {
    let words = cell.words(line).map_err(|source| run_error(cell, source))?;
    let mut program = Program::of(words, Duration::from_secs(matrix.run_limit_s.into()));
    program.environment = cell.environment();
    Ok(program)
}

/// Starts what is served, and answers when it is ready.
fn serve(
    matrix: &Matrix,
    cell: &Cell,
    program: &Program,
    stop: &AtomicBool,
) -> Result<Running, TrialError> {
    let mut starts = 1;
    loop {
        let running = program.background();
        let mut running = running.map_err(|source| run_error(cell, source))?;
        match wait_until_ready(matrix, cell, program, &mut running, stop) {
            Ok(()) => return Ok(running),
            Err(TrialError::NotReady { .. })
                if starts < STARTS_MAX && running.ended().is_some() =>
            {
                starts += 1;
                poll(&mut [], Some(&START_PAUSE)).ok();
            }
            Err(error) => return Err(error),
        }
    }
}

fn wait_until_ready(
    matrix: &Matrix,
    cell: &Cell,
    program: &Program,
    running: &mut Running,
    stop: &AtomicBool,
) -> Result<(), TrialError> {
    let Some(ready) = &matrix.ready else {
        return Ok(());
    };
    let deadline = Deadline::after(READY_LIMIT)?;
    let not_ready = |found: String| TrialError::NotReady {
        cell: cell.name(),
        program: program.words().join(" "),
        ready: ready.clone(),
        found,
    };
    loop {
        // First: what accepts after this one has ended is not this one.
        if let Some(status) = running.ended() {
            return Err(not_ready(format!(
                "that it ended ({status}); run it by hand"
            )));
        }
        if says_it_is_ready(ready).unwrap_or(false) {
            return Ok(());
        }
        if stop.load(Ordering::Relaxed) {
            return Err(TrialError::Interrupted);
        }
        if deadline.is_over() {
            return Err(not_ready(format!("no answer 200 for {READY_LIMIT:?}")));
        }
        // Nothing to poll: a sleep that a signal ends.
        poll(&mut [], Some(&PAUSE)).ok();
    }
}

/// Whether an HTTP server answers a GET of `ready` (`ADDRESS:PORT/PATH`) with 200.
fn says_it_is_ready(ready: &str) -> std::io::Result<bool> {
    const OK: &[u8; 12] = b"HTTP/1.1 200";
    let (address, path) = ready.split_once('/').unwrap_or((ready, ""));
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut head = [0; OK.len()];
    stream.read_exact(&mut head)?;
    Ok(&head == OK)
}
