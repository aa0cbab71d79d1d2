//! A failed connection in words that name the setting to look at, for the log and the console.
//! Reads the driver's error down to its cause; knows TLS, sockets and the server's refusals.
//! The surprise: `io::Error` hides the error that it wraps from `source()`, so each step of the
//! walk looks inside it; and a server's DETAIL is left out, since PostgreSQL prints rows there.

use std::{error::Error as StdError, io};

use chrono::DateTime;
use rustls::{AlertDescription, CertificateError, Error as Tls, pki_types::UnixTime};
use tokio_postgres::error::{DbError, SqlState};

/// How the driver begins its refusal of a password that is hashed too often.
const ITERATIONS: &str = "SCRAM iteration count exceeds";

/// Says what went wrong with a connection and where to look; without user name and password.
pub fn explain(error: &tokio_postgres::Error) -> String {
    let causes = causes(error);
    let known = causes.iter().rev().find_map(|cause| {
        let tls = cause.downcast_ref::<Tls>().map(explain_tls);
        let refused = || cause.downcast_ref::<DbError>().map(explain_refusal);
        let socket = || cause.downcast_ref::<io::Error>().and_then(explain_socket);
        tls.or_else(refused).or_else(socket)
    });
    if causes.iter().any(|cause| cause.to_string().contains(ITERATIONS)) {
        return "the database server keeps this user's password with more than 100,000 SCRAM iterations, as CockroachDB did \
                before v22.2: lower the cluster setting server.user_login.password_hashes.default_cost.scram_sha_256 to 10610 \
                and set the password again, or log in with a client certificate"
            .to_owned();
    }
    if let Some(known) = known {
        return known;
    }
    let words = causes.iter().map(ToString::to_string).collect::<Vec<_>>().join(": ");
    match words.as_str() {
        words if words.contains("does not support TLS") => {
            "the server does not speak TLS: turn it on there, or, where the network is trusted, put sslmode=disable into the database URL".to_owned()
        }
        words if words.contains("password missing") => {
            "the server asks for a password and the database URL has none".to_owned()
        }
        _ => words,
    }
}

/// Why no retry can help, if none can: what the database does, in words that name no host and
/// continue "the database".
pub fn incurable(error: &tokio_postgres::Error) -> Option<&'static str> {
    const LOG_IN: &str = "refuses the log-in: user, password or client certificate";
    const TLS: &str = "and this side do not accept each other's TLS or certificates";
    const OPTIONS: &str = "refuses an option of its URL";
    let causes = causes(error);
    let known = causes.iter().rev().find_map(|cause| match cause.downcast_ref::<DbError>() {
        Some(refusal) => match refusal.code().code() {
            "3D000" => Some("does not exist: `movr migrate` creates it"),
            "08P01" if refusal.message().contains("startup parameter") => Some(OPTIONS),
            code if code.starts_with("28") || code == "42501" => Some(LOG_IN),
            code if ["0A", "22", "42"].iter().any(|class| code.starts_with(class)) => Some(OPTIONS),
            _ => None,
        },
        None => match cause.downcast_ref::<Tls>()? {
            Tls::InvalidCertificate(_) => Some(TLS),
            Tls::AlertReceived(alert) if explain_alert(*alert).contains("certificate") => Some(TLS),
            _ => None,
        },
    });
    let words = causes.iter().map(ToString::to_string).collect::<Vec<_>>().join(": ");
    known.or_else(|| match words.as_str() {
        words if words.contains(ITERATIONS) => {
            Some("keeps this user's password with more SCRAM iterations than are accepted")
        }
        words if words.starts_with("authentication error") || words.contains("password missing") => Some(LOG_IN),
        words if words.starts_with("invalid configuration") => Some(OPTIONS),
        words if words.contains("does not support TLS") => Some(TLS),
        _ => None,
    })
}

/// The error and its causes, outermost first.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        causes.push(cause);
        let inside = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside as &(dyn StdError + 'static)),
            None => cause.source(),
        };
    }
    causes
}

fn explain_tls(error: &Tls) -> String {
    match error {
        Tls::InvalidCertificate(problem) => explain_certificate(problem),
        Tls::AlertReceived(alert) => explain_alert(*alert),
        other => format!("TLS with the database server failed: {other}"),
    }
}

fn explain_certificate(problem: &CertificateError) -> String {
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
        C::NotValidForName => "the database server's certificate is made for another host name: use a name of the certificate in the database URL, or sslmode=verify-ca to leave names out".to_owned(),
        C::ExpiredContext { not_after, .. } => format!(
            "the database server's certificate expired on {}: renew it there, and check this machine's clock",
            day(*not_after),
        ),
        C::Expired => "the database server's certificate has expired: renew it there, and check this machine's clock".to_owned(),
        C::NotValidYetContext { not_before, .. } => format!(
            "the database server's certificate is valid only from {}: check this machine's clock",
            day(*not_before),
        ),
        C::NotValidYet => "the database server's certificate is not valid yet: check this machine's clock".to_owned(),
        other => format!("the database server's certificate is refused: {other}"),
    }
}

fn day(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .map_or_else(|| "an unknown day".to_owned(), |time| time.format("%Y-%m-%d %H:%M UTC").to_string())
}

fn explain_alert(alert: AlertDescription) -> String {
    use AlertDescription as A;
    match alert {
        A::CertificateRequired => {
            "the database server asks for a client certificate: sslcert and sslkey in the database URL".to_owned()
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
        other => format!("the database server broke off TLS ({other:?})"),
    }
}

fn explain_refusal(error: &DbError) -> String {
    let code = error.code();
    if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        return format!(
            "the database server refuses the log-in: check user, password and client certificate in the database URL ({})",
            code.code(),
        );
    }
    if *code == SqlState::UNDEFINED_DATABASE {
        return "the database does not exist: `movr migrate` creates it".to_owned();
    }
    if *code == SqlState::TOO_MANY_CONNECTIONS {
        return "the database server has no connection left: lower MOVR_POOL_SIZE or raise its limit".to_owned();
    }
    format!("the database server refuses: {} ({})", error.message(), code.code())
}

fn explain_socket(error: &io::Error) -> Option<String> {
    use io::ErrorKind as K;
    let words = match error.kind() {
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
    };
    Some(words.to_owned())
}
