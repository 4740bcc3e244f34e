//! The command line.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::gate::verdict::EXIT_COULD_NOT_RUN;
use crate::load::null_target::NullTarget;
use crate::load::{client, floor, idle, rolling};
use crate::measure::hiccup;
use crate::node::{self, NodeReady};
use crate::plan::Phase;
use crate::report::model::Report;
use crate::sim::SimArgs;
use crate::{process, run, sim};

const EXAMPLES: &str = "\
Examples:
  ninefold-bench quick                       every scenario, short; about a minute
  ninefold-bench full --out reports          the whole suite; writes report.json and report.html
  ninefold-bench full --profile ninefold     hold the run against our objectives only
  ninefold-bench quick --only calibration    what the clock, the generator and the host can do
  ninefold-bench run actors --json -         actors and mailboxes, every metric
  ninefold-bench run http conn --json -      a call beside its floor; what connections cost
  ninefold-bench run c1m --connections 20000 a crowd of connections, calls over random ones
  ninefold-bench sim --seeds 1000            the runtime under simulation, by seed
  ninefold-bench baseline                    measure, and store the result as the baseline
  ninefold-bench compare reports/baseline.json reports/report.json
  ninefold-bench report reports/report.json  render a stored report again
  ninefold-bench report FILE.json --html OUT.html    only its page

Exit codes:
  0  every objective that gates is met
  1  an objective or an invariant is violated, or compare found a regression
  2  could not run: wrong usage, or the environment lacks something
  3  inconclusive: too few trials, or a metric is missing
  4  invalid: the generator lagged or a clock stepped, so the figures are worth nothing
  5  unfit: the host alone is slower than the objective

Absolute objectives (microseconds, rates) gate on hosts of fitness A and B; elsewhere they are
shown as information, and counts and ratios gate. --strict makes everything gate.";

/// The benchmark of Ninefold: real work, open loop, latency from the intended start, and the
/// host's own floor beneath every figure.
#[derive(Debug, Parser)]
#[command(name = "ninefold-bench", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

/// Options of every command that measures or renders.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Write the document as JSON to FILE; `-` is standard output, the table then goes to
    /// standard error
    #[arg(long, global = true, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Directory of report.json, report.html, report.md, plots and history.ndjson
    #[arg(long, global = true, value_name = "DIR", default_value = "reports")]
    pub out: PathBuf,
    /// Show and gate one profile of the objectives only [default: both shown]
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Objectives file instead of the built-in one
    #[arg(long, global = true, value_name = "FILE")]
    pub slo: Option<PathBuf>,
    /// Every objective gates, whatever the host
    #[arg(long, global = true)]
    pub strict: bool,
    /// Run these scenarios or groups only
    #[arg(long, global = true, value_name = "SCENARIO", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Measured time of each timed scenario, in s
    #[arg(long, global = true, value_parser = positive)]
    pub seconds: Option<f64>,
    /// Messages per second of open-loop scenarios [default: 100000]
    #[arg(long, global = true, value_parser = positive)]
    pub rate: Option<f64>,
    /// Connections that `c1m` opens, as far as the host allows them [default: 1000000]
    #[arg(long, global = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub connections: Option<u64>,
    /// Seed of schedules and resampling; the first one of `sim`
    #[arg(long, global = true, default_value_t = 9)]
    pub seed: u64,
    /// No progress bar
    #[arg(long, global = true)]
    pub no_progress: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every scenario, short: for CI and for a first look
    Quick,
    /// The undisturbed node; stores DIR/baseline.json for `compare`
    Baseline,
    /// Floods and overload: isolation, shedding, recovery
    Overload,
    /// The whole suite
    Full,
    /// Named scenarios or groups of them (see `list`), with every metric shown
    Run {
        /// Scenarios or groups
        #[arg(required = true, value_name = "SCENARIO|GROUP")]
        names: Vec<String>,
        /// As short as in the quick phase
        #[arg(long)]
        quick: bool,
    },
    /// Compare report B with report A: exit 1 when a metric got worse by more than 10 %
    Compare {
        /// Report to compare with, such as a stored baseline
        a: PathBuf,
        /// Report to judge
        b: PathBuf,
    },
    /// Render a stored report: the table here, report.html, report.md and plots into --out
    Report {
        /// A report.json
        file: PathBuf,
        /// Write only the page, to FILE
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Print the JSON Schema of report.json
    Schema,
    /// Run the runtime under deterministic simulation, from --seed on: exit 1 on a violation
    Sim(SimArgs),
    /// List the scenarios
    List,
    /// Print a completion script
    Completions {
        /// Shell to complete in
        shell: clap_complete::Shell,
    },
    /// Generate HTTP load (started by this program)
    #[command(hide = true)]
    ClientLoad {
        #[arg(long)]
        spec: String,
    },
    /// Hold idle connections (started by this program)
    #[command(hide = true)]
    ClientIdle {
        #[arg(long)]
        spec: String,
    },
    /// Answer every request with the same bytes (started by this program)
    #[command(hide = true)]
    Floor {
        #[arg(long)]
        spec: String,
    },
    /// Answer everything with a prepared reply (started by this program)
    #[command(hide = true)]
    NullTarget {
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        #[arg(long)]
        spin: bool,
    },
    /// Run the node under test (started by this program)
    #[command(hide = true)]
    Node {
        #[arg(long)]
        spec: String,
    },
    /// Run one round of a runtime (started by this program)
    #[cfg(feature = "peers")]
    #[command(hide = true)]
    Peer {
        #[arg(long)]
        spec: String,
    },
    /// Watch one CPU for pauses (started by this program)
    #[command(hide = true)]
    HiccupProbe {
        #[arg(long)]
        cpu: usize,
        #[arg(long)]
        seconds: f64,
    },
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err("wanted a number above zero".into()),
    }
}

