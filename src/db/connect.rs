//! From a libpq-style URL to hosts, TLS and session settings: what a pool or one connection needs.
//! The driver parses the URL; the four keys that it does not know (`sslmode` beyond its own words,
//! `sslrootcert`, `sslcert`, `sslkey`) are taken out first and become a TLS configuration.
//! The surprise: whenever TLS is spoken the server's certificate is verified, name and chain, also
//! with `require`, `prefer` or no `sslmode` at all; only `disable` speaks plainly, and only
//! `verify-ca` leaves out the name.

mod explain;
mod tls;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio_postgres::{
    Client,
    config::{Host, LoadBalanceHosts, SslMode, SslNegotiation},
};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use explain::{explain, incurable};

/// A node that does not answer within this time is passed over for the next.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The system's two hours would keep connections to a dead node for a whole afternoon.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Sent bytes that no one acknowledges for this long end the connection: a node lost mid-statement.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// What is wrong with a database URL, in words that never hold its password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The text is not a URL of PostgreSQL.
    #[error("the database URL must look like postgresql://user:password@host:26257/movr?sslmode=verify-full")]
    NotAUrl,
    /// The driver refuses a part of the URL.
    #[error("the database URL is not right: {reason}")]
    Url {
        /// The driver's words, which name the parameter and not its value.
        reason: String,
        #[source]
        source: tokio_postgres::Error,
    },
    /// A parameter has a value that is not one of its values.
    #[error("{name}={value} in the database URL: {problem}")]
    Parameter { name: &'static str, value: String, problem: &'static str },
    /// A file that the URL names, or the default root file, cannot be used.
    #[error("{name} {path}: {reason}")]
    File {
        name: &'static str,
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// There is no certificate authority to trust.
    #[error(
        "no CA certificates found on this system: install the package ca-certificates, or name a file by sslrootcert ({0})"
    )]
    NoSystemRoots(String),
    /// The TLS library refuses what the files hold.
    #[error("sslcert and sslkey do not make a client certificate: {0}")]
    ClientCertificate(#[source] rustls::Error),
    /// The TLS library refuses the configuration.
    #[error("TLS cannot be configured: {0}")]
    Tls(String),
}

/// The TLS parameters of a URL, before any file is read.
#[derive(Debug, Default)]
struct TlsParameters {
    mode: Mode,
    root: Option<PathBuf>,
    system_roots: bool,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    direct: bool,
}

/// How far the server is trusted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    VerifyChain,
    #[default]
    VerifyFull,
}

/// One or several nodes of a database, and how to speak with them.
#[derive(Clone)]
pub struct Endpoint {
    /// Hosts, user, database and session options, for the driver.
    pub config: tokio_postgres::Config,
    /// The TLS side; it is not asked when `sslmode=disable`.
    pub tls: MakeRustlsConnect,
    connect_timeout_given: bool,
}

/// Shows what [`Endpoint::describe`] says, so that no password gets into a log.
impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Endpoint").field(&self.describe()).finish()
    }
}

impl Endpoint {
    /// Reads `url` and the certificate files that it names; `home` is where `.postgresql/root.crt`
    /// is looked for and what `~/` and `$HOME/` stand for in file names.
    ///
    /// # Errors
    /// When the URL or a file cannot be used; the message says which part, never the password.
    pub fn parse(url: &str, home: Option<&Path>) -> Result<Self, ConnectError> {
        let parts = Parts::split(url, home)?;
        let mut config: tokio_postgres::Config = parts.rest.parse().map_err(url_error)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(ConnectError::NotAUrl);
        }
        let given = |key: &str| parts.given.iter().any(|given| given == key);
        if !given("connect_timeout") {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if !given("tcp_user_timeout") {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        if !given("keepalives_idle") {
            config.keepalives_idle(KEEPALIVE);
        }
        if !given("load_balance_hosts") {
            config.load_balance_hosts(LoadBalanceHosts::Random);
        }
        if !given("application_name") {
            config.application_name("movr");
        }
        let mut parameters = parts.tls;
        // PostgreSQL speaks no TLS over a socket of this machine.
        let only_sockets =
            config.get_hostaddrs().is_empty() && config.get_hosts().iter().all(|host| !matches!(host, Host::Tcp(_)));
        if only_sockets {
            parameters.mode = Mode::Disable;
        }
        parameters.direct = config.get_ssl_negotiation() == SslNegotiation::Direct;
        config.ssl_mode(match parameters.mode {
            Mode::Disable => SslMode::Disable,
            Mode::VerifyChain | Mode::VerifyFull => SslMode::Require,
        });
        let connect_timeout_given = given("connect_timeout");
        let tls = MakeRustlsConnect::new(tls::client_config(&parameters, home)?);
        Ok(Self { config, tls, connect_timeout_given })
    }

    /// The same nodes, another database (to create the one that is missing).
    pub fn with_database(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.config.dbname(name);
        other
    }

    /// Waits `timeout` for each node, unless the URL says how long.
    pub fn with_connect_timeout(&mut self, timeout: Duration) -> &mut Self {
        if !self.connect_timeout_given {
            self.config.connect_timeout(timeout);
        }
        self
    }

    /// Every session begins with these settings; they follow the URL's own `options`, so they hold
    /// where both name one.
    pub fn with_session(&mut self, settings: &[(&str, &str)]) -> &mut Self {
        let mut options = self.config.get_options().unwrap_or_default().to_owned();
        for (name, value) in settings {
            let gap = if options.is_empty() { "" } else { " " };
            // Writing to a String cannot fail.
            let _ = write!(options, "{gap}-c {name}={}", escape_option(value));
        }
        self.config.options(options);
        self
    }

    /// How many nodes there are to try.
    pub fn hosts(&self) -> usize {
        self.config.get_hosts().len().max(self.config.get_hostaddrs().len()).max(1)
    }

    /// The nodes and the database, without user and password, for logs and messages.
    pub fn describe(&self) -> String {
        let ports = self.config.get_ports();
        let port = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(5432);
        let named = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let numbered = self.config.get_hostaddrs().iter().map(ToString::to_string);
        let mut hosts: Vec<String> = named.collect();
        if hosts.is_empty() {
            hosts = numbered.collect();
        }
        let nodes = hosts.iter().enumerate().map(|(i, host)| format!("{host}:{}", port(i)));
        let nodes = nodes.collect::<Vec<_>>().join(",");
        match self.config.get_dbname() {
            Some(database) => format!("{nodes}/{database}"),
            None => nodes,
        }
    }

    /// Opens one connection outside of any pool; it is driven by a task of its own until the client
    /// is dropped.
    ///
    /// # Errors
    /// The driver's error of the last node tried; [`explain`] puts it into words.
    pub async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(reason = explain(&error), "database connection ended");
            }
        });
        Ok(client)
    }
}

