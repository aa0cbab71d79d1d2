//! A failed connection in words that name the setting to look at, and whether trying again can
//! help. A server's DETAIL is left out: PostgreSQL prints rows there.

use std::{error::Error as StdError, io};

use chrono::DateTime;
use rustls::{AlertDescription, CertificateError, Error as Tls, pki_types::UnixTime};
use tokio_postgres::error::DbError;

/// What went wrong, and why no retry can help, if none can (see
/// [`DbErrorKind::Setup`](super::error::DbErrorKind::Setup)).
type Diagnosis = (String, Option<&'static str>);

pub const MISSING: &str = "does not exist: `movr migrate` creates it";
const LOG_IN: &str = "refuses the log-in: user, password or client certificate";
const TLS: &str = "and this side do not accept each other's TLS or certificates";
const OPTIONS: &str = "refuses an option of its URL";
const ITERATIONS: &str = "keeps this user's password with more SCRAM iterations than are accepted";

pub fn explain(error: &tokio_postgres::Error) -> String {
    diagnose(error).0
}

/// Like [`explain`], with why no retry can help, if none can.
pub fn diagnose(error: &tokio_postgres::Error) -> Diagnosis {
    let causes = causes(error);
    let known = causes.iter().rev().find_map(|cause| {
        let tls = cause.downcast_ref::<Tls>().map(tls);
        let refused = || cause.downcast_ref::<DbError>().map(refusal);
        let socket = || Some((socket(cause.downcast_ref::<io::Error>()?)?.to_owned(), None));
        tls.or_else(refused).or_else(socket)
    });
    known.unwrap_or_else(|| driver(causes.iter().map(ToString::to_string).collect::<Vec<_>>().join(": ")))
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |cause| inside(*cause)).collect()
}

/// `io::Error` hides the error that it wraps from `source()`.
fn inside<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inside) => Some(inside),
        None => error.source(),
    }
}

/// The driver's own errors are only known by their text.
fn driver(words: String) -> Diagnosis {
    let (known, incurable) = match words.as_str() {
        words if words.contains("SCRAM iteration count exceeds") => (
            "the database server keeps this user's password with more than 100,000 SCRAM iterations, as CockroachDB did \
             before v22.2: lower the cluster setting server.user_login.password_hashes.default_cost.scram_sha_256 to 10610 \
             and set the password again, or log in with a client certificate",
            ITERATIONS,
        ),
        words if words.contains("does not support TLS") => (
            "the server does not speak TLS: turn it on there, or, where the network is trusted, put sslmode=disable into the database URL",
            TLS,
        ),
        words if words.contains("password missing") => {
            ("the server asks for a password and the database URL has none", LOG_IN)
        }
        other if other.starts_with("authentication error") => (other, LOG_IN),
        other if other.starts_with("invalid configuration") => (other, OPTIONS),
        _ => return (words, None),
    };
    (known.to_owned(), Some(incurable))
}

fn refusal(error: &DbError) -> Diagnosis {
    let (code, message) = (error.code().code(), error.message());
    let incurable = match code {
        "3D000" => Some(MISSING),
        "08P01" if message.contains("startup parameter") => Some(OPTIONS),
        "42501" => Some(LOG_IN),
        _ if code.starts_with("28") => Some(LOG_IN),
        _ if ["0A", "22", "42"].iter().any(|class| code.starts_with(class)) => Some(OPTIONS),
        _ => None,
    };
    let words = match code {
        "28P01" | "28000" => format!(
            "the database server refuses the log-in: check user, password and client certificate in the database URL ({code})"
        ),
        "3D000" => format!("the database {MISSING}"),
        "53300" => "the database server has no connection left: lower MOVR_POOL_SIZE or raise its limit".to_owned(),
        _ => format!("the database server refuses: {message} ({code})"),
    };
    (words, incurable)
}

fn tls(error: &Tls) -> Diagnosis {
    match error {
        Tls::InvalidCertificate(problem) => (certificate(problem), Some(TLS)),
        Tls::AlertReceived(alert) => {
            use AlertDescription as A;
            let words = match alert {
                A::CertificateRequired => {
                    "the database server asks for a client certificate: sslcert and sslkey in the database URL"
                        .to_owned()
                }
                A::BadCertificate
                | A::UnsupportedCertificate
                | A::CertificateRevoked
                | A::CertificateExpired
                | A::CertificateUnknown
                | A::UnknownCA
                | A::AccessDenied
                | A::DecryptError => format!(
                    "the database server refuses this side's client certificate ({alert:?}): check sslcert and sslkey in the database URL"
                ),
                other => return (format!("the database server broke off TLS ({other:?})"), None),
            };
            (words, Some(TLS))
        }
        other => (format!("TLS with the database server failed: {other}"), None),
    }
}

fn certificate(problem: &CertificateError) -> String {
    use CertificateError as C;
    match problem {
        C::UnknownIssuer | C::BadSignature => {
            "the database server's certificate is signed by an authority that is not trusted here: sslrootcert in the database URL (or ~/.postgresql/root.crt) must name the CA certificate of this cluster".to_owned()
        }
        C::NotValidForNameContext { expected, presented } => format!(
            "the database server's certificate is made for {}, not for {}: use a host name of the certificate in the database URL, or sslmode=verify-ca to leave names out",
            presented.join(", "),
            expected.to_str(),
        ),
        C::ExpiredContext { not_after, .. } => format!(
            "the database server's certificate expired on {}: renew it there, and check this machine's clock",
            day(*not_after),
        ),
        C::NotValidYetContext { not_before, .. } => format!(
            "the database server's certificate is valid only from {}: check this machine's clock",
            day(*not_before),
        ),
        other => format!("the database server's certificate is refused: {other}"),
    }
}

fn day(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .map_or_else(|| "an unknown day".to_owned(), |time| time.format("%Y-%m-%d %H:%M UTC").to_string())
}

fn socket(error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind as K;
    Some(match error.kind() {
        K::ConnectionRefused => {
            "nothing listens there: check host and port in the database URL, and that the server runs"
        }
        K::TimedOut => "no answer in time: check host and port in the database URL, firewalls and allow-lists",
        K::HostUnreachable | K::NetworkUnreachable => "the network does not reach the host in the database URL",
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof => {
            "the server broke off the connection"
        }
        K::NotFound => "there is no such socket: check the host in the database URL",
        K::PermissionDenied => "this user may not open the connection (permission denied)",
        _ if error.to_string().contains("lookup address") => {
            "the host name in the database URL is not known: check its spelling and the name service"
        }
        _ => return None,
    })
}
