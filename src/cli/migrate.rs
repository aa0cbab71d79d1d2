//! `movr migrate`: database, regions, schema, catalogue. Safe to run again, and two at
//! once. Run once per release; `movr serve` never changes the schema.

use std::path::PathBuf;

use clap::ValueEnum;

use super::Outcome;
use crate::{
    clock::Clock,
    config::Tools,
    db::{self, Db, DbError, DbErrorKind, migrate::Layout},
    domain::Catalogue,
    ops,
};

pub const SHIPPED: &str = include_str!("../../deploy/catalog.toml");

/// What `--locality off` costs.
pub const LOST: &str = "a single-region schema: rows do not live in their region, so reads and writes wait for wherever \
    the cluster keeps them, no row survives a region by rule, and nothing of locality can be shown";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The geography of the deployment. Without it the one that the database has stays; an empty database gets the
    /// shipped example.
    #[arg(long = "catalog", value_name = "CATALOG")]
    catalogue: Option<PathBuf>,
    /// What the database survives: `region` costs writes a trip to the next region.
    #[arg(long, default_value = "zone", value_parser = ["zone", "region"])]
    survive: String,
    /// `restricted` keeps no replicas outside the home region, and so cannot survive its loss.
    #[arg(long, default_value = "default", value_parser = ["default", "restricted"])]
    placement: String,
    /// `off` ignores the regions of the cluster: a single-region schema.
    #[arg(long, value_enum, default_value_t = Locality::Auto)]
    locality: Locality,
    /// Also make this database role, if it is missing, and give it exactly the rights that
    /// the application needs: it can add events, but neither change nor delete them.
    #[arg(long, value_name = "ROLE", num_args = 0..=1, default_missing_value = "movr_app")]
    roles: Option<String>,
    /// Print what would be done, as SQL, and do nothing.
    #[arg(long)]
    plan: bool,
}

/// Whether the regions of the cluster are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Locality {
    /// Where there are any.
    Auto,
    /// Never.
    Off,
}

/// A failed migration in words; for want of a licence, those that say how to go on.
pub fn explain(error: DbError) -> Box<dyn std::error::Error> {
    if error.kind != DbErrorKind::Licence {
        return error.into();
    }
    format!(
        "the cluster refuses multi-region statements for want of a licence (SQLSTATE XXC02). Install one \
         (SET CLUSTER SETTING enterprise.license = ...; newer versions bring one to the demo), or go on with \
         --locality off, {LOST}"
    )
    .into()
}

pub async fn run(tools: &Tools, args: &Args) -> Outcome {
    let text = match &args.catalogue {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?,
        None => SHIPPED.to_owned(),
    };
    let file = Catalogue::parse(&text)?;
    if args.survive == "region" && args.placement == "restricted" {
        return Err("--survive region keeps replicas in other regions, which --placement restricted forbids".into());
    }
    let endpoint = db::endpoint(&tools.database, tools.database.url.expose())?;
    let loaded = if args.catalogue.is_none() { db::migrate::loaded_regions(&endpoint).await? } else { Vec::new() };
    let keep = !loaded.is_empty();
    let shipped = file.regions.iter().map(|region| region.code.clone());
    let layout = Layout {
        regions: if keep { loaded } else { shipped.collect() },
        survive_region: args.survive == "region",
        placement_restricted: args.placement == "restricted",
        locality: args.locality == Locality::Auto,
    };
    let steps = db::migrate::run(&endpoint, &layout, args.plan).await.map_err(explain)?;
    let roles = async |plan| match &args.roles {
        Some(role) => db::rights::grant(&endpoint, role, plan).await,
        None => Ok(Vec::new()),
    };
    if args.plan {
        let plan = db::catalogue::plan(&file, Clock::default().now());
        let catalogue = if keep { Vec::new() } else { plan.await? };
        for step in steps.iter().chain(&roles(true).await?).chain(&catalogue) {
            println!("{};\n", step.trim_end().trim_end_matches(';'));
        }
        if keep {
            println!("-- The catalogue stays as it is: --catalog changes it.");
        } else {
            println!("-- The last statement only when one before it changed something.");
        }
        println!("-- Then each region's gate and promo quotas,");
        println!(
            "-- where they are missing or differ, under the epoch that the gate has by then. Before the migrations, what"
        );
        println!("-- older versions wrote is corrected, 1,000 rows a statement.");
        return Ok(());
    }
    let left = roles(false).await?;
    let db = Db::open(&tools.database).await?;
    db.warm().await?;
    let catalogue = if keep {
        let loaded = super::catalogue(&db).await?;
        ops::catalogue::complete(&db, &loaded.regions, &loaded.promo_codes, &Clock::default()).await?;
        "stays as it is (--catalog changes it)".to_owned()
    } else {
        format!("{} entries changed", ops::catalogue::load(&db, &file, &Clock::default()).await?)
    };
    println!(
        "schema at version {}, {} steps done; catalogue: {catalogue} ({})",
        db::migrate::newest(),
        steps.len(),
        db.engine().version,
    );
    if let Some(role) = &args.roles {
        println!("role {role}: may do what the application does, and neither change nor delete events");
        for step in left {
            println!("only an administrator of the database may do this, and should: {step}");
        }
    }
    Ok(())
}
