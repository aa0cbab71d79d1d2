//! What surrounds every request, in order: ids, the database meter, the origin check, the deadline,
//! the handler, error pages, headers, the one log line. Nothing personal is logged: the route's
//! pattern, not the path.

use std::{sync::Arc, time::Instant};

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
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    context::{Ids, RequestContext},
    contract::{self, RegionScope},
    error::PageError,
    headers, origin,
};
use crate::{
    db::{
        error::{DbError, DbErrorKind},
        meter::{Figures, Meter},
    },
    domain::region::RegionCode,
    web::state::State,
};

pub async fn request(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    let Some(state) = request.app_data::<Data<State>>().cloned() else {
        return Ok(request.into_response(HttpResponse::InternalServerError().finish()));
    };
    let text = |bytes: [u8; 12]| URL_SAFE_NO_PAD.encode(bytes);
    let ids = Ids { request: text(rand::random()), nonce: text(rand::random()) };
    request.extensions_mut().insert(ids.clone());
    let meter = Arc::new(Meter::default());
    let mut response = meter.measure(answer(request, next, &state)).await?;
    let figures = meter.figures();
    headers::add(response.headers_mut(), &state, &ids.nonce);
    if let Ok(id) = HeaderValue::from_str(&ids.request) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    }
    let route = response.request().match_pattern().unwrap_or_else(|| "(none)".to_owned());
    let scope = RegionScope::of(response.request().method(), &route);
    let (kept, verdict) = contract::verdict(&state.service, scope, &figures, || context(&response));
    if !kept {
        tracing::error!(request = ids.request, route, verdict, "the consistency contract was broken");
    }
    if !matches!(route.as_str(), "/login" | "/register" | "/recover")
        && let Ok(value) = HeaderValue::from_str(&server_timing(&figures, &verdict, began))
    {
        response.headers_mut().insert(HeaderName::from_static("server-timing"), value);
    }
    log(&response, &route, &ids, &figures, &verdict, began);
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
    let Some(state) = request.app_data::<Data<State>>().cloned() else {
        return Ok(request.error_response(PageError::Bug("no app".to_owned())));
    };
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
    let own = response.response().error().and_then(|error| error.as_error::<PageError>());
    let by_status = match status {
        StatusCode::NOT_FOUND => Some(PageError::NotFound),
        StatusCode::METHOD_NOT_ALLOWED => Some(PageError::MethodNotAllowed),
        StatusCode::PAYLOAD_TOO_LARGE => Some(PageError::TooLarge),
        _ if response.response().error().is_some() && status.is_client_error() => {
            Some(PageError::BadRequest("The request does not fit this page."))
        }
        _ if response.response().error().is_some() => {
            response.response().error().map(|error| PageError::Bug(error.to_string()))
        }
        _ => None,
    };
    let written = response.headers().contains_key("content-type");
    let error = match (own, by_status) {
        (Some(own), _) => own,
        (None, Some(ref error)) if !written || response.response().error().is_some() => {
            return Some(error.render(&context(response)?));
        }
        _ => return None,
    };
    Some(error.render(&context(response)?))
}

fn context(response: &ServiceResponse<BoxBody>) -> Option<RequestContext> {
    let state = response.request().app_data::<Data<State>>().cloned()?;
    Some(RequestContext::new(response.request(), state))
}

fn regions(figures: &Figures) -> String {
    let named = figures.regions.iter().map(RegionCode::as_str);
    named.chain(figures.everywhere.then_some("all")).collect::<Vec<_>>().join(" ")
}

fn server_timing(figures: &Figures, verdict: &str, began: Instant) -> String {
    let ms = |d: std::time::Duration| d.as_secs_f64() * 1000.0;
    format!(
        "db;dur={:.1};desc=\"{} statements, {} waits, regions {}\", contract;desc=\"{verdict}\", total;dur={:.1}",
        ms(figures.busy),
        figures.statements,
        figures.waits,
        regions(figures),
        ms(began.elapsed()),
    )
}

fn log(response: &ServiceResponse<BoxBody>, route: &str, ids: &Ids, figures: &Figures, verdict: &str, began: Instant) {
    tracing::info!(
        request = ids.request,
        method = %response.request().method(),
        route,
        status = response.status().as_u16(),
        regions = regions(figures),
        contract = verdict,
        statements = figures.statements,
        waits = figures.waits,
        rows = figures.rows,
        retries = figures.retries,
        db_ms = figures.busy.as_secs_f64() * 1000.0,
        ms = began.elapsed().as_secs_f64() * 1000.0,
        "answered"
    );
}
