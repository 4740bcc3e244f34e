//! The runtime under deterministic simulation, seed after seed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use ninefold_runtime::sim::{self, Report, SimConfig};
use serde::Serialize;

use crate::cli::Options;
use crate::measure::clock;
use crate::progress::Progress;
use crate::report::model::{Metric, Unit};
use crate::run::{self, RunError};

/// The schema of the document.
const SCHEMA: &str = "ninefold.sim.v1";
/// Seeds with violations that are shown; all are counted.
const SHOWN_MAX: usize = 16;

/// What is to be simulated.
#[derive(Args, Clone, Copy, Debug)]
pub struct SimArgs {
    /// Seeds to run, from --seed on
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Steps of each seed, before its quiet end
    #[arg(long, default_value_t = 2000)]
    steps: u64,
    /// Print every event, to standard error
    #[arg(long)]
    trace: bool,
}

/// One seed in which an invariant did not hold.
#[derive(Debug, Serialize)]
struct Failed {
    seed: u64,
    violations: Vec<String>,
    replay: String,
}

#[derive(Debug, Serialize)]
struct Document {
    schema: &'static str,
    seed: u64,
    steps_a_seed: u64,
    seconds: f64,
    /// Of all runs, in hexadecimal: the same for the same seeds and the same build.
    hash: String,
    metrics: BTreeMap<&'static str, Metric>,
    failed: Vec<Failed>,
    exit_code: u8,
}

/// What all seeds came to.
#[derive(Default)]
struct Sum {
    seeds: u64,
    steps: u64,
    messages: u64,
    violations: u64,
    hash: u64,
    failed: Vec<Failed>,
}

/// The command that shows one seed event by event.
fn replay(seed: u64, steps: u64) -> String {
    format!("ninefold-bench sim --seed {seed} --seeds 1 --steps {steps} --trace")
}

impl Sum {
    fn add(&mut self, report: &Report, steps: u64) {
        self.seeds += 1;
        self.steps += report.steps;
        self.messages += report.messages;
        self.violations += report.violations.len() as u64;
        self.hash = self.hash.rotate_left(7) ^ report.hash;
        if !report.violations.is_empty() && self.failed.len() < SHOWN_MAX {
            let seed = report.seed;
            self.failed.push(Failed {
                seed,
                violations: report.violations.iter().map(ToString::to_string).collect(),
                replay: replay(seed, steps),
            });
        }
    }

    fn metrics(&self, seconds: f64) -> BTreeMap<&'static str, Metric> {
        let metric = |value: f64, unit| Metric {
            value,
            unit,
            n: self.seeds,
            samples: Vec::new(),
        };
        BTreeMap::from([
            ("sim.seeds", metric(self.seeds as f64, Unit::Count)),
            ("sim.steps", metric(self.steps as f64, Unit::Count)),
            ("sim.messages", metric(self.messages as f64, Unit::Count)),
            (
                "sim.violations",
                metric(self.violations as f64, Unit::Count),
            ),
            (
                "sim.steps_per_s",
                metric(self.steps as f64 / seconds, Unit::PerSecond),
            ),
        ])
    }

    fn table(&self, seconds: f64) -> String {
        let rate = self.steps as f64 / seconds;
        let mut table = format!(
            "{} seeds, {} steps, {} messages, {} violations in {seconds:.1} s \
             ({rate:.0} steps/s)\n",
            self.seeds, self.steps, self.messages, self.violations
        );
        for Failed {
            seed, violations, ..
        } in &self.failed
        {
            for violation in violations {
                // Writing to a string cannot fail.
                let _ = writeln!(table, "seed {seed}: {violation}");
            }
        }
        if let Some(first) = self.failed.first() {
            let _ = writeln!(table, "replay the first: {}", first.replay);
        }
        table
    }
}

/// Simulates the seeds; 0 when every invariant held, else 1.
///
/// # Errors
/// [`RunError`] when the address space is limited or the document cannot be written.
pub fn run(args: SimArgs, options: &Options) -> Result<u8, RunError> {
    let config = SimConfig {
        steps: args.steps,
        trace: args.trace.then_some(|line: &str| eprintln!("{line}")),
        ..SimConfig::default()
    };
    let progress = Progress::new(args.seeds, !options.no_progress && !args.trace);
    let begin = clock::now_ns();
    let mut sum = Sum::default();
    for n in 0..args.seeds {
        let seed = options.seed.wrapping_add(n);
        progress.doing(format!("seed {seed}, {} violations", sum.violations));
        let report = sim::run(seed, &config).map_err(|e| RunError::Nothing(e.to_string()))?;
        sum.add(&report, args.steps);
        progress.step();
    }
    progress.finish();
    let seconds = (clock::now_ns() - begin).max(1) as f64 / 1e9;
    let exit_code = u8::from(sum.violations > 0);
    let table = sum.table(seconds);
    let document = Document {
        schema: SCHEMA,
        seed: options.seed,
        steps_a_seed: args.steps,
        seconds,
        hash: format!("{:016x}", sum.hash),
        metrics: sum.metrics(seconds),
        failed: sum.failed,
        exit_code,
    };
    run::publish(&run::to_json(&document), &table, options)?;
    Ok(exit_code)
}
