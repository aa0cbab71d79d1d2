//! `movr demo`: everything on this machine. A private PostgreSQL, or a CockroachDB
//! cluster where its binary is there, started and stopped with us, migrated and filled;
//! three regional instances in this process. The first printed line says which engine,
//! and that the distances between the regions are simulated.

use std::{
    collections::BTreeMap,
    fs::Permissions,
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::ValueEnum;

use super::{
    Outcome, load,
    migrate::{self, Locality, SHIPPED},
    serve::StopSignals,
};
use crate::{
    clock::Clock,
    config::{self, Config, Database},
    db::{self, Db, migrate::Layout},
    domain::{Catalogue, RegionCode},
    local::{self, CockroachDemo, LocalError, PrivatePostgres, latency::Link},
    ops::{
        self, Service,
        passwords::Hasher,
        sample::{self, SamplePlan},
    },
    server, telemetry,
};

/// The password of all sample accounts; the database is private to this machine.
const PASSWORD: &str = "ride the demo city";
/// First port tried for the first region, then the next for the next.
const FIRST_PORT: u16 = 8080;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// `auto` takes cockroach when it is on the PATH, else PostgreSQL.
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto)]
    engine: EngineChoice,
    /// Address to serve on; others than loopback show the demo to your network.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Where the data is kept between starts; without it `/var/lib/movr` for root, `~/.local/state/movr` for others.
    #[arg(long)]
    data: Option<PathBuf>,
    /// `off` is the naive deployment: all rows are in the first region, so everybody elsewhere crosses. On a
    /// cluster it needs no licence for regions.
    #[arg(long, value_enum, default_value_t = Locality::Auto)]
    locality: Locality,
    /// How far apart the regions of PostgreSQL are: a factor for the round trips of the catalogue, or `off`. A
    /// CockroachDB cluster simulates its own.
    #[arg(long, default_value = "1", value_parser = latency, value_name = "off|FACTOR")]
    latency: f64,
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

/// `off` is 0. Beyond ten times an ocean the deadlines are over.
fn latency(text: &str) -> Result<f64, String> {
    let factor = if text == "off" { Some(0.0) } else { text.parse().ok() };
    factor.filter(|factor| (0.0..=10.0).contains(factor)).ok_or_else(|| "it is `off`, or 0 to 10".to_owned())
}

/// From an instance's region to the nodes of another one, and how long there and back.
type Links = BTreeMap<(RegionCode, RegionCode), (Link, Duration)>;

enum Server {
    Postgres(PrivatePostgres),
    Cockroach(CockroachDemo),
}

impl Server {
    /// Our own database, as the nodes of `region` serve it to the instance of `from`.
    fn url(&self, links: &Links, from: &RegionCode, region: &RegionCode) -> Result<String, String> {
        match self {
            Self::Postgres(postgres) => Ok(match links.get(&(from.clone(), region.clone())) {
                Some((link, _)) => postgres.url_through(link.port, "movr"),
                None => postgres.url("movr"),
            }),
            Self::Cockroach(cluster) => cluster.url(region.as_str(), "movr_demo").ok_or_else(|| {
                let known: Vec<&str> = cluster.regions().collect();
                format!("the cluster has no nodes in {region}, only in {}", known.join(", "))
            }),
        }
    }

    async fn ended(&mut self) -> Box<dyn std::error::Error> {
        match self {
            Self::Postgres(postgres) => postgres.ended().await.into(),
            Self::Cockroach(cluster) => cluster.ended().await.into(),
        }
    }

    async fn stop(self) -> Outcome {
        match self {
            Self::Postgres(postgres) => postgres.stop().await?,
            Self::Cockroach(cluster) => cluster.stop().await,
        }
        Ok(())
    }
}

/// Runs until Ctrl-C or SIGTERM, then stops everything it started.
pub async fn run(args: Args) -> Outcome {
    let data = args.data.clone().unwrap_or_else(|| local::default_data_dir(config::env));
    let cockroach = match args.engine {
        EngineChoice::Postgres => None,
        _ => local::find_cockroach(config::env("PATH").as_deref()),
    };
    if args.engine == EngineChoice::Cockroach && cockroach.is_none() {
        return Err(LocalError::NoCockroach.into());
    }
    let mut stop = StopSignals::listen()?;
    let file = Catalogue::parse(SHIPPED)?;
    let (mut server, links) = tokio::select! {
        server = start(&args, &file, cockroach, &data) => server?,
        // Dropped, what was started ends.
        () = stop.next() => return Ok(()),
    };
    let configs = settings(&args, &server, &links, &file, &data);
    let here = file.regions.first().map(|region| settings_file(&data, &region.code));
    let console = if let Server::Cockroach(cluster) = &server { Some(cluster.console.clone()) } else { None };
    let mut running = Vec::new();
    let work = async {
        serve(&links, file, configs?, &mut running).await?;
        if let Some(console) = console {
            println!("  console of the cluster: {console}");
        }
        if let Some(settings) = here {
            println!("The settings of its first instance, for other commands of movr: . \"{}\"", settings.display());
        }
        println!("Press Ctrl-C to stop; what is kept is found again at the next start.");
        std::future::pending().await
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = stop.next() => Ok(()),
        ended = server.ended() => Err(ended),
    };
    println!("stopping");
    futures_util::future::join_all(running.into_iter().map(server::RunningServer::stop)).await;
    server.stop().await.and(outcome)
}

