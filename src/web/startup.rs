//! The startup gate. The socket is bound before the database answers: until then `/healthz` says
//! that the process lives, `/readyz` what is waited for, and other addresses that it is starting. One
//! server handles all of it, because a server that stops drops accepted connections.

use parking_lot::Mutex;
use std::{rc::Rc, sync::OnceLock};

use actix_web::{
    Error, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{Extensions, ServiceRequest, ServiceResponse},
    http::{ConnectionType, header},
    middleware::Next,
    web::Data,
};

use super::{middleware, pages::health};
use crate::web::state::State;

const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>MovR is starting</title></head>\
    <body><main><h1>MovR is starting</h1><p>This takes a few seconds. Please load the page again.</p></main></body></html>\n";
/// A warm instance of the same region takes seconds; a cold cluster about ten.
const COME_BACK_S: u64 = 3;

pub struct StartupGate {
    state: OnceLock<Data<State>>,
    step: Mutex<(&'static str, Option<&'static str>)>,
}

impl Default for StartupGate {
    fn default() -> Self {
        Self { state: OnceLock::new(), step: Mutex::new(("connecting", None)) }
    }
}

impl StartupGate {
    /// From now on `/readyz` names this step of warming up.
    pub fn step(&self, step: &'static str) {
        self.step.lock().0 = step;
    }

    /// From now on `/readyz` also says why the last try failed.
    pub fn failed(&self, why: &'static str) {
        self.step.lock().1 = Some(why);
    }

    /// In words that name no host.
    pub fn waiting_for(&self) -> String {
        match *self.step.lock() {
            (step, None) => step.to_owned(),
            (step, Some(why)) => format!("{step} (last try: the database {why})"),
        }
    }

    /// From now on requests go to the application. A second call is ignored.
    pub fn open(&self, state: Data<State>) {
        let _ = self.state.set(state);
    }

    /// The application; none while it warms up.
    pub fn state(&self) -> Option<&Data<State>> {
        self.state.get()
    }

    fn answer(&self, path: &str) -> HttpResponse {
        match path {
            "/healthz" => HttpResponse::Ok().content_type("text/plain").body("ok\n"),
            "/readyz" => health::not_ready(format!("warming: {}", self.waiting_for())),
            _ => HttpResponse::ServiceUnavailable()
                .insert_header((header::RETRY_AFTER, COME_BACK_S))
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'"))
                .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                .content_type("text/html; charset=utf-8")
                .body(PAGE),
        }
    }
}

/// Hands the application to the request, or answers in its place. While draining every answer
/// closes its connection, so that the client's next request goes elsewhere.
pub async fn enter(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(startup) = request.app_data::<Data<StartupGate>>().cloned() else {
        return Ok(request.into_response(HttpResponse::InternalServerError().finish()));
    };
    let Some(state) = startup.state.get() else {
        let answer = match middleware::refused_by_head(request.method(), request.path(), request.headers()) {
            Some(refused) => HttpResponse::new(refused.status_code()),
            None => startup.answer(request.path()),
        };
        return Ok(request.into_response(answer));
    };
    let mut data = Extensions::new();
    data.insert(state.clone());
    request.add_data_container(Rc::new(data));
    let mut response = next.call(request).await?.map_into_boxed_body();
    if state.service.draining() {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}
