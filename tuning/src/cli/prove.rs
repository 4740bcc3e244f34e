//! `prove`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ninefold_tuning::experiment::Deadline;
use ninefold_tuning::experiment::command::Program;
use ninefold_tuning::experiment::effect::{PAIRS_MAX, PAIRS_MIN, Verdict};
use ninefold_tuning::experiment::metric::{Better, Metric};
use ninefold_tuning::experiment::prove::{Evidence, ProveOptions, Switch, provable, prove};
use ninefold_tuning::journal::Store;
use ninefold_tuning::{Choice, Plan, Root, plan};
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{Error, HostArgs, ids, write_report};
use crate::render::{self, plan as plan_words};

pub(super) const EXAMPLES: &str = "\
Examples:
  ninefold-tune prove mem.thp                        what would be done? (changes nothing)
  sudo ninefold-tune prove mem.thp --yes             by the bench's short HTTP scenario
  sudo ninefold-tune prove net.busy_poll --yes --scenario mailbox \\
      --metric mailbox.tell.ns --pairs 20 --least 1%
  sudo ninefold-tune prove mem.thp --yes --better lower --command './my-load --print-p99'

Each pair is a run without the setting and one with it, in an order that is drawn. The setting is
kept only if the whole 95 % interval of its effect lies beyond --least; a setting that does nothing
is kept once in 40 times at most. Ctrl-C puts it back. After a kill: ninefold-tune revert --yes.

Exit codes: 0 shown to help and kept; 3 not shown, reverted; 4 shown to harm, reverted; 1 a run
failed, reverted; 2 wrong usage, or nothing to prove; 6, 7 as of apply; 130 interrupted, reverted.";

/// The bench's metric that is closest to what a user of a node feels.
const BENCH_METRIC: &str = "sustained.http.p99_us";
const BENCH_SCENARIO: &str = "sustained_http";
/// Exit codes of the bench with which its figures count: a verdict on its objectives is no matter
/// of ours, an invalid run is.
const BENCH_ACCEPTED: [i32; 4] = [0, 1, 3, 5];

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum BetterArg {
    /// Times, bytes.
    Lower,
    /// Rates.
    Higher,
}

impl From<BetterArg> for Better {
    fn from(better: BetterArg) -> Self {
        match better {
            BetterArg::Lower => Self::Lower,
            BetterArg::Higher => Self::Higher,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct ProveArgs {
    /// The setting, as `check` names it.
    #[arg(value_name = "ID", value_parser = ids())]
    id: String,
    #[command(flatten)]
    host: HostArgs,
    /// Write; without it, only say what would be done.
    #[arg(long)]
    yes: bool,
    /// What measures one run: it prints a number, or JSON with --metric [default: the bench].
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,
    /// The bench [default: beside this program, else `cargo run --release`].
    #[arg(long, value_name = "PATH", conflicts_with = "command")]
    bench: Option<PathBuf>,
    /// Scenario of the bench.
    #[arg(long, value_name = "NAME", default_value = BENCH_SCENARIO, conflicts_with = "command")]
    scenario: String,
    /// Metric in the JSON: an id of the bench's report, or a JSON pointer such as /latency/p99.
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// Which way it gets better [default: as its name says: ..._us lower, ..._per_s higher].
    #[arg(long, value_enum)]
    better: Option<BetterArg>,
    /// Pairs of runs that count.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = pair_count)]
    pairs: usize,
    /// Pairs before them that do not.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8))]
    warmup: u8,
    /// End after SECONDS, with the pairs that there are.
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 3_600,
          value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Longest run, in s.
    #[arg(long, value_name = "SECONDS", default_value_t = 600,
          value_parser = clap::value_parser!(u32).range(1..=86_400))]
    run_limit: u32,
    /// Least effect that matters, such as 2%.
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = percent)]
    least: f64,
    /// Seed of the order and of the resampling.
    #[arg(long, default_value_t = 9)]
    seed: u64,
    /// Where journals are kept [default: var/lib/ninefold/tune below the root].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where the evidence is written [default: a new prove-ID-NUMBER.json].
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn pair_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (PAIRS_MIN..=PAIRS_MAX).contains(&count) => Ok(count),
        _ => Err(format!("wanted {PAIRS_MIN} to {PAIRS_MAX} pairs")),
    }
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim_end().parse::<f64>() {
        Ok(value) if (0.0..100.0).contains(&value) => Ok(value),
        _ => Err("wanted a percentage from 0 to below 100, such as 2%".to_owned()),
    }
}

