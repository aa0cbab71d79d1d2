//! How a handler answers: a page, a redirect with a message, a file.

use std::future::ready;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web::Bytes,
};
use askama::Template;
use futures_util::stream::{self, StreamExt};

use super::{
    FormState, PageError, PageResult, RequestContext,
    session::{self, Flash},
};
use crate::{
    db::{DbError, meter::Meter},
    domain::Refusal,
    ops::{Done, OpError},
};

impl RequestContext {
    pub fn done(&self, location: &str, text: &str) -> HttpResponse {
        self.see_other(location, true, text)
    }

    pub fn refused(&self, location: &str, text: &str) -> HttpResponse {
        self.see_other(location, false, text)
    }

    /// 303 to `back` with the outcome of a write: `done`, that it was done before, or why not.
    /// Whoever lacks the role, or has to sign in, gets that page instead.
    pub fn respond(&self, outcome: Result<Done, OpError>, back: &str, done: &str) -> PageResult {
        if let Err(OpError::Refused(refusal)) = &outcome {
            Meter::refused(refusal.code());
        }
        match outcome {
            Ok(Done::Now) => Ok(self.done(back, done)),
            Ok(Done::Before) => Ok(self.done(back, "That was done already.")),
            Err(OpError::Refused(Refusal::SignedOut)) => Err(self.sign_in_first()),
            Err(OpError::Refused(Refusal::NoSuchJob | Refusal::NoSuchRide | Refusal::NotYourVehicle)) => {
                Err(PageError::NotFound)
            }
            Err(OpError::Refused(
                refusal @ (Refusal::NotOperator | Refusal::NotAdministrator | Refusal::CatalogueAway),
            )) => Err(PageError::Refused(refusal)),
            Err(OpError::Refused(refusal)) => Ok(self.refused(back, &self.words(&refusal))),
            Err(error) => Err(error.into()),
        }
    }

    /// In words for people.
    pub fn words(&self, refusal: &Refusal) -> String {
        refusal.message_with(|region| self.catalogue.region_name(region).to_owned())
    }

    /// None after a refusal that the form says: beside the field that `place` names, or at its top for an
    /// empty name.
    pub fn unless_refused<T>(
        &self,
        state: &mut FormState,
        outcome: Result<T, OpError>,
        place: impl Fn(&Refusal) -> Option<&'static str>,
    ) -> Option<Result<T, OpError>> {
        let Err(OpError::Refused(refusal)) = &outcome else { return Some(outcome) };
        match place(refusal) {
            None => return Some(outcome),
            Some("") => state.error = Some(self.words(refusal)),
            Some(field) => state.reject(field, self.words(refusal)),
        }
        Meter::refused(refusal.code());
        None
    }

    fn see_other(&self, location: &str, good: bool, text: &str) -> HttpResponse {
        if !text.is_empty() {
            let promo = self.typed_promo.clone().filter(|_| !good);
            let flash = Flash { good, text: text.to_owned(), promo };
            self.set_cookie([session::write_flash(&self.state.site, &flash)]);
        }
        self.finish(HttpResponse::SeeOther().insert_header((header::LOCATION, location)).finish())
    }

    pub fn ok(&self, page: &impl Template) -> PageResult {
        self.html(StatusCode::OK, page)
    }

    /// 422 for a page that shows what is wrong with what was typed.
    pub fn ok_or_invalid(&self, invalid: bool, page: &impl Template) -> PageResult {
        self.html(if invalid { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, page)
    }

    pub fn html(&self, status: StatusCode, page: &impl Template) -> PageResult {
        let mut body = String::with_capacity(48 * 1024);
        page.render_into(&mut body).map_err(|error| PageError::Bug(error.to_string()))?;
        if self.flash.is_some() {
            self.set_cookie([session::forget(&self.state.site, session::FLASH)]);
        }
        // Every page shows who is signed in; none may be kept by caches.
        let response = HttpResponse::build(status)
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(body);
        Ok(self.finish(response))
    }

    /// A CSV file: the text `first`, then what `read` gives from each place on. If that fails, the
    /// download breaks off, so that half a file is never taken for a whole one.
    pub fn csv<K: 'static>(
        &self,
        name: &str,
        (first, next): (String, Option<K>),
        read: impl AsyncFn(K) -> Result<(String, Option<K>), DbError> + 'static,
    ) -> HttpResponse {
        let rest = stream::try_unfold((next, read), |(next, read)| async move {
            let Some(place) = next else { return Ok(None) };
            let (text, next) = read(place).await?;
            Ok::<_, DbError>(Some((Bytes::from(text), (next, read))))
        });
        let response = HttpResponse::Ok()
            .content_type("text/csv; charset=utf-8")
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
            .streaming(stream::once(ready(Ok(Bytes::from(first)))).chain(rest));
        self.finish(response)
    }

    pub fn finish(&self, mut response: HttpResponse) -> HttpResponse {
        for cookie in self.take_cookies() {
            if let Ok(value) = header::HeaderValue::from_str(&cookie.encoded().to_string()) {
                response.headers_mut().append(header::SET_COOKIE, value);
            }
        }
        response
    }
}