/// Runs the program; the exit code is that of the verdict.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() {
                EXIT_COULD_NOT_RUN
            } else {
                0
            });
        }
    };
    let done = match cli.command {
        Command::Quick => run::suite(Phase::Quick, &cli.options),
        Command::Baseline => run::suite(Phase::Baseline, &cli.options),
        Command::Overload => run::suite(Phase::Overload, &cli.options),
        Command::Full => run::suite(Phase::Full, &cli.options),
        Command::Run { names, quick } => {
            let phase = if quick { Phase::Quick } else { Phase::Full };
            run::named(&names, phase, &cli.options)
        }
        Command::Compare { a, b } => run::compare(&a, &b, &cli.options),
        Command::Report { file, html } => run::render(&file, html.as_deref(), &cli.options),
        Command::Sim(args) => sim::run(args, &cli.options),
        Command::List => Ok(list()),
        Command::Schema => {
            print!("{}", run::to_json(&schemars::schema_for!(Report)));
            Ok(0)
        }
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(
                shell,
                &mut command,
                "ninefold-bench",
                &mut std::io::stdout(),
            );
            Ok(0)
        }
        Command::ClientLoad { spec } => return child(|| load(&spec)),
        Command::ClientIdle { spec } => return hold(&spec),
        Command::Floor { spec } => return answer_alike(&spec),
        Command::NullTarget { listen, spin } => return null_target(listen, spin),
        Command::Node { spec } => return serve(&spec),
        #[cfg(feature = "peers")]
        Command::Peer { spec } => {
            return child(|| parse::<crate::peers::Round>(&spec)?.run());
        }
        Command::HiccupProbe { cpu, seconds } => return child(|| Ok(watch(cpu, seconds))),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            eprintln!("ninefold-bench: {e}");
            ExitCode::from(EXIT_COULD_NOT_RUN)
        }
    }
}

fn list() -> u8 {
    for scenario in crate::scenario::all() {
        let phases: Vec<_> = scenario.phases().iter().map(|phase| phase.name()).collect();
        let phases = if phases.is_empty() {
            "run only".to_owned()
        } else {
            phases.join(", ")
        };
        println!("{:<17} {} [{phases}]", scenario.id(), scenario.describe());
    }
    for (group, ids) in crate::scenario::GROUPS {
        println!("{group:<17} group: {}", ids.join(", "));
    }
    0
}

