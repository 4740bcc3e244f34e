//! `plan`, `apply` and `revert`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ninefold_tuning::facts::Identity;
use ninefold_tuning::journal::{STATE_DIR, Store};
use ninefold_tuning::{
    Applied, Choice, Facts, Plan, RevertOptions, RevertOutcome, Reverted, Which, apply, plan,
    revert, setting,
};
use serde::Serialize;

use super::{Error, HostArgs, ids, root_at, tell, write_json};
use crate::render::plan as words;

pub(super) const PLAN_EXAMPLES: &str = "\
Examples:
  ninefold-tune plan                            for production, as a table
  ninefold-tune plan --only isol.nohz_full      an experiment that no profile asks for
  ninefold-tune plan --shard-cpus 2-7           interrupts and kernel work go to the other CPUs
  ninefold-tune plan --format script > tune.sh  the writes of `apply` as a shell script
  ninefold-tune plan --format sysctl            for /etc/sysctl.d: what lasts over a reboot
  ninefold-tune plan --format systemd           a drop-in for the node's unit
  ninefold-tune plan --format cmdline           parameters for the kernel's command line

Exit codes: 0 nothing to do, 3 advised settings are off, 4 required ones are, 5 only a reboot is
left to do.";

pub(super) const APPLY_EXAMPLES: &str = "\
Examples:
  ninefold-tune apply                           what would be written? (writes nothing)
  sudo ninefold-tune apply --yes                write it
  sudo ninefold-tune apply --yes --only net.somaxconn --only mem.thp
  sudo ninefold-tune apply --yes --skip irq.affinity
  ninefold-tune apply --yes --root DIR          rehearse on the saved proc and sys of a host

Only running kernels are changed: parameters of the kernel's command line and directives of units
are printed, never written. A reboot undoes everything; to make it last see `plan --format`.

Exit codes: as of plan, after writing; 6 a file failed and everything was undone; 7 not permitted.";

pub(super) const REVERT_EXAMPLES: &str = "\
Examples:
  ninefold-tune revert                          what would be put back? (writes nothing)
  sudo ninefold-tune revert --yes               undo the latest apply that is in force
  sudo ninefold-tune revert all --yes           undo all of them, the latest first
  sudo ninefold-tune revert mem.thp --yes       undo what this setting wrote
  sudo ninefold-tune revert 3 --yes --force     journal 3, over values that were changed since

Exit codes: 0 done, or nothing was in force; 1 a file could not be put back, or was changed since.";

/// Which settings.
#[derive(Debug, Args)]
struct ChoiceArgs {
    /// This setting only, whatever the profile says of it; may be given again.
    #[arg(long, value_name = "ID", value_parser = ids())]
    only: Vec<String>,
    /// Not this setting; may be given again.
    #[arg(long, value_name = "ID", value_parser = ids())]
    skip: Vec<String>,
}

impl From<ChoiceArgs> for Choice {
    fn from(ChoiceArgs { only, skip }: ChoiceArgs) -> Self {
        Self { only, skip }
    }
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    choice: ChoiceArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write the plan as JSON; `-` writes it to standard output in place of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// For reading.
    #[default]
    Table,
    /// For machines (ninefold.tune.plan.v1).
    Json,
    /// A shell script of the writes.
    Script,
    /// A file for /etc/sysctl.d.
    Sysctl,
    /// A drop-in for the node's unit.
    Systemd,
    /// Parameters for the kernel's command line.
    Cmdline,
}

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    choice: ChoiceArgs,
    /// Write; without it the plan is shown and nothing changes.
    #[arg(long)]
    yes: bool,
    /// Where journals are kept [default: var/lib/ninefold/tune below the root].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Write what was done as JSON; `-` writes it to standard output in place of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RevertArgs {
    /// `last`, `all`, the number of a journal, or a setting.
    #[arg(value_name = "WHAT", default_value = "last")]
    what: String,
    /// Write; without it, only say what would be put back.
    #[arg(long)]
    yes: bool,
    /// Put back also what somebody has changed since.
    #[arg(long)]
    force: bool,
    /// Work on proc and sys below DIR: the saved tree of another host.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Where journals are kept [default: var/lib/ninefold/tune below the root].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Write what was done as JSON; `-` writes it to standard output in place of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The document of `apply --json`.
