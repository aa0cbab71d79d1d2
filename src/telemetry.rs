//! Logs: one subscriber for the process. Never logged: passwords, cookies, tokens,
//! names, e-mail addresses, request bodies, and the database's own error texts (they
//! may carry rows); `DbError` prints the statement's name and SQLSTATE instead.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Installs the subscriber; a second call in one process is a no-op.
pub fn init(log: &Log) {
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_error| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match log.format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder.try_init(),
    };
    drop(installed);
}
