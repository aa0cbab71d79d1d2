//! What URLs become, without a server; tests/it/tls.rs has the handshakes.
//! Certificates are made here, files live in a folder of each test.
//! The surprise: a URL without `sslmode` needs TLS.

use std::fs;

use tokio_postgres::config::TargetSessionAttrs;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("movr-connect-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join(".postgresql")).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
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
    assert_eq!(config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
    assert_eq!(config.get_tcp_user_timeout(), Some(&TCP_USER_TIMEOUT));
    assert_eq!(config.get_keepalives_idle(), KEEPALIVE);
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
}

#[test]
fn the_setting_for_connecting_holds_where_the_url_is_silent() {
    let mut endpoint = plain("ada@h/movr");
    endpoint.with_connect_timeout(Duration::from_millis(1500));
    assert_eq!(endpoint.config.get_connect_timeout(), Some(&Duration::from_millis(1500)));
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
        "s@cret",
        "a@b@c",
        "s/cret@x",
        "s?cret@x",
        "s#cret@x",
        "50%@x",
        "a:b@c",
        "s?x=y@z&w",
        "@",
        "?sslmode=disable@x",
    ] {
        for rest in ["h:1/movr", "h:1/movr?application_name=a@b", "h:1/movr?connect_timeout=3&options=-c%20a=b@c"] {
            let gap = if rest.contains('?') { '&' } else { '?' };
            let url = format!("postgresql://ada:{password}@{rest}{gap}sslmode=disable");
            let endpoint = Endpoint::parse(&url, None).unwrap();
            let config = &endpoint.config;
            assert_eq!((config.get_user(), config.get_password()), (Some("ada"), Some(password.as_bytes())), "{rest}");
            assert_eq!(endpoint.describe(), "h:1/movr", "{password}");
            assert_eq!(format!("{endpoint:?}"), "Endpoint(\"h:1/movr\")");
        }
        for rest in ["h:x/movr", "h/movr?sslmode=on", "h/movr?colour=red", "/movr", "h/movr?sslrootcert=/nowhere"] {
            let said = refusal(&format!("postgresql://ada:{password}@{rest}"));
            let parts = password.split(['@', '/', '?', '#', ':', '%']).filter(|part| part.len() > 2);
            for secret in parts.filter(|part| !part.contains("sslmode")).chain(["ada"]) {
                assert!(!said.contains(secret), "{password}@{rest}: {said}");
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
    let folder = Folder::new("modes");
    folder.file(".postgresql/root.crt", &certificate().0);
    let parse = |query: &str| Endpoint::parse(&format!("postgresql://ada@h/movr{query}"), Some(&folder.0)).unwrap();
    assert_eq!(parse("?sslmode=disable").config.get_ssl_mode(), SslMode::Disable);
    for query in
        ["", "?sslmode=allow", "?sslmode=prefer", "?sslmode=require", "?sslmode=verify-ca", "?sslmode=verify-full"]
    {
        assert_eq!(parse(query).config.get_ssl_mode(), SslMode::Require, "{query}");
    }
    let socket = Endpoint::parse("postgresql://ada@%2Frun%2Fpostgresql/movr", None).unwrap();
    assert_eq!(socket.config.get_ssl_mode(), SslMode::Disable);
    assert_eq!(socket.describe(), "/run/postgresql:5432/movr");
}

#[test]
fn what_the_cloud_console_shows_is_taken_unchanged() {
    let folder = Folder::new("cloud");
    folder.file(".postgresql/root.crt", &certificate().0);
    let url = "postgresql://ada:pw@free-tier.gcp-us-east1.cockroachlabs.cloud:26257/movr\
               ?sslmode=verify-full&sslrootcert=$HOME/.postgresql/root.crt&options=--cluster%3Dgreat-cat-1";
    let endpoint = Endpoint::parse(url, Some(&folder.0)).unwrap();
    assert_eq!(endpoint.config.get_options(), Some("--cluster=great-cat-1"));
    assert_eq!(endpoint.config.get_ssl_mode(), SslMode::Require);
}

#[test]
fn certificate_files_are_read_at_once_and_named_when_they_are_wrong() {
    let folder = Folder::new("files");
    let (certificate, key) = certificate();
    let crt = folder.file("client crt", &certificate);
    let key = folder.file("client.key", &key);
    let empty = folder.file("empty.crt", "nothing\n");
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
