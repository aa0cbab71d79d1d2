//! The request context of pages, made without the database from cookie, headers and the catalogue
//! in memory; it can then check the session together with a page's own statements, in one wait.
//! `respond.rs` answers.

use std::{
    cell::RefCell,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    sync::Arc,
};

use actix_web::{FromRequest, HttpMessage, HttpRequest, cookie::Cookie, dev::Payload, http::header, web::Data};
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::{
    PageError, PageResult,
    form::Id,
    paths, region,
    routes::Route,
    session::{self, COPY_COUNTS, Flash, NewCodes, SessionCookie},
    state::State,
};
use crate::{
    db::{
        Conn, DbError,
        sessions::{self, CurrentUser},
        verdict::SessionAuth,
    },
    domain::{Catalogue, City, RegionCode},
    ops::{
        Service,
        accounts::{self, SessionStart},
    },
};

/// How often the use of a session is recorded.
const TOUCH_EVERY: Duration = Duration::seconds(60);

#[derive(Debug, Clone, Default)]
pub struct Ids {
    pub request: String,
    pub nonce: String,
}

/// The account of a sign-in attempt, as logs name it.
struct TriedAccount(String);

/// Cookies that the answer will set, even an error page.
#[derive(Clone, Default)]
struct OutgoingCookies(Rc<RefCell<Vec<Cookie<'static>>>>);

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
    outgoing: OutgoingCookies,
    /// The initial of the person's first name, once the session is checked.
    pub initial: Option<char>,
    /// The vehicle and the promo code of a form, which a refusal gives back.
    pub typed_promo: Option<(Uuid, String)>,
    /// The chosen city, unchecked.
    city_set: Option<String>,
}

impl RequestContext {
    pub fn new(request: &HttpRequest, state: Data<State>) -> Self {
        let now = state.service.clock.now();
        let cookies = cookies(request);
        let mut extensions = request.extensions_mut();
        Self {
            catalogue: state.service.catalogue(),
            cookie: session::read(&state.site, &cookies, now),
            ids: extensions.get::<Ids>().cloned().unwrap_or_default(),
            now,
            path: request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            flash: session::read_flash(&state.site, &cookies),
            initial: None,
            typed_promo: None,
            city_set: session::read_choice(&state.site, &cookies, session::CITY),
            request: request.clone(),
            outgoing: extensions.get_or_insert_with(OutgoingCookies::default).clone(),
            service: Arc::clone(&state.service),
            state,
        }
    }

    pub fn request(&self) -> &HttpRequest {
        &self.request
    }

    /// The city in use: chosen, the proxy's, home, the region's first.
    #[allow(clippy::indexing_slicing, reason = "a catalogue has a city; Catalogue::parse refuses one without")]
    pub fn city(&self) -> &City {
        let chosen = || self.catalogue.city(self.city_set.as_deref()?);
        let home = || self.catalogue.city(&self.cookie.as_ref()?.city);
        let first = || self.catalogue.cities_of(&self.service.here).next().unwrap_or(&self.catalogue.cities[0]);
        let proxy = || region::city_of_proxy(&self.request, &self.state, &self.catalogue);
        chosen().or_else(proxy).or_else(home).unwrap_or_else(first)
    }

    pub fn has_chosen_city(&self) -> bool {
        self.city_set.as_deref().is_some_and(|city| self.catalogue.city(city).is_some())
    }

    /// What the user chose before, unchecked.
    pub fn chosen(&self, what: &str) -> Option<String> {
        session::read_choice(&self.state.site, &cookies(&self.request), what)
    }

    pub fn host(&self) -> Option<&str> {
        self.request.headers().get(header::HOST)?.to_str().ok()
    }

    /// The page of ours that the browser comes from, if it is under `path`.
    pub fn came_from(&self, path: &str) -> Option<String> {
        let referrer = self.request.headers().get(header::REFERER)?.to_str().ok()?;
        let (_, rest) = referrer.split_once("://")?;
        let own = rest.find('/').and_then(|at| rest.get(at..))?;
        let under = own == path || own.strip_prefix(path).is_some_and(|rest| rest.starts_with('?'));
        under.then(|| paths::own_path(own, path).to_owned())
    }

