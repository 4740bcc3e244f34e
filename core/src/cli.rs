//! The command line of `ninefold`.

mod auth;
mod host;
mod rate;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ninefold::NodeConfig;
use ninefold::host::HostOptions;
use ninefold::stdio::StdioConfig;
use ninefold_runtime::Placement;
use ninefold_runtime::limits::SHARDS_MAX;
use tracing_subscriber::EnvFilter;

use crate::remote::Remote;

/// An MCP node on pinned shards: both protocol eras on one endpoint.
#[derive(Debug, Parser)]
#[command(name = "ninefold", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ninefold serve                                  serve the builtin tools on 127.0.0.1:8080/mcp
  ninefold serve --listen 127.0.0.1:0             take a free port and print it
  taskset -c 2-5 ninefold serve                   use these CPUs: one for control, three for shards
  ninefold serve --shards 2 --placement 4,6       put two shards on CPUs 4 and 6
  ninefold serve --stdio                          serve the client that starts this program
  curl -s localhost:9090/health                   ask the control plane how the shards are
  ninefold list http://localhost:8080/mcp         list what a server offers
  ninefold call 'npx -y SERVER' TOOL '{\"a\": 1}'   start a server, call one of its tools
  ninefold limits                                 print every limit and what happens there

Exit codes of serve: 0 served and stopped; 1 could not start; 2 usage; 130 stopped by a second
signal. Those of call, list, read, prompt and ping are in their --help.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve MCP until SIGTERM or SIGINT, then drain: over HTTP, or for the client that starts it.
    Serve(Box<Serve>),
    #[command(flatten)]
    Remote(Box<Remote>),
    /// Print every limit of node and client: unit, default, range, and what happens there.
    Limits {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where MCP is served (path /mcp); port 0 takes a free one.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:8080",
        env = "NINEFOLD_LISTEN"
    )]
    listen: SocketAddr,
    /// Serve standard input and output in place of HTTP, until the input ends; then no port is
    /// opened.
    #[arg(long, conflicts_with_all = [
        "listen", "admin", "no_admin", "listen_lines", "listen_unix", "listen_unix_http",
        "sse_2024",
        "shards", "shared_control", "allow_host", "allow_origin",
        "profile", "lock_memory", "hold_c_states", "check_root",
    ])]
    pub(crate) stdio: bool,
    /// Serve a message a line over TCP too, for trusted peers: nothing checks who they are.
    #[arg(long, value_name = "ADDR")]
    listen_lines: Option<SocketAddr>,
    /// Serve a message a line on a Unix socket too, made for its owner alone.
    #[arg(long, value_name = "PATH")]
    listen_unix: Option<PathBuf>,
    /// Serve HTTP on a Unix socket too, made for its owner alone.
    #[arg(long, value_name = "PATH")]
    listen_unix_http: Option<PathBuf>,
    /// Serve the transport of 2024-11-05 too: GET /sse, then POST where its first event says.
    #[arg(long)]
    sse_2024: bool,
    /// Where /health, /ready and /metrics are served.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9090",
        env = "NINEFOLD_ADMIN"
    )]
    admin: SocketAddr,
    /// Serve the features that a test suite expects, in place of the builtin tools.
    #[arg(long, value_enum, value_name = "SUITE")]
    pub(crate) fixtures: Option<Fixtures>,
    /// Serve no admin listener.
    #[arg(long, conflicts_with = "admin")]
    no_admin: bool,
    /// Number of shards [default: one for each allowed CPU but one, which the control plane gets].
    #[arg(long, value_name = "N", value_parser = shards)]
    shards: Option<usize>,
    /// `spread` over cores and memory nodes, `pack` them, or a CPU list such as 2-5,8.
    #[arg(long, value_name = "POLICY", default_value = "spread")]
    placement: Placement,
    /// Let the control plane share the first shard's CPU.
    #[arg(long)]
    shared_control: bool,
    /// Threads for tools that block.
    #[arg(long, value_name = "N", default_value_t = 2)]
    blocking_threads: usize,
    /// Accept this Host besides loopback names; may be given more than once.
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// Accept this Origin besides loopback ones; may be given more than once.
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Seconds that SIGTERM waits for requests under way.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(..=DAY_S)
    )]
    drain: u64,
    #[command(flatten)]
    host: host::HostFlags,
    #[command(flatten)]
    pub(crate) auth: auth::Auth,
    #[command(flatten)]
    pub(crate) rate: rate::RateFlags,
    /// What is logged to stderr: a level, or a filter such as ninefold=debug.
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "info",
        value_parser = filter,
        env = "NINEFOLD_LOG"
    )]
    pub(crate) log: String,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Fixtures {
    /// The conformance suite of the specification.
    Conformance,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Longest drain: what waits longer has been forgotten.
const DAY_S: u64 = 24 * 3600;

fn shards(text: &str) -> Result<usize, String> {
    let wanted = text.parse().ok().filter(|n| (1..=SHARDS_MAX).contains(n));
    wanted.ok_or_else(|| format!("wanted 1 to {SHARDS_MAX}"))
}

/// Checks a log filter while a mistake in it is still a mistake of usage.
fn filter(text: &str) -> Result<String, String> {
    let checked = EnvFilter::try_new(text).map(|_| text.to_owned());
    checked.map_err(|error| format!("wanted a filter such as `info` or `ninefold=debug`: {error}"))
}

impl Serve {
    pub(crate) fn host(&self) -> HostOptions {
        self.host.options()
    }

    pub(crate) fn config(&self) -> NodeConfig {
        let mut config = NodeConfig {
            listen: self.listen,
            admin: (!self.no_admin).then_some(self.admin),
            lines: self.listen_lines,
            unix: self.listen_unix.clone(),
            unix_http: self.listen_unix_http.clone(),
            sse_2024: self.sse_2024,
            allow_hosts: self.allow_host.clone(),
            allow_origins: self.allow_origin.clone(),
            drain: Duration::from_secs(self.drain),
            ..NodeConfig::default()
        };
        config.runtime.shards = self.shards;
        config.runtime.placement = self.placement.clone();
        config.runtime.own_control_cpu = !self.shared_control;
        config.runtime.blocking_threads = self.blocking_threads;
        config
    }

    /// The Unix sockets, and what is spoken there.
    pub(crate) fn socket_files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let all = [
            ("lines", &self.listen_unix),
            ("http", &self.listen_unix_http),
        ];
        all.into_iter()
            .filter_map(|(what, path)| Some((what, path.as_ref()?)))
    }

    pub(crate) fn stdio_config(&self) -> StdioConfig {
        let NodeConfig { runtime, drain, .. } = self.config();
        StdioConfig { runtime, drain }
    }
}
