//! argv to subcommand, and the exit code; no logic.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    movr::cli::run(movr::cli::Cli::parse())
}
