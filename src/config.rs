//! Every setting that comes from the environment, read once at start into plain typed fields.
//! The table of names, defaults and meanings is in `vars`, the forms of values in `values`;
//! anyone may use this module, and it uses none of the layers.
//! The surprise: reading goes on after a mistake, so that one start tells all mistakes; and it
//! takes the whole environment instead of a lookup by name, because the names of
//! `MOVR_DATABASE_URL_<REGION>` are not known beforehand.

mod reader;
mod values;
mod vars;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;

use crate::domain::{people, region::RegionCode};
use reader::Reader;

pub use values::{LogFormat, PublicUrl, Secret, Tiles};
pub use vars::{Default, REGION_URL_PREFIX, VARS, Var, markdown_table};

/// What `movr serve` needs; [`Tools`] is enough for the other commands.
#[derive(Debug, Clone)]
pub struct Config {
    pub region: String,
    pub database: Database,
    pub log: Log,
    /// What hashing a password costs.
    pub passwords: Passwords,
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    pub public_url: PublicUrl,
    /// One to three keys of at least 64 bytes: the first signs, all verify.
    pub secret_keys: Secret<Vec<Vec<u8>>>,
    pub proxy: Proxy,
    /// Map tiles, or none.
    pub tiles: Option<Tiles>,
    pub feed_contact: String,
    pub request_timeout: Duration,
    /// A failed sign-in answers after this time, whatever the reason.
    pub sign_in_floor: Duration,
    pub workers: usize,
    /// Connections at the same time.
    pub max_connections: usize,
    /// Time for which a connection without a request stays open.
    pub keep_alive: Duration,
    pub connection_lifetime: Duration,
    pub catalogue_reload: Duration,
    /// Time between two looks at a region that answers.
    pub watch: Duration,
    /// Time between two looks of the worker without work.
    pub worker: Duration,
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Time to become ready, after which the process ends.
    pub warm_up_timeout: Duration,
    /// After SIGTERM: time not ready but still serving.
    pub drain_delay: Duration,
    /// After the drain delay: time for the open requests to end.
    pub shutdown_timeout: Duration,
}

/// What the commands beside `movr serve` need.
#[derive(Debug, Clone)]
pub struct Tools {
    pub database: Database,
    pub log: Log,
    /// What hashing a password costs.
    pub passwords: Passwords,
}

/// Where the database is, and how long it is waited for.
#[derive(Debug, Clone)]
pub struct Database {
    pub url: Secret<String>,
    region_urls: BTreeMap<String, Secret<String>>,
    pub statement_timeout: Duration,
    /// Longest time of one try of a write; after it no new try begins.
    pub write_timeout: Duration,
    pub connect_timeout: Duration,
    pub pool_size: usize,
    /// Age at which a connection is replaced, before jitter.
    pub pool_lifetime: Duration,
    /// A probe of a region or node fails after this time.
    pub probe_timeout: Duration,
    /// Failed probes in a row that open the circuit of a region, or that nodes are left for.
    pub probe_failures: u32,
    /// The region of this instance; none for commands.
    pub here: Option<RegionCode>,
}

impl Database {
    /// The variable that names the nodes of `region`.
    pub fn region_variable(region: &RegionCode) -> String {
        format!("{}{}", REGION_URL_PREFIX, region.as_str().to_ascii_uppercase().replace('-', "_"))
    }

    /// The other regions' nodes: `..._EUROPE_WEST1` is the region `europe-west1`.
    pub fn region_urls(&self) -> impl Iterator<Item = (RegionCode, &str)> {
        self.region_urls.iter().filter_map(|(suffix, url)| {
            let code = suffix.to_ascii_lowercase().replace('_', "-");
            Some((code.parse().ok()?, url.expose().as_str()))
        })
    }
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Log {
    pub format: LogFormat,
    /// A filter that `tracing` accepts.
    pub filter: String,
}

/// What hashing a password (argon2id) costs.
#[derive(Debug, Clone, Copy)]
pub struct Passwords {
    /// Memory of one hash, in KiB.
    pub memory_kib: u32,
    /// Passes of one hash.
    pub iterations: u32,
    /// Hashes at the same time.
    pub threads: usize,
}

/// Whom to believe about the client.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub trusted: Vec<IpNet>,
    pub address_header: String,
    pub city_header: Option<String>,
    /// Header in which they give the client's `latitude,longitude`.
    pub coordinates_header: Option<String>,
}

