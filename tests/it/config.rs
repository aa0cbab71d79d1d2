//! The environment: defaults, every refusal with the variable's name, secrets kept out of words,
//! and the README's table.
//! With `MOVR_BLESS=1` the README test writes the table instead of comparing it.

use std::{collections::BTreeMap, fs, path::Path, process::Stdio, time::Duration};

use movr::config::{self, Config, ConfigError, LogFormat, Tools};

/// 64 bytes, in base64.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

fn required() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("MOVR_REGION", "us-east1"),
        ("DATABASE_URL", "postgresql://ada:hidden@db.example:26257/movr"),
        ("MOVR_PUBLIC_URL", "https://movr.example"),
        ("MOVR_SECRET_KEYS", KEY),
    ])
}

fn with(changes: &[(&'static str, &'static str)]) -> Result<Config, ConfigError> {
    let mut vars = required();
    vars.extend(changes.iter().copied());
    Config::from_vars(vars)
}

fn one_problem(name: &'static str, value: &'static str) -> String {
    let error = with(&[(name, value)]).expect_err(name);
    assert_eq!(error.problems.len(), 1, "{name}={value}: {error}");
    assert_eq!(error.problems[0].0, name, "{error}");
    error.to_string()
}

#[test]
fn defaults_are_those_of_the_table() {
    let config = with(&[]).unwrap();
    assert_eq!(config.region.as_str(), "us-east1");
    assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.public_url.origin(), "https://movr.example");
    assert!(config.public_url.is_https());
    assert_eq!(config.secret_keys.expose(), &[vec![0; 64]]);
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.log.filter, "info");
    assert_eq!(config.database.statement_timeout, Duration::from_secs(2));
    assert_eq!(config.database.write_timeout, Duration::from_secs(4));
    assert_eq!(config.database.connect_timeout, Duration::from_secs(3));
    assert_eq!(config.database.pool_size, 16);
    assert_eq!(config.database.pool_lifetime, Duration::from_mins(5));
    assert_eq!(config.request_timeout, Duration::from_secs(10));
    assert_eq!((config.passwords.memory_kib, config.passwords.iterations), (19_456, 2));
    assert!(config.passwords.threads >= 1 && config.workers >= 1);
    assert_eq!(config.sign_in_floor, Duration::from_secs(1));
    assert_eq!(config.catalogue_reload, Duration::from_secs(30));
    assert_eq!(config.max_body_bytes, 64 * 1024);
    assert_eq!(config.warm_up_timeout, Duration::from_secs(30));
    assert_eq!(config.drain_delay, Duration::from_secs(5));
    assert_eq!(config.shutdown_timeout, Duration::from_secs(20));
    assert!(config.proxy.trusted.is_empty());
    assert_eq!(config.proxy.address_header, "X-Forwarded-For");
    assert_eq!((config.proxy.city_header, config.proxy.coordinates_header), (None, None));
    let tiles = config.tiles.unwrap();
    assert_eq!(tiles.origin(), "https://tile.openstreetmap.org");
    assert!(tiles.attribution.contains("OpenStreetMap"));
}

#[test]
fn an_empty_value_is_not_set_except_for_tiles() {
    assert_eq!(with(&[("MOVR_POOL_SIZE", " ")]).unwrap().database.pool_size, 16);
    assert!(with(&[("MOVR_REGION", "")]).is_err());
    assert!(with(&[("MOVR_TILES_URL", "")]).unwrap().tiles.is_none());
}

#[test]
fn all_that_is_missing_is_told_at_once() {
    let error = Config::from_vars([("", ""); 0]).unwrap_err();
    let missing: Vec<_> = error.problems.iter().map(|(name, _)| name.as_str()).collect();
    let settings = config::settings();
    let needed = settings.get_arguments().filter(|arg| arg.is_required_set());
    assert_eq!(missing, needed.map(|arg| arg.get_env().unwrap().to_str().unwrap()).collect::<Vec<_>>());
    let mut secrets = settings.get_arguments().filter(|arg| arg.is_hide_env_values_set());
    assert!(secrets.all(|arg| arg.get_default_values().is_empty()));
    let tools = Tools::from_vars([("MOVR_POOL_SIZE", "many")]).unwrap_err();
    assert_eq!(tools.problems.len(), 2, "{tools}");
}

