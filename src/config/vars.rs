//! The table of environment variables: name, default, meaning, once.
//! `config` takes every default from here, and the README's table is printed from here (a test
//! compares them), so a variable that is not in this table cannot be read.
//! The surprise: an empty value counts as not set, because container tools pass unset variables
//! that way; `MOVR_TILES_URL` alone gives emptiness a meaning.

use std::fmt::Write as _;

/// What holds when a variable is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// Nothing does: whoever needs the variable refuses to start.
    Required,
    /// The feature that it configures is off.
    Off,
    /// This value, read like one that was set.
    Value(&'static str),
}

/// One environment variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Var {
    /// The variable's name; `<REGION>` in it stands for a region code in upper case with `_`.
    pub name: &'static str,
    /// What holds when it is not set.
    pub default: Default,
    /// One sentence for the person who sets it, with the unit.
    pub meaning: &'static str,
    /// Whether the value must be kept out of logs and messages.
    pub secret: bool,
}

const fn required(name: &'static str, meaning: &'static str) -> Var {
    Var { name, default: Default::Required, meaning, secret: false }
}

const fn off(name: &'static str, meaning: &'static str) -> Var {
    Var { name, default: Default::Off, meaning, secret: false }
}

const fn value(name: &'static str, default: &'static str, meaning: &'static str) -> Var {
    Var { name, default: Default::Value(default), meaning, secret: false }
}

const fn secret(var: Var) -> Var {
    Var { secret: true, ..var }
}

/// The prefix of the variables that hold the other regions' database URLs.
pub const REGION_URL_PREFIX: &str = "MOVR_DATABASE_URL_";

