//! The request context of pages, made without the database from cookie, headers and the catalogue
//! in memory; it can then check the session together with a page's own statements, in one wait, and
//! render.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse,
    cookie::Cookie,
    dev::Payload,
    http::{StatusCode, header},
    web::{Bytes, Data},
};
use askama::Template;
use chrono::{DateTime, Duration, Utc};
use futures_util::Stream;
use uuid::Uuid;

use super::{
    error::PageError,
    form::Id,
    paths, region,
    session::{self, COPY_COUNTS, Flash, SessionCookie},
};
use crate::{
    db::{
        error::DbError,
        sessions::{self, CurrentUser},
        statement::Conn,
        verdict::SessionAuth,
    },
    domain::{
        catalogue::{Catalogue, City},
        refusal::Refusal,
        region::RegionCode,
    },
    ops::{
        Done, OpError,
        accounts::{self, SessionStart},
        service::Service,
    },
    web::state::State,
};

/// How often the use of a session is recorded.
const TOUCH_EVERY: Duration = Duration::seconds(60);

#[derive(Debug, Clone)]
pub struct Ids {
    pub request: String,
    pub nonce: String,
}

/// The account of a sign-in attempt, as logs name it.
struct TriedAccount(String);

/// Cookies that the answer will set, even an error page.
struct OutgoingCookies(Rc<RefCell<Vec<Cookie<'static>>>>);

fn outgoing(request: &HttpRequest) -> Rc<RefCell<Vec<Cookie<'static>>>> {
    let mut extensions = request.extensions_mut();
    if let Some(OutgoingCookies(cookies)) = extensions.get::<OutgoingCookies>() {
        return Rc::clone(cookies);
    }
    let cookies = Rc::default();
    extensions.insert(OutgoingCookies(Rc::clone(&cookies)));
    cookies
}

#[derive(Clone)]
pub struct RequestContext {
    pub state: Data<State>,
    pub service: Arc<Service>,
    pub catalogue: Arc<Catalogue>,
    pub cookie: Option<SessionCookie>,
    pub ids: Ids,
    pub now: DateTime<Utc>,
    pub path: String,
    pub flash: Option<Flash>,
    request: HttpRequest,
    outgoing: Rc<RefCell<Vec<Cookie<'static>>>>,
}

impl RequestContext {
    pub fn new(request: &HttpRequest, state: Data<State>) -> Self {
        let now = state.service.clock.now();
        let cookies = request.cookies().map(|cookies| cookies.clone()).unwrap_or_default();
        let ids = request.extensions().get::<Ids>().cloned();
        Self {
            catalogue: state.service.catalogue(),
            cookie: session::read(&state.site, &cookies, now),
            ids: ids.unwrap_or(Ids { request: String::new(), nonce: String::new() }),
            now,
            path: request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            flash: session::read_flash(&state.site, &cookies),
            request: request.clone(),
            outgoing: outgoing(request),
            service: Arc::clone(&state.service),
            state,
        }
    }

    pub fn request(&self) -> &HttpRequest {
        &self.request
    }

    /// The city in use: chosen, the proxy's, home, the region's first.
    pub fn city(&self) -> &City {
        let chosen = || self.catalogue.city(&self.chosen(session::CITY)?);
        let home = || self.catalogue.city(&self.cookie.as_ref()?.city);
        chosen().or_else(|| self.city_of_headers()).or_else(home).unwrap_or_else(|| self.first_city())
    }

    /// For the landing page; the proxy's city has priority.
    pub fn nearest_city(&self) -> &City {
        self.city_of_headers().unwrap_or_else(|| self.city())
    }

    /// What the user chose before, unchecked.
    pub fn chosen(&self, what: &str) -> Option<String> {
        let cookies = self.request.cookies().ok()?;
        session::read_choice(&self.state.site, &cookies, what)
    }

    pub fn host(&self) -> Option<&str> {
        self.request.headers().get(header::HOST)?.to_str().ok()
    }

    fn city_of_headers(&self) -> Option<&City> {
        region::city_of_headers(&self.request, &self.state, &self.catalogue)
    }

    #[allow(clippy::indexing_slicing, reason = "a catalogue has a city; Catalogue::parse refuses one without")]
    fn first_city(&self) -> &City {
        self.catalogue.cities_of(&self.service.here).next().unwrap_or_else(|| &self.catalogue.cities[0])
    }