/// Runs a child's work and answers with one JSON line, `{"Ok": ...}` or `{"Err": "..."}`.
fn child<T: Serialize>(work: impl FnOnce() -> Result<T, String>) -> ExitCode {
    process::die_with_parent();
    let answer = work();
    let failed = answer.is_err();
    if print_json(&answer) {
        ExitCode::from(u8::from(failed))
    } else {
        ExitCode::FAILURE
    }
}

fn parse<T: DeserializeOwned>(spec: &str) -> Result<T, String> {
    serde_json::from_str(spec).map_err(|e| format!("--spec: {e}"))
}

fn load(spec: &str) -> Result<crate::load::spec::LoadResult, String> {
    let spec = parse::<crate::load::spec::LoadSpec>(spec)?;
    if let Some(cpu) = spec.cpu
        && !process::pin_to(cpu)
    {
        return Err(format!(
            "wanted the load client on CPU {cpu}, the kernel refused"
        ));
    }
    client::run(&spec).map_err(|e| e.to_string())
}

fn watch(cpu: usize, seconds: f64) -> hiccup::Hiccups {
    let pinned = process::pin_to(cpu).then_some(cpu);
    hiccup::probe(pinned, seconds)
}

/// Reports what is held when it is held, makes the calls that each line of standard input orders,
/// and reports again at its end.
fn hold(spec: &str) -> ExitCode {
    process::die_with_parent();
    let held = parse(spec).and_then(|spec| idle::open(&spec).map_err(|e| e.to_string()));
    let ready = held.as_ref().map(idle::Held::report);
    let (true, Ok(held)) = (print_json(&ready), &held) else {
        return ExitCode::FAILURE;
    };
    for line in std::io::stdin().lines() {
        let rolled = line
            .map_err(|e| format!("read an order: {e}"))
            .and_then(|line| parse(&line))
            .and_then(|spec| rolling::roll(held, &spec).map_err(|e| e.to_string()));
        if !print_json(&rolled) {
            return ExitCode::FAILURE;
        }
    }
    if print_json(&held.report()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Tells where the floor is, serves until standard input closes, and tells what it counted.
fn answer_alike(spec: &str) -> ExitCode {
    child(|| {
        let spec = parse(spec)?;
        let ready = |address: SocketAddr| {
            print_json(&Ok::<_, String>(address));
        };
        floor::serve(&spec, &std::io::stdin(), ready).map_err(|e| e.to_string())
    })
}

/// Answers with its address, then serves until killed.
fn null_target(listen: SocketAddr, spin: bool) -> ExitCode {
    let bound = NullTarget::bind(listen).and_then(|target| Ok((target.local_addr()?, target)));
    let (address, target) = match bound {
        Ok((address, target)) => (Ok(address), Some(target)),
        Err(e) => (Err(e.to_string()), None),
    };
    let told = child(|| address);
    match target.map(|target| target.serve(spin)) {
        Some(Err(e)) => {
            eprintln!("ninefold-bench null-target: {e}");
            ExitCode::FAILURE
        }
        _ => told,
    }
}

/// Tells where the node is, serves until released, and tells what the shards counted.
fn serve(spec: &str) -> ExitCode {
    process::die_with_parent();
    let said = |answer: Result<&NodeReady, &String>| print_json(&answer);
    let served = parse(spec).and_then(|spec| {
        node::serve(&spec, |ready| {
            said(Ok(&ready));
        })
    });
    match &served {
        Ok(report) if print_json(report) => return ExitCode::SUCCESS,
        Ok(_) => {}
        // Before the node was ready this is the answer; later its reader finds no report in it.
        Err(why) => {
            said(Err(why));
        }
    }
    ExitCode::FAILURE
}

fn print_json(value: &impl Serialize) -> bool {
    let Ok(mut line) = serde_json::to_string(value) else {
        return false;
    };
    line.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["ninefold-bench", "quick", "--only", "a,b", "--json", "-"]);
        assert_eq!(cli.unwrap().options.only, ["a", "b"]);
        assert!(Cli::try_parse_from(["ninefold-bench", "quick", "--rate", "-1"]).is_err());
        assert!(Cli::try_parse_from(["ninefold-bench", "fulll"]).is_err());
    }
}