/// Variable, value, and words of the refusal.
const WRONG: &[(&str, &str, &str)] = &[
    ("MOVR_REGION", "US East", "not a region code"),
    ("DATABASE_URL", "mysql://ada:hidden@h/movr", "postgresql://"),
    ("MOVR_DATABASE_URL_EUROPE_WEST1", "db.example", "postgresql://"),
    ("MOVR_LISTEN", "8080", "0.0.0.0:8080"),
    ("MOVR_METRICS_LISTEN", "9090", "0.0.0.0:8080"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example", "http://"),
    ("MOVR_PUBLIC_URL", "movr.example", "https://"),
    ("MOVR_PUBLIC_URL", "https://movr.example/app", "scheme, host and port only"),
    ("MOVR_PUBLIC_URL", "https://ada@movr.example", "scheme, host and port only"),
    ("MOVR_TRUSTED_PROXIES", "10.0.0.0/8,10.0.0.0/33", "10.0.0.0/33"),
    ("MOVR_CLIENT_CITY_HEADER", "X City", "not the name of a header"),
    ("MOVR_CLIENT_COORDINATES_HEADER", "X:Y", "not the name of a header"),
    ("MOVR_CLIENT_ADDRESS_HEADER", "X\nY", "not the name of a header"),
    ("MOVR_TILES_URL", "https://tiles.example/{z}/{x}.png", "{y}"),
    ("MOVR_TILES_URL", "https://{s}.tiles.example/{z}/{x}/{y}.png", "one http(s) host"),
    ("MOVR_LOG_FORMAT", "xml", "neither text nor json"),
    ("RUST_LOG", "movr=loud", "not a filter"),
    ("MOVR_STATEMENT_TIMEOUT_MS", "2s", "whole number"),
    ("MOVR_STATEMENT_TIMEOUT_MS", "20000", "longer than MOVR_REQUEST_TIMEOUT_MS"),
    ("MOVR_WRITE_TIMEOUT_MS", "0", "from 10"),
    ("MOVR_REQUEST_TIMEOUT_MS", "-1", "whole number"),
    ("MOVR_CONNECT_TIMEOUT_MS", "99999999", "to 3600000"),
    ("MOVR_POOL_SIZE", "0", "from 1"),
    ("MOVR_POOL_LIFETIME_S", "5 min", "whole number"),
    ("MOVR_WORKERS", "all", "nor the word cores"),
    ("MOVR_PASSWORD_MEMORY_KIB", "19 MiB", "whole number"),
    ("MOVR_PASSWORD_ITERATIONS", "0", "from 1"),
    ("MOVR_PASSWORD_THREADS", "0", "nor the word cores"),
    ("MOVR_SIGN_IN_FLOOR_MS", "slow", "whole number"),
    ("MOVR_CATALOGUE_RELOAD_S", "0", "from 1"),
    ("MOVR_MAX_BODY_KIB", "70000", "to 65536"),
    ("MOVR_WARM_UP_TIMEOUT_S", "0", "from 1"),
    ("MOVR_DRAIN_DELAY_MS", "5.5", "whole number"),
    ("MOVR_SHUTDOWN_TIMEOUT_MS", "never", "whole number"),
];

#[test]
fn every_wrong_value_names_its_variable() {
    for &(name, value, words) in WRONG {
        let message = one_problem(name, value);
        assert!(message.contains(words), "{name}={value}: {message}");
        assert!(!message.contains("hidden"), "{message}");
    }
}

#[test]
fn several_mistakes_are_told_together() {
    let error = with(&[("MOVR_LISTEN", "x"), ("MOVR_POOL_SIZE", "y"), ("RUST_LOG", "=")]).unwrap_err();
    assert_eq!(error.problems.len(), 3, "{error}");
    assert_eq!(error.to_string().lines().count(), 4, "{error}");
}

#[test]
fn keys_are_counted_measured_and_never_repeated() {
    for (keys, words) in [
        ("c2hvcnQ=".to_owned(), "key 1 has 5 bytes"),
        (format!("{KEY},b!dkey"), "key 2 is not base64"),
        (format!("{KEY},"), "key 2 has 0 bytes"),
        ([KEY; 4].join(","), "has 4 keys"),
    ] {
        let mut vars: BTreeMap<String, String> =
            required().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        vars.insert("MOVR_SECRET_KEYS".to_owned(), keys);
        let message = Config::from_vars(vars).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
        assert!(!message.contains("AAAA") && !message.contains("b!d"), "{message}");
    }
    let shown = format!("{:?}", with(&[]).unwrap());
    assert!(!shown.contains("hidden") && !shown.contains("[0, 0"), "{shown}");
}

#[test]
fn other_regions_are_found_by_code() {
    let config =
        with(&[("MOVR_DATABASE_URL_EUROPE_WEST1", "postgresql://eu.example/movr"), ("MOVR_DATABASE_URL_US_WEST1", "")])
            .unwrap();
    let others: Vec<_> = config.database.region_urls().map(|(region, url)| (region.to_string(), url)).collect();
    assert_eq!(others.len(), 1);
    assert_eq!(others[0].0, "europe-west1");
}

#[test]
fn only_the_named_proxies_are_trusted() {
    let proxy = with(&[("MOVR_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7,2001:db8::/32")]).unwrap().proxy;
    for trusted in ["10.255.0.1", "::ffff:10.1.2.3", "192.0.2.7", "2001:db8:1::1"] {
        assert!(proxy.trusts(trusted.parse().unwrap()), "{trusted}");
    }
    for stranger in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::1", "::a00:1"] {
        assert!(!proxy.trusts(stranger.parse().unwrap()), "{stranger}");
    }
}