/// Spaces end an option and backslashes escape, on both engines.
fn escape_option(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if c == '\\' || c.is_ascii_whitespace() {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The driver names the parameter and leaves its value out.
fn url_error(source: tokio_postgres::Error) -> ConnectError {
    let reason = std::error::Error::source(&source).map_or_else(|| source.to_string(), ToString::to_string);
    ConnectError::Url { reason, source }
}

/// A URL without its TLS parameters, and those parameters.
struct Parts {
    rest: String,
    tls: TlsParameters,
    given: Vec<String>,
}

impl Parts {
    fn split(url: &str, home: Option<&Path>) -> Result<Self, ConnectError> {
        if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
            return Err(ConnectError::NotAUrl);
        }
        let (base, query) = url.split_at(query_at(url));
        // The driver takes the first `@` for the end of the password; it is the last.
        let rest = match base.rsplit_once('@') {
            Some((person, nodes)) => format!("{}@{nodes}", person.replace('@', "%40")),
            None => base.to_owned(),
        };
        let mut parts = Self { rest, tls: TlsParameters::default(), given: Vec::new() };
        let query = match query.strip_prefix('?') {
            Some(query) => query.replace('@', "%40"),
            None => return Ok(parts),
        };
        parts.rest.push('?');
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !parts.tls.take(key, &percent_decode(value), home)? {
                parts.given.push(key.to_owned());
                let gap = if parts.rest.ends_with('?') { "" } else { "&" };
                parts.rest.push_str(gap);
                parts.rest.push_str(pair);
            }
        }
        Ok(parts)
    }
}

/// Where the parameters begin, with their `?`. A password may hold that mark, too: they begin
/// where no `@` comes behind it, or else a parameter that is known.
fn query_at(url: &str) -> usize {
    const KNOWN: &str = "user password dbname options application_name host hostaddr port connect_timeout \
        tcp_user_timeout keepalives keepalives_idle keepalives_interval keepalives_retries target_session_attrs \
        channel_binding load_balance_hosts sslmode sslrootcert sslcert sslkey sslnegotiation";
    let known = |query: &str| query.split_once('=').is_some_and(|(key, _)| KNOWN.split(' ').any(|known| known == key));
    let begins = |at: &usize| {
        let (before, query) = url.split_at(*at);
        let nodes_before = before.rsplit("://").next().is_some_and(|before| before.contains(['@', '/']));
        !query.contains('@') || nodes_before && known(query.trim_start_matches('?'))
    };
    url.match_indices('?').map(|(at, _)| at).find(begins).unwrap_or(url.len())
}

impl TlsParameters {
    /// Whether `key` is one of the TLS parameters; if so it is kept here.
    fn take(&mut self, key: &str, value: &str, home: Option<&Path>) -> Result<bool, ConnectError> {
        match key {
            "sslmode" => self.mode = mode(value)?,
            "sslrootcert" if value == "system" => self.system_roots = true,
            "sslrootcert" => self.root = path(value, home),
            "sslcert" => self.certificate = path(value, home),
            "sslkey" => self.key = path(value, home),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn mode(value: &str) -> Result<Mode, ConnectError> {
    match value {
        "disable" => Ok(Mode::Disable),
        "verify-ca" => Ok(Mode::VerifyChain),
        // `allow` and `prefer` would give the password to whoever answers without TLS.
        "allow" | "prefer" | "require" | "verify-full" => Ok(Mode::VerifyFull),
        _ => Err(ConnectError::Parameter {
            name: "sslmode",
            value: value.to_owned(),
            problem: "use verify-full, verify-ca, require (verifies like verify-full) or disable",
        }),
    }
}

/// CockroachDB Cloud shows `$HOME/...`, which only a shell would replace.
fn path(value: &str, home: Option<&Path>) -> Option<PathBuf> {
    let below_home = value.strip_prefix("~/").or_else(|| value.strip_prefix("$HOME/"));
    match (below_home, home) {
        (Some(below), Some(home)) => Some(home.join(below)),
        _ if value.is_empty() => None,
        _ => Some(PathBuf::from(value)),
    }
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
