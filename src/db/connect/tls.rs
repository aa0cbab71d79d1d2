//! The rustls side of a database connection: trusted authorities and the client certificate, read
//! once when the URL is parsed. `ring` is named explicitly, so that no process-wide provider has to
//! be installed first.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use x509_cert::der::Decode;

use super::{ConnectError, Mode, TlsParameters};

pub(super) fn client_config(
    parameters: &TlsParameters,
    home: Option<&Path>,
    expiry: Arc<AtomicI64>,
) -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(ring::default_provider());
    let refused = |error: &dyn std::fmt::Display| ConnectError(format!("TLS cannot be configured: {error}"));
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?;
    if parameters.mode == Mode::Disable {
        return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    }
    let roots = Arc::new(roots(parameters, home)?);
    let standard =
        WebPkiServerVerifier::builder_with_provider(roots, provider).build().map_err(|error| refused(&error))?;
    let verifier = Verifier { standard, any_name: parameters.mode == Mode::VerifyChain, expiry };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    match client_certificate(parameters)? {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| ConnectError(format!("sslcert and sslkey do not make a client certificate: {error}"))),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// `sslrootcert`, else `~/.postgresql/root.crt` where it exists, else the system's.
fn roots(parameters: &TlsParameters, home: Option<&Path>) -> Result<RootCertStore, ConnectError> {
    if parameters.system_roots {
        return system_roots();
    }
    let default = home.map(|home| home.join(".postgresql/root.crt")).filter(|path| path.exists());
    match parameters.root.as_ref().or(default.as_ref()) {
        Some(path) => file_roots(path),
        None => system_roots(),
    }
}

fn system_roots() -> Result<RootCertStore, ConnectError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(ConnectError(format!(
            "no CA certificates found on this system: install the package ca-certificates, or name a file by sslrootcert ({})",
            reasons.join("; ")
        )));
    }
    Ok(store)
}

fn file_roots(path: &Path) -> Result<RootCertStore, ConnectError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates("sslrootcert", path)? {
        store.add(certificate).map_err(|error| unusable("sslrootcert", path, &error.to_string()))?;
    }
    Ok(store)
}

fn certificates(name: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => Err(unusable(name, path, "holds no certificate in PEM form")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(name, path, &pem_fault(&error))),
    }
}

type ClientCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_certificate(parameters: &TlsParameters) -> Result<Option<ClientCertificate>, ConnectError> {
    let (certificate, key) = match (&parameters.certificate, &parameters.key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(path), None) => return Err(unusable("sslcert", path, "needs sslkey beside it")),
        (None, Some(path)) => return Err(unusable("sslkey", path, "needs sslcert beside it")),
    };
    let chain = certificates("sslcert", certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable("sslkey", key, &pem_fault(&error)))?;
    Ok(Some((chain, private)))
}

fn pem_fault(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error as Pem;
    match error {
        Pem::Io(error) => format!("cannot be read ({error})"),
        Pem::NoItemsFound => "holds no key in PEM form, or an encrypted one".to_owned(),
        other => format!("is not in PEM form ({other})"),
    }
}

fn unusable(name: &str, path: &Path, reason: &str) -> ConnectError {
    ConnectError(format!("{name} {}: {reason}", path.display()))
}

/// Verifies as rustls does, and notes when the certificate ends.
#[derive(Debug)]
struct Verifier {
    standard: Arc<WebPkiServerVerifier>,
    /// Whether the host name may be another one.
    any_name: bool,
    expiry: Arc<AtomicI64>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Ok(certificate) = x509_cert::Certificate::from_der(end_entity) {
            let end = certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
            self.expiry.store(i64::try_from(end).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
        match self.standard.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // It is checked last, so the chain is good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.standard.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.standard.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.standard.supported_verify_schemes()
    }
}
