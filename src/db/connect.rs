//! From a libpq-style URL to hosts, TLS and session settings. Keys that the driver does not know
//! (`sslmode` beyond its own values, `sslrootcert`, `sslcert`, `sslkey`) are taken out first. With
//! TLS the certificate is always verified, name and chain, even with `require`, `prefer` or no
//! `sslmode`; only `disable` turns TLS off, and only `verify-ca` skips the name.

mod tls;

use std::{
    fmt::Write as _,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Client,
    config::{Host, SslMode, SslNegotiation},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{DbError, DbErrorKind, Result, engine, error::NO_DATABASE, explain::explain};
use crate::config::{self, Database};

/// Defaults that the URL can override: a node that does not answer in 3 s is skipped, keepalives
/// find dead nodes long before the system's two hours, and a connection whose data is not
/// acknowledged for 10 s ends.
const DEFAULTS: &str =
    "connect_timeout=3&keepalives_idle=30&tcp_user_timeout=10&load_balance_hosts=random&application_name=movr";

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(String);

impl ConnectError {
    fn not_a_url() -> Self {
        let like = "postgresql://user:password@host:26257/movr?sslmode=verify-full";
        Self(format!("the database URL must look like {like}"))
    }
}

#[derive(Debug, Default)]
struct TlsParameters {
    mode: Mode,
    root: Option<PathBuf>,
    system_roots: bool,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    VerifyChain,
    #[default]
    VerifyFull,
}

#[derive(Clone)]
pub struct Endpoint {
    pub config: tokio_postgres::Config,
    /// Not used with `sslmode=disable`.
    pub tls: MakeRustlsConnect,
    /// When the certificate that the nodes last showed ends, in seconds since 1970; 0 before that.
    pub certificate_expiry: Arc<AtomicI64>,
    connect_timeout_given: bool,
}

/// Prints [`Endpoint::describe`], so that no password gets into a log.
impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Endpoint").field(&self.describe()).finish()
    }
}

impl Endpoint {
    /// Reads `url` and the certificate files that it names; `home` is where `.postgresql/root.crt`
    /// is looked for and what `~/` and `$HOME/` stand for in file names.
    pub fn parse(url: &str, home: Option<&Path>) -> Result<Self, ConnectError> {
        let (url, mut parameters) = TlsParameters::take(url, home)?;
        // The driver names the parameter and leaves its value out.
        let words = |error: tokio_postgres::Error| {
            let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            ConnectError(format!("the database URL is not right: {reason}"))
        };
        let mut config: tokio_postgres::Config = url.parse().map_err(words)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(ConnectError::not_a_url());
        }
        // PostgreSQL speaks no TLS over a socket of this machine.
        let only_sockets =
            config.get_hostaddrs().is_empty() && config.get_hosts().iter().all(|host| !matches!(host, Host::Tcp(_)));
        if only_sockets {
            parameters.mode = Mode::Disable;
        }
        config.ssl_mode(if parameters.mode == Mode::Disable { SslMode::Disable } else { SslMode::Require });
        let certificate_expiry = Arc::default();
        let mut tls = tls::client_config(&parameters, home, Arc::clone(&certificate_expiry))?;
        if config.get_ssl_negotiation() == SslNegotiation::Direct {
            // A server that begins with TLS wants to know that PostgreSQL comes next.
            tls.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        let connect_timeout_given = url.matches("connect_timeout=").count() > 1;
        Ok(Self { config, tls: MakeRustlsConnect::new(tls), certificate_expiry, connect_timeout_given })
    }

    pub fn with_database(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.config.dbname(name);
        other
    }

    /// Timeout per node, unless the URL sets one.
    pub fn with_connect_timeout(&mut self, timeout: Duration) -> &mut Self {
        if !self.connect_timeout_given {
            self.config.connect_timeout(timeout);
        }
        self
    }