/// Every environment variable that the program reads, in the order of the README.
#[rustfmt::skip] // one variable a line or two: a table
pub const VARS: &[Var] = &[
    required("MOVR_REGION", "The region in which this instance runs, as in the catalogue: `us-east1`."),
    secret(required("DATABASE_URL",
        "This region's nodes, as PostgreSQL URL: several hosts, `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `options`; what CockroachDB Cloud shows is taken unchanged.")),
    secret(off("MOVR_DATABASE_URL_<REGION>",
        "Another region's nodes, such as `MOVR_DATABASE_URL_EUROPE_WEST1`; without it that region is reached through `DATABASE_URL`.")),
    value("MOVR_LISTEN", "0.0.0.0:8080", "Address and port to listen on."),
    required("MOVR_PUBLIC_URL",
        "What browsers see: `https://movr.example`. With `https` cookies are `__Host-` and `Secure`, and HSTS is sent."),
    secret(required("MOVR_SECRET_KEYS",
        "One to three base64 keys of at least 64 bytes (`openssl rand -base64 64 | tr -d '\\n'`), by comma, the same in all regions: the first signs cookies, all are accepted.")),
    off("MOVR_TRUSTED_PROXIES", "Addresses and CIDRs of the proxies whose headers are believed, by comma: `10.0.0.0/8,::1`."),
    value("MOVR_CLIENT_ADDRESS_HEADER", "X-Forwarded-For", "Header in which a trusted proxy appends the client's address."),
    off("MOVR_CLIENT_CITY_HEADER", "Header in which a trusted proxy names the client's city: `X-Client-City`."),
    off("MOVR_CLIENT_COORDINATES_HEADER", "Header in which a trusted proxy gives the client's `latitude,longitude`."),
    value("MOVR_TILES_URL", "https://tile.openstreetmap.org/{z}/{x}/{y}.png", "Map tiles; set but empty: a map without tiles."),
    value("MOVR_TILES_ATTRIBUTION", "© OpenStreetMap contributors", "Whom the map thanks for the tiles, as plain text."),
    value("MOVR_FEED_CONTACT", "feeds@movr.example", "E-mail address for those who use the GBFS feeds, told in them."),
    value("MOVR_LOG_FORMAT", "text", "`text` for people, `json` for log collectors."),
    value("RUST_LOG", "info", "What is logged, as `tracing` filter: `info,movr::db=debug`."),
    value("MOVR_STATEMENT_TIMEOUT_MS", "2000", "Longest time of a statement that reads, in milliseconds."),
    value("MOVR_WRITE_TIMEOUT_MS", "4000", "Longest time of one try of a write, in milliseconds; after it no new try begins. A transaction sends its COMMIT within it. The same in all regions and for `movr operator`: the fence of a closed region is computed from it."),
    value("MOVR_REQUEST_TIMEOUT_MS", "10000", "Longest time of a whole request, in milliseconds; twelve times that for a file that is imported, and for a client to read an answer."),
    value("MOVR_CONNECT_TIMEOUT_MS", "3000", "Longest time to reach one database node, in milliseconds."),
    value("MOVR_POOL_SIZE", "16", "Database connections of this instance to its own region, and a quarter of that to each other one; besides, up to twelve that only probe whether it answers. What waits for another region gets at most a quarter of them."),
    value("MOVR_POOL_LIFETIME_S", "300", "Age at which a connection is replaced, in seconds, give or take 10 %."),
    value("MOVR_WORKERS", "cores", "Web worker threads; `cores` is one for each processor."),
    value("MOVR_MAX_CONNECTIONS", "512", "Connections of clients at the same time; others wait until one ends."),
    value("MOVR_KEEP_ALIVE_S", "75",
        "How long an idle connection stays open, in seconds. Longer than the balancer in front keeps one, or it sends requests into connections that are just being closed and answers 502."),
    value("MOVR_CONNECTION_LIFETIME_S", "600", "Age from which a connection is closed behind its next answer, in seconds."),
    value("MOVR_PASSWORD_MEMORY_KIB", "19456", "Memory of one argon2id hash, in KiB."),
    value("MOVR_PASSWORD_ITERATIONS", "2", "Passes of one argon2id hash."),
    value("MOVR_PASSWORD_THREADS", "cores", "Passwords hashed at the same time; the others wait."),
    value("MOVR_SIGN_IN_FLOOR_MS", "1000", "A failed sign-in answers after this many milliseconds, whatever the reason."),
    value("MOVR_CATALOGUE_RELOAD_S", "30", "Seconds between two readings of the catalogue."),
    value("MOVR_WATCH_MS", "5000", "Milliseconds between two probes of a region that answers; another one is probed twice a second."),
    off("MOVR_PROBE_TIMEOUT_MS", "A probe of a region fails after this many milliseconds: more than `MOVR_STATEMENT_TIMEOUT_MS`, so that a slow answer is not taken for none. Without it a quarter more than that."),
    value("MOVR_PROBE_FAILURES", "3", "Failed probes in a row, without any answer between them, after which a region counts as unreachable."),
    value("MOVR_WORKER_MS", "1000", "Milliseconds between two looks for jobs of this region that nobody does; a job that is confirmed here is begun at once. 0: this instance does none."),
    value("MOVR_MAX_BODY_KIB", "64", "Largest request body, in KiB; a file that is imported may have 20 MB."),
    value("MOVR_WARM_UP_TIMEOUT_S", "30",
        "Longest time from the start until ready (connect, prepare, load the catalogue), in seconds; then the process ends with code 1."),
    value("MOVR_DRAIN_DELAY_MS", "5000", "After SIGTERM: time not ready but still serving, in milliseconds, so that the balancer notices."),
    value("MOVR_SHUTDOWN_TIMEOUT_MS", "20000", "After that: time for the open requests to end, in milliseconds."),
    off("MOVR_PG_BIN", "Folder with PostgreSQL's programs for `movr demo`; without it the usual folders are searched."),
];

/// Renders [`VARS`] as the Markdown table of the README.
pub fn markdown_table() -> String {
    let mut table = String::from("| variable | default | meaning |\n|---|---|---|\n");
    for var in VARS {
        let default = match var.default {
            Default::Required => "required".to_owned(),
            Default::Off => "none".to_owned(),
            Default::Value(value) => format!("`{value}`"),
        };
        let secret = if var.secret { " (secret)" } else { "" };
        let meaning = var.meaning.replace('|', "\\|");
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| `{}`{secret} | {default} | {meaning} |", var.name);
    }
    table
}
