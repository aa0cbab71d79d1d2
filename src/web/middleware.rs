//! What surrounds every request, in order: ids, the database meter, the origin check, the deadline,
//! the handler, error pages, headers, and what is said of the request (`request_log`).

use std::sync::Arc;

use actix_web::{
    Error, HttpMessage, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{ALLOW, CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING},
    },
    middleware::Next,
    web::Data,
};
use tracing::Instrument;

use super::{
    BadRequest, PageError, RequestContext,
    contract::{self, RegionScope},
    headers, origin,
    request_log::{RequestLog, regions},
    state::State,
};
use crate::db::{
    DbError,
    error::DbErrorKind,
    meter::{Figures, Meter},
};

pub async fn request(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<Data<State>>().cloned() else {
        return Ok(request.into_response(HttpResponse::InternalServerError().finish()));
    };
    let log = RequestLog::begin(&request, &state);
    request.extensions_mut().insert(log.ids.clone());
    let meter = Arc::new(Meter::default());
    let mut response = meter.measure(answer(request, next, &state)).instrument(log.span.clone()).await?;
    let figures = meter.figures();
    headers::add(response.headers_mut(), &state, &log.ids.nonce);
    if let Ok(id) = HeaderValue::from_str(&log.ids.request) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    }
    let scope = RegionScope::of(response.request().method(), log.route);
    let (kept, verdict) = contract::verdict(&state.service, scope, &figures, || context(&response));
    if !kept {
        tracing::error!(request = log.ids.request, route = log.route, verdict, "the consistency contract was broken");
    }
    if !matches!(log.route, "/login" | "/register" | "/recover")
        && let Ok(value) = HeaderValue::from_str(&server_timing(&figures, &verdict, log.milliseconds()))
    {
        response.headers_mut().insert(HeaderName::from_static("server-timing"), value);
    }
    log.end(&state, response.status(), &figures, &verdict);
    Ok(response)
}

async fn answer(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    state: &Data<State>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let refused = refused_by_head(request.method(), request.path(), request.headers());
    let response = if let Some(refused) = refused {
        request.error_response(refused)
    } else if origin::allowed(request.method(), request.headers(), &host, state.service.config.public_url.origin()) {
        next.call(request).await?.map_into_boxed_body()
    } else {
        request.error_response(PageError::CrossSite)
    };
    Ok(match page_error(&response) {
        None => response,
        Some(mut rendered) => {
            if let Some(allowed) = response.headers().get(ALLOW) {
                rendered.headers_mut().insert(ALLOW, allowed.clone());
            }
            ServiceResponse::new(response.into_parts().0, rendered)
        }
    })
}

/// The one address that takes a body of unknown length: a file, read as it comes.
const IMPORT: &str = "/fleet/import";

/// A compressed body could expand a thousandfold, and one of unknown length may never end: both are
/// refused before any of it is read.
pub(super) fn refused_by_head(method: &Method, path: &str, headers: &HeaderMap) -> Option<PageError> {
    let plain = |coding: &str| matches!(coding.trim(), "") || coding.trim().eq_ignore_ascii_case("identity");
    let plain = |value: &HeaderValue| value.to_str().is_ok_and(|codings| codings.split(',').all(plain));
    if !headers.get_all(CONTENT_ENCODING).all(plain) {
        return Some(PageError::Packed);
    }
    let file = *method == Method::POST && path == IMPORT;
    (headers.contains_key(TRANSFER_ENCODING) && !file).then_some(PageError::NoLength)
}

/// How many times longer a file may take, either way, than anything else.
pub(super) const FILE_TIMES: u32 = 12;

/// Ends a request that takes too long. A write is not cut off but ends by its own deadline, so that
/// the person learns its outcome. Inside the router, which needs the request for itself.
pub async fn deadline(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let http = request.request().clone();
    let state = State::of(&http)?;
    let mut limit = state.service.config.request_timeout;
    if request.method() == Method::POST && request.match_pattern().as_deref() == Some(IMPORT) {
        // A file of 20 MB needs its time on a slow line.
        limit *= FILE_TIMES;
    }
    let mut answer = std::pin::pin!(next.call(request));
    let mut answered = tokio::time::timeout(limit, answer.as_mut()).await;
    if answered.is_err() && Meter::has_written() {
        answered = tokio::time::timeout(state.service.db.longest_write(), answer).await;
    }
    match answered {
        Ok(response) => response.map(ServiceResponse::map_into_boxed_body),
        Err(elapsed) if Meter::has_written() => {
            let unclear = DbError::new(DbErrorKind::Ambiguous, "request", elapsed.to_string());
            Ok(ServiceResponse::from_err(PageError::Db(unclear), http))
        }
        Err(_elapsed) => Ok(ServiceResponse::from_err(PageError::Deadline, http)),
    }
}

/// The page in place of an answer that carries only an error or an empty status.
fn page_error(response: &ServiceResponse<BoxBody>) -> Option<HttpResponse> {
    let status = response.status();
    let error = response.response().error();
    if let Some(own) = error.and_then(|error| error.as_error::<PageError>()) {
        return Some(own.render(&context(response)?));
    }
    if error.is_none() && response.headers().contains_key("content-type") {
        return None;
    }
    let by_status = match (status, error) {
        (StatusCode::NOT_FOUND, _) => PageError::NotFound,
        (StatusCode::METHOD_NOT_ALLOWED, _) => PageError::MethodNotAllowed,
        (StatusCode::PAYLOAD_TOO_LARGE, _) => PageError::TooLarge,
        (_, Some(_)) if status.is_client_error() => BadRequest::Other.into(),
        (_, Some(error)) => PageError::Bug(error.to_string()),
        (_, None) => return None,
    };
    Some(by_status.render(&context(response)?))
}

fn context(response: &ServiceResponse<BoxBody>) -> Option<RequestContext> {
    State::of(response.request()).ok().map(|state| RequestContext::new(response.request(), state))
}

fn server_timing(figures: &Figures, verdict: &str, total: f64) -> String {
    format!(
        "db;dur={:.1};desc=\"{} statements, {} waits, regions {}\", contract;desc=\"{verdict}\", total;dur={total:.1}",
        figures.busy.as_secs_f64() * 1000.0,
        figures.statements,
        figures.waits,
        regions(figures),
    )
}
