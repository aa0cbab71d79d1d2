//! Every setting, once: the fields of [`Config`] are clap arguments with the variable of the environment, the default and
//! the meaning, so that `movr serve --help` and the README's table say the same. The forms of values are in `values`.
//! Anyone may use this module, and it uses none of the layers beside `domain`.
//!
//! clap alone would end at the first mistake, repeat a secret that is not right, and take an empty variable, which is how
//! container tools pass one that is not set, for a value. So `read` gives it one setting after the other.

mod values;

use std::{
    collections::BTreeMap,
    error::Error,
    ffi::OsStr,
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use clap::{Arg, ArgMatches, Args, Command, builder::Resettable, parser::ValueSource, value_parser};
use ipnet::IpNet;

use crate::domain::{people, region::RegionCode};
use values::{cores, count, kibibytes, milliseconds, number, seconds};

pub use values::{LogFormat, OwnPage, PublicUrl, Secret, Tiles};

/// The prefix of the variables that hold the other regions' database URLs.
pub const REGION_URL_PREFIX: &str = "MOVR_DATABASE_URL_";

/// What those variables mean.
pub const REGION_URLS: &str = "Another region's nodes, such as `MOVR_DATABASE_URL_EUROPE_WEST1`; without it that region is \
    reached through `DATABASE_URL`.";

const REGION: &str = "MOVR_REGION";
const LISTEN: &str = "MOVR_LISTEN";
const LISTEN_DEFAULT: &str = "0.0.0.0:8080";
/// Empty, this one means something: no tiles.
const TILES_URL: &str = "MOVR_TILES_URL";

/// What `movr serve` needs; [`Tools`] is enough for the other commands.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// The region in which this instance runs, as in the catalogue: `us-east1`.
    #[arg(long, env = REGION, value_parser = values::region)]
    pub region: RegionCode,
    #[command(flatten)]
    pub database: Database,
    /// Address and port to listen on.
    // Port 0 takes a free one.
    #[arg(long, env = LISTEN, default_value = LISTEN_DEFAULT, value_parser = values::listen)]
    pub listen: SocketAddr,
    /// Address and port for Prometheus, which gets `/metrics` there, such as `127.0.0.1:9090`: not to be reached by clients.
    #[arg(long, env = "MOVR_METRICS_LISTEN", value_parser = values::listen)]
    pub metrics_listen: Option<SocketAddr>,
    /// The address in the browser: `https://movr.example`. With `https` cookies are `__Host-` and `Secure`, and HSTS is sent.
    #[arg(long, env = "MOVR_PUBLIC_URL", value_parser = values::public_url)]
    pub public_url: PublicUrl,
    /// One to three base64 keys of at least 64 bytes (`openssl rand -base64 64 | tr -d '\n'`), separated by commas, the same
    /// in all regions: the first signs cookies, all are accepted.
    #[arg(long, env = "MOVR_SECRET_KEYS", hide_env_values = true, value_parser = values::secret_keys)]
    pub secret_keys: Secret<Vec<Vec<u8>>>,
    #[command(flatten)]
    pub proxy: Proxy,
    /// URL of the map tiles; set but empty: a map without tiles.
    #[arg(long, env = TILES_URL, default_value = "https://tile.openstreetmap.org/{z}/{x}/{y}.png")]
    #[arg(value_parser = values::tiles_url)]
    tiles_url: String,
    /// Attribution of the tiles on the map, as plain text.
    #[arg(long, env = "MOVR_TILES_ATTRIBUTION", default_value = "© OpenStreetMap contributors")]
    tiles_attribution: String,
    /// Of the two before this; none where the URL is empty.
    #[arg(skip)]
    pub tiles: Option<Tiles>,
    /// Contact e-mail address that the GBFS feeds publish.
    #[arg(long, env = "MOVR_FEED_CONTACT", default_value = "feeds@movr.example", value_parser = people::email)]
    pub feed_contact: String,
    /// Folder with `help.html`, `terms.html`, `privacy.html`, `imprint.html`, or some of them: the content of the pages
    /// of these names, without `<html>` and heading. They are read at the start, and linked at the foot of every page.
    // By its whole path, for clap would make one argument for each element of a `Vec`.
    #[arg(long, env = "MOVR_PAGES", default_value = "", hide_default_value = true, value_parser = values::pages)]
    pub pages: std::vec::Vec<OwnPage>,
    #[command(flatten)]
    pub log: Log,
    /// Collector to which traces are sent, by OTLP over HTTP: `http://127.0.0.1:4318`. Without it none are
    /// sent; with it the specification's other variables hold, too (`OTEL_TRACES_SAMPLER`), but no endpoint for traces alone.
    #[arg(long = "otlp-endpoint", env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = values::collector)]
    pub traces: Option<String>,
    /// Deadline of a request, in milliseconds; twelve times that for a file that is imported, and fourteen times for
    /// the last byte of the answer.
    #[arg(long, env = "MOVR_REQUEST_TIMEOUT_MS", default_value = "10000", value_parser = milliseconds(100))]
    pub request_timeout: Duration,
    /// Web worker threads; `cores` is one for each processor.
    #[arg(long, env = "MOVR_WORKERS", default_value = "cores", value_parser = cores())]
    pub workers: usize,
    /// Connections of clients at the same time; others wait until one ends.
    #[arg(long, env = "MOVR_MAX_CONNECTIONS", default_value = "512", value_parser = count(1, 100_000))]
    pub max_connections: usize,
    /// How long an idle connection stays open, in seconds. It must be longer than the load balancer keeps one, which
    /// otherwise sends requests into connections that are just being closed, and answers 502.
    #[arg(long, env = "MOVR_KEEP_ALIVE_S", default_value = "75", value_parser = seconds())]
    pub keep_alive: Duration,
    /// Age from which a connection is closed after its next answer, in seconds.
    #[arg(long, env = "MOVR_CONNECTION_LIFETIME_S", default_value = "600", value_parser = seconds())]
    pub connection_lifetime: Duration,
    /// Largest request body, in KiB; a file that is imported may have 20 MB.
    #[arg(long = "max-body", env = "MOVR_MAX_BODY_KIB", default_value = "64", value_parser = kibibytes(1, 65_536))]
    pub max_body_bytes: usize,
    #[command(flatten)]
    pub passwords: Passwords,
    /// A failed sign-in is answered after this many milliseconds, whatever the reason.
    #[arg(long, env = "MOVR_SIGN_IN_FLOOR_MS", default_value = "1000", value_parser = milliseconds(0))]
    pub sign_in_floor: Duration,
    /// Seconds between two reloads of the catalogue.
    #[arg(long, env = "MOVR_CATALOGUE_RELOAD_S", default_value = "30", value_parser = seconds())]
    pub catalogue_reload: Duration,
    /// Milliseconds between two probes of a region that answers; one that does not is probed twice a second.
    #[arg(long, env = "MOVR_WATCH_MS", default_value = "5000", value_parser = milliseconds(100))]
    pub watch: Duration,
    /// Milliseconds between two polls for jobs of this region that no instance works on; a job that is confirmed here
    /// begins at once. 0: this instance does no jobs, ends no overdue rides, withdraws no reported vehicles
    /// and keeps no planned closing.
    #[arg(long, env = "MOVR_WORKER_MS", default_value = "1000", value_parser = milliseconds(0))]
    pub worker: Duration,
    /// Longest time from the start until ready (connect, prepare, load the catalogue), in seconds; then the process ends
    /// with code 1.
    #[arg(long, env = "MOVR_WARM_UP_TIMEOUT_S", default_value = "30", value_parser = seconds())]
    pub warm_up_timeout: Duration,
    /// After SIGTERM: time not ready but still serving, in milliseconds, so that the load balancer notices.
    #[arg(long, env = "MOVR_DRAIN_DELAY_MS", default_value = "5000", value_parser = milliseconds(0))]
    pub drain_delay: Duration,
    /// After the drain delay: time for the open requests to end, in milliseconds.
    #[arg(long, env = "MOVR_SHUTDOWN_TIMEOUT_MS", default_value = "20000", value_parser = milliseconds(0))]
    pub shutdown_timeout: Duration,
    /// The distances between regions are simulated: everybody sees what each page cost (`movr demo`).
    #[arg(skip)]
    pub simulated: bool,
    /// The region that holds all rows, whatever their own says (`movr demo --locality off`).
    #[arg(skip)]
    pub all_rows_in: Option<RegionCode>,
}