    /// Settings of every session; they follow the URL's own `options`, so they win over them.
    pub fn with_session(&mut self, settings: &[(&str, &str)]) -> &mut Self {
        let mut options = self.config.get_options().unwrap_or_default().to_owned();
        for (name, value) in settings {
            let gap = if options.is_empty() { "" } else { " " };
            // Spaces end an option and backslashes escape, on both engines.
            let value = value.replace('\\', r"\\").replace(' ', r"\ ");
            // Writing to a String cannot fail.
            let _ = write!(options, "{gap}-c {name}={value}");
        }
        self.config.options(options);
        self
    }

    pub fn hosts(&self) -> u32 {
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len()).max(1);
        u32::try_from(hosts).unwrap_or(1)
    }

    /// One for each node, so that each is asked.
    pub fn nodes(&self) -> Vec<Self> {
        let all = &self.config;
        let node = |at: usize| {
            let mut one = tokio_postgres::Config::new();
            all.get_user().map(|user| one.user(user));
            all.get_password().map(|password| one.password(password));
            all.get_dbname().map(|name| one.dbname(name));
            all.get_options().map(|options| one.options(options));
            all.get_connect_timeout().map(|timeout| one.connect_timeout(*timeout));
            match all.get_hosts().get(at) {
                Some(Host::Tcp(name)) => drop(one.host(name)),
                Some(Host::Unix(path)) => drop(one.host_path(path)),
                None => {}
            }
            all.get_hostaddrs().get(at).map(|address| one.hostaddr(*address));
            all.get_ports().get(at).or(all.get_ports().first()).map(|port| one.port(*port));
            one.ssl_mode(all.get_ssl_mode()).ssl_negotiation(all.get_ssl_negotiation());
            one.channel_binding(all.get_channel_binding()).application_name("movr");
            Self { config: one, ..self.clone() }
        };
        let count = all.get_hosts().len().max(all.get_hostaddrs().len());
        (0..count).map(node).collect()
    }

    /// Whether what is sent can be read by others: no TLS, and not to this machine.
    pub fn is_readable(&self) -> bool {
        let local = match (self.config.get_hostaddrs(), self.config.get_hosts()) {
            ([], hosts) => hosts.iter().all(|host| match host {
                Host::Tcp(name) => {
                    name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
                }
                Host::Unix(_) => true,
            }),
            (addresses, _) => addresses.iter().all(IpAddr::is_loopback),
        };
        self.config.get_ssl_mode() == SslMode::Disable && !local
    }

    /// Nodes and database, without user and password, for logs and messages.
    pub fn describe(&self) -> String {
        let ports = self.config.get_ports();
        let named = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let mut hosts: Vec<String> = named.collect();
        if hosts.is_empty() {
            hosts = self.config.get_hostaddrs().iter().map(ToString::to_string).collect();
        }
        let port = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(5432);
        let nodes = hosts.iter().enumerate().map(|(i, host)| format!("{host}:{}", port(i)));
        let database = self.config.get_dbname().map(|name| format!("/{name}")).unwrap_or_default();
        nodes.collect::<Vec<_>>().join(",") + &database
    }
}

pub fn endpoint(config: &Database, url: &str) -> Result<Endpoint> {
    // libpq's place for certificates is below the home folder.
    let home = config::env("HOME").map(PathBuf::from);
    let wrong = DbErrorKind::Setup("cannot be reached: its URL, or a file that the URL names, is not right");
    let bad = |error: ConnectError| DbError::new(wrong, "connect", error.to_string());
    let mut endpoint = Endpoint::parse(url, home.as_deref()).map_err(bad)?;
    endpoint.with_connect_timeout(config.connect_timeout);
    let timeout = config.write_timeout.as_millis().to_string();
    endpoint.with_session(&[("default_transaction_isolation", "serializable"), ("statement_timeout", &timeout)]);
    Ok(endpoint)
}

