//! The command line: one file a subcommand. The only layer that prints. Each command
//! runs in its own runtime; errors end in words on stderr and exit code 1.

#![allow(clippy::print_stdout, reason = "commands print")]

use std::{
    error::Error,
    panic,
    process::{self, ExitCode},
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    config::{self, Config, Tools, Vars},
    db::{self, Db},
    domain::Catalogue,
    telemetry,
};

pub mod demo;
pub mod doctor;
pub mod healthcheck;
pub mod load;
pub mod migrate;
pub mod operator;
pub mod serve;
pub mod verify_data;
pub mod verify_locality;

/// MovR: a multi-region vehicle-sharing application on `CockroachDB`.
#[derive(Debug, Parser)]
#[command(name = "movr", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve one region.
    Serve,
    /// Create the database, its regions and schema, and load the catalogue.
    Migrate(migrate::Args),
    /// Run everything on this machine: a private database and three regions.
    Demo(demo::Args),
    /// Load sample data.
    Load(load::Args),
    /// What administrators do: grant roles, close and open regions.
    Operator(operator::Args),
    /// Ask the instance on this machine whether it is alive, or ready.
    Healthcheck(healthcheck::Args),
    /// Print every route and statement with the regions that it may touch, as Markdown.
    Contract,
    /// Check a deployment from where it stands, and say what to do.
    Doctor(doctor::Args),
    /// Check the invariants of a whole database.
    VerifyData,
    /// Check that the plan of every statement stays in the regions it names.
    VerifyLocality {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What a command ends with: nothing, or words for the person at the terminal.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// As a shell has it for whoever is ended by SIGPIPE.
const NOBODY_READS: i32 = 141;

/// `movr contract | head -1` ends without a word: `println!` panics when nobody reads on.
fn end_when_nobody_reads() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload_as_str().is_some_and(|text| text.starts_with("failed printing to stdout")) {
            process::exit(NOBODY_READS);
        }
        default(info);
    }));
}

pub fn run() -> ExitCode {
    end_when_nobody_reads();
    let command = Cli::command().mut_subcommands(|command| match command.get_name() {
        "demo" | "contract" | "healthcheck" => command,
        "serve" | "doctor" => config::with_flags::<Config>(command),
        _ => config::with_flags::<Tools>(command),
    });
    let matches = command.get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let mut vars = config::environment();
    vars.extend(matches.subcommand().map(|(_, matches)| config::flags(matches)).unwrap_or_default());
    let outcome = match cli.command {
        Command::Serve => serve(vars),
        Command::Demo(args) => actix_web::rt::System::new().block_on(demo::run(args)),
        Command::Migrate(args) => tools(vars, async |tools| migrate::run(&tools, &args).await),
        Command::Load(args) => tools(vars, async |tools| load::run(&tools, args).await),
        Command::Operator(args) => tools(vars, async |tools| operator::run(&tools, &args).await),
        Command::Healthcheck(args) => healthcheck::run(&args, &vars),
        Command::Contract => {
            print!("{}", crate::web::contract::markdown());
            Ok(())
        }
        Command::Doctor(args) => actix_web::rt::System::new().block_on(doctor::run(vars, &args)),
        Command::VerifyData => tools(vars, async |tools| verify_data::run(&tools).await),
        Command::VerifyLocality { json } => tools(vars, async |tools| verify_locality::run(&tools, json).await),
    };
    telemetry::traces::shut_down();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("movr: {}", words(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn serve(vars: Vars) -> Outcome {
    let config = Config::from_vars(vars)?;
    telemetry::init(&config.log, config.traces.as_deref());
    actix_web::rt::System::new().block_on(serve::run(config))
}

fn tools(vars: Vars, command: impl AsyncFnOnce(Tools) -> Outcome) -> Outcome {
    let tools = Tools::from_vars(vars)?;
    telemetry::init(&tools.log, None);
    actix_web::rt::System::new().block_on(command(tools))
}

async fn catalogue(db: &Db) -> Outcome<Catalogue> {
    Ok(db::catalogue::load(&db.here().await?).await?.ok_or("no catalogue yet: run movr migrate first")?)
}

fn words(error: &dyn Error) -> String {
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
