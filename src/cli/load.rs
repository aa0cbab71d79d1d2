//! `movr load`: sample data, the same for the same seed. For trying out and measuring;
//! all sample people share one password.

use indicatif::{ProgressBar, ProgressStyle};

use super::Outcome;
use crate::{
    clock::Clock,
    config::Tools,
    db::Db,
    domain::Catalogue,
    ops::{
        passwords::{Hasher, new_token},
        sample::{self, SamplePlan},
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Slugs of cities, by comma; without them all cities of the catalogue.
    #[arg(long, value_delimiter = ',')]
    cities: Vec<String>,
    /// People in each city.
    #[arg(long, default_value_t = 100)]
    users: usize,
    /// Vehicles in each city.
    #[arg(long, default_value_t = 200)]
    vehicles: usize,
    /// Rides in each city.
    #[arg(long, default_value_t = 300)]
    rides: usize,
    /// The same seed gives the same data.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Password of all sample people; without it nobody can sign in as one.
    #[arg(long)]
    password: Option<String>,
}

pub async fn run(tools: &Tools, args: Args) -> Outcome {
    let Args { cities, users, vehicles, rides, seed, password } = args;
    let db = Db::open(&tools.database).await?;
    let catalogue = super::catalogue(&db).await?;
    let hash = Hasher::new(tools.passwords).hash(&password.unwrap_or_else(new_token)).await?;
    let plan = SamplePlan { cities, users, vehicles, rides, seed };
    with_progress(&db, &catalogue, &plan, &hash).await
}

pub async fn with_progress(db: &Db, catalogue: &Catalogue, plan: &SamplePlan, hash: &str) -> Outcome {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("sample data {bar:40} {pos}/{len} rows, {eta} left") {
        bar.set_style(style);
    }
    let loaded = sample::load(db, catalogue, plan, hash, Clock::default().now(), |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })
    .await?;
    bar.finish_and_clear();
    println!("sample data: {} new people, {} new vehicles with their rides", loaded.users, loaded.vehicles);
    Ok(())
}
