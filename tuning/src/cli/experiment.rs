//! `experiment`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ninefold_tuning::Facts;
use ninefold_tuning::experiment::Deadline;
use ninefold_tuning::experiment::matrix::{Cell, Matrix, MatrixError};
use ninefold_tuning::experiment::trial;

use super::{Error, prove, root_at, write_report};
use crate::render::experiment as words;

pub(super) const EXAMPLES: &str = "\
Examples:
  ninefold-tune experiment tuning/experiments/affinity.toml
  ninefold-tune experiment affinity.toml --dry-run      which combinations fit this host?
  ninefold-tune experiment affinity.toml --for 3000 --out results

Writes NAME.json, NAME.svg (a heat map) and NAME.env (flags for `ninefold serve`) into --out. The
combination of first levels is recommended unless another one is shown to be better.

Exit codes: 0 done; 1 a run failed; 2 wrong usage or file; 130 interrupted.";

#[derive(Debug, Args)]
pub(super) struct ExperimentArgs {
    /// The experiment, in TOML; tuning/experiments/affinity.toml is one.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Say which combinations fit this host, and run none.
    #[arg(long)]
    dry_run: bool,
    /// End after SECONDS, with the rounds that there are.
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 540,
          value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Seed of the order and of the resampling.
    #[arg(long, default_value_t = 9)]
    seed: u64,
    /// Where the results are written.
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
    /// Choose for the saved proc and sys of another host; only with --dry-run.
    #[arg(long, value_name = "DIR", requires = "dry_run")]
    root: Option<PathBuf>,
}

impl ExperimentArgs {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<u8, Error> {
        let text = fs::read_to_string(&self.file).map_err(|source| MatrixError::Read {
            path: self.file.clone(),
            source,
        })?;
        let matrix = Matrix::parse(&text)?;
        let facts = Facts::read(&root_at(self.root.as_deref())?);
        let fitting = matrix.fit(&facts.cpu.topology)?;
        if self.dry_run {
            words::fitting(&matrix, &fitting, out)?;
            return Ok(0);
        }
        let folder = |source| Error::Report {
            path: self.out.clone(),
            source,
        };
        fs::create_dir_all(&self.out).map_err(folder)?;
        let stop = prove::interrupts()?;
        let until = Deadline::after(Duration::from_secs(self.seconds.into()))?;
        let mut progress = |done, of, cell: &Cell, value| {
            let line = format!("run {done} of at most {of}: {} {value:.4}", cell.name());
            prove::say(&line);
        };
        let found = trial::run(
            &matrix,
            fitting,
            facts,
            self.seed,
            &until,
            &stop,
            &mut progress,
        )?;
        let path = |end: &str| self.out.join(format!("{}.{end}", matrix.name));
        let write = |path: PathBuf, text: String| {
            fs::write(&path, text).map_err(|source| Error::Report { path, source })
        };
        write_report(&path("json"), &found)?;
        write(path("svg"), words::heat_map(&found).map_err(Error::Draw)?)?;
        write(path("env"), words::env_file(&found))?;
        words::table(&found, out)?;
        let shown = ["json", "svg", "env"].map(|end| path(end).display().to_string());
        writeln!(out, "Written: {}.", shown.join(", "))?;
        Ok(0)
    }
}