async fn start(args: &Args, file: &Catalogue, cockroach: Option<PathBuf>, data: &Path) -> Outcome<(Server, Links)> {
    let naive = args.locality == Locality::Off;
    let primary = &file.regions.first().ok_or("the catalogue has no regions")?.code;
    let off = format!("Localities are off: all rows are in {primary}, and everybody elsewhere crosses.");
    let Some(binary) = cockroach else {
        if args.latency > 0.0 {
            println!("MovR demo on a private PostgreSQL. The distances between the three regions are simulated.");
        } else {
            println!("MovR demo on a private PostgreSQL, without distances between the regions (--latency off).");
        }
        if naive {
            println!("{off}");
        }
        // Three instances, each with connections to every region.
        let settings = vec![("max_connections".to_owned(), "300".to_owned())];
        let options = local::Options { data: data.to_owned(), fresh: args.fresh, settings, ..Default::default() };
        let postgres = PrivatePostgres::start(options).await?;
        let mut links = Links::new();
        for (from, to) in file.regions.iter().flat_map(|from| file.regions.iter().map(move |to| (&from.code, &to.code)))
        {
            let Some(trip) = file.round_trip(from, to).filter(|_| args.latency > 0.0 && (!naive || to == primary))
            else {
                continue;
            };
            let link = Link::to(postgres.address()).await?;
            links.insert((from.clone(), to.clone()), (link, trip.mul_f64(args.latency)));
        }
        return Ok((Server::Postgres(postgres), links));
    };
    if (args.latency - 1.0).abs() > f64::EPSILON {
        return Err("--latency is for PostgreSQL: the cluster of `cockroach demo` simulates its own distances".into());
    }
    println!(
        "MovR demo on a CockroachDB cluster of nine nodes in three regions, with simulated latency. Its data ends with it."
    );
    if naive {
        println!("{off}");
    }
    Ok((Server::Cockroach(CockroachDemo::start(&binary, data).await?), Links::new()))
}

/// Schema, data and the instances, which are running when this returns.
async fn serve(
    links: &Links,
    mut file: Catalogue,
    configs: Vec<Config>,
    running: &mut Vec<server::RunningServer>,
) -> Outcome {
    let first = configs.first().ok_or("the catalogue has no regions")?;
    telemetry::init(&first.log, first.traces.as_deref());
    // Links to other regions lead to these instances, whatever ports were free.
    for (region, config) in file.regions.iter_mut().zip(&configs) {
        config.public_url.origin().clone_into(&mut region.base_url);
    }
    let layout = Layout {
        regions: configs.iter().map(|config| config.region.clone()).collect(),
        survive_region: false,
        placement_restricted: false,
        locality: first.all_rows_in.is_none(),
    };
    let endpoint = db::endpoint(&first.database, first.database.url.expose())?;
    db::migrate::run(&endpoint, &layout, false).await.map_err(migrate::explain)?;
    let db = Db::open(&first.database).await?;
    if let Some(region) = first.all_rows_in.as_ref().filter(|_| db.engine().cockroach) {
        db::migrate::keep_in(&endpoint, region).await?;
    }
    ops::catalogue::load(&db, &file, &Clock::default()).await?;
    let filled = db::users::find_login(&db.here().await?, None, "rider").await?.is_some();
    if !filled {
        let catalogue = super::catalogue(&db).await?;
        let hash = Hasher::new(first.passwords).hash(PASSWORD).await?;
        let plan = SamplePlan { cities: Vec::new(), users: 60, vehicles: 150, rides: 300, seed: 1 };
        load::with_progress(&db, &catalogue, &plan, &hash).await?;
        sample::accounts(&db, &catalogue, &first.region, &hash, Clock::default().now()).await?;
    }
    db.close();
    let mut services = Vec::new();
    for config in configs {
        services.push(Service::start(config, Clock::default()).await?);
    }
    // What went before, starting and loading, is not about distance.
    for (link, round_trip) in links.values() {
        link.set_round_trip(*round_trip);
    }
    for (service, usual) in services.into_iter().zip(FIRST_PORT..) {
        let (instance, server) = server::start(service)?;
        actix_web::rt::spawn(server);
        let moved = if instance.address.port() == usual { "" } else { " (another port: the usual one is taken)" };
        println!("  {:<14} http://{}{moved}", instance.state.service.here.as_str(), instance.address);
        running.push(instance);
    }
    println!("Sign in as rider, owner, operator or administrator; password: {PASSWORD}");
    Ok(())
}

