//! Logs: one subscriber for the process. Never logged: passwords, cookies, tokens, names, e-mail
//! addresses, request bodies, and the database's own error texts (they may carry rows). Only our
//! own lines may be more detailed than `info`, whatever `RUST_LOG` says: the driver's details are
//! statement parameters, the web server's are headers.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter,
    filter::{LevelFilter, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat};

/// A second call in one process is a no-op.
pub fn init(log: &Log) {
    init_to(log, std::io::stderr);
}

/// Like [`init`], with the lines written to `writer`.
pub fn init_to(log: &Log, writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_error| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(writer);
    let ours = filter_fn(|line| {
        // What the web server calls an error is a client's mistake; our own we say ourselves.
        let clients = line.target().starts_with("actix_http");
        line.target().starts_with("movr") || (*line.level() <= LevelFilter::INFO && !clients)
    });
    let installed = match log.format {
        LogFormat::Json => builder.json().finish().with(ours).try_init(),
        LogFormat::Text => builder.finish().with(ours).try_init(),
    };
    drop(installed);
}