    /// The page of ours that the browser comes from, if it is under `path`.
    pub fn came_from(&self, path: &str) -> Option<String> {
        let referrer = self.request.headers().get(header::REFERER)?.to_str().ok()?;
        let (_, rest) = referrer.split_once("://")?;
        let own = rest.find('/').and_then(|at| rest.get(at..))?;
        let under = own == path || own.strip_prefix(path).is_some_and(|rest| rest.starts_with('?'));
        under.then(|| paths::own_path(own, path).to_owned())
    }

    /// For throttles only.
    pub fn address(&self) -> String {
        region::client_address(&self.request, &self.state)
            .map_or_else(String::new, |at| region::subscriber(at).to_string())
    }

    fn about(&self, username_key: &str) {
        self.request.extensions_mut().insert(TriedAccount(self.state.site.account(username_key)));
    }

    /// Logs a rejected attempt: why, with which account, and from which network.
    pub fn turned_away(&self, reason: &str) {
        let tried = self.request.extensions().get::<TriedAccount>().map(|tried| tried.0.clone());
        let person = || self.cookie.as_ref().map(|cookie| self.state.site.account(&cookie.user.to_string()));
        let account = tried.or_else(person);
        let network = region::client_address(&self.request, &self.state).map(region::network);
        tracing::warn!(
            request = self.ids.request,
            account = account.as_deref().unwrap_or("-"),
            network = network.as_deref().unwrap_or("-"),
            reason,
            "turned away"
        );
    }

    /// Counts an attempt to sign in to an account, or to recover it.
    pub fn try_account(&self, account: &str) -> Result<(), PageError> {
        self.about(account);
        let cookies = self.request.cookies().map(|cookies| cookies.clone()).unwrap_or_default();
        let device = session::read_device(&self.state.site, &cookies, account);
        let counted = self.state.limits.sign_in(account, &self.address(), device.as_deref());
        counted.map_err(|wait| {
            self.sign_in("throttled");
            PageError::TooMany(wait.0)
        })
    }

    /// Counts how a try to sign in, or to recover an account, ended.
    pub fn sign_in(&self, outcome: &'static str) {
        self.service.db.metrics().sign_ins.of([outcome]).inc();
    }

    pub fn know_account(&self, account: &str) {
        let cookies = self.request.cookies().map(|cookies| cookies.clone()).unwrap_or_default();
        self.outgoing.borrow_mut().extend(session::write_device(&self.state.site, &cookies, account));
    }

    pub fn device(&self) -> String {
        region::device(&self.request)
    }

    /// Runs a public page's statements at a gateway of `region`; at home the session is checked in
    /// the same wait, abroad the cookie's copy counts for five minutes.
    pub async fn read<T>(
        &mut self,
        region: &RegionCode,
        page: impl AsyncFn(&Conn) -> Result<T, DbError>,
    ) -> Result<(Option<CurrentUser>, T), PageError> {
        let abroad = self
            .cookie
            .as_ref()
            .is_some_and(|cookie| cookie.region != self.service.here && self.now - cookie.checked_at < COPY_COUNTS);
        if abroad || self.cookie.is_none() {
            let value = page(&self.service.db.at(region).await?).await?;
            after_others().await;
            return Ok((None, value));
        }
        match self.checked(region, page).await? {
            (Ok(Some(current_user)), value) => Ok((Some(current_user), value)),
            (Ok(None), value) => {
                self.forget_session();
                Ok((None, value))
            }
            // The page is about another region than the person's, and can be shown.
            (Err(error), value) => {
                tracing::warn!(request = self.ids.request, %error, "a session was not checked");
                Ok((None, value))
            }
        }
    }

    /// Like [`Self::read`], for pages that need a valid session.
    pub async fn read_signed_in<T>(
        &mut self,
        region: &RegionCode,
        page: impl AsyncFn(&Conn) -> Result<T, DbError>,
    ) -> Result<(CurrentUser, T), PageError> {
        let (current_user, value) = self.checked(region, page).await?;
        match current_user? {
            Some(current_user) => Ok((current_user, value)),
            None => Err(self.sign_in_first()),
        }
    }

