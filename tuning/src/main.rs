//! `ninefold-tune`: is this host fit for a Ninefold node, and what would make it so?
#![forbid(unsafe_code)]

mod cli;
mod render;

use std::io;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::Cli::parse().run(&mut io::stdout().lock()) {
        Ok(exit) => ExitCode::from(exit),
        // `| head` has seen enough.
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ninefold-tune: {error}");
            ExitCode::from(error.exit())
        }
    }
}
