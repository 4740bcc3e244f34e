//! The command line.

mod change;
mod experiment;
mod noise;
mod prove;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ninefold_tuning::experiment::command::CommandError;
use ninefold_tuning::experiment::matrix::MatrixError;
use ninefold_tuning::experiment::prove::ProveError;
use ninefold_tuning::experiment::trial::TrialError;
use ninefold_tuning::facts::CpuList;
use ninefold_tuning::journal::JournalError;
use ninefold_tuning::noise::NoiseError;
use ninefold_tuning::{
    ApplyError, CheckOptions, Facts, Profile, RevertError, Root, check, check_one, setting,
};
use serde::Serialize;

use crate::render;

/// Something went wrong that is not the host's fault.
const EXIT_OWN_ERROR: u8 = 1;
/// Wrong usage, as clap has it.
const EXIT_USAGE: u8 = 2;

/// Somebody with more rights could have done it.
const EXIT_NOT_PERMITTED: u8 = 7;

/// What a shell says of a program that SIGINT ended.
const EXIT_INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  ninefold-tune check                          is this host fit for production?
  ninefold-tune check --profile bench          are figures measured here worth anything?
  ninefold-tune plan                           what would make it fit? (changes nothing)
  ninefold-tune plan --format sysctl           the same as a file for /etc/sysctl.d
  sudo ninefold-tune apply --yes               write it, with a journal of what was there before
  sudo ninefold-tune revert --yes              put back what was there before
  ninefold-tune noise --cpus 2-7               which CPUs are quiet enough for shards?
  sudo ninefold-tune prove mem.thp --yes       does it help here? kept only if so
  ninefold-tune experiment affinity.toml       which placement is best for a node here?
  ninefold-tune explain limits.nofile          what is it, why does it matter, how is it set?

Exit codes:
  0  every required setting is met; done
  1  ninefold-tune itself failed
  2  it was called wrongly
  3  required settings are met, some advised ones are not; some CPU is unfit (noise)
  4  a required setting is not met, or could not be read
  5  what is left waits for the kernel's command line and a reboot
  6  an apply failed, and everything was undone
  7  not permitted: the message says what it takes";

const CHECK_EXAMPLES: &str = "\
Examples:
  ninefold-tune check                          is this host fit for production?
  ninefold-tune check --profile bench          are figures measured here worth anything?
  ninefold-tune check --shards 6               for a node with six shards
  ninefold-tune check --json - | jq .summary   for machines

Exit codes of check:
  0  every required setting is met
  1  ninefold-tune itself failed
  2  it was called wrongly
  3  required settings are met, some advised ones are not
  4  a required setting is not met, or could not be read";

/// Is this host fit for a Ninefold node, and what would make it so?
///
/// Reads /proc and /sys and compares what it finds with what a node wants. Only `apply --yes`,
/// `revert --yes` and `prove --yes` change anything.
#[derive(Debug, Parser)]
#[command(name = "ninefold-tune", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare every setting of this host with what a node wants.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Say what would make this host fit, as steps, and write nothing.
    #[command(after_help = change::PLAN_EXAMPLES)]
    Plan(change::PlanArgs),
    /// Make this host fit: journal, write, read back, verify; undo all if one file fails.
    #[command(after_help = change::APPLY_EXAMPLES)]
    Apply(change::ApplyArgs),
    /// Put back, byte for byte, what was there before an apply.
    #[command(after_help = change::REVERT_EXAMPLES)]
    Revert(change::RevertArgs),
    /// Measure what each CPU loses to interrupts, other tasks and the hypervisor.
    #[command(after_help = noise::EXAMPLES)]
    Noise(noise::NoiseArgs),
    /// Run one setting on and off in turns, and keep it only if it is shown to help.
    #[command(after_help = prove::EXAMPLES)]
    Prove(prove::ProveArgs),
    /// Run the combinations of a file of factors, such as placements, and recommend one.
    #[command(after_help = experiment::EXAMPLES)]
    Experiment(experiment::ExperimentArgs),
    /// Say what a setting is, why it matters, how it stands here and how it is put right.
    Explain(ExplainArgs),
    /// Print completions for a shell: ninefold-tune completions bash > ninefold-tune.bash
    Completions {
        /// The shell to complete in.
        shell: Shell,
    },
}

/// The host, and what it is meant for.
#[derive(Debug, Args)]
struct HostArgs {
    /// What the host is meant for.
    #[arg(long, value_enum, default_value_t)]
    profile: ProfileArg,
    /// Shards the node will run [default: one per allowed CPU, less one per NUMA node].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    shards: Option<u32>,
    /// CPUs of the shards, as `ninefold serve --placement` is given them: the kernel's own work is
    /// planned onto the others [default: all allowed but the first of each NUMA node].
    #[arg(long, value_name = "LIST")]
    shard_cpus: Option<CpuList>,
    /// Connections that should fit at once.
    #[arg(long, value_name = "N", default_value_t = CheckOptions::default().connection_count_max)]
    connections: u64,
    /// Work on proc and sys below DIR: the saved tree of another host.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    host: HostArgs,
    /// Write the report as JSON; `-` writes it to standard output in place of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// The setting, as `check` names it.
    #[arg(value_name = "ID", value_parser = ids())]
    id: String,
}

