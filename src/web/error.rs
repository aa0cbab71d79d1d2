//! Everything that can stop a page, in one table to status, words and links. The user and the log
//! get different texts. The page is rendered from the cookie alone, so it works while the database
//! is away.

use std::time::Duration;

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use askama::Template;

use super::{Layout, RequestContext, Section, filters::counted, limits::TooMany, paths};
use crate::{
    db::{DbError, error::DbErrorKind, meter::Meter},
    domain::{City, Refusal, RegionCode},
    ops::OpError,
};

pub type PageResult<T = HttpResponse> = Result<T, PageError>;

/// Whoever asked reads `ErrorText`, not this.
#[derive(Debug, thiserror::Error)]
#[error("{self:?}")]
pub enum PageError {
    SignIn(String),
    Refused(#[from] Refusal),
    BadRequest(#[from] BadRequest),
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
    Db(#[from] DbError),
    /// Our bug, for the log.
    Bug(String),
}

/// What none of our pages sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    #[error("The request does not fit this page.")]
    Other,
    #[error("This address takes a form.")]
    NoForm,
    #[error("The request did not arrive whole.")]
    Incomplete,
    #[error("The text is not UTF-8.")]
    NotUtf8,
    #[error("Control characters and line breaks are not allowed.")]
    ControlCharacters,
    #[error("There are too many fields.")]
    TooManyFields,
    #[error("A field was sent twice.")]
    RepeatedField,
    #[error("A field is missing, or is not what this page sends.")]
    Field,
    #[error("There is no such region.")]
    Region,
    #[error("There is no such city.")]
    City,
    #[error("That is done by a job.")]
    Step,
    #[error("Positions are JSON: up to 100 of at, lat and lon.")]
    Positions,
}

impl From<TooMany> for PageError {
    fn from(TooMany(wait): TooMany) -> Self {
        Self::TooMany(wait)
    }
}

impl From<OpError> for PageError {
    fn from(error: OpError) -> Self {
        if let OpError::Refused(refusal) = &error {
            Meter::refused(refusal.code());
        }
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
    city: &'a City,
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

const OUR_MISTAKE: &str =
    "Something went wrong on our side. We've logged it. Please try again, or quote the number below.";

impl PageError {
    pub fn from_body(error: &actix_web::Error) -> Self {
        if error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::TooLarge;
        }
        Self::BadRequest(BadRequest::Incomplete)
    }

    /// With the `name` of its region.
    fn text(&self, name: &dyn Fn(&RegionCode) -> String) -> ErrorText {
        let refused = |status, message: &str| text(status, "This request was refused", message);
        let not_found = |message: &str| text(StatusCode::NOT_FOUND, "Not found", message);
        match self {
            Self::SignIn(_) => text(StatusCode::SEE_OTHER, "Sign in", ""),
            Self::Refused(refusal) => refused_by(refusal, refusal.message_with(name)),
            Self::BadRequest(what) => {
                let message = format!("{what} Nothing was changed. Please go back, load the page again and retry.");
                text(StatusCode::BAD_REQUEST, "We could not understand this request", message)
            }
            Self::CrossSite => refused(
                StatusCode::FORBIDDEN,
                "It came from another site, so nothing was changed. Please use the pages here.",
            ),
            Self::NotFound => not_found("We can't find this page."),
            Self::NoVehicle => not_found("This link has expired: vehicle links change after every ride."),
            Self::MethodNotAllowed => {
                text(StatusCode::METHOD_NOT_ALLOWED, "That does not work here", "Please go back and try again.")
            }
            Self::TooLarge => {
                let message = "What you sent is larger than this page takes. Nothing was changed.";
                text(StatusCode::PAYLOAD_TOO_LARGE, "Too large", message)
            }
            Self::Packed => refused(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Compressed requests are not accepted. Nothing was changed.",
            ),
            Self::NoLength => {
                refused(StatusCode::LENGTH_REQUIRED, "A request must state its length. Nothing was changed.")
            }
            Self::TooMany(wait) => {
                let seconds = wait.as_secs() + 1;
                let message = format!("Please wait {} and try again.", counted(seconds, "second"));
                text(StatusCode::TOO_MANY_REQUESTS, "Too many attempts", message).retry(seconds)
            }
            Self::Deadline => come_back("Please come back", "This took too long. Please try again in a moment.", 5),
            Self::Db(error) => database(error, name),
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
        let text = self.text(&|region| context.catalogue.region_name(region).to_owned());
        let city = context.city();
        let page = ErrorPage {
            layout: context.layout(text.heading, Section::None, city),
            text: &text,
            city,
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
            Self::CrossSite => context.log_rejected("a write from another site"),
            Self::Refused(refusal) => {
                Meter::refused(refusal.code());
                context.log_rejected(&format!("{refusal:?}"));
            }
            Self::TooMany(_) => context.log_rejected("too many attempts"),
            Self::Packed => context.log_rejected("a compressed body"),
            Self::NoLength => context.log_rejected("a body of unknown length"),
            // Whoever is signed in follows links of ours: this one was made up, or is old.
            Self::NotFound if context.cookie.is_some() => context.log_rejected("nothing of theirs is there"),
            _ => {}
        }
    }
}

fn come_back(heading: &'static str, message: impl Into<String>, seconds: u64) -> ErrorText {
    text(StatusCode::SERVICE_UNAVAILABLE, heading, message).retry(seconds)
}

fn refused_by(refusal: &Refusal, message: String) -> ErrorText {
    match refusal {
        Refusal::RegionReadOnly { .. } | Refusal::RegionDraining { .. } | Refusal::CatalogueAway => {
            come_back("Not right now", message, 60)
        }
        Refusal::NotAdministrator => text(StatusCode::FORBIDDEN, "For administrators only", message),
        Refusal::NotOperator => text(StatusCode::FORBIDDEN, "For fleet operators only", message),
        _ => text(StatusCode::CONFLICT, "That did not work", message),
    }
}

fn database(error: &DbError, name: &dyn Fn(&RegionCode) -> String) -> ErrorText {
    let unclear = "Please check whether it was done before you repeat it; sending the same form again is safe.";
    if let Some((region, since)) = &error.open_circuit {
        let outcome = if error.kind == DbErrorKind::Ambiguous { unclear } else { "Nothing was changed." };
        let message = format!(
            "The region {} has not answered since {}. {outcome} Everything about other regions works as usual; \
             please try this again in a few seconds. The status page shows how each region is doing.",
            name(region),
            since.format("%-d %b %Y, %H:%M:%S UTC")
        );
        return come_back("A region does not answer", message, 5);
    }
    match error.kind {
        DbErrorKind::Unavailable | DbErrorKind::Timeout => come_back(
            "Please come back",
            "Our database is not answering right now. Nothing was changed. Please try again in a few seconds.",
            5,
        ),
        DbErrorKind::Contention => come_back(
            "Please try again",
            "Too many people want the same thing at once. Nothing was changed. Please try again.",
            1,
        ),
        DbErrorKind::Ambiguous => {
            let message = format!("The connection was lost while this was being stored. {unclear}");
            come_back("Please check again", message, 5)
        }
        DbErrorKind::Licence | DbErrorKind::Setup(_) => come_back(
            "Out of order",
            "The database is refusing our requests, which only its operators can fix. Nothing was changed.",
            300,
        ),
        DbErrorKind::Unique(_) | DbErrorKind::BadValue | DbErrorKind::StalePlan | DbErrorKind::Bug => {
            text(StatusCode::INTERNAL_SERVER_ERROR, "Our mistake", OUR_MISTAKE)
        }
    }
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        self.text(&ToString::to_string).status
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}
