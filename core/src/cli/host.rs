//! Flags of `ninefold serve` about the host that it runs on.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ninefold::host::HostOptions;

#[derive(Debug, Args)]
pub(super) struct HostFlags {
    /// What the host is meant for: `production` refuses to start where a required setting of
    /// `ninefold-tune check` is not met, `dev` warns.
    #[arg(
        long,
        value_enum,
        value_name = "PROFILE",
        default_value = "dev",
        env = "NINEFOLD_PROFILE"
    )]
    profile: Profile,
    /// Keep all memory that was touched from being paged out (mlockall).
    #[arg(long)]
    lock_memory: bool,
    /// Hold /dev/cpu_dma_latency open, so that no idle state takes longer than 10 us to leave.
    #[arg(long)]
    hold_c_states: bool,
    /// Check the saved proc and sys of a host below DIR in place of this one's; its dev is held.
    #[arg(long, value_name = "DIR")]
    check_root: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    Dev,
    Production,
}

impl HostFlags {
    pub(super) fn options(&self) -> HostOptions {
        HostOptions {
            profile: match self.profile {
                Profile::Dev => ninefold_tuning::Profile::Dev,
                Profile::Production => ninefold_tuning::Profile::Production,
            },
            root: self.check_root.clone(),
            lock_memory: self.lock_memory,
            hold_c_states: self.hold_c_states,
        }
    }
}
