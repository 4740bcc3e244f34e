//! Flags of `ninefold serve` about how many calls a client may make in a time.

use clap::{Args, value_parser};
use ninefold::limits::Limits;

const CALLS_MAX: u64 = 1_000_000;

#[derive(Debug, Args)]
pub(crate) struct RateFlags {
    /// Calls a second that each client may make on each shard: of tools, for completions, prompts
    /// and contents of resources; 0 sets no rate.
    #[arg(
        long,
        value_name = "N",
        default_value_t = Limits::default().calls_per_s,
        value_parser = value_parser!(u64).range(..=CALLS_MAX)
    )]
    calls_per_s: u64,
    /// Calls that a client may make at once, where there is a rate.
    #[arg(
        long,
        value_name = "N",
        default_value_t = Limits::default().calls_burst,
        value_parser = value_parser!(u64).range(1..=CALLS_MAX)
    )]
    calls_burst: u64,
}

impl RateFlags {
    /// The default limits, with this rate.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            calls_per_s: self.calls_per_s,
            calls_burst: self.calls_burst,
            ..Limits::default()
        }
    }
}
