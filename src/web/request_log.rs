//! What is said of every request: one line of the log, the metrics, and a span. Its ids may come
//! from a trusted proxy. Nothing personal: the route's pattern, not the path.

use std::{sync::LazyLock, time::Instant};

use actix_web::{
    dev::ServiceRequest,
    http::{Method, StatusCode},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tracing::{Span, field::Empty};

use super::{context::Ids, region::trusted_proxy, routes::ROUTES, state::State};
use crate::{
    db::meter::Figures,
    domain::region::RegionCode,
    telemetry::traces::{self, SPANS, TraceParent},
};

const LONGEST_ID: usize = 64;

pub struct RequestLog {
    pub ids: Ids,
    pub span: Span,
    pub route: &'static str,
    method: &'static str,
    trace: Option<String>,
    began: Instant,
}

impl RequestLog {
    pub fn begin(request: &ServiceRequest, state: &State) -> Self {
        let began = Instant::now();
        let trusted = trusted_proxy(request.peer_addr(), state).is_some();
        let header = |name: &str| request.headers().get(name).filter(|_| trusted)?.to_str().ok();
        let good = |id: &&str| {
            (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let random = || URL_SAFE_NO_PAD.encode(rand::random::<[u8; 12]>());
        let request_id = header("x-request-id").filter(good).map_or_else(random, str::to_owned);
        let pattern = request.match_pattern();
        let route = ROUTES.iter().find(|route| Some(route.path) == pattern.as_deref()).map_or("none", |of| of.path);
        let method = method(request.method());
        let span = tracing::info_span!(
            target: SPANS,
            "request",
            otel.name = %format_args!("{method} {route}"),
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = Empty,
            request_id,
            region = state.service.here.as_str(),
            reach = Empty
        );
        let trace = traces::follow(&span, header("traceparent").and_then(TraceParent::parse));
        Self { ids: Ids { request: request_id, nonce: random() }, span, route, method, trace, began }
    }

    pub fn milliseconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64() * 1000.0
    }

    pub fn end(&self, state: &State, status: StatusCode, figures: &Figures, contract: &str) {
        let (here, metrics) = (&state.service.here, state.service.db.metrics());
        let reach = reach(figures, here);
        self.span.record("http.response.status_code", status.as_u16());
        self.span.record("reach", reach);
        if status.is_server_error() {
            self.span.record("otel.status_code", "error");
        }
        metrics.requests.of([self.route, self.method, code(status)]).inc();
        metrics.request_seconds.took([self.route, self.method, reach], self.began.elapsed());
        if let Some(reason) = figures.refusal {
            metrics.refusals.of([reason]).inc();
        }
        let rounded = |ms: f64| (ms * 1000.0).round() / 1000.0;
        tracing::info!(
            request = self.ids.request,
            trace = self.trace,
            method = self.method,
            route = self.route,
            status = status.as_u16(),
            region = here.as_str(),
            reach,
            data_regions = regions(figures),
            contract,
            refusal = figures.refusal,
            statements = figures.statements,
            waits = figures.waits,
            rows = figures.rows,
            attempts = figures.retries + 1,
            db_ms = rounded(figures.busy.as_secs_f64() * 1000.0),
            ms = rounded(self.milliseconds()),
            "answered"
        );
    }
}

pub fn regions(figures: &Figures) -> String {
    let named = figures.regions.iter().map(RegionCode::as_str);
    named.chain(figures.everywhere.then_some("all")).collect::<Vec<_>>().join(" ")
}

fn reach(figures: &Figures, here: &RegionCode) -> &'static str {
    match figures {
        Figures { statements: 0, .. } => "none",
        Figures { everywhere: false, regions, .. } if regions.iter().all(|region| region == here) => "home",
        _ => "away",
    }
}

fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

fn code(status: StatusCode) -> &'static str {
    static CODES: LazyLock<Vec<String>> = LazyLock::new(|| (0..1000).map(|code| code.to_string()).collect());
    CODES.get(usize::from(status.as_u16())).map_or("other", String::as_str)
}
