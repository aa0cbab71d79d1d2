//! `/register`, `/login`, `/logout`, `/recover`: becoming known. Tries are throttled per
//! account and per address; failed ones take a fixed time, whatever the reason, and show
//! no timings.

use std::time::Instant;

use actix_web::{HttpResponse, http::header};
use serde::Deserialize;

use crate::{
    domain::{people, refusal::Refusal},
    ops::{
        self, OpError,
        accounts::{Registration, Started},
    },
    web::{
        chrome::{chrome, city_options},
        error::PageError,
        form::{Form, Id, Query},
        paths,
        session::SessionCookie,
        views::{FieldView, LoginPage, RecoveryPage, RegisterPage, Section},
        visit::Visit,
    },
};

/// Begins the session in this browser; the one that it had before ends.
async fn begin(visit: &mut Visit, started: Started, account: &str) {
    if let Ok(old) = visit.signed()
        && let Err(error) = ops::accounts::sign_out(&visit.app, &old).await
    {
        tracing::warn!(?error, "the session before was not ended");
    }
    visit.know_account(account);
    visit.set_city(&started.city);
    visit.set_session(SessionCookie::new(started, visit.now));
}

/// Waits until a failed try took as long as every failed try.
async fn floor(visit: &Visit, began: Instant) {
    tokio::time::sleep_until((began + visit.app.config.sign_in_floor).into()).await;
}

/// What a person types to register.
#[derive(Debug, Default, Deserialize)]
pub struct Register {
    id: Id,
    city: String,
    first_name: String,
    last_name: String,
    email: String,
    username: String,
    password: String,
}

/// The checked values, or the messages for each field: first and last name, e-mail,
/// username, password, city.
fn check(
    visit: &Visit,
    form: &Register,
    password: Result<(), String>,
) -> Result<Registration, Box<[Option<String>; 6]>> {
    let first = people::name(&form.first_name, "your first name");
    let last = people::last_name(&form.last_name);
    let email = people::email(&form.email);
    let username = people::username(&form.username);
    let city = visit.catalogue.city(&form.city).ok_or_else(|| "Please choose a city.".to_owned());
    match (first, last, email, username, password, city) {
        (Ok(first_name), Ok(last_name), Ok(email), Ok(username), Ok(()), Ok(city)) => Ok(Registration {
            id: form.id.0,
            city: city.slug.clone(),
            region: city.region.clone(),
            username,
            first_name,
            last_name,
            email,
            password: form.password.clone(),
        }),
        (first, last, email, username, password, city) => {
            Err(Box::new([first.err(), last.err(), email.err(), username.err(), password.err(), city.err()]))
        }
    }
}

fn register_page(visit: &Visit, form: &Register, errors: [Option<String>; 6], error: Option<String>) -> RegisterPage {
    let [first, last, email, username, password_error, city_error] = errors;
    let field = |value: &str, error| FieldView { value: value.to_owned(), error };
    let chosen = if form.city.is_empty() { visit.city().slug.as_str() } else { &form.city };
    RegisterPage {
        chrome: chrome(visit, None, "Sign up", Section::Register, visit.city()),
        // A new id whenever the form is drawn: the old one may have been used.
        id: visit.app.ids.form(),
        cities: city_options(&visit.catalogue, chosen),
        city_error,
        first_name: field(&form.first_name, first),
        last_name: field(&form.last_name, last),
        email: field(&form.email, email),
        username: field(&form.username, username),
        password_error,
        error,
    }
}

/// `GET /register`.
pub async fn register_form(visit: Visit) -> Result<HttpResponse, PageError> {
    visit.ok(&register_page(&visit, &Register::default(), Default::default(), None))
}

/// `POST /register`: a person at home in the city they chose, signed in.
pub async fn register(mut visit: Visit, Form(form): Form<Register>) -> Result<HttpResponse, PageError> {
    visit.app.limits.register(&visit.address()).map_err(|wait| PageError::TooMany(wait.0))?;
    let password = visit.app.hasher.acceptable(&form.password, &form.username).await?;
    let wish = match check(&visit, &form, password) {
        Ok(wish) => wish,
        Err(errors) => return visit.wrong(&register_page(&visit, &form, *errors, None)),
    };
    let device = visit.device();
    let registered = match ops::accounts::register(&visit.app, wish, &device).await {
        // The second click of a double click: this person exists, and knows the password.
        Err(OpError::Refused(Refusal::FormUsed | Refusal::UsernameTaken)) if !form.username.is_empty() => {
            let taken = OpError::Refused(Refusal::UsernameTaken);
            ops::accounts::sign_in_as(&visit.app, form.id.0, &form.username, &form.password, &device)
                .await
                .map_err(|_no_match| taken)
        }
        other => other,
    };
    match registered {
        Ok(started) => {
            let next = paths::vehicles(&started.city);
            begin(&mut visit, started, &people::username_key(&form.username)).await;
            Ok(visit.done(&next, "Welcome to MovR. Choose a vehicle and ride."))
        }
        Err(OpError::Refused(Refusal::UsernameTaken)) => {
            let mut errors: [Option<String>; 6] = Default::default();
            errors[3] = Some(Refusal::UsernameTaken.message());
            visit.wrong(&register_page(&visit, &form, errors, None))
        }
        Err(error) => Err(error.into()),
    }
}