    /// Whether names of people at home in `region` may be read here.
    pub fn may_name(&self, region: &RegionCode) -> bool {
        self.catalogue.same_law(&self.service.here, region)
    }

    /// For throttles only.
    pub fn client_address(&self) -> IpAddr {
        region::client_address(&self.request, &self.state).unwrap_or(Ipv4Addr::UNSPECIFIED.into())
    }

    /// Logs a rejected attempt: why, with which account, and from which network.
    pub fn log_rejected(&self, reason: &str) {
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
    pub fn try_account(&self, account: &str) -> PageResult<()> {
        self.request.extensions_mut().insert(TriedAccount(self.state.site.account(account)));
        let device = session::read_device(&self.state.site, &cookies(&self.request), account);
        let counted = self.state.limits.sign_in(account, self.client_address(), device.as_deref());
        Ok(counted?)
    }

    /// Counts how a try to sign in, or to recover an account, ended.
    pub fn sign_in(&self, outcome: &'static str) {
        self.service.db.metrics().sign_ins.of([outcome]).inc();
    }

    /// Remembers that this browser has signed in to the account.
    pub fn remember_device(&self, account: &str) {
        self.set_cookie(session::write_device(&self.state.site, &cookies(&self.request), account));
    }

    pub fn device(&self) -> String {
        region::device(&self.request)
    }

    /// Reads a public page's rows at a gateway of `region`; at home the session is checked in the
    /// same wait, abroad the cookie's copy counts for five minutes.
    pub async fn read<T>(
        &mut self,
        region: &RegionCode,
        page: impl AsyncFn(&Conn) -> Result<T, DbError>,
    ) -> PageResult<T> {
        let counts =
            |cookie: &SessionCookie| cookie.region != self.service.here && self.now - cookie.checked_at < COPY_COUNTS;
        if self.cookie.as_ref().is_none_or(counts) {
            let value = page(&self.service.db.at(region).await?).await?;
            after_others().await;
            return Ok(value);
        }
        let (current_user, value) = self.checked(region, page).await?;
        match current_user {
            Ok(Some(_)) => {}
            Ok(None) => self.forget_session(),
            // The page is about another region than the person's, and can be shown.
            Err(error) => tracing::warn!(request = self.ids.request, %error, "a session was not checked"),
        }
        Ok(value)
    }

    /// Like [`Self::read`], for pages that need a valid session.
    pub async fn read_signed_in<T>(
        &mut self,
        region: &RegionCode,
        page: impl AsyncFn(&Conn) -> Result<T, DbError>,
    ) -> PageResult<(CurrentUser, T)> {
        let (current_user, value) = self.checked(region, page).await?;
        match current_user? {
            Some(current_user) => Ok((current_user, value)),
            None => Err(self.sign_in_first()),
        }
    }

    /// Asks home for the current user, in one wait.
    pub async fn current_user(&mut self) -> PageResult<CurrentUser> {
        let home = self.auth()?.user.region;
        Ok(self.read_signed_in(&home, async |_| Ok(())).await?.0)
    }

    async fn checked<T>(
        &mut self,
        region: &RegionCode,
        page: impl AsyncFn(&Conn) -> Result<T, DbError>,
    ) -> PageResult<(Result<Option<CurrentUser>, DbError>, T)> {
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
            self.initial = current_user.first_name.chars().next();
            self.is_present_in(&current_user.present_in);
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
            self.flash = self.flash.take().or(Some(Flash { good: true, text: text.to_owned(), promo: None }));
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
    pub fn session_used(&mut self, auth: SessionAuth) {
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
    pub fn auth(&self) -> PageResult<SessionAuth> {
        self.cookie.as_ref().map(|cookie| cookie.auth(self.now)).ok_or_else(|| self.sign_in_first())
    }

    /// Whether forms may be sent. A session that home could not store only reads: its forms get home's refusal, and once home is
    /// open again the person signs in anew.
    pub async fn may_send(&self) -> PageResult<()> {
        let auth = self.auth()?;
        if auth.unstored.is_none() || self.only_reads() {
            return Ok(());
        }
        self.service.gates.refuse_if_closed(&self.service.db, &auth.user.region, false).await?;
        Err(self.sign_in_first())
    }

    /// The id of the row that a form makes: the same however often it is sent.
    pub fn row_id(&self, form: Id, purpose: &str, region: &RegionCode) -> PageResult<Uuid> {
        Ok(self.service.ids.row(purpose, region, Some(&self.auth()?.user), form.0))
    }

    pub fn sign_in_first(&self) -> PageError {
        PageError::SignIn(paths::login(self.next()))
    }

    fn only_reads(&self) -> bool {
        let route = || Route::of(self.request.method(), &self.request.match_pattern()?);
        self.request.method().is_safe() || route().is_some_and(|route| !route.writes)
    }

    /// Where to come back to: this page, unless it answers a form that writes.
    pub fn next(&self) -> &str {
        if self.only_reads() { &self.path } else { "/vehicles" }
    }

    /// With this answer, whatever it will be.
    pub fn set_cookie(&self, cookies: impl IntoIterator<Item = Cookie<'static>>) {
        self.outgoing.0.borrow_mut().extend(cookies);
    }

    /// The cookies of the answer are set here, last.
    pub fn take_cookies(&self) -> Vec<Cookie<'static>> {
        self.outgoing.0.take()
    }

    pub fn set_session(&mut self, cookie: SessionCookie) {
        self.set_cookie([session::write(&self.state.site, &cookie)]);
        self.cookie = Some(cookie);
    }

    /// The person continues under a new session.
    pub fn replace_session(&mut self, started: SessionStart) {
        if let Some(cookie) = self.cookie.clone() {
            let SessionStart { session, token, expires_at, .. } = started;
            self.set_session(SessionCookie { session, token, expires_at, checked_at: self.now, ..cookie });
        }
    }

    /// Sends the person to the page that shows new recovery codes, once, and then to `next`.
    pub fn show_codes(&self, codes: Vec<String>, next: String) -> PageResult {
        let codes = NewCodes { user: self.auth()?.user.id, codes, next };
        self.set_cookie([session::write_codes(&self.state.site, &codes)]);
        Ok(self.done(paths::RECOVERY_CODES, ""))
    }

    /// The codes to show to this person; the next time there are none.
    pub fn take_codes(&self) -> Option<NewCodes> {
        let codes = session::read_codes(&self.state.site, &cookies(&self.request))?;
        self.set_cookie([session::forget(&self.state.site, session::CODES)]);
        Some(codes).filter(|codes| self.cookie.as_ref().is_some_and(|cookie| cookie.user == codes.user))
    }

    pub fn forget_session(&mut self) {
        self.set_cookie([session::forget(&self.state.site, session::SESSION)]);
        self.cookie = None;
    }

    /// After a write that may have changed ride or reservation: the cookie's copy is dropped, and the
    /// next page asks home.
    pub fn ride_changed(&mut self) {
        if let Some(cookie) = self.cookie.clone() {
            self.set_session(cookie.outdated(self.now));
        }
    }

    /// From this answer on, whatever page is shown, until another city is chosen.
    pub fn set_city(&mut self, city: &str) {
        self.city_set = Some(city.to_owned());
        self.remember(session::CITY, city);
    }

    pub fn remember(&self, what: &str, choice: &str) {
        self.set_cookie([session::write_choice(&self.state.site, what, choice)]);
    }
}

fn cookies(request: &HttpRequest) -> Vec<Cookie<'static>> {
    request.cookies().map(|cookies| cookies.clone()).unwrap_or_default()
}

/// Lets other requests of this thread send their statements before this one renders its page, so
/// that the database has work meanwhile.
async fn after_others() {
    tokio::task::yield_now().await;
}

impl FromRequest for RequestContext {
    type Error = PageError;
    type Future = std::future::Ready<PageResult<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(State::of(request).map(|state| Self::new(request, state)))
    }
}