fn ids() -> PossibleValuesParser {
    PossibleValuesParser::new(setting::all().map(|setting| setting.id))
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum ProfileArg {
    /// Report everything, ask for nothing.
    Observe,
    /// A node runs; its latency is nobody's business.
    Dev,
    /// Figures measured here are meant to be believed.
    Bench,
    /// Users depend on a node here.
    #[default]
    Production,
}

impl From<ProfileArg> for Profile {
    fn from(profile: ProfileArg) -> Self {
        match profile {
            ProfileArg::Observe => Self::Observe,
            ProfileArg::Dev => Self::Dev,
            ProfileArg::Bench => Self::Bench,
            ProfileArg::Production => Self::Production,
        }
    }
}

/// Why the tool did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    #[error("wanted to write the report to {path}: {source}; name a file in a writable folder")]
    Report { path: PathBuf, source: io::Error },
    #[error("wanted a saved host with a folder `proc` in {path}, found none; give its top folder")]
    Root { path: PathBuf },
    #[error(
        "wanted `last`, `all`, the number of a journal or a setting, found {found:?}; \
         `ninefold-tune check` names the settings"
    )]
    Which { found: String },
    #[error("wanted shards on CPUs {wanted}, found {online} online; correct --shard-cpus")]
    ShardCpus { wanted: CpuList, online: CpuList },
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Revert(#[from] RevertError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Noise(#[from] NoiseError),
    #[error("wanted to know which way the metric gets better: give --better lower or higher")]
    Better,
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Prove(#[from] ProveError),
    #[error(transparent)]
    Matrix(#[from] MatrixError),
    #[error(transparent)]
    Trial(#[from] TrialError),
    #[error("could not draw the heat map: {0}")]
    Draw(String),
}

impl Error {
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn exit(&self) -> u8 {
        match self {
            Self::Apply(error) => error.exit(),
            Self::Journal(error) | Self::Revert(RevertError::Journal(error))
                if error.is_not_permitted() =>
            {
                EXIT_NOT_PERMITTED
            }
            Self::Prove(ProveError::Apply(error)) => error.exit(),
            Self::Prove(ProveError::Run(error)) if error.is_interrupt() => EXIT_INTERRUPTED,
            Self::Trial(TrialError::Interrupted) => EXIT_INTERRUPTED,
            Self::Which { .. }
            | Self::Better
            | Self::Command(_)
            | Self::Matrix(_)
            | Self::Prove(ProveError::Nothing { .. })
            | Self::ShardCpus { .. }
            | Self::Revert(RevertError::Unknown { .. })
            | Self::Noise(NoiseError::NotAllowed { .. }) => EXIT_USAGE,
            _ => EXIT_OWN_ERROR,
        }
    }
}

impl Cli {
    /// Does what was asked and answers the exit code.
    pub(crate) fn run(self, out: &mut dyn Write) -> Result<u8, Error> {
        match self.command {
            Command::Check(args) => args.run(out),
            Command::Plan(args) => args.run(out),
            Command::Apply(args) => args.run(out),
            Command::Revert(args) => args.run(out),
            Command::Noise(args) => args.run(out),
            Command::Prove(args) => args.run(out),
            Command::Experiment(args) => args.run(out),
            Command::Explain(args) => args.run(out),
            Command::Completions { shell } => {
                // Into memory first: the generator panics where a pipe is closed.
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "ninefold-tune", &mut script);
                out.write_all(&script)?;
                Ok(0)
            }
        }
    }
}

/// The host itself, or the saved one in `dir`.
fn root_at(dir: Option<&Path>) -> Result<Root, Error> {
    match dir {
        None => Ok(Root::host()),
        Some(dir) if dir.join("proc").is_dir() => Ok(Root::at(dir)),
        Some(dir) => Err(Error::Root {
            path: dir.to_owned(),
        }),
    }
}

impl HostArgs {
    /// The host, what is true of it, and what is asked of it.
    fn read(&self) -> Result<(Root, Facts, CheckOptions), Error> {
        let root = root_at(self.root.as_deref())?;
        let facts = Facts::read(&root);
        let online = &facts.cpu.topology.online;
        match &self.shard_cpus {
            Some(wanted) if !wanted.difference(online).is_empty() => Err(Error::ShardCpus {
                wanted: wanted.clone(),
                online: online.clone(),
            }),
            _ => Ok((root, facts, self.options())),
        }
    }

    fn options(&self) -> CheckOptions {
        CheckOptions {
            profile: self.profile.into(),
            shard_count: self.shards.map(|shards| shards as usize),
            connection_count_max: self.connections,
            shard_cpus: self.shard_cpus.clone(),
            ..CheckOptions::default()
        }
    }
}

impl CheckArgs {
    fn run(self, out: &mut dyn Write) -> Result<u8, Error> {
        let (_, facts, options) = self.host.read()?;
        let report = check(&facts, &options);
        tell(self.json.as_deref(), &report, out, |out| {
            render::report(&report, out)
        })?;
        Ok(report.exit)
    }
}

impl ExplainArgs {
    fn run(self, out: &mut dyn Write) -> Result<u8, Error> {
        if let Some(setting) = setting::find(&self.id) {
            let here = check_one(setting, &Facts::capture(), &CheckOptions::default());
            render::explanation(setting, &here, out)?;
        }
        Ok(0)
    }
}

/// Answers as JSON, to people, or both: JSON to a file and words to standard output.
fn tell(
    json: Option<&Path>,
    document: &impl Serialize,
    out: &mut dyn Write,
    words: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    match json {
        Some(path) if path == Path::new("-") => write_json(document, out)?,
        Some(path) => {
            write_report(path, document)?;
            words(out)?;
        }
        None => words(out)?,
    }
    Ok(())
}

fn write_report(path: &Path, document: &impl Serialize) -> Result<(), Error> {
    File::create(path)
        .and_then(|file| write_json(document, &mut BufWriter::new(file)))
        .map_err(|source| Error::Report {
            path: path.to_owned(),
            source,
        })
}

fn write_json(document: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    writeln!(out)?;
    out.flush()
}
