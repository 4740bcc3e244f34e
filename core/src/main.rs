//! The binary `ninefold`.
#![forbid(unsafe_code)]

mod access;
mod cli;
mod fixtures;
mod remote;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command, Fixtures, LogFormat, Serve};
use ninefold::host::Host;
use ninefold::notify::Manager;
use ninefold::{Node, Server, Stdio, client, limits};
use ninefold_runtime::ShutdownReport;
use ninefold_runtime::thread::spawn_on_set;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(options) => serve(&options),
        Command::Limits { json } => {
            print_limits(json);
            Ok(())
        }
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "ninefold",
                &mut std::io::stdout(),
            );
            Ok(())
        }
        Command::Remote(command) => return remote::run(&command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ninefold: {error}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error>;

fn serve(options: &Serve) -> Result<(), Failure> {
    start_logging(options);
    // Before any thread starts, so that no signal meets the default disposition.
    let signals = Signals::new([SIGTERM, SIGINT])?;
    let server = server(options)?;
    exit_on_second_signal()?;
    let report = if options.stdio {
        serve_stdio(server, options, signals)?
    } else {
        serve_http(server, options, signals)?
    };
    tracing::info!(tasks_dropped = report.tasks_dropped, "stopped");
    if report.threads_lost > 0 {
        return Err(format!(
            "{} shard threads panicked or did not stop in time",
            report.threads_lost
        )
        .into());
    }
    Ok(())
}

/// Serves standard input and output until the input ends or a signal comes. Nothing is announced:
/// standard output is the client's.
fn serve_stdio(
    server: Server,
    options: &Serve,
    mut signals: Signals,
) -> Result<ShutdownReport, Failure> {
    let stdio = Stdio::start(server, &options.stdio_config())?;
    let (stopper, done) = (stdio.stopper(), signals.handle());
    let waiting = spawn_on_set(
        "ninefold-signals".into(),
        stdio.plan().blocking.clone(),
        move || {
            if let Some(signal) = signals.forever().next() {
                tracing::info!(signal, "draining");
                stopper.stop();
            }
        },
    )?;
    let report = stdio.wait();
    done.close();
    // It has nothing left to wait for.
    let _ = waiting.join();
    Ok(report)
}

fn serve_http(
    server: Server,
    options: &Serve,
    mut signals: Signals,
) -> Result<ShutdownReport, Failure> {
    let manager = Manager::from_environment()?;
    let mut config = options.config();
    config.host = Some(Arc::new(Host::prepare(&options.host(), &config.runtime)?));
    let node = Node::start(server, &config)?;
    announce(&node, options);
    let teller = manager.map(|manager| node.tell(manager)).transpose()?;
    let signal = signals.forever().next();
    tracing::info!(?signal, "draining");
    if let Some(teller) = teller {
        teller.stopping();
    }
    Ok(node.shutdown())
}

/// What is served: the builtin tools, or the fixtures of a suite.
fn server(options: &Serve) -> Result<Server, Failure> {
    let mut builder =
        Server::builder("ninefold", env!("CARGO_PKG_VERSION")).limits(options.rate.limits());
    if let Some(authorization) = options.auth.authorization() {
        builder = builder.authorize(authorization);
    }
    let Some(Fixtures::Conformance) = options.fixtures else {
        let clock = ninefold_runtime::clock::wall_clock;
        return Ok(builder.builtin_tools(clock).build()?);
    };
    let changes = fixtures::Changes::default();
    let server = fixtures::conformance(builder, &changes).build()?;
    changes.apply_to(&server);
    Ok(server)
}

/// Who asks twice does not want to wait for the drain.
fn exit_on_second_signal() -> Result<(), Failure> {
    const INTERRUPTED: i32 = 130;
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_shutdown(signal, INTERRUPTED, asked.clone())?;
        flag::register(signal, asked.clone())?;
    }
    Ok(())
}

/// The lines that scripts read; everything else goes to the log.
fn announce(node: &Node, options: &Serve) {
    println!("listening on http://{}/mcp", node.address());
    if let Some(admin) = node.admin_address() {
        println!("admin on http://{admin} (/health /ready /placement /metrics)");
    }
    if let Some(lines) = node.lines_address() {
        println!("lines on tcp://{lines}");
    }
    for (what, path) in options.socket_files() {
        println!("{what} on unix:{}", path.display());
    }
    let plan = node.plan();
    tracing::info!(shards = ?plan.shards, control = plan.control, "CPUs");
    if plan.control_shared {
        tracing::warn!(
            cpu = plan.control,
            "the control plane shares its CPU with a shard: under load health waits for it"
        );
    }
    if plan.oversubscribed {
        tracing::warn!("there are more shards than CPUs: good for tests, not for latency");
    }
}

fn start_logging(options: &Serve) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&options.log))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

fn print_limits(json: bool) {
    let node = limits::TABLE.iter().chain(limits::FIXED);
    let node = node.map(|l| (l.name.to_owned(), l));
    let client = client::limits::TABLE.iter().chain(client::limits::FIXED);
    let client = client.map(|l| (format!("client.{}", l.name), l));
    let rows: Vec<_> = node.chain(client).collect();
    if json {
        let rows = rows.iter().map(|(name, l)| {
            serde_json::json!({
                "name": name, "unit": format!("{:?}", l.unit), "default": l.default,
                "min": l.min, "max": l.max, "beyond": l.beyond,
            })
        });
        println!("{}", rows.collect::<serde_json::Value>());
        return;
    }
    println!(
        "{:28} {:>12} {:>8}  {:24} BEYOND",
        "LIMIT", "DEFAULT", "UNIT", "RANGE"
    );
    for (name, l) in rows {
        let range = match l.min == l.max {
            true => "fixed".to_owned(),
            false => format!("{}..={}", l.min, l.max),
        };
        println!(
            "{name:28} {:>12} {:>8}  {range:24} {}",
            l.default,
            format!("{:?}", l.unit),
            l.beyond
        );
    }
}