/// A connection outside the pools, which has answered a statement. A node that accepts and then
/// says nothing is given up: TLS and the start of the session have no time limit of their own.
pub async fn connect_once(endpoint: &Endpoint) -> Result<Client> {
    // The hosts in turn, and then the statement.
    let longest = endpoint.config.get_connect_timeout().map(|each| *each * (endpoint.hosts() + 1));
    let answer = tokio::time::timeout(longest.unwrap_or(Duration::MAX), connect(endpoint)).await;
    let silent = |_elapsed| {
        let text = format!("{} accepts connections and does not answer", endpoint.describe());
        Err(DbError::new(DbErrorKind::Unavailable, "connect", text))
    };
    answer.unwrap_or_else(silent)
}

async fn connect(endpoint: &Endpoint) -> Result<Client> {
    let failed = |error| DbError::connecting(&error, &endpoint.describe());
    let (client, connection) = endpoint.config.connect(endpoint.tls.clone()).await.map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(reason = explain(&error), "database connection ended");
        }
    });
    // On CockroachDB a missing database shows at the first statement that looks something up.
    match engine::text(&client, "SELECT count(*)::TEXT FROM pg_database").await {
        Err(error) if error.kind == NO_DATABASE => {
            Err(DbError::new(NO_DATABASE, "connect", format!("{}: {}", endpoint.describe(), error.detail)))
        }
        answer => answer.map(|_| client),
    }
}

/// Connects to a database that exists from the start: `postgres` on both engines, unless it was
/// dropped; on CockroachDB and with some providers also `defaultdb`.
pub(super) async fn connect_beside(endpoint: &Endpoint) -> Result<Client> {
    match connect_once(&endpoint.with_database("postgres")).await {
        Err(error) if error.kind == NO_DATABASE => connect_once(&endpoint.with_database("defaultdb")).await,
        connected => connected,
    }
}

/// Where the parameters begin, with their `?`. A password may contain one, too: the parameters
/// begin where no `@` follows, or else a known parameter.
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
    /// The TLS parameters of `url`, and the URL for the driver, without them and with our defaults.
    fn take(url: &str, home: Option<&Path>) -> Result<(String, Self), ConnectError> {
        if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
            return Err(ConnectError::not_a_url());
        }
        let (base, query) = url.split_at(query_at(url));
        // The driver takes the first `@` for the end of the password; it is the last.
        let base = match base.rsplit_once('@') {
            Some((person, nodes)) => format!("{}@{nodes}", person.replace('@', "%40")),
            None => base.to_owned(),
        };
        let (mut rest, mut parameters) = (format!("{base}?{DEFAULTS}"), Self::default());
        let query = query.trim_start_matches('?').replace('@', "%40");
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy();
            match key {
                "sslmode" => parameters.mode = mode(&value)?,
                "sslrootcert" if value == "system" => parameters.system_roots = true,
                "sslrootcert" => parameters.root = path(&value, home),
                "sslcert" => parameters.certificate = path(&value, home),
                "sslkey" => parameters.key = path(&value, home),
                _ => {
                    rest.push('&');
                    rest.push_str(pair);
                }
            }
        }
        Ok((rest, parameters))
    }
}

