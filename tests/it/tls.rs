//! TLS to the database, against private PostgreSQL servers with certificates made here.
//! What passes, what is refused, and that the refusal's words name the setting to look at.
//! `hostaddr` leads the name of the certificate to this machine, so that no name
//! service is needed; and database `template1` asks for a client certificate.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use movr::{
    db::{connect::Endpoint, connect_once, explain::explain},
    local::{Options, PrivatePostgres},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const NAME: &str = "db.movr.example";

/// Plain log-ins are for the server's own start; `template1` wants a certificate of the CA.
const RULES: &str = "\
hostnossl all all 127.0.0.1/32 scram-sha-256
hostssl template1 all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca
hostssl all all 127.0.0.1/32 scram-sha-256
";

/// A folder that goes away with the test.
pub struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("movr-tls-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key in PEM form, for `name`, until that day.
    fn issue(&self, name: &str, (year, month, day): (i32, u8, u8)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// The end of certificates that are good.
pub const FAR: (i32, u8, u8) = (2099, 1, 1);

/// A server with TLS whose certificate ends on that day, its CA, and a folder for files.
pub async fn serve(end: (i32, u8, u8)) -> (PrivatePostgres, Authority, Folder) {
    let folder = Folder::new();
    let authority = Authority::new("MovR test authority");
    let (certificate, key) = authority.issue(NAME, end);
    let rules = folder.file("rules.conf", RULES);
    let mut options = Options { data: folder.0.join("server"), volatile: true, ..Default::default() };
    options.settings = [("ssl", "on"), ("ssl_ca_file", "ca.crt"), ("hba_file", &rules)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    options.files = [("server.crt", certificate), ("server.key", key), ("ca.crt", authority.pem())]
        .map(|(name, text)| (name.to_owned(), text.into_bytes()))
        .to_vec();
    let server = PrivatePostgres::start(options).await.unwrap();
    (server, authority, folder)
}

/// The server's URL under the name of its certificate, with `query` instead of `sslmode=disable`.
pub fn by_name(server: &PrivatePostgres, database: &str, query: &str) -> String {
    let url = server.url(database).replace("@127.0.0.1:", &format!("@{NAME}:"));
    url.replace("sslmode=disable", &format!("hostaddr=127.0.0.1&{query}"))
}

fn by_address(server: &PrivatePostgres, query: &str) -> String {
    server.url("postgres").replace("sslmode=disable", query)
}

/// Whether the session is encrypted, or why there is none. Looks for no default root file.
async fn connect(url: &str) -> Result<bool, String> {
    connect_from(url, None).await
}

async fn connect_from(url: &str, home: Option<&Path>) -> Result<bool, String> {
    let endpoint = Endpoint::parse(url, home).map_err(|error| error.to_string())?;
    let client = connect_once(&endpoint).await.map_err(|error| error.to_string())?;
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = client.query_one(sql, &[]).await.map_err(|error| explain(&error))?;
    row.try_get(0).map_err(|error| error.to_string())
}

#[track_caller]
fn assert_refused(outcome: Result<bool, String>, words: &[&str]) {
    let message = outcome.unwrap_err();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

#[tokio::test]
async fn the_right_authority_passes_and_others_are_refused_in_words() {
    let (server, authority, folder) = serve(FAR).await;
    let root = folder.file("root.crt", &authority.pem());
    let stranger = folder.file("stranger.crt", &Authority::new("A stranger").pem());
    let twin = folder.file("twin.crt", &Authority::new("MovR test authority").pem());

    for mode in ["verify-full", "verify-ca", "require", "prefer"] {
        let url = by_name(&server, "postgres", &format!("sslmode={mode}&sslrootcert={root}"));
        assert_eq!(connect(&url).await, Ok(true), "{mode}");
        for wrong in [&stranger, &twin] {
            let url = by_name(&server, "postgres", &format!("sslmode={mode}&sslrootcert={wrong}"));
            assert_refused(connect(&url).await, &["not trusted", "sslrootcert"]);
        }
    }
    assert_eq!(connect(&server.url("postgres")).await, Ok(false));

    for mode in ["verify-full", "require"] {
        let url = by_address(&server, &format!("sslmode={mode}&sslrootcert={root}"));
        assert_refused(connect(&url).await, &[NAME, "not for 127.0.0.1", "verify-ca"]);
    }
    // For the metric that warns in time.
    let endpoint = Endpoint::parse(&by_name(&server, "postgres", &format!("sslrootcert={root}")), None).unwrap();
    assert_eq!(endpoint.certificate_expiry.load(Ordering::Relaxed), 0, "nothing was shown yet");
    connect_once(&endpoint).await.unwrap();
    assert_eq!(endpoint.certificate_expiry.load(Ordering::Relaxed), 4_070_908_800, "1 January 2099");
    let chain_only = by_address(&server, &format!("sslmode=verify-ca&sslrootcert={root}"));
    assert_eq!(connect(&chain_only).await, Ok(true));

    fs::create_dir_all(folder.0.join("home/.postgresql")).unwrap();
    folder.file("home/.postgresql/root.crt", &authority.pem());
    let url = by_name(&server, "postgres", "sslmode=verify-full");
    assert_eq!(connect_from(&url, Some(&folder.0.join("home"))).await, Ok(true));
    let system = by_name(&server, "postgres", "sslmode=verify-full&sslrootcert=system");
    assert!(connect(&system).await.is_err(), "a private authority is not the system's");

    let password = url.split([':', '@']).nth(2).unwrap();
    let wrong = url.replace(password, "wrong-secret") + &format!("&sslrootcert={root}");
    let message = connect(&wrong).await.unwrap_err();
    assert!(message.contains("user, password") && message.contains("28P01"), "{message}");
    assert!(!message.contains("wrong-secret"), "{message}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_absence_is_told() {
    let (server, authority, folder) = serve(FAR).await;
    let root = folder.file("root.crt", &authority.pem());
    let (certificate, key) = authority.issue("movr", FAR);
    let (crt, key) = (folder.file("client.crt", &certificate), folder.file("client.key", &key));
    let (other, other_key) = Authority::new("A stranger").issue("movr", FAR);
    let (other, other_key) = (folder.file("other.crt", &other), folder.file("other.key", &other_key));

    let url = |query: &str| by_name(&server, "template1", &format!("sslrootcert={root}{query}"));
    assert_eq!(connect(&url(&format!("&sslcert={crt}&sslkey={key}"))).await, Ok(true));
    assert_refused(connect(&url("")).await, &["client certificate", "28000"]);
    let strange = url(&format!("&sslcert={other}&sslkey={other_key}"));
    assert_refused(connect(&strange).await, &["client certificate", "sslcert"]);
    let mixed = url(&format!("&sslcert={crt}&sslkey={other_key}"));
    assert_refused(connect(&mixed).await, &["sslcert and sslkey"]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_its_day() {
    let (server, authority, folder) = serve((2021, 1, 1)).await;
    let root = folder.file("root.crt", &authority.pem());
    for mode in ["verify-full", "verify-ca"] {
        let url = by_name(&server, "postgres", &format!("sslmode={mode}&sslrootcert={root}"));
        assert_refused(connect(&url).await, &["expired on 2021-01-01", "clock"]);
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_gets_no_password() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut request = [0; 8];
        stream.read_exact(&mut request).await?;
        stream.write_all(b"N").await?;
        stream.read(&mut request).await
    });
    let folder = Folder::new();
    let root = folder.file("root.crt", &Authority::new("Any").pem());
    let url = format!("postgresql://ada:secret@127.0.0.1:{port}/movr?sslmode=prefer&sslrootcert={root}");
    assert_refused(connect(&url).await, &["does not speak TLS", "sslmode=disable"]);
    assert_eq!(server.await??, 0, "something was sent in the clear");
    Ok(())
}

#[tokio::test]
async fn a_silent_port_and_an_unknown_name_are_told() -> io::Result<()> {
    let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    let url = format!("postgresql://ada:secret@127.0.0.1:{port}/movr?sslmode=disable");
    assert_refused(connect(&url).await, &["nothing listens", "host and port"]);
    let unknown = "postgresql://ada:secret@no-such-host.invalid/movr?sslmode=disable";
    assert_refused(connect(unknown).await, &["host name", "not known"]);
    Ok(())
}
