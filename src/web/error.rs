//! Everything that can stop a page, in one exhaustive table to status, words and ways
//! on. What the visitor reads and what the log says are different strings. The page is
//! rendered by the frame, from the cookie alone, so it renders while the database is away.

use std::time::Duration;

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use chrono::{DateTime, Utc};

use super::{
    context::RequestContext,
    layout::layout,
    paths,
    views::{ErrorPage, LinkView, Section},
};
use crate::{
    db::error::{DbError, DbErrorKind},
    domain::{refusal::Refusal, region::RegionCode},
    ops::OpError,
};

/// Why a request did not get its page.
#[derive(Debug)]
pub enum PageError {
    /// Sign in first; the path to do so.
    SignIn(String),
    /// A refusal where there is no form to go back to.
    Refused(Refusal),
    /// The request makes no sense, and how.
    BadRequest(&'static str),
    /// A write from another site.
    CrossSite,
    /// No such page, or not this person's.
    NotFound,
    /// No vehicle under this public id.
    NoVehicle,
    /// The address does not do that.
    MethodNotAllowed,
    /// The body is too large.
    TooLarge,
    /// The body is compressed.
    Packed,
    /// The body's length is not given.
    NoLength,
    /// Too many tries; come back after this.
    TooMany(Duration),
    /// The request took too long.
    Deadline,
    /// Trouble with the database.
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

/// What a visitor is told: status, heading, message, and seconds after which to come back.
struct Told {
    status: StatusCode,
    heading: &'static str,
    message: String,
    retry_after: Option<u64>,
}

impl PageError {
    /// What reading a body failed of.
    pub fn from_body(error: &actix_web::Error) -> Self {
        if error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::TooLarge;
        }
        Self::BadRequest("The form did not arrive whole.")
    }

    fn told(&self) -> Told {
        let (status, heading, message, retry_after) = match self {
            Self::SignIn(_) => (StatusCode::SEE_OTHER, "Sign in", String::new(), None),
            Self::Refused(refusal @ (Refusal::RegionReadOnly { .. } | Refusal::CatalogueAway)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "Not just now", refusal.message(), Some(60))
            }
            Self::Refused(refusal @ Refusal::NotAdministrator) => {
                (StatusCode::FORBIDDEN, "For administrators only", refusal.message(), None)
            }
            Self::Refused(refusal @ Refusal::NotOperator) => {
                (StatusCode::FORBIDDEN, "For fleet operators only", refusal.message(), None)
            }
            Self::Refused(refusal) => (StatusCode::CONFLICT, "That did not work", refusal.message(), None),
            Self::BadRequest(what) => {
                let message = format!("{what} Nothing was changed. Please go back, load the page again and retry.");
                (StatusCode::BAD_REQUEST, "This request cannot be understood", message, None)
            }
            Self::CrossSite => {
                let message =
                    "It came from another site, so nothing was changed. Please use the pages here.".to_owned();
                (StatusCode::FORBIDDEN, "This request was refused", message, None)
            }
            Self::NotFound => {
                let message = "There is nothing at this address, or it is not yours. It may have moved.".to_owned();
                (StatusCode::NOT_FOUND, "Not found", message, None)
            }
            Self::NoVehicle => {
                let message =
                    "This vehicle is not at this address any more; it gets a new one after each ride.".to_owned();
                (StatusCode::NOT_FOUND, "Not found", message, None)
            }
            Self::MethodNotAllowed => {
                let message = "This address exists, but not for that kind of request.".to_owned();
                (StatusCode::METHOD_NOT_ALLOWED, "That does not work here", message, None)
            }
            Self::TooLarge => {
                let message = "What you sent is larger than this page takes. Nothing was changed.".to_owned();
                (StatusCode::PAYLOAD_TOO_LARGE, "Too large", message, None)
            }
            Self::Packed => {
                let message = "Compressed requests are not taken here. Nothing was changed.".to_owned();
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "This request was refused", message, None)
            }
            Self::NoLength => {
                let message = "A request has to say how long it is. Nothing was changed.".to_owned();
                (StatusCode::LENGTH_REQUIRED, "This request was refused", message, None)
            }
            Self::TooMany(wait) => {
                let seconds = wait.as_secs() + 1;
                let message = format!("Please wait {seconds} seconds and try again.");
                (StatusCode::TOO_MANY_REQUESTS, "Too many tries", message, Some(seconds))
            }
            Self::Deadline => {
                let message = "This took too long. Please try again in a moment.".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, "Please come back", message, Some(5))
            }
            Self::Db(error) => return database(error),
            Self::Bug(_) => {
                let message =
                    "We made a mistake, and it has been noted. Please try again, or quote the number below.".to_owned();
                (StatusCode::INTERNAL_SERVER_ERROR, "Our mistake", message, None)
            }
        };
        Told { status, heading, message, retry_after }
    }

    /// The page for it, in place of an empty answer.
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
        let told = self.told();
        let link = |href: &str, text: &str| LinkView { href: href.to_owned(), text: text.to_owned() };
        let city = context.city();
        let list = link(&paths::vehicles(&city.slug), &format!("See the vehicles of {}", city.name));
        let page = ErrorPage {
            layout: layout(context, None, told.heading, Section::None, city),
            status: told.status.as_u16(),
            heading: told.heading.to_owned(),
            message: told.message,
            links: vec![list, link("/", "Start page")],
            request_id: context.ids.request.clone(),
        };
        let mut response = context
            .html(told.status, &page)
            .unwrap_or_else(|_unrendered| HttpResponse::new(StatusCode::INTERNAL_SERVER_ERROR));
        if let Some(seconds) = told.retry_after {
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
            Self::Refused(refusal) => context.turned_away(&format!("{refusal:?}")),
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

fn database(error: &DbError) -> Told {
    if let Some(silent) = &error.silent {
        return silent_region(silent, error.kind == DbErrorKind::Ambiguous);
    }
    let (status, heading, message, retry_after) = match error.kind {
        DbErrorKind::Unavailable | DbErrorKind::Timeout => {
            let message =
                "Our database does not answer just now. Nothing was changed. Please try again in a few seconds.";
            (StatusCode::SERVICE_UNAVAILABLE, "Please come back", message, Some(5))
        }
        DbErrorKind::Contention => {
            let message = "Too many people want the same thing at once. Nothing was changed. Please try again.";
            (StatusCode::SERVICE_UNAVAILABLE, "Please try again", message, Some(1))
        }
        DbErrorKind::Ambiguous => {
            let message = "The connection was lost while this was being stored. Please look whether it was done before you repeat it; \
                           sending the same form again is safe.";
            (StatusCode::SERVICE_UNAVAILABLE, "Please look again", message, Some(5))
        }
        DbErrorKind::Licence | DbErrorKind::Setup(_) => {
            let message = "The database does not let us work, which only its operators can mend. Nothing was changed.";
            (StatusCode::SERVICE_UNAVAILABLE, "Out of order", message, Some(300))
        }
        DbErrorKind::Unique(_)
        | DbErrorKind::ForeignKey(_)
        | DbErrorKind::Check(_)
        | DbErrorKind::BadValue
        | DbErrorKind::StalePlan
        | DbErrorKind::Bug => {
            let message = "We made a mistake, and it has been noted. Please try again, or quote the number below.";
            (StatusCode::INTERNAL_SERVER_ERROR, "Our mistake", message, None)
        }
    };
    Told { status, heading, message: message.to_owned(), retry_after }
}

/// Which region, since when, and what still works.
fn silent_region((region, since): &(RegionCode, DateTime<Utc>), unclear: bool) -> Told {
    let outcome = if unclear {
        "Please look whether it was done before you repeat it; sending the same form again is safe."
    } else {
        "Nothing was changed."
    };
    let message = format!(
        "The region {region} has not answered since {}. {outcome} Everything about other regions works as usual; \
         please try this again in a few seconds. See /status for how the regions are.",
        since.format("%H:%M:%S UTC")
    );
    Told { status: StatusCode::SERVICE_UNAVAILABLE, heading: "A region does not answer", message, retry_after: Some(5) }
}

impl std::fmt::Display for PageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        self.told().status
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}
