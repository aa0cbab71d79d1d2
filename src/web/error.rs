//! Everything that can stop a page, in one table to status, words and links. The user and the log
//! get different texts. The page is rendered from the cookie alone, so it works while the database
//! is away.

use std::time::Duration;

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use askama::Template;

use super::{
    context::RequestContext,
    layout::{Layout, Section, layout},
    paths,
};
use crate::{
    db::{
        error::{DbError, DbErrorKind},
        meter::Meter,
    },
    domain::refusal::Refusal,
    ops::OpError,
};

#[derive(Debug)]
pub enum PageError {
    SignIn(String),
    Refused(Refusal),
    BadRequest(&'static str),
    CrossSite,
    /// No such page, or not this person's.
    NotFound,
    NoVehicle,
    MethodNotAllowed,
    TooLarge,
    Packed,
    NoLength,
    TooMany(Duration),
    Deadline,
    Db(DbError),
    /// Our bug, for the log.
    Bug(String),
}

impl From<DbError> for PageError {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<OpError> for PageError {
    fn from(error: OpError) -> Self {
        match error {
            OpError::Refused(Refusal::SignedOut) => Self::SignIn(paths::login("/vehicles")),
            OpError::Refused(refusal) => Self::Refused(refusal),
            OpError::Db(error) => Self::Db(error),
        }
    }
}

#[derive(Template)]
#[template(path = "pages/error.html")]
struct ErrorPage<'a> {
    layout: Layout,
    text: &'a ErrorText,
    vehicles: String,
    request_id: &'a str,
}

struct ErrorText {
    status: StatusCode,
    heading: &'static str,
    message: String,
    /// In seconds.
    retry_after: Option<u64>,
}

fn text(status: StatusCode, heading: &'static str, message: impl Into<String>) -> ErrorText {
    ErrorText { status, heading, message: message.into(), retry_after: None }
}

impl ErrorText {
    fn retry(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

const OUR_MISTAKE: &str = "We made a mistake, and it has been noted. Please try again, or quote the number below.";

impl PageError {
    pub fn from_body(error: &actix_web::Error) -> Self {
        if error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::TooLarge;
        }
        Self::BadRequest("The form did not arrive whole.")
    }

    fn text(&self) -> ErrorText {
        match self {
            Self::SignIn(_) => text(StatusCode::SEE_OTHER, "Sign in", ""),
            Self::Refused(refusal) => refused(refusal),
            Self::BadRequest(what) => text(
                StatusCode::BAD_REQUEST,
                "This request cannot be understood",
                format!("{what} Nothing was changed. Please go back, load the page again and retry."),
            ),
            Self::CrossSite => text(
                StatusCode::FORBIDDEN,
                "This request was refused",
                "It came from another site, so nothing was changed. Please use the pages here.",
            ),
            Self::NotFound => text(
                StatusCode::NOT_FOUND,
                "Not found",
                "There is nothing at this address, or it is not yours. It may have moved.",
            ),
            Self::NoVehicle => text(
                StatusCode::NOT_FOUND,
                "Not found",
                "This vehicle is not at this address any more; it gets a new one after each ride.",
            ),
            Self::MethodNotAllowed => text(
                StatusCode::METHOD_NOT_ALLOWED,
                "That does not work here",
                "This address exists, but not for that kind of request.",
            ),
            Self::TooLarge => text(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Too large",
                "What you sent is larger than this page takes. Nothing was changed.",
            ),
            Self::Packed => text(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "This request was refused",
                "Compressed requests are not taken here. Nothing was changed.",
            ),
            Self::NoLength => text(
                StatusCode::LENGTH_REQUIRED,
                "This request was refused",
                "A request has to say how long it is. Nothing was changed.",
            ),
            Self::TooMany(wait) => {
                let seconds = wait.as_secs() + 1;
                let message = format!("Please wait {seconds} seconds and try again.");
                text(StatusCode::TOO_MANY_REQUESTS, "Too many tries", message).retry(seconds)
            }
            Self::Deadline => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "Please come back",
                "This took too long. Please try again in a moment.",
            )
            .retry(5),
            Self::Db(error) => database(error),
            Self::Bug(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "Our mistake", OUR_MISTAKE),
        }
    }