/// What the commands beside `movr serve` need.
#[derive(Debug, Clone, Args)]
pub struct Tools {
    #[command(flatten)]
    pub database: Database,
    #[command(flatten)]
    pub log: Log,
    #[command(flatten)]
    pub passwords: Passwords,
}

/// Where the database is, and how long it is waited for.
#[derive(Debug, Clone, Args)]
pub struct Database {
    /// This region's nodes, as a PostgreSQL URL: several hosts, `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `options`;
    /// what CockroachDB Cloud shows can be used unchanged.
    #[arg(long = "database-url", env = "DATABASE_URL", hide_env_values = true, value_parser = values::database_url)]
    pub url: Secret<String>,
    #[arg(skip)]
    region_urls: BTreeMap<RegionCode, Secret<String>>,
    /// Deadline of a statement that reads, in milliseconds.
    #[arg(long, env = "MOVR_STATEMENT_TIMEOUT_MS", default_value = "2000", value_parser = milliseconds(10))]
    pub statement_timeout: Duration,
    /// Deadline of one attempt of a write, in milliseconds; after it no new attempt begins. A transaction sends its COMMIT
    /// within it. It must be the same in all regions and for `movr operator`: the fence of a closed region is computed from it.
    #[arg(long, env = "MOVR_WRITE_TIMEOUT_MS", default_value = "4000", value_parser = milliseconds(10))]
    pub write_timeout: Duration,
    /// Deadline for connecting to one database node, in milliseconds.
    #[arg(long, env = "MOVR_CONNECT_TIMEOUT_MS", default_value = "3000", value_parser = milliseconds(10))]
    pub connect_timeout: Duration,
    /// Database connections of this instance to its own region, and a quarter of that to each other region, plus up to
    /// twelve that only probe. Requests that wait for another region get at most a quarter of them.
    #[arg(long, env = "MOVR_POOL_SIZE", default_value = "16", value_parser = count(1, 10_000))]
    pub pool_size: usize,
    /// Age at which a connection is replaced, in seconds, give or take 10 %.
    #[arg(long, env = "MOVR_POOL_LIFETIME_S", default_value = "300", value_parser = seconds())]
    pub pool_lifetime: Duration,
    /// A probe of a region fails after this many milliseconds: more than `MOVR_STATEMENT_TIMEOUT_MS`, so that a slow
    /// answer is not taken for none. Without it a quarter more than that.
    #[arg(long, env = "MOVR_PROBE_TIMEOUT_MS", value_parser = milliseconds(10))]
    probe_timeout: Option<Duration>,
    /// Failed probes in a row, without any answer between them, after which a region counts as unreachable.
    #[arg(long, env = "MOVR_PROBE_FAILURES", default_value = "3", value_parser = number(1, 100))]
    pub probe_failures: u32,
    /// The region of this instance; none for commands.
    #[arg(skip)]
    pub here: Option<RegionCode>,
}

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
pub struct Log {
    /// `text` for people, `json` for log collectors.
    #[arg(long = "log-format", env = "MOVR_LOG_FORMAT", default_value = "text", value_parser = values::log_format)]
    pub format: LogFormat,
    /// What is logged, as a `tracing` filter: `info,movr::db=debug`.
    #[arg(long = "log-filter", env = "RUST_LOG", default_value = "info", value_parser = values::log_filter)]
    pub filter: String,
}

