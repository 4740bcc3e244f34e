//! `noise`.

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ninefold_tuning::facts::{CpuList, Topology};
use ninefold_tuning::noise::{self, NoiseOptions, SECONDS_MAX, Verdict, noise};

use super::{Error, tell};
use crate::render::noise as words;

pub(super) const EXAMPLES: &str = "\
Examples:
  ninefold-tune noise                           every allowed CPU for 5 s
  ninefold-tune noise --cpus 2-7 --seconds 60   those meant for shards, for a minute
  ninefold-tune noise --json noise.json         the same for machines (ninefold.tune.noise.v1)

Each CPU is kept busy by one thread that reads the clock; run it on an idle host, without a node.
A gap is time in which the thread did not run. A shard there would not have run either.

Exit codes: 0 every CPU is fit or doubtful, 3 some CPU is unfit.";

#[derive(Debug, Args)]
pub(super) struct NoiseArgs {
    /// CPUs to probe, all at once [default: all that this process may use].
    #[arg(long, value_name = "LIST")]
    cpus: Option<CpuList>,
    /// How long to look.
    #[arg(long, value_name = "S", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(SECONDS_MAX)))]
    seconds: u32,
    /// The shortest gap that counts.
    #[arg(long, value_name = "NS", default_value_t = noise::THRESHOLD_NS_DEFAULT,
          value_parser = clap::value_parser!(u64).range(200..=1_000_000_000))]
    threshold_ns: u64,
    /// Write the result as JSON; `-` writes it to standard output in place of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl NoiseArgs {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<u8, Error> {
        let options = NoiseOptions {
            cpus: self.cpus.unwrap_or_else(|| Topology::host().allowed),
            window: Duration::from_secs(self.seconds.into()),
            threshold_ns: self.threshold_ns,
        };
        let seconds = self.seconds;
        // One line that grows, where somebody may be looking; one line, where it is a log.
        let live = std::io::stderr().is_terminal();
        eprintln!(
            "ninefold-tune: probing CPUs {} for {seconds} s",
            options.cpus
        );
        let found = noise(&options, &mut |passed| {
            if live {
                eprint!("\r{passed} of {seconds} s");
            }
        });
        if live {
            eprint!("\r\x1b[K");
        }
        let found = found?;
        tell(self.json.as_deref(), &found, out, |out| {
            words::table(&found, out)
        })?;
        let unfit = found.cpus.iter().any(|of| of.verdict == Verdict::Unfit);
        Ok(if unfit { 3 } else { 0 })
    }
}
