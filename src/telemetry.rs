//! What an instance says of itself: logs here, figures in `metrics`, spans in `traces`. One
//! subscriber for the process. Never logged: passwords, cookies, tokens, names, e-mail
//! addresses, request bodies, and the database's own error texts (they may carry rows). Only our
//! own lines may be more detailed than `info`, whatever `RUST_LOG` says: the driver's details are
//! statement parameters, the web server's are headers.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, LevelFilter, filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat};

pub mod metrics;
pub mod traces;

/// Spans are sent to the collector at `traces`. A second call in one process is a no-op.
pub fn init(log: &Log, traces: Option<&str>) {
    init_to(log, traces, std::io::stderr);
}

/// Like [`init`], with the lines written to `writer`.
pub fn init_to(log: &Log, traces: Option<&str>, writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_error| EnvFilter::new("info"));
    let ours = filter_fn(|line| {
        // What the web server calls an error is a client's mistake; our own we say ourselves.
        let clients = line.target().starts_with("actix_http");
        let ours = line.target().starts_with("movr") || (*line.level() <= LevelFilter::INFO && !clients);
        line.is_event() && ours
    });
    let lines = fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(writer);
    let lines = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter.and(ours)));
    #[cfg(feature = "otlp")]
    let (spans, failed) = traces.map(traces::layer).transpose().map_or_else(|error| (None, Some(error)), |l| (l, None));
    #[cfg(feature = "otlp")]
    let subscriber = subscriber.with(spans);
    drop(subscriber.try_init());
    #[cfg(feature = "otlp")]
    if let Some(error) = failed {
        tracing::error!(error, "no traces will be sent");
    }
    #[cfg(not(feature = "otlp"))]
    if traces.is_some() {
        tracing::warn!("traces are not sent: this program was built without the feature otlp");
    }
}