/// What hashing a password costs.
#[derive(Debug, Clone, Copy, Args)]
pub struct Passwords {
    /// Memory of one argon2id hash, in KiB.
    #[arg(long = "password-memory", env = "MOVR_PASSWORD_MEMORY_KIB")]
    #[arg(default_value = "19456", value_parser = number(8, 1_048_576))]
    pub memory_kib: u32,
    /// Passes of one argon2id hash.
    #[arg(long = "password-iterations", env = "MOVR_PASSWORD_ITERATIONS")]
    #[arg(default_value = "2", value_parser = number(1, 100))]
    pub iterations: u32,
    /// Passwords hashed at the same time; the others wait.
    #[arg(long = "password-threads", env = "MOVR_PASSWORD_THREADS", default_value = "cores", value_parser = cores())]
    pub threads: usize,
}

/// Whom to believe about the client.
#[derive(Debug, Clone, Args)]
pub struct Proxy {
    /// Addresses and CIDRs of the proxies whose headers are believed, separated by commas: `10.0.0.0/8,::1`.
    // By its whole path, for clap would make one argument for each element of a `Vec`.
    #[arg(long = "trusted-proxies", env = "MOVR_TRUSTED_PROXIES", default_value = "", hide_default_value = true)]
    #[arg(value_parser = values::networks)]
    pub trusted: std::vec::Vec<IpNet>,
    /// Header in which a trusted proxy appends the client's address.
    #[arg(long = "client-address-header", env = "MOVR_CLIENT_ADDRESS_HEADER")]
    #[arg(default_value = "X-Forwarded-For", value_parser = values::header_name)]
    pub address_header: String,
    /// Header in which a trusted proxy names the client's city: `X-Client-City`.
    #[arg(long = "client-city-header", env = "MOVR_CLIENT_CITY_HEADER", value_parser = values::header_name)]
    pub city_header: Option<String>,
    /// Header in which a trusted proxy gives the client's `latitude,longitude`.
    #[arg(long = "client-coordinates-header", env = "MOVR_CLIENT_COORDINATES_HEADER")]
    #[arg(value_parser = values::header_name)]
    pub coordinates_header: Option<String>,
}

