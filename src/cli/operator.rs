//! `movr operator`: what needs no browser. The first administrator is made here.

#![allow(clippy::print_stdout, reason = "commands print")]

use clap::Subcommand;

use super::Outcome;
use crate::{
    config::Tools,
    domain::refusal::Refusal,
    ops::{self, Done, OpError},
};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Give a role to a person: administrator, or operator of a city.
    Grant {
        /// The person's username.
        username: String,
        /// `administrator` or `operator`.
        #[arg(value_parser = ["administrator", "operator"])]
        role: String,
        /// The city, for operators.
        #[arg(long)]
        city: Option<String>,
    },
}

/// Runs it.
pub async fn run(tools: &Tools, args: &Args) -> Outcome {
    let What::Grant { username, role, city } = &args.what;
    let db = crate::db::Db::open(&tools.database).await?;
    let catalogue =
        crate::db::catalogue::load(&db.here().await?).await?.ok_or("no catalogue yet: run movr migrate first")?;
    let city = match (role.as_str(), city) {
        ("administrator", None) => "",
        ("operator", Some(city)) if catalogue.city(city).is_some() => city,
        ("operator", Some(city)) => return Err(format!("there is no city {city} in the catalogue").into()),
        ("operator", None) => return Err("an operator needs --city".into()),
        _ => return Err("an administrator has no city".into()),
    };
    let granted = match ops::accounts::grant(&db, username, role, city).await {
        Err(OpError::Refused(Refusal::NoMatch)) => return Err(format!("nobody has the username {username}").into()),
        granted => granted?,
    };
    let role = if city.is_empty() { role.clone() } else { format!("{role} of {city}") };
    match granted {
        Done::Now => println!("{username} is now {role}"),
        Done::Before => println!("{username} was {role} already"),
    }
    Ok(())
}
