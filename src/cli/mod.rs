//! The command line: one file a subcommand. The only layer that prints. Each command
//! runs in its own runtime; errors end in words on stderr and exit code 1.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    config::{Config, Tools},
    telemetry,
};

pub mod demo;
mod files;
pub mod load;
pub mod migrate;
pub mod operator;
pub mod serve;
pub mod verify_data;
pub mod verify_locality;

/// MovR: a multi-region vehicle-sharing application on `CockroachDB`.
#[derive(Debug, Parser)]
#[command(name = "movr", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve one region, configured by the environment.
    Serve,
    /// Create the database, its regions and schema, and load the catalogue.
    Migrate(migrate::Args),
    /// Run everything on this machine: a private database and three regions.
    Demo(demo::Args),
    /// Load sample data.
    Load(load::Args),
    /// What administrators do: grant roles, close and open regions.
    Operator(operator::Args),
    /// Print every route and statement with the regions that it may touch, as Markdown.
    Contract,
    /// Check the invariants of a whole database.
    VerifyData,
    /// Check that the plan of every statement stays in the regions it names.
    VerifyLocality(verify_locality::Args),
}

/// What a command ends with: nothing, or words for the person at the terminal.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Runs the command that was asked for.
pub fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Serve => Config::from_env().map_err(Into::into).and_then(|config| {
            telemetry::init(&config.log);
            actix_web::rt::System::new().block_on(serve::run(config))
        }),
        Command::Demo(args) => actix_web::rt::System::new().block_on(demo::run(args)),
        Command::Migrate(args) => tools(async |tools| migrate::run(&tools, &args).await),
        Command::Load(args) => tools(async |tools| load::run(&tools, &args).await),
        Command::Operator(args) => tools(async |tools| operator::run(&tools, &args).await),
        Command::Contract => {
            contract();
            Ok(())
        }
        Command::VerifyData => tools(async |tools| verify_data::run(&tools).await),
        Command::VerifyLocality(args) => tools(async |tools| verify_locality::run(&tools, &args).await),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("movr: {}", words(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn tools(command: impl AsyncFnOnce(Tools) -> Outcome) -> Outcome {
    let tools = Tools::from_env()?;
    telemetry::init(&tools.log);
    actix_web::rt::System::new().block_on(command(tools))
}

#[allow(clippy::print_stdout, reason = "commands print")]
fn contract() {
    print!("{}", crate::web::contract::markdown());
}

/// An error with its causes, one after the other.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

/// Refusals as errors, for commands.
impl From<crate::ops::OpError> for Box<dyn std::error::Error> {
    fn from(error: crate::ops::OpError) -> Self {
        match error {
            crate::ops::OpError::Refused(refusal) => refusal.message().into(),
            crate::ops::OpError::Db(error) => error.into(),
        }
    }
}
