//! The command line of the Ninefold benchmark.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ninefold_bench::cli::main()
}