impl Proxy {
    /// Whether headers of a peer at `address` are believed; `::ffff:10.0.0.1` is `10.0.0.1`.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// All that is wrong with the environment, one variable a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Variable and what is wrong with its value, in the order in which they were read.
    pub problems: Vec<(String, String)>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the environment is not complete or not right:")?;
        self.problems.iter().try_for_each(|(name, problem)| write!(f, "\n  {name}: {problem}"))
    }
}

impl std::error::Error for ConfigError {}

/// The value of one environment variable; the only reader of the process's environment beside
/// [`environment`], for the few that are not settings (`HOME`, `MOVR_PG_BIN`).
#[allow(clippy::disallowed_methods, reason = "this module is where the environment is read")]
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The whole environment; bytes that are not UTF-8 become U+FFFD, which no setting accepts.
#[allow(clippy::disallowed_methods, reason = "this module is where the environment is read")]
pub fn environment() -> BTreeMap<String, String> {
    let text = |bytes: std::ffi::OsString| bytes.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Every variable that is missing or wrong.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_vars(environment())
    }

    /// Reads `vars`; of two with one name the later holds.
    ///
    /// # Errors
    /// Every variable that is missing or wrong.
    pub fn from_vars<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> Result<Self, ConfigError>
    where
        N: Into<String>,
        V: Into<String>,
    {
        let mut r = Reader::new(vars);
        let tiles = r.tiles();
        let mut config = Self {
            region: r.read("MOVR_REGION", values::region).unwrap_or_default(),
            database: r.database(),
            log: r.log(),
            passwords: r.passwords(),
            listen: r.listen(),
            public_url: r.read("MOVR_PUBLIC_URL", values::public_url).unwrap_or_default(),
            secret_keys: r.read("MOVR_SECRET_KEYS", values::secret_keys).unwrap_or_default(),
            proxy: r.proxy(),
            tiles,
            feed_contact: r.read("MOVR_FEED_CONTACT", people::email).unwrap_or_default(),
            request_timeout: r.milliseconds("MOVR_REQUEST_TIMEOUT_MS", 100),
            sign_in_floor: r.milliseconds("MOVR_SIGN_IN_FLOOR_MS", 0),
            workers: r.cores("MOVR_WORKERS"),
            max_connections: r.number("MOVR_MAX_CONNECTIONS", 1, 100_000) as usize,
            keep_alive: r.seconds("MOVR_KEEP_ALIVE_S"),
            connection_lifetime: r.seconds("MOVR_CONNECTION_LIFETIME_S"),
            catalogue_reload: r.seconds("MOVR_CATALOGUE_RELOAD_S"),
            watch: r.milliseconds("MOVR_WATCH_MS", 100),
            worker: r.milliseconds("MOVR_WORKER_MS", 0),
            max_body_bytes: r.number("MOVR_MAX_BODY_KIB", 1, 65_536) as usize * 1024,
            warm_up_timeout: r.seconds("MOVR_WARM_UP_TIMEOUT_S"),
            drain_delay: r.milliseconds("MOVR_DRAIN_DELAY_MS", 0),
            shutdown_timeout: r.milliseconds("MOVR_SHUTDOWN_TIMEOUT_MS", 0),
        };
        config.database.here = config.region.parse().ok();
        if let Some(own) = &config.database.here
            && config.database.region_urls().any(|(region, _)| region == *own)
        {
            r.problem(
                &Database::region_variable(own),
                "names the instance's own region, whose nodes are in DATABASE_URL",
            );
        }
        r.at_most("MOVR_STATEMENT_TIMEOUT_MS", config.database.statement_timeout, &config);
        r.at_most("MOVR_WRITE_TIMEOUT_MS", config.database.write_timeout, &config);
        r.finish(config)
    }
}

