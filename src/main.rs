//! argv to subcommand, and the exit code.

fn main() -> std::process::ExitCode {
    movr::cli::run()
}