    /// Asks home for the current user, in one wait.
    pub async fn current_user(&mut self) -> Result<CurrentUser, PageError> {
        let home = self.auth()?.user.region;
        Ok(self.read_signed_in(&home, async |_| Ok(())).await?.0)
    }

    async fn checked<T>(
        &mut self,
        region: &RegionCode,
        page: impl AsyncFn(&Conn) -> Result<T, DbError>,
    ) -> Result<(Result<Option<CurrentUser>, DbError>, T), PageError> {
        let auth = self.auth()?;
        // Two connections of one pool would be held one after the other; one carries both.
        let one = *region == auth.user.region || self.service.db.same_nodes(region, &auth.user.region);
        let (value, current_user) = if one {
            let conn = self.service.db.at(region).await?;
            // The page first: the check is answered right after it, and both are read at once.
            tokio::join!(page(&conn), sessions::check(&conn, &auth))
        } else {
            // Each its own: a connection that is held while another is waited for can make all wait.
            let there = async { page(&self.service.db.at(region).await?).await };
            let check = async { sessions::check(&self.service.db.at(&auth.user.region).await?, &auth).await };
            tokio::join!(there, check)
        };
        after_others().await;
        if let Ok(Some(current_user)) = &current_user {
            self.holds(&current_user.present_in);
            self.renew(current_user, auth);
        }
        Ok((current_user, value?))
    }

    /// Updates the cookie and records the session's use, without waiting.
    fn renew(&mut self, current_user: &CurrentUser, auth: SessionAuth) {
        // Whoever ends a ride in this browser has no copy of it any more.
        if self.cookie.as_ref().is_some_and(|cookie| cookie.open_ride.is_some()) && current_user.open_ride.is_none() {
            let text = "Your ride has ended. If it was not you who ended it, an operator of the city did, or it \
                        had been open for 24 hours: see the receipt under My rides.";
            self.flash = self.flash.take().or(Some(Flash { good: true, text: text.to_owned() }));
        }
        if let Some(renewed) = self.cookie.as_ref().and_then(|cookie| cookie.renewed(current_user, self.now)) {
            self.set_session(renewed);
        }
        if self.now - current_user.seen_at > TOUCH_EVERY {
            self.touch(auth);
        }
    }

    /// After a write that checked the session: keeps a rider signed in who only sends positions for
    /// hours.
    pub fn used(&mut self, auth: SessionAuth) {
        if let Some(cookie) = self.cookie.clone().filter(|cookie| self.now - cookie.checked_at > TOUCH_EVERY) {
            self.set_session(SessionCookie { checked_at: self.now, ..cookie });
            self.touch(auth);
        }
    }

    fn touch(&self, auth: SessionAuth) {
        let state = self.state.clone();
        actix_web::rt::spawn(async move {
            if let Err(error) = accounts::touch(&state.service, &auth).await {
                tracing::warn!(%error, "a session was not noted as used");
            }
        });
    }

    /// What a write of this person carries; fails with the way to sign in.
    pub fn auth(&self) -> Result<SessionAuth, PageError> {
        self.cookie.as_ref().map(|cookie| cookie.auth(self.now)).ok_or_else(|| self.sign_in_first())
    }

    pub fn made_by(&self, form: Id, purpose: &str, region: &RegionCode) -> Result<Uuid, PageError> {
        Ok(self.service.ids.row(purpose, region, Some(&self.auth()?.user), form.0))
    }

    pub fn sign_in_first(&self) -> PageError {
        PageError::SignIn(paths::login(self.next()))
    }

    /// Where to come back to: this page, unless it answers a form.
    pub fn next(&self) -> &str {
        if self.request.method().is_safe() { &self.path } else { "/vehicles" }
    }

    pub fn set_session(&mut self, cookie: SessionCookie) {
        self.outgoing.borrow_mut().push(session::write(&self.state.site, &cookie));
        self.cookie = Some(cookie);
    }

    /// The person continues under another session.
    pub fn go_on_as(&mut self, started: SessionStart) {
        if let Some(cookie) = self.cookie.clone() {
            let SessionStart { session, token, expires_at, .. } = started;
            self.set_session(SessionCookie { session, token, expires_at, checked_at: self.now, ..cookie });
        }
    }