impl Database {
    /// The variable that names the nodes of `region`.
    pub fn region_variable(region: &RegionCode) -> String {
        format!("{}{}", REGION_URL_PREFIX, region.as_str().to_ascii_uppercase().replace('-', "_"))
    }

    /// The other regions' nodes.
    pub fn region_urls(&self) -> impl Iterator<Item = (RegionCode, &str)> {
        self.region_urls.iter().map(|(region, url)| (region.clone(), url.expose().as_str()))
    }

    pub fn probe_timeout(&self) -> Duration {
        self.probe_timeout.unwrap_or(self.statement_timeout * 5 / 4)
    }
}

impl Proxy {
    /// Whether headers of a peer at `address` are believed; `::ffff:10.0.0.1` is `10.0.0.1`.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// All that is wrong with the settings, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Variable, and what is wrong with its value.
    pub problems: Vec<(String, String)>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the environment is not complete or not right:")?;
        self.problems.iter().try_for_each(|(name, problem)| write!(f, "\n  {name}: {problem}"))
    }
}

impl Error for ConfigError {}

/// The value of one environment variable; the only reader of the process's environment beside
/// [`environment`], for the few that are not settings (`HOME`, `MOVR_PG_BIN`).
#[allow(clippy::disallowed_methods, reason = "this module is where the environment is read")]
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Variables by name.
pub type Vars = BTreeMap<String, String>;

/// The whole environment; bytes that are not UTF-8 become U+FFFD, which no setting accepts.
#[allow(clippy::disallowed_methods, reason = "this module is where the environment is read")]
pub fn environment() -> Vars {
    let text = |bytes: std::ffi::OsString| bytes.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Where an instance with this environment listens, whatever else is set.
pub fn listen(vars: &Vars) -> Result<SocketAddr, String> {
    let text = vars.get(LISTEN).map(|text| text.trim()).filter(|text| !text.is_empty());
    values::listen(text.unwrap_or(LISTEN_DEFAULT)).map_err(|problem| format!("{LISTEN}: {problem}"))
}

impl Config {
    /// Fails with every variable that is missing or wrong; of two with one name the later holds.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Result<Self, ConfigError> {
        let mut config: Self = read(&collect(vars), |config: &mut Self| &mut config.database)?;
        config.database.here = Some(config.region.clone());
        let (url, attribution) = (config.tiles_url.clone(), config.tiles_attribution.clone());
        config.tiles = (!url.is_empty()).then_some(Tiles { url, attribution });
        // A database deadline beyond the request's would never be reached.
        let Database { statement_timeout, write_timeout, .. } = config.database;
        let problems: Vec<_> =
            [("MOVR_STATEMENT_TIMEOUT_MS", statement_timeout), ("MOVR_WRITE_TIMEOUT_MS", write_timeout)]
                .into_iter()
                .filter(|(_, deadline)| *deadline > config.request_timeout)
                .map(|(name, _)| (name.to_owned(), "is longer than MOVR_REQUEST_TIMEOUT_MS".to_owned()))
                .collect();
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }
}

