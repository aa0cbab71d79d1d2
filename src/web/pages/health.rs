//! Health of the process: alive, and ready to take visitors. Without the frame's pages,
//! because balancers read these.

use actix_web::{HttpResponse, web::Data};

use crate::app::App;

/// `GET /healthz`: the process answers.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// `GET /readyz`: 200 when the database answers and the instance is not draining.
pub async fn ready(app: Data<App>) -> HttpResponse {
    let not = |why: String| HttpResponse::ServiceUnavailable().content_type("text/plain").body(why + "\n");
    if app.draining() {
        return not("draining".to_owned());
    }
    match app.gates.reload(&app.db, &app.here).await {
        Ok(_) => HttpResponse::Ok().content_type("text/plain").body("ready\n"),
        Err(error) => not(format!("database: {:?}", error.kind)),
    }
}