/// The key that signs cookies, kept with the data so that a restart signs nobody out.
fn secret_key(data: &Path) -> std::io::Result<String> {
    let file = data.join("secret-key");
    if let Ok(key) = std::fs::read_to_string(&file) {
        return Ok(key);
    }
    let key = STANDARD.encode(rand::random::<[[u8; 32]; 2]>().concat());
    write_private(&file, &key)?;
    Ok(key)
}

/// The settings of a region's instance, for a shell to read.
fn settings_file(data: &Path, region: &RegionCode) -> PathBuf {
    data.join(format!("{region}.env"))
}

fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    // One that was there keeps its mode.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}

/// The settings of each instance: the environment's, and ours over them.
fn settings(args: &Args, server: &Server, links: &Links, file: &Catalogue, data: &Path) -> Outcome<Vec<Config>> {
    let simulated = matches!(server, Server::Cockroach(_)) || !links.is_empty();
    let key = secret_key(data)?;
    let mut environment = config::environment();
    // The nodes of a real deployment, if this shell knows any, are none of ours.
    environment.retain(|name, _| !name.starts_with(config::REGION_URL_PREFIX));
    environment.entry("RUST_LOG".to_owned()).or_insert_with(|| "warn,deadpool.postgres=error".to_owned());
    let regions = || file.regions.iter().map(|region| &region.code);
    let primary = regions().next().filter(|_| args.locality == Locality::Off);
    let mut metrics: Option<SocketAddr> = environment.get("MOVR_METRICS_LISTEN").and_then(|text| text.parse().ok());
    let (mut port, mut configs) = (FIRST_PORT, Vec::new());
    for region in regions() {
        let (mut vars, mut exports) = (environment.clone(), String::new());
        let mut set = |name: &str, value: &str| {
            exports.extend(["export ", name, "='", &value.replace('\'', r"'\''"), "'\n"]);
            vars.insert(name.to_owned(), value.to_owned());
        };
        for other in regions().filter(|other| *other != region && simulated && primary.is_none()) {
            set(&Database::region_variable(other), &server.url(links, region, other)?);
        }
        if let Server::Cockroach(_) = server {
            // A cold node of the demo takes seconds for its first statements.
            set("MOVR_STATEMENT_TIMEOUT_MS", "10000");
            set("MOVR_WRITE_TIMEOUT_MS", "10000");
        }
        let listen = free_address(args.host, port);
        port = listen.port().saturating_add(1);
        set("MOVR_REGION", region.as_str());
        // A cluster has nodes here in any case; the one database of PostgreSQL is where the rows are.
        let nodes = primary.filter(|_| matches!(server, Server::Postgres(_))).unwrap_or(region);
        set("DATABASE_URL", &server.url(links, region, nodes)?);
        set("MOVR_LISTEN", &listen.to_string());
        if let Some(wanted) = &mut metrics {
            *wanted = free_address(wanted.ip(), wanted.port());
            set("MOVR_METRICS_LISTEN", &wanted.to_string());
            wanted.set_port(wanted.port().saturating_add(1));
        }
        set("MOVR_PUBLIC_URL", &format!("http://{listen}"));
        set("MOVR_SECRET_KEYS", &key);
        set("MOVR_DRAIN_DELAY_MS", "0");
        write_private(&settings_file(data, region), &exports)?;
        let mut config = Config::from_vars(vars)?;
        (config.simulated, config.all_rows_in) = (simulated, primary.cloned());
        configs.push(config);
    }
    Ok(configs)
}

/// The first free port from `port` on; the system's choice when many are taken.
fn free_address(host: IpAddr, port: u16) -> SocketAddr {
    let free = |port: &u16| TcpListener::bind((host, *port)).is_ok();
    SocketAddr::new(host, (port..port.saturating_add(100)).find(free).unwrap_or(0))
}
