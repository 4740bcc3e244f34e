//! The command line.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ninefold_tuning::{CheckOptions, Facts, Profile, Report, Root, check, check_one, setting};

use crate::render;

/// Something went wrong that is not the host's fault.
pub(crate) const EXIT_OWN_ERROR: u8 = 1;

const EXAMPLES: &str = "\
Examples:
  ninefold-tune check                          is this host fit for production?
  ninefold-tune check --profile bench          are figures measured here worth anything?
  ninefold-tune check --shards 6               for a node with six shards
  ninefold-tune check --json - | jq .summary   for machines
  ninefold-tune explain limits.nofile          what is it, why does it matter, how is it set?

Exit codes of check:
  0  every required setting is met
  1  ninefold-tune itself failed
  2  it was called wrongly
  3  required settings are met, some advised ones are not
  4  a required setting is not met, or could not be read";

/// Is this host fit for a Ninefold node, and what would make it so?
///
/// Reads /proc and /sys, compares what it finds with what a node wants, and changes nothing.
#[derive(Debug, Parser)]
#[command(name = "ninefold-tune", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare every setting of this host with what a node wants.
    #[command(after_help = EXAMPLES)]
    Check(CheckArgs),
    /// Say what a setting is, why it matters, how it stands here and how it is put right.
    Explain(ExplainArgs),
    /// Print completions for a shell: ninefold-tune completions bash > ninefold-tune.bash
    Completions {
        /// The shell to complete in.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// What the host is meant for.
    #[arg(long, value_enum, default_value_t)]
    profile: ProfileArg,
    /// Shards the node will run [default: one per allowed CPU, less one per NUMA node].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    shards: Option<u32>,
    /// Connections that should fit at once.
    #[arg(long, value_name = "N", default_value_t = CheckOptions::default().connection_count_max)]
    connections: u64,
    /// Write the report as JSON; `-` writes it to standard output in place of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Read proc and sys below DIR: the saved tree of another host.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
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

/// Why the tool itself failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    #[error("wanted to write the report to {path}: {source}; name a file in a writable folder")]
    Report { path: PathBuf, source: io::Error },
    #[error("wanted a saved host with a folder `proc` in {path}, found none; give its top folder")]
    Root { path: PathBuf },
}

impl Error {
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl Cli {
    /// Does what was asked and answers the exit code.
    pub(crate) fn run(self, out: &mut dyn Write) -> Result<u8, Error> {
        match self.command {
            Command::Check(args) => args.run(out),
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

impl CheckArgs {
    fn run(self, out: &mut dyn Write) -> Result<u8, Error> {
        let facts = match &self.root {
            None => Facts::capture(),
            Some(dir) if dir.join("proc").is_dir() => Facts::read(&Root::at(dir)),
            Some(dir) => return Err(Error::Root { path: dir.clone() }),
        };
        let options = CheckOptions {
            profile: self.profile.into(),
            shard_count: self.shards.map(|shards| shards as usize),
            connection_count_max: self.connections,
            ..CheckOptions::default()
        };
        let report = check(&facts, &options);
        match self.json.as_deref() {
            Some(path) if path == Path::new("-") => write_json(&report, out)?,
            Some(path) => {
                File::create(path)
                    .and_then(|file| write_json(&report, &mut BufWriter::new(file)))
                    .map_err(|source| Error::Report {
                        path: path.to_owned(),
                        source,
                    })?;
                render::report(&report, out)?;
            }
            None => render::report(&report, out)?,
        }
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

fn write_json(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)?;
    out.flush()
}