impl Tools {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Every variable that is missing or wrong.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_vars(environment())
    }

    /// Reads `vars`; of two with one name the later holds.
    ///
    /// # Errors
    /// Every variable that is missing or wrong.
    pub fn from_vars<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> Result<Self, ConfigError>
    where
        N: Into<String>,
        V: Into<String>,
    {
        let mut r = Reader::new(vars);
        let tools = Self { database: r.database(), log: r.log(), passwords: r.passwords() };
        r.finish(tools)
    }
}

impl Reader {
    fn listen(&mut self) -> SocketAddr {
        let parse = |text: &str| {
            text.parse().map_err(|error| format!("{text:?} is not like 0.0.0.0:8080 or [::]:8080 ({error})"))
        };
        self.read("MOVR_LISTEN", parse).unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    fn database(&mut self) -> Database {
        let statement_timeout = self.milliseconds("MOVR_STATEMENT_TIMEOUT_MS", 10);
        let set = self.read("MOVR_PROBE_TIMEOUT_MS", |text| values::milliseconds(text, 10..=3_600_000));
        if set.is_some_and(|set| set <= statement_timeout) {
            self.problem("MOVR_PROBE_TIMEOUT_MS", "must be more than MOVR_STATEMENT_TIMEOUT_MS");
        }
        Database {
            url: self.read("DATABASE_URL", values::database_url).unwrap_or_default(),
            region_urls: self.region_urls(),
            statement_timeout,
            write_timeout: self.milliseconds("MOVR_WRITE_TIMEOUT_MS", 10),
            connect_timeout: self.milliseconds("MOVR_CONNECT_TIMEOUT_MS", 10),
            pool_size: self.number("MOVR_POOL_SIZE", 1, 10_000) as usize,
            pool_lifetime: self.seconds("MOVR_POOL_LIFETIME_S"),
            probe_timeout: set.unwrap_or(statement_timeout * 5 / 4),
            probe_failures: self.number("MOVR_PROBE_FAILURES", 1, 100),
            here: None,
        }
    }

    fn region_urls(&mut self) -> BTreeMap<String, Secret<String>> {
        let mut urls = BTreeMap::new();
        for (name, value) in &self.vars {
            let Some(suffix) = name.strip_prefix(REGION_URL_PREFIX) else {
                continue;
            };
            match values::database_url(value.trim()) {
                _ if value.trim().is_empty() => {}
                Ok(url) => drop(urls.insert(suffix.to_owned(), url)),
                Err(problem) => self.problems.push((name.clone(), problem)),
            }
        }
        urls
    }

    fn log(&mut self) -> Log {
        Log {
            format: self.read("MOVR_LOG_FORMAT", values::log_format).unwrap_or_default(),
            filter: self.read("RUST_LOG", values::log_filter).unwrap_or_default(),
        }
    }

    fn passwords(&mut self) -> Passwords {
        Passwords {
            memory_kib: self.number("MOVR_PASSWORD_MEMORY_KIB", 8, 1_048_576),
            iterations: self.number("MOVR_PASSWORD_ITERATIONS", 1, 100),
            threads: self.cores("MOVR_PASSWORD_THREADS"),
        }
    }

    fn proxy(&mut self) -> Proxy {
        let header = values::header_name;
        Proxy {
            trusted: self.read("MOVR_TRUSTED_PROXIES", values::networks).unwrap_or_default(),
            address_header: self.read("MOVR_CLIENT_ADDRESS_HEADER", header).unwrap_or_default(),
            city_header: self.read("MOVR_CLIENT_CITY_HEADER", header),
            coordinates_header: self.read("MOVR_CLIENT_COORDINATES_HEADER", header),
        }
    }

    fn tiles(&mut self) -> Option<Tiles> {
        if self.vars.get("MOVR_TILES_URL").is_some_and(|url| url.trim().is_empty()) {
            return None;
        }
        let url = self.read("MOVR_TILES_URL", values::tiles_url)?;
        let attribution = self.read("MOVR_TILES_ATTRIBUTION", |text| Ok(text.to_owned()))?;
        Some(Tiles { url, attribution })
    }

    /// A database deadline beyond the request's would never be reached.
    fn at_most(&mut self, name: &str, deadline: Duration, config: &Config) {
        if self.problems.is_empty() && deadline > config.request_timeout {
            self.problem(name, "is longer than MOVR_REQUEST_TIMEOUT_MS");
        }
    }
}
