//! `movr demo`: everything on this machine. A private PostgreSQL, started and stopped
//! with us, migrated and filled; three regional instances in this process. The first
//! printed line says which engine and what it cannot show.

#![allow(clippy::print_stdout, reason = "commands print")]

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::ValueEnum;

use super::{Outcome, load, migrate::SHIPPED, serve::stop_signal};
use crate::{
    app::App,
    clock::Clock,
    config::{self, Config},
    db::{self, Db, migrate::Layout},
    domain::catalogue::{Catalogue, CatalogueFile},
    local::{self, PrivatePostgres},
    ops::{
        self,
        passwords::Hasher,
        sample::{self, SamplePlan},
    },
    server, telemetry,
};

/// The password of all sample accounts; the database is private to this machine.
const PASSWORD: &str = "ride the demo city";
/// First port tried for the first region, then the next for the next.
const FIRST_PORT: u16 = 8080;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `auto` takes cockroach when it is on the PATH, else PostgreSQL.
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto)]
    engine: EngineChoice,
    /// Address to serve on; others than loopback show the demo to your network.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Where the data is kept between starts.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Begin anew: forget the data of earlier starts.
    #[arg(long)]
    fresh: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EngineChoice {
    Auto,
    Postgres,
    Cockroach,
}

/// Runs until Ctrl-C or SIGTERM, then stops everything it started.
pub async fn run(args: Args) -> Outcome {
    if args.engine == EngineChoice::Cockroach {
        return Err("the local CockroachDB cluster is not part of this version yet: use --engine postgres".into());
    }
    println!("MovR demo on a private PostgreSQL. Shown: regions touched. Not shown: latency between regions.");
    let stop = stop_signal();
    tokio::pin!(stop);
    let data = args.data.clone().unwrap_or_else(|| local::default_data_dir(config::env));
    let mut options = local::Options::new(data, config::env);
    options.fresh = args.fresh;
    let postgres = PrivatePostgres::start(options).await?;
    let outcome = tokio::select! {
        outcome = demo(&args, &postgres) => outcome,
        stopped = &mut stop => stopped.map(|()| Vec::new()).map_err(Into::into),
    };
    let outcome = match outcome {
        Ok(running) => {
            if !running.is_empty() {
                println!("Press Ctrl-C to stop; the data is kept for the next start.");
                stop.await?;
            }
            println!("stopping");
            futures_util::future::join_all(running.into_iter().map(server::Running::stop)).await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    postgres.stop().await?;
    outcome
}

async fn demo(args: &Args, postgres: &PrivatePostgres) -> Result<Vec<server::Running>, Box<dyn std::error::Error>> {
    let file = CatalogueFile::parse(SHIPPED)?;
    let url = postgres.url("movr");
    let key = STANDARD.encode(rand::random::<[[u8; 32]; 2]>().concat());
    let regions: Vec<_> = file.regions.iter().map(|region| region.code.clone()).collect();
    let mut configs = Vec::new();
    let mut port = FIRST_PORT;
    for region in &regions {
        let listen = free_address(args.host, port);
        port = listen.port().saturating_add(1);
        configs.push(settings(region.as_str(), &url, listen, &key)?);
    }
    let Some(first) = configs.first() else {
        return Err("the catalogue has no regions".into());
    };
    telemetry::init(&first.log);
    let layout =
        Layout { regions: regions.clone(), survive_region: false, placement_restricted: false, locality: true };
    let endpoint = db::endpoint(&first.database, &url)?;
    db::migrate::run(&endpoint, &layout, false).await?;
    let database = Db::open(&first.database).await?;
    ops::catalogue::load(&database, &file, &Clock::default()).await?;
    let catalogue = db::catalogue::load(&database.here().await?).await?.ok_or("the catalogue was not loaded")?;
    fill(first, &database, &catalogue).await?;
    database.close();
    let mut running = Vec::new();
    for config in configs {
        let app = App::start(config, Clock::default()).await?;
        let (instance, server) = server::start(app)?;
        actix_web::rt::spawn(server);
        running.push(instance);
    }
    announce(&running);
    Ok(running)
}

/// The settings of one instance: the environment's, and ours over them.
fn settings(region: &str, url: &str, listen: SocketAddr, key: &str) -> Result<Config, config::ConfigError> {
    let mut vars: BTreeMap<String, String> = config::environment();
    vars.entry("RUST_LOG".to_owned()).or_insert_with(|| "warn".to_owned());
    let ours = [
        ("MOVR_REGION", region.to_owned()),
        ("DATABASE_URL", url.to_owned()),
        ("MOVR_LISTEN", listen.to_string()),
        ("MOVR_PUBLIC_URL", format!("http://{listen}")),
        ("MOVR_SECRET_KEYS", key.to_owned()),
        ("MOVR_DRAIN_DELAY_MS", "0".to_owned()),
    ];
    vars.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    Config::from_vars(vars)
}

/// The first free port from `port` on; the system's choice when many are taken.
fn free_address(host: IpAddr, port: u16) -> SocketAddr {
    let free = |port: &u16| TcpListener::bind((host, *port)).is_ok();
    SocketAddr::new(host, (port..port.saturating_add(100)).find(free).unwrap_or(0))
}

/// Sample data, when there is none yet.
async fn fill(config: &Config, db: &Db, catalogue: &Catalogue) -> Outcome {
    let Some(here) = catalogue.regions.first() else {
        return Ok(());
    };
    let known = db::users::find_login(&db.here().await?, Some(&here.code), "rider").await?;
    if known.is_some() {
        return Ok(());
    }
    let hash = Hasher::new(config.passwords).hash(PASSWORD).await?;
    let plan = SamplePlan { cities: Vec::new(), users: 60, vehicles: 150, rides: 200, seed: 1 };
    load::with_progress(db, catalogue, &plan, &hash).await?;
    sample::accounts(db, catalogue, &here.code, &hash, Clock::default().now()).await?;
    Ok(())
}

fn announce(running: &[server::Running]) {
    for instance in running {
        let moved = if (FIRST_PORT..FIRST_PORT + 3).contains(&instance.address.port()) {
            ""
        } else {
            " (another port: the usual one is taken)"
        };
        println!("  {:<14} http://{}{moved}", instance.app.here.as_str(), instance.address);
    }
    println!("Sign in as rider, owner, operator or administrator; password: {PASSWORD}");
}