    pub fn render(&self, context: &RequestContext) -> HttpResponse {
        if let Self::SignIn(location) = self {
            let mut context = context.clone();
            if context.cookie.is_some() {
                context.forget_session();
                return context.refused(location, "Your session has ended. Please sign in again.");
            }
            return context.refused(location, "");
        }
        self.log(context);
        let text = self.text();
        let city = context.city();
        let page = ErrorPage {
            layout: layout(context, None, text.heading, Section::None, city),
            text: &text,
            vehicles: paths::vehicles(&city.slug),
            request_id: &context.ids.request,
        };
        let mut response = context
            .html(text.status, &page)
            .unwrap_or_else(|_unrendered| HttpResponse::new(StatusCode::INTERNAL_SERVER_ERROR));
        if let Some(seconds) = text.retry_after {
            response.headers_mut().insert(actix_web::http::header::RETRY_AFTER, seconds.into());
        }
        response
    }

    fn log(&self, context: &RequestContext) {
        let request = context.ids.request.as_str();
        match self {
            Self::Db(error) => tracing::error!(request, %error, "database trouble"),
            Self::Bug(detail) => tracing::error!(request, detail, "bug"),
            Self::CrossSite => context.turned_away("a write from another site"),
            Self::Refused(refusal) => {
                Meter::refused(refusal.code());
                context.turned_away(&format!("{refusal:?}"));
            }
            Self::TooMany(_) => context.turned_away("too many tries"),
            Self::Packed => context.turned_away("a compressed body"),
            Self::NoLength => context.turned_away("a body of unknown length"),
            // Whoever is signed in follows links of ours: this one was made up, or is old.
            Self::NotFound if context.cookie.is_some() => context.turned_away("nothing of theirs is there"),
            Self::SignIn(_)
            | Self::BadRequest(_)
            | Self::NotFound
            | Self::NoVehicle
            | Self::MethodNotAllowed
            | Self::TooLarge
            | Self::Deadline => {}
        }
    }
}

fn refused(refusal: &Refusal) -> ErrorText {
    let message = refusal.message();
    match refusal {
        Refusal::RegionReadOnly { .. } | Refusal::CatalogueAway => {
            text(StatusCode::SERVICE_UNAVAILABLE, "Not just now", message).retry(60)
        }
        Refusal::NotAdministrator => text(StatusCode::FORBIDDEN, "For administrators only", message),
        Refusal::NotOperator => text(StatusCode::FORBIDDEN, "For fleet operators only", message),
        _ => text(StatusCode::CONFLICT, "That did not work", message),
    }
}

fn database(error: &DbError) -> ErrorText {
    let unclear = "Please look whether it was done before you repeat it; sending the same form again is safe.";
    if let Some((region, since)) = &error.open_circuit {
        let outcome = if error.kind == DbErrorKind::Ambiguous { unclear } else { "Nothing was changed." };
        let message = format!(
            "The region {region} has not answered since {}. {outcome} Everything about other regions works as usual; \
             please try this again in a few seconds. See /status for how the regions are.",
            since.format("%H:%M:%S UTC")
        );
        return text(StatusCode::SERVICE_UNAVAILABLE, "A region does not answer", message).retry(5);
    }
    let unavailable = |heading, message: &str| text(StatusCode::SERVICE_UNAVAILABLE, heading, message);
    match error.kind {
        DbErrorKind::Unavailable | DbErrorKind::Timeout => unavailable(
            "Please come back",
            "Our database does not answer just now. Nothing was changed. Please try again in a few seconds.",
        )
        .retry(5),
        DbErrorKind::Contention => unavailable(
            "Please try again",
            "Too many people want the same thing at once. Nothing was changed. Please try again.",
        )
        .retry(1),
        DbErrorKind::Ambiguous => {
            let message = format!("The connection was lost while this was being stored. {unclear}");
            unavailable("Please look again", &message).retry(5)
        }
        DbErrorKind::Licence | DbErrorKind::Setup(_) => unavailable(
            "Out of order",
            "The database does not let us work, which only its operators can mend. Nothing was changed.",
        )
        .retry(300),
        DbErrorKind::Unique(_) | DbErrorKind::BadValue | DbErrorKind::StalePlan | DbErrorKind::Bug => {
            text(StatusCode::INTERNAL_SERVER_ERROR, "Our mistake", OUR_MISTAKE)
        }
    }
}

impl std::fmt::Display for PageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        self.text().status
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}