impl Tools {
    /// Fails with every variable that is missing or wrong; of two with one name the later holds.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Result<Self, ConfigError> {
        let mut vars = collect(vars);
        // A tool is in no region: whatever the variable says, it may be told the nodes of all.
        vars.remove(REGION);
        read(&vars, |tools: &mut Self| &mut tools.database)
    }
}

fn collect(vars: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Vars {
    vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// The variable of a setting.
fn variable(arg: &Arg) -> &str {
    arg.get_env().and_then(OsStr::to_str).expect("every setting has a variable")
}

/// The settings of `T`, and in `database` the other regions' nodes, whose variables are not known beforehand.
fn read<T: Args>(vars: &Vars, database: fn(&mut T) -> &mut Database) -> Result<T, ConfigError> {
    let settings = T::augment_args(Command::default().no_binary_name(true));
    let (mut right, mut problems) = (Vec::new(), Vec::new());
    for arg in settings.get_arguments() {
        let name = variable(arg);
        let value = vars.get(name).map(|value| value.trim()).filter(|value| !value.is_empty() || name == TILES_URL);
        let Some(value) = value else {
            if arg.is_required_set() {
                problems.push((name.to_owned(), "is not set, and has no default".to_owned()));
            }
            continue;
        };
        let flag = format!("--{}={value}", arg.get_long().expect("every setting is a flag"));
        let alone = Command::default().no_binary_name(true).arg(arg.clone().env(Resettable::Reset));
        match alone.try_get_matches_from([&flag]) {
            Ok(_) => right.push(flag),
            // Its source says what is wrong; the error itself repeats the value.
            Err(error) => problems.push((name.to_owned(), error.source().map(ToString::to_string).unwrap_or_default())),
        }
    }
    let mut region_urls = BTreeMap::new();
    let own: Option<RegionCode> = vars.get(REGION).and_then(|region| region.trim().parse().ok());
    for (name, url) in vars.iter().filter(|(_, url)| !url.trim().is_empty()) {
        let suffix = name.strip_prefix(REGION_URL_PREFIX).map(|suffix| suffix.to_ascii_lowercase().replace('_', "-"));
        let Some(region) = suffix.and_then(|region| region.parse().ok()) else {
            continue;
        };
        match values::database_url(url.trim()) {
            Ok(_) if own.as_ref() == Some(&region) => {
                let problem = "names the instance's own region, whose nodes are in DATABASE_URL";
                problems.push((name.clone(), problem.to_owned()));
            }
            Ok(url) => drop(region_urls.insert(region, url)),
            Err(problem) => problems.push((name.clone(), problem)),
        }
    }
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let matches = settings.mut_args(|arg| arg.env(Resettable::Reset)).try_get_matches_from(right);
    let mut settings = matches.and_then(|matches| T::from_arg_matches(&matches)).expect("each was right alone");
    let database = database(&mut settings);
    database.region_urls = region_urls;
    if database.probe_timeout.is_some_and(|probe| probe <= database.statement_timeout) {
        let problem = "must be more than MOVR_STATEMENT_TIMEOUT_MS";
        return Err(ConfigError { problems: vec![("MOVR_PROBE_TIMEOUT_MS".to_owned(), problem.to_owned())] });
    }
    Ok(settings)
}

/// `command` with the settings of `T` as flags, which `--help` explains. A flag counts as its variable, set: the values are
/// text here and looked at in `read`.
pub fn with_flags<T: Args>(command: Command) -> Command {
    let as_text = |arg: Arg| {
        arg.required(false).value_parser(value_parser!(String)).help_heading("Settings, as flags or in the environment")
    };
    command
        .args(T::augment_args(Command::default()).mut_args(as_text).get_arguments())
        .after_help(format!("In the environment only: {REGION_URL_PREFIX}<REGION>. {REGION_URLS}"))
}

/// The settings that were given as flags, by their variables.
pub fn flags(matches: &ArgMatches) -> Vars {
    let given = |arg: &Arg| {
        let value = matches.try_get_one::<String>(arg.get_id().as_str()).ok()??;
        let source = matches.value_source(arg.get_id().as_str());
        (source == Some(ValueSource::CommandLine)).then(|| (variable(arg).to_owned(), value.clone()))
    };
    settings().get_arguments().filter_map(given).collect()
}

/// The settings as clap has them.
pub fn settings() -> Command {
    Config::augment_args(Command::default())
}