#[derive(Serialize)]
struct ApplyDocument<'d> {
    schema: &'static str,
    plan: &'d Plan,
    /// Absent when nothing was to be written for want of `--yes`.
    applied: Option<&'d Applied>,
    exit: u8,
}

/// The document of `revert --json`.
#[derive(Serialize)]
struct RevertDocument<'d> {
    schema: &'static str,
    written: bool,
    files: &'d [Reverted],
    exit: u8,
}

impl PlanArgs {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<u8, Error> {
        let (root, facts, options) = self.host.read()?;
        let plan = plan(&root, &facts, &options, &self.choice.into());
        let format = self.format;
        tell(self.json.as_deref(), &plan, out, |out| match format {
            Format::Table => words::table(&plan, out),
            Format::Json => write_json(&plan, out),
            Format::Script => words::script(&plan, out),
            Format::Sysctl => words::sysctl(&plan, out),
            Format::Systemd => words::systemd(&plan, out),
            Format::Cmdline => words::cmdline(&plan, out),
        })?;
        Ok(plan.exit)
    }
}

impl ApplyArgs {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<u8, Error> {
        const SCHEMA: &str = "ninefold.tune.apply.v1";
        let (root, facts, options) = self.host.read()?;
        let choice = self.choice.into();
        let before = plan(&root, &facts, &options, &choice);
        if !self.yes {
            let document = ApplyDocument {
                schema: SCHEMA,
                plan: &before,
                applied: None,
                exit: before.exit,
            };
            tell(self.json.as_deref(), &document, out, |out| {
                words::table(&before, out)?;
                words::not_written(before.steps.len(), out)
            })?;
            return Ok(before.exit);
        }
        let applied = match before.steps.is_empty() {
            true => Applied::default(),
            false => {
                let store = Store::of(&root, self.state_dir)?;
                apply(&before, &root, &store, &Identity::read(&root))?
            }
        };
        let after = plan(&root, &Facts::read(&root), &options, &choice);
        let document = ApplyDocument {
            schema: SCHEMA,
            plan: &before,
            applied: Some(&applied),
            exit: after.exit,
        };
        tell(self.json.as_deref(), &document, out, |out| {
            words::applied(&before, &applied, &after, out)
        })?;
        Ok(after.exit)
    }
}

impl RevertArgs {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<u8, Error> {
        let which = which(&self.what)?;
        let root = root_at(self.root.as_deref())?;
        let dir = self.state_dir.clone();
        let dir = dir.unwrap_or_else(|| root.resolve(STATE_DIR));
        let options = RevertOptions {
            write: self.yes,
            force: self.force,
        };
        // Without a store nothing was ever applied, and none is made to say so.
        let files = match dir.is_dir() || matches!(which, Which::Journal(_)) {
            false => Vec::new(),
            true => {
                let store = Store::of(&root, self.state_dir)?;
                revert(&which, options, &root, &store, &Identity::read(&root))?
            }
        };
        let failed = files.iter().any(|of| of.outcome == RevertOutcome::Failed);
        let document = RevertDocument {
            schema: "ninefold.tune.revert.v1",
            written: self.yes,
            files: &files,
            exit: u8::from(failed),
        };
        tell(self.json.as_deref(), &document, out, |out| {
            words::reverted(&files, self.yes, out)
        })?;
        Ok(document.exit)
    }
}

fn which(what: &str) -> Result<Which, Error> {
    match (what, what.parse()) {
        ("last", _) => Ok(Which::Last),
        ("all", _) => Ok(Which::All),
        (_, Ok(journal)) => Ok(Which::Journal(journal)),
        (id, _) if setting::find(id).is_some() => Ok(Which::Setting(id.to_owned())),
        (found, _) => Err(Error::Which {
            found: found.to_owned(),
        }),
    }
}