#[test]
fn the_public_url_becomes_the_origin_that_browsers_send() {
    for (url, origin, https) in [
        ("https://Movr.Example/", "https://movr.example", true),
        ("https://movr.example:443", "https://movr.example", true),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", false),
        ("http://[::1]:80", "http://[::1]", false),
    ] {
        let public = with(&[("MOVR_PUBLIC_URL", url)]).unwrap().public_url;
        assert_eq!((public.origin(), public.is_https()), (origin, https));
    }
}

/// The README's table of the environment.
fn markdown_table() -> String {
    let mut rows = vec!["| variable | default | meaning |\n|---|---|---|".to_owned()];
    for arg in config::settings().get_arguments() {
        let default = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<String>();
        let default = match (arg.is_required_set(), default.as_str()) {
            (true, _) => "required".to_owned(),
            (false, "") => "none".to_owned(),
            (false, value) => format!("`{value}`"),
        };
        let secret = if arg.is_hide_env_values_set() { " (secret)" } else { "" };
        // clap takes the last full stop away.
        let meaning = arg.get_help().map(|help| format!("{help}.").replace('|', "\\|")).unwrap_or_default();
        let variable = arg.get_env().unwrap().to_str().unwrap();
        rows.push(format!("| `{variable}`{secret} | {default} | {meaning} |"));
    }
    rows.push(format!("| `{}<REGION>` (secret) | none | {} |", config::REGION_URL_PREFIX, config::REGION_URLS));
    let folder = "Folder with PostgreSQL's programs for `movr demo`; without it the usual folders are searched.";
    rows.push(format!("| `MOVR_PG_BIN` | none | {folder} |"));
    rows.join("\n") + "\n"
}

#[test]
fn the_readme_has_the_table_of_settings() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- environment:begin -->\n", "<!-- environment:end -->");
    let (head, rest) = readme.split_once(begin).expect("README.md has no place for the table");
    let (there, tail) = rest.split_once(end).expect("README.md has no end of the table");
    let expected = format!("\n{}\n", markdown_table());
    if config::env("MOVR_BLESS").as_deref() == Some("1") {
        fs::write(&path, format!("{head}{begin}{expected}{end}{tail}")).unwrap();
    } else {
        assert_eq!(there, expected, "run this test with MOVR_BLESS=1 to rewrite the table");
    }
}

#[test]
fn printing_to_whoever_stops_reading_ends_without_a_panic() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_movr"));
    let mut movr = command.arg("contract").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(movr.stdout.take());
    let ended = movr.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap()), (Some(141), String::new()));
}