fn mode(value: &str) -> Result<Mode, ConnectError> {
    match value {
        "disable" => Ok(Mode::Disable),
        "verify-ca" => Ok(Mode::VerifyChain),
        // `allow` and `prefer` would give the password to whoever answers without TLS.
        "allow" | "prefer" | "require" | "verify-full" => Ok(Mode::VerifyFull),
        _ => Err(ConnectError(format!(
            "sslmode={value} in the database URL: use verify-full, verify-ca, require (verifies like verify-full) or disable"
        ))),
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

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;
    use tokio_postgres::config::{LoadBalanceHosts, TargetSessionAttrs};

    use super::*;

    fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn certificate() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["db.example".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn plain(rest: &str) -> Endpoint {
        let gap = if rest.contains('?') { '&' } else { '?' };
        Endpoint::parse(&format!("postgresql://{rest}{gap}sslmode=disable"), None).unwrap()
    }

    fn refusal(url: &str) -> String {
        Endpoint::parse(url, None).unwrap_err().to_string()
    }

    #[test]
    fn several_hosts_are_tried_in_random_order_with_short_timeouts() {
        let endpoint = plain("ada:pw@a.example:26257,b.example,[::1]:26259/movr");
        let config = &endpoint.config;
        assert_eq!(config.get_ports(), [26257, 5432, 26259]);
        assert_eq!(config.get_load_balance_hosts(), LoadBalanceHosts::Random);
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_secs(10)));
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(30));
        assert_eq!(config.get_application_name(), Some("movr"));
        assert_eq!(endpoint.describe(), "a.example:26257,b.example:5432,[::1]:26259/movr");
    }

    #[test]
    fn what_the_url_says_wins_over_our_defaults() {
        let mut endpoint = plain(
            "ada@h/movr?connect_timeout=7&keepalives_idle=9&tcp_user_timeout=8&load_balance_hosts=disable\
             &application_name=fleet%20desk&target_session_attrs=read-write",
        );
        endpoint.with_connect_timeout(Duration::from_secs(1));
        let config = &endpoint.config;
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(7)));
        assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_secs(8)));
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(9));
        assert_eq!(config.get_load_balance_hosts(), LoadBalanceHosts::Disable);
        assert_eq!(config.get_application_name(), Some("fleet desk"));
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        let mut silent = plain("ada@h/movr");
        silent.with_connect_timeout(Duration::from_millis(1500));
        assert_eq!(silent.config.get_connect_timeout(), Some(&Duration::from_millis(1500)));
    }

    #[test]
    fn session_settings_follow_the_urls_options_and_are_escaped() {
        let mut endpoint = plain("ada@h/movr?options=--cluster%3Dfree-1");
        endpoint.with_session(&[("statement_timeout", "2000"), ("search_path", r"a b\c")]);
        let options = endpoint.config.get_options().unwrap();
        assert_eq!(options, r"--cluster=free-1 -c statement_timeout=2000 -c search_path=a\ b\\c");
        let mut bare = plain("ada@h/movr");
        bare.with_session(&[("default_transaction_isolation", "serializable")]);
        assert_eq!(bare.config.get_options(), Some("-c default_transaction_isolation=serializable"));
    }

    #[test]
    fn another_database_keeps_everything_else() {
        let endpoint = plain("ada:pw@h:1/movr");
        let other = endpoint.with_database("postgres");
        assert_eq!(other.describe(), "h:1/postgres");
        assert_eq!(other.config.get_user(), endpoint.config.get_user());
        assert_eq!(endpoint.describe(), "h:1/movr");
    }

    #[test]
    fn a_password_may_hold_marks_of_urls_and_is_never_shown() {
        let endpoint = plain("ada:s%40cret?x@h:1/movr");
        assert_eq!(endpoint.config.get_password(), Some(&b"s@cret?x"[..]));
        assert!(!format!("{endpoint:?}").contains("cret"), "{endpoint:?}");
        // As people write them: nothing is encoded.
        for password in [
            "s@cret", "a@b@c", "s/cret@x", "s?cret@x", "s#cret@x", "50%@x", "a:b@c", "s?x=y@z&w", "@",
            "?sslmode=disable@x",
        ] {
            for rest in ["h:1/movr", "h:1/movr?application_name=a@b", "h:1/movr?connect_timeout=3&options=-c%20a=b@c"] {
                let gap = if rest.contains('?') { '&' } else { '?' };
                let url = format!("postgresql://ada:{password}@{rest}{gap}sslmode=disable");
                let endpoint = Endpoint::parse(&url, None).unwrap();
                let config = &endpoint.config;
                assert_eq!(
                    (config.get_user(), config.get_password()),
                    (Some("ada"), Some(password.as_bytes())),
                    "{rest}"
                );
                assert_eq!(endpoint.describe(), "h:1/movr", "{password}");
                assert_eq!(format!("{endpoint:?}"), "Endpoint(\"h:1/movr\")");
            }
            for rest in ["h:x/movr", "h/movr?sslmode=on", "h/movr?colour=red", "/movr", "h/movr?sslrootcert=/nowhere"] {
                let message = refusal(&format!("postgresql://ada:{password}@{rest}"));
                let parts = password.split(['@', '/', '?', '#', ':', '%']).filter(|part| part.len() > 2);
                for secret in parts.filter(|part| !part.contains("sslmode")).chain(["ada"]) {
                    assert!(!message.contains(secret), "{password}@{rest}: {message}");
                }
            }
        }
        assert_eq!(plain("h:1/movr?application_name=a@b").config.get_application_name(), Some("a@b"));
        for bad in ["postgresql://ada:secret@h/movr?sslmode=on", "postgresql://ada:secret@h:x/movr", "ada:secret@h"] {
            assert!(!refusal(bad).contains("secret"), "{}", refusal(bad));
        }
    }

    #[test]
    fn only_disable_speaks_plainly() {
        let folder = tempfile::tempdir().unwrap();
        file(&folder, ".postgresql/root.crt", &certificate().0);
        let parse =
            |query: &str| Endpoint::parse(&format!("postgresql://ada@h/movr{query}"), Some(folder.path())).unwrap();
        assert_eq!(parse("?sslmode=disable").config.get_ssl_mode(), SslMode::Disable);
        for query in
            ["", "?sslmode=allow", "?sslmode=prefer", "?sslmode=require", "?sslmode=verify-ca", "?sslmode=verify-full"]
        {
            assert_eq!(parse(query).config.get_ssl_mode(), SslMode::Require, "{query}");
        }
        let socket = Endpoint::parse("postgresql://ada@%2Frun%2Fpostgresql/movr", None).unwrap();
        assert_eq!(socket.config.get_ssl_mode(), SslMode::Disable);
        assert_eq!(socket.describe(), "/run/postgresql:5432/movr");
        // As CockroachDB Cloud shows it.
        let url = "postgresql://ada:pw@free-tier.gcp-us-east1.cockroachlabs.cloud:26257/movr\
                   ?sslmode=verify-full&sslrootcert=$HOME/.postgresql/root.crt&options=--cluster%3Dgreat-cat-1";
        let endpoint = Endpoint::parse(url, Some(folder.path())).unwrap();
        assert_eq!(endpoint.config.get_options(), Some("--cluster=great-cat-1"));
        assert_eq!(endpoint.config.get_ssl_mode(), SslMode::Require);
    }

    #[test]
    fn certificate_files_are_read_at_once_and_named_when_they_are_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = certificate();
        let crt = file(&folder, "client crt", &certificate);
        let key = file(&folder, "client.key", &key);
        let empty = file(&folder, "empty.crt", "nothing\n");
        let root = crt.display().to_string().replace(' ', "%20");
        let url = |query: &str| format!("postgresql://ada@h/movr?sslrootcert={root}{query}");
        assert!(Endpoint::parse(&url(&format!("&sslcert={root}&sslkey={}", key.display())), None).is_ok());
        for (query, words) in [
            (format!("&sslcert={root}"), "needs sslkey beside it"),
            (format!("&sslkey={}", key.display()), "needs sslcert beside it"),
            (format!("&sslcert={root}&sslkey={root}"), "sslkey"),
            (format!("&sslrootcert={}", empty.display()), "holds no certificate"),
            ("&sslrootcert=/nowhere/root.crt".to_owned(), "sslrootcert /nowhere/root.crt: cannot be read"),
        ] {
            let refused = refusal(&url(&query));
            assert!(refused.contains(words), "{query}: {refused}");
        }
    }

    #[test]
    fn unknown_words_are_refused_by_name() {
        let modes = refusal("postgresql://ada@h/movr?sslmode=on");
        assert!(modes.starts_with("sslmode=on") && modes.contains("verify-full"), "{modes}");
        let unknown = refusal("postgresql://ada@h/movr?sslmode=disable&colour=red");
        assert!(unknown.contains("colour"), "{unknown}");
        assert!(refusal("mysql://h/movr").contains("postgresql://"));
        assert!(refusal("postgresql:///movr?sslmode=disable").contains("postgresql://"));
    }
}