    pub fn forget_session(&mut self) {
        self.outgoing.borrow_mut().push(session::forget(&self.state.site));
        self.cookie = None;
    }

    /// After a write that may have changed ride or reservation: no page shows the copy.
    pub fn changed(&mut self) {
        if let Some(cookie) = self.cookie.clone() {
            self.set_session(cookie.outdated(self.now));
        }
    }

    pub fn set_city(&self, city: &str) {
        self.remember(session::CITY, city);
    }

    pub fn remember(&self, what: &str, choice: &str) {
        self.outgoing.borrow_mut().push(session::write_choice(&self.state.site, what, choice));
    }

    pub fn done(&self, location: &str, text: &str) -> HttpResponse {
        self.see_other(location, true, text)
    }

    pub fn refused(&self, location: &str, text: &str) -> HttpResponse {
        self.see_other(location, false, text)
    }

    /// 303 to `back` with the outcome of a write: `done`, that it was done before, or why not.
    /// Whoever lacks the role, or has to sign in, gets that page instead.
    pub fn respond(&self, outcome: Result<Done, OpError>, back: &str, done: &str) -> Result<HttpResponse, PageError> {
        match outcome {
            Ok(Done::Now) => Ok(self.done(back, done)),
            Ok(Done::Before) => Ok(self.done(back, "That was done already.")),
            Err(OpError::Refused(Refusal::SignedOut)) => Err(self.sign_in_first()),
            Err(OpError::Refused(Refusal::NoSuchJob)) => Err(PageError::NotFound),
            Err(OpError::Refused(
                refusal @ (Refusal::NotOperator | Refusal::NotAdministrator | Refusal::CatalogueAway),
            )) => Err(PageError::Refused(refusal)),
            Err(OpError::Refused(refusal)) => Ok(self.refused(back, &refusal.message())),
            Err(error) => Err(error.into()),
        }
    }

    fn see_other(&self, location: &str, good: bool, text: &str) -> HttpResponse {
        if !text.is_empty() {
            let flash = Flash { good, text: text.to_owned() };
            self.outgoing.borrow_mut().push(session::write_flash(&self.state.site, &flash));
        }
        self.finish(HttpResponse::SeeOther().insert_header((header::LOCATION, location)).finish())
    }

    pub fn ok(&self, page: &impl Template) -> Result<HttpResponse, PageError> {
        self.html(StatusCode::OK, page)
    }

    pub fn wrong(&self, page: &impl Template) -> Result<HttpResponse, PageError> {
        self.html(StatusCode::UNPROCESSABLE_ENTITY, page)
    }

    pub fn html(&self, status: StatusCode, page: &impl Template) -> Result<HttpResponse, PageError> {
        let mut body = String::with_capacity(48 * 1024);
        page.render_into(&mut body).map_err(|error| PageError::Bug(error.to_string()))?;
        if self.flash.is_some() {
            self.outgoing.borrow_mut().push(session::forget_flash(&self.state.site));
        }
        // Every page shows who is signed in; none may be kept by caches.
        let response = HttpResponse::build(status)
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(body);
        Ok(self.finish(response))
    }

    /// A CSV file, sent as it is read; if reading fails, the download breaks off.
    pub fn csv(&self, name: &str, body: impl Stream<Item = Result<Bytes, DbError>> + 'static) -> HttpResponse {
        let response = HttpResponse::Ok()
            .content_type("text/csv; charset=utf-8")
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
            .streaming(body);
        self.finish(response)
    }

    pub fn finish(&self, mut response: HttpResponse) -> HttpResponse {
        for cookie in self.outgoing.borrow_mut().drain(..) {
            if let Ok(value) = header::HeaderValue::from_str(&cookie.encoded().to_string()) {
                response.headers_mut().append(header::SET_COOKIE, value);
            }
        }
        response
    }
}

/// Lets other requests of this thread send their statements before this one renders its page, so
/// that the database has work meanwhile.
async fn after_others() {
    tokio::task::yield_now().await;
}

impl FromRequest for RequestContext {
    type Error = PageError;
    type Future = std::future::Ready<Result<Self, PageError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = request.app_data::<Data<State>>().cloned();
        std::future::ready(
            state.map(|state| Self::new(request, state)).ok_or_else(|| PageError::Bug("no app".to_owned())),
        )
    }
}
