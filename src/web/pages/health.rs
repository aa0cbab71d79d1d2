//! Health of the process: alive, and ready for requests. Plain text, because balancers read it.
//! During startup `web::startup` answers instead.

use actix_web::{HttpResponse, web::Data};

use crate::{db::error::DbErrorKind, web::state::State};

/// `GET /healthz`: the process answers.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// `GET /readyz`: 200 when the database answers and the instance is not draining.
pub async fn ready(state: Data<State>) -> HttpResponse {
    if state.service.draining() {
        return not_ready("draining".to_owned());
    }
    match state.service.db.answers().await {
        Ok(()) => HttpResponse::Ok().content_type("text/plain").body("ready\n"),
        Err(error) => not_ready(format!("database: {}", trouble(&error.kind))),
    }
}

/// 503 with the reason as plain text.
pub fn not_ready(why: String) -> HttpResponse {
    HttpResponse::ServiceUnavailable().content_type("text/plain").body(why + "\n")
}

/// What is wrong with the database, without host, statement or the driver's words.
pub fn trouble(kind: &DbErrorKind) -> &'static str {
    match kind {
        DbErrorKind::Unavailable => "does not answer",
        DbErrorKind::Timeout => "answers too late",
        DbErrorKind::Contention => "is too busy",
        DbErrorKind::Ambiguous => "lost the connection",
        DbErrorKind::Licence => "refuses for want of a licence",
        DbErrorKind::Setup(words) => words,
        DbErrorKind::Unique(_) | DbErrorKind::BadValue | DbErrorKind::StalePlan | DbErrorKind::Bug => {
            "answers with an error"
        }
    }
}