impl ProveArgs {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<u8, Error> {
        let (root, facts, options) = self.host.read()?;
        let choice = Choice {
            only: vec![self.id.clone()],
            skip: Vec::new(),
        };
        let plan = plan(&root, &facts, &options, &choice);
        provable(&self.id, &plan)?;
        let (program, metric) = self.measure()?;
        let better = self.better.map(Better::from).or_else(|| metric.better());
        let better = better.ok_or(Error::Better)?;
        if !self.yes {
            plan_words::table(&plan, out)?;
            render::prove::intent(program.words(), self.pairs, self.warmup, out)?;
            return Ok(0);
        }
        let path = self.evidence_path();
        // A file that cannot be written must be known before an hour of runs.
        write_report(&path, &Value::Null)?;
        let found = self.experiment(&root, &plan, &program, &metric, better);
        let mut evidence = found.inspect_err(|_| {
            // It says nothing; where it cannot be removed it still says so.
            std::fs::remove_file(&path).ok();
        })?;
        evidence.command = program.words().to_vec();
        evidence.metric = match metric {
            Metric::Number => None,
            Metric::Named(name) => Some(name),
        };
        write_report(&path, &evidence)?;
        render::prove::table(&evidence, out)?;
        writeln!(out, "Evidence: {}.", path.display())?;
        Ok(match evidence.effect.map(|of| of.verdict) {
            Some(Verdict::Better) => 0,
            Some(Verdict::Worse) => 4,
            Some(Verdict::Same | Verdict::Unclear) | None => 3,
        })
    }

    /// A new file for each proof, unless one is named: all of them are evidence.
    fn evidence_path(&self) -> PathBuf {
        let numbered = |number: u32| PathBuf::from(format!("prove-{}-{number}.json", self.id));
        let free = || (1..1_000).map(numbered).find(|path| !path.exists());
        let path = self.json.clone().or_else(free);
        path.unwrap_or_else(|| numbered(1_000))
    }

    fn experiment(
        &self,
        root: &Root,
        plan: &Plan,
        program: &Program,
        metric: &Metric,
        better: Better,
    ) -> Result<Evidence, Error> {
        let stop = interrupts()?;
        let store = Store::of(root, self.state_dir.clone())?;
        let total = self.pairs + usize::from(self.warmup);
        say(&format!("{total} pairs of `{}`", program.words().join(" ")));
        let options = ProveOptions {
            pairs: self.pairs,
            warmup_pairs: self.warmup.into(),
            better,
            least_percent: self.least,
            seed: self.seed,
        };
        let found = prove(
            &mut Switch::new(root, &store, plan),
            &options,
            &Deadline::after(Duration::from_secs(self.seconds.into()))?,
            &mut || Ok(metric.read(&program.run(&stop)?)?),
            &mut |done, pair| {
                let (off, on) = (pair.off, pair.on);
                say(&format!("pair {done} of {total}: off {off}, on {on}"));
            },
        );
        Ok(found?)
    }

    fn measure(&self) -> Result<(Program, Metric), Error> {
        let limit = Duration::from_secs(self.run_limit.into());
        if let Some(command) = &self.command {
            let metric = self.metric.clone().map_or(Metric::Number, Metric::Named);
            return Ok((Program::new(command, limit)?, metric));
        }
        let metric = self.metric.clone();
        let metric = metric.unwrap_or_else(|| BENCH_METRIC.to_owned());
        let mut program = Program::of(self.bench_words(), limit);
        program.accepted = BENCH_ACCEPTED.to_vec();
        Ok((program, Metric::Named(metric)))
    }

    fn bench_words(&self) -> Vec<String> {
        let beside = || {
            let own = std::env::current_exe().ok()?;
            let bench = own.parent()?.join("ninefold-bench");
            bench.is_file().then_some(bench)
        };
        let bench = self.bench.clone().or_else(beside);
        let mut words: Vec<String> = match bench.as_deref().and_then(Path::to_str) {
            Some(bench) => vec![bench.to_owned()],
            None => "cargo run --quiet --release --package ninefold-bench --"
                .split(' ')
                .map(str::to_owned)
                .collect(),
        };
        let rest = [
            "run",
            &self.scenario,
            "--quick",
            "--no-progress",
            "--json",
            "-",
        ];
        words.extend(rest.map(str::to_owned));
        words
    }
}

/// Tells of progress where somebody may listen; `eprintln!` panics where nobody does.
pub(super) fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}

/// A flag that SIGHUP, SIGINT and SIGTERM set: what is running ends, and everything is put back.
pub(super) fn interrupts() -> Result<Arc<AtomicBool>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    // A terminal that closes is an end too.
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