/// Where to go after signing in.
#[derive(Debug, Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

/// What a person types to sign in.
#[derive(Debug, Deserialize)]
pub struct Login {
    username: String,
    password: String,
    #[serde(default)]
    next: String,
}

fn login_page(visit: &Visit, username: &str, next: &str, error: Option<String>) -> LoginPage {
    LoginPage {
        chrome: chrome(visit, None, "Sign in", Section::Login, visit.city()),
        username: FieldView { value: username.to_owned(), error: None },
        password_error: None,
        next: paths::own_path(next, "").to_owned(),
        error,
    }
}

/// `GET /login`.
pub async fn login_form(visit: Visit, Query(query): Query<Next>) -> Result<HttpResponse, PageError> {
    visit.ok(&login_page(&visit, "", &query.next, None))
}

/// `POST /login`: a new session; the one this browser had before is ended.
pub async fn login(mut visit: Visit, Form(form): Form<Login>) -> Result<HttpResponse, PageError> {
    let began = Instant::now();
    let key = people::username_key(&form.username);
    visit.try_account(&key)?;
    if form.password.chars().count() > people::PASSWORD_MAX {
        floor(&visit, began).await;
        return visit.wrong(&login_page(&visit, &form.username, &form.next, Some(Refusal::NoMatch.message())));
    }
    let device = visit.device();
    match ops::accounts::sign_in(&visit.app, &form.username, &form.password, &device).await {
        Ok(started) => {
            let list = paths::vehicles(&started.city);
            begin(&mut visit, started, &key).await;
            Ok(visit.done(paths::own_path(&form.next, &list), ""))
        }
        Err(OpError::Refused(refusal @ Refusal::NoMatch)) => {
            visit.turned_away("sign-in failed");
            floor(&visit, began).await;
            visit.wrong(&login_page(&visit, &form.username, &form.next, Some(refusal.message())))
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /logout`: the session ends on the server, the browser forgets what it kept.
pub async fn logout(mut visit: Visit) -> Result<HttpResponse, PageError> {
    let mut said = "You are signed out.";
    if let Ok(signed) = visit.signed() {
        visit.forget_session();
        if let Err(error) = ops::accounts::sign_out(&visit.app, &signed).await {
            tracing::warn!(request = visit.ids.request, ?error, "a session was not ended");
            said =
                "You are signed out here. Your home region does not answer; the session ends there within 30 minutes.";
        }
    }
    let mut response = visit.done("/", said);
    let clear = header::HeaderValue::from_static("\"cache\", \"storage\"");
    response.headers_mut().insert(header::HeaderName::from_static("clear-site-data"), clear);
    Ok(response)
}

/// What a person types who forgot the password.
#[derive(Debug, Default, Deserialize)]
pub struct Recover {
    username: String,
    code: String,
    password: String,
}

fn recovery_page(visit: &Visit, form: &Recover, password: Option<String>, error: Option<String>) -> RecoveryPage {
    RecoveryPage {
        chrome: chrome(visit, None, "Set a new password", Section::Login, visit.city()),
        username: FieldView { value: form.username.clone(), error: None },
        code_error: None,
        password_error: password,
        error,
    }
}

/// `GET /recover`.
pub async fn recover_form(visit: Visit) -> Result<HttpResponse, PageError> {
    visit.ok(&recovery_page(&visit, &Recover::default(), None, None))
}

/// `POST /recover`: a recovery code sets a new password and ends all sessions.
pub async fn recover(mut visit: Visit, Form(form): Form<Recover>) -> Result<HttpResponse, PageError> {
    let began = Instant::now();
    visit.try_account(&people::username_key(&form.username))?;
    if let Err(error) = visit.app.hasher.acceptable(&form.password, &form.username).await? {
        return visit.wrong(&recovery_page(&visit, &form, Some(error), None));
    }
    match ops::accounts::recover(&visit.app, &form.username, &form.code, &form.password).await {
        Ok(()) => {
            visit.forget_session();
            Ok(visit.done("/login", "Your new password is set. Please sign in with it."))
        }
        Err(OpError::Refused(refusal @ (Refusal::NoMatch | Refusal::Changed))) => {
            visit.turned_away("recovery failed");
            floor(&visit, began).await;
            visit.wrong(&recovery_page(&visit, &form, None, Some(refusal.message())))
        }
        Err(error) => Err(error.into()),
    }
}
