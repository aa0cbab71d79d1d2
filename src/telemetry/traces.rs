//! W3C trace context, and the export of spans by OTLP in builds with the feature `otlp`. There are
//! spans of requests, of statements and of attempts of transactions.

use tracing::Span;

/// The target of our spans: the exporter takes them, the log does not.
pub const SPANS: &str = "movr::spans";

/// The header `traceparent`, version 00 or what a later version keeps of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent<'a> {
    pub trace: &'a str,
    parent: &'a str,
    flags: &'a str,
}

impl<'a> TraceParent<'a> {
    pub fn parse(header: &'a str) -> Option<Self> {
        let mut parts = header.split('-');
        let mut hex = |length: usize| {
            let good = |part: &&str| {
                part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            };
            parts.next().filter(good)
        };
        let (version, trace, parent, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let zero = |text: &str| text.bytes().all(|b| b == b'0');
        let known =
            version == "00" && parts.next().is_none() || !["00", "ff"].contains(&version) && header.len() <= 512;
        (known && !zero(trace) && !zero(parent)).then_some(Self { trace, parent, flags })
    }
}

/// Makes `span` a child of the caller's, and returns the id of its trace; none if nobody traces.
#[cfg(feature = "otlp")]
pub fn follow(span: &Span, parent: Option<TraceParent<'_>>) -> Option<String> {
    use opentelemetry::{
        Context,
        trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
    };
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    if let Some(TraceParent { trace, parent, flags }) = parent
        && let (Ok(trace), Ok(parent), Ok(flags)) =
            (TraceId::from_hex(trace), SpanId::from_hex(parent), u8::from_str_radix(flags, 16))
    {
        let remote = SpanContext::new(trace, parent, TraceFlags::new(flags), true, TraceState::NONE);
        // It cannot be set where nothing is exported.
        let _ = span.set_parent(Context::new().with_remote_span_context(remote));
    }
    let own = span.context().span().span_context().trace_id();
    let callers = || parent.map(|parent| parent.trace.to_owned());
    if own == TraceId::INVALID { callers() } else { Some(own.to_string()) }
}

#[cfg(not(feature = "otlp"))]
pub fn follow(_: &Span, parent: Option<TraceParent<'_>>) -> Option<String> {
    parent.map(|parent| parent.trace.to_owned())
}

#[cfg(feature = "otlp")]
mod export {
    use std::sync::OnceLock;

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_otlp::{SpanExporter, WithExportConfig};
    use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
    use tracing::{Subscriber, warn};
    use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

    use super::SPANS;
    use crate::config;

    static SENDER: OnceLock<SdkTracerProvider> = OnceLock::new();

    /// Sends spans to the collector at `endpoint`. What else is set by the specification's `OTEL_*`
    /// variables (sampling, headers, batches, attributes) the SDK reads itself.
    pub fn layer<S>(endpoint: &str) -> Result<impl Layer<S> + Send + Sync + use<S>, Box<dyn std::error::Error>>
    where
        S: Subscriber + Send + Sync + for<'a> LookupSpan<'a>,
    {
        let traces = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let exporter = SpanExporter::builder().with_http().with_endpoint(traces).build()?;
        let mut resource = Resource::builder();
        if config::env("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("movr");
        }
        let sender = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(sender.tracer("movr"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        let _ = SENDER.set(sender);
        Ok(layer.with_filter(filter_fn(|of| of.is_span() && of.target() == SPANS)))
    }

    /// Sends what is left.
    pub fn shut_down() {
        if let Some(Err(error)) = SENDER.get().map(SdkTracerProvider::shutdown) {
            warn!(%error, "the last traces were not sent");
        }
    }
}

#[cfg(feature = "otlp")]
pub use export::{layer, shut_down};

#[cfg(not(feature = "otlp"))]
pub fn shut_down() {}
