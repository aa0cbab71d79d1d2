//! `/register`, `/login`, `/logout`, `/recover`: becoming known. Tries are throttled per
//! account and per address; failed ones take a fixed time, whatever the reason, and show
//! no timings.

use std::time::Instant;

use actix_web::{HttpResponse, http::header};
use serde::Deserialize;

use crate::{
    domain::{
        people::{self, Registration},
        refusal::Refusal,
    },
    ops::{self, OpError, accounts::Started},
    web::{
        context::RequestContext,
        error::PageError,
        form::{Form, Id, Query},
        layout::{city_options, layout},
        paths,
        session::SessionCookie,
        views::{FieldView, LoginPage, RecoveryPage, RegisterPage, Section},
    },
};

/// Ends the session that this browser had before.
async fn end_old(context: &RequestContext) {
    if let Ok(old) = context.auth()
        && let Err(error) = ops::accounts::sign_out(&context.service, &old).await
    {
        tracing::warn!(?error, "the session before was not ended");
    }
}

/// Begins the session in this browser; the one that it had before ends.
async fn begin(context: &mut RequestContext, started: Started, account: &str) {
    end_old(context).await;
    context.know_account(account);
    context.set_city(&started.city);
    context.set_session(SessionCookie::new(started, context.now));
}

/// Waits until a failed try took as long as every failed try.
async fn floor(context: &RequestContext, began: Instant) {
    tokio::time::sleep_until((began + context.state.config.sign_in_floor).into()).await;
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
    context: &RequestContext,
    form: &Register,
    password: Result<(), String>,
) -> Result<Registration, Box<[Option<String>; 6]>> {
    let first = people::name(&form.first_name, "your first name");
    let last = people::last_name(&form.last_name);
    let email = people::email(&form.email);
    let username = people::username(&form.username);
    let city = context.catalogue.city(&form.city).ok_or_else(|| "Please choose a city.".to_owned());
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

fn register_page(
    context: &RequestContext,
    form: &Register,
    errors: [Option<String>; 6],
    error: Option<String>,
) -> RegisterPage {
    let [first, last, email, username, password_error, city_error] = errors;
    let field = |value: &str, error| FieldView { value: value.to_owned(), error };
    let chosen = if form.city.is_empty() { context.city().slug.as_str() } else { &form.city };
    RegisterPage {
        layout: layout(context, None, "Sign up", Section::Register, context.city()),
        // A new id whenever the form is drawn: the old one may have been used.
        id: context.service.ids.form(),
        cities: city_options(&context.catalogue, chosen),
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
pub async fn register_form(context: RequestContext) -> Result<HttpResponse, PageError> {
    context.ok(&register_page(&context, &Register::default(), Default::default(), None))
}

/// `POST /register`: a person at home in the city they chose, signed in.
pub async fn register(mut context: RequestContext, Form(form): Form<Register>) -> Result<HttpResponse, PageError> {
    context.state.limits.register(&context.address()).map_err(|wait| PageError::TooMany(wait.0))?;
    let password = context.service.hasher.acceptable(&form.password, &form.username).await?;
    let registration = match check(&context, &form, password) {
        Ok(registration) => registration,
        Err(errors) => return context.wrong(&register_page(&context, &form, *errors, None)),
    };
    let device = context.device();
    let registered = match ops::accounts::register(&context.service, registration, &device).await {
        // The second click of a double click: this person exists, and knows the password.
        Err(OpError::Refused(Refusal::FormUsed | Refusal::UsernameTaken)) if !form.username.is_empty() => {
            let taken = OpError::Refused(Refusal::UsernameTaken);
            ops::accounts::sign_in_as(&context.service, form.id.0, &form.username, &form.password, &device)
                .await
                .map_err(|_no_match| taken)
        }
        other => other,
    };
    match registered {
        Ok(started) => {
            let next = paths::vehicles(&started.city);
            begin(&mut context, started, &people::username_key(&form.username)).await;
            Ok(context.done(&next, "Welcome to MovR. Choose a vehicle and ride."))
        }
        Err(OpError::Refused(Refusal::UsernameTaken)) => {
            let mut errors: [Option<String>; 6] = Default::default();
            errors[3] = Some(Refusal::UsernameTaken.message());
            context.wrong(&register_page(&context, &form, errors, None))
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

fn login_page(context: &RequestContext, username: &str, next: &str, error: Option<String>) -> LoginPage {
    LoginPage {
        layout: layout(context, None, "Sign in", Section::Login, context.city()),
        username: FieldView { value: username.to_owned(), error: None },
        password_error: None,
        next: paths::own_path(next, "").to_owned(),
        error,
    }
}

/// `GET /login`.
pub async fn login_form(context: RequestContext, Query(query): Query<Next>) -> Result<HttpResponse, PageError> {
    context.ok(&login_page(&context, "", &query.next, None))
}

/// `POST /login`: a new session; the one this browser had before is ended.
pub async fn login(mut context: RequestContext, Form(form): Form<Login>) -> Result<HttpResponse, PageError> {
    let began = Instant::now();
    let key = people::username_key(&form.username);
    context.try_account(&key)?;
    if form.password.chars().count() > people::PASSWORD_MAX {
        floor(&context, began).await;
        return context.wrong(&login_page(&context, &form.username, &form.next, Some(Refusal::NoMatch.message())));
    }
    let device = context.device();
    match ops::accounts::sign_in(&context.service, &form.username, &form.password, &device).await {
        Ok(started) => {
            let list = paths::vehicles(&started.city);
            begin(&mut context, started, &key).await;
            Ok(context.done(paths::own_path(&form.next, &list), ""))
        }
        Err(OpError::Refused(refusal @ Refusal::NoMatch)) => {
            context.turned_away("sign-in failed");
            floor(&context, began).await;
            context.wrong(&login_page(&context, &form.username, &form.next, Some(refusal.message())))
        }
        Err(error) => {
            floor(&context, began).await;
            Err(error.into())
        }
    }
}

/// `POST /logout`: the session ends on the server, the browser forgets what it kept.
pub async fn logout(mut context: RequestContext) -> Result<HttpResponse, PageError> {
    let mut said = "You are signed out.";
    if let Ok(auth) = context.auth() {
        context.forget_session();
        if let Err(error) = ops::accounts::sign_out(&context.service, &auth).await {
            tracing::warn!(request = context.ids.request, ?error, "a session was not ended");
            said =
                "You are signed out here. Your home region does not answer; the session ends there within 30 minutes.";
        }
    }
    let mut response = context.done("/", said);
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

fn recovery_page(
    context: &RequestContext,
    form: &Recover,
    password: Option<String>,
    error: Option<String>,
) -> RecoveryPage {
    RecoveryPage {
        layout: layout(context, None, "Set a new password", Section::Login, context.city()),
        username: FieldView { value: form.username.clone(), error: None },
        code_error: None,
        password_error: password,
        error,
    }
}

/// `GET /recover`.
pub async fn recover_form(context: RequestContext) -> Result<HttpResponse, PageError> {
    context.ok(&recovery_page(&context, &Recover::default(), None, None))
}

/// `POST /recover`: a recovery code sets a new password and ends all sessions.
pub async fn recover(mut context: RequestContext, Form(form): Form<Recover>) -> Result<HttpResponse, PageError> {
    let began = Instant::now();
    context.try_account(&people::username_key(&form.username))?;
    if let Err(error) = context.service.hasher.acceptable(&form.password, &form.username).await? {
        return context.wrong(&recovery_page(&context, &form, Some(error), None));
    }
    match ops::accounts::recover(&context.service, &form.username, &form.code, &form.password).await {
        Ok(()) => {
            end_old(&context).await;
            context.forget_session();
            Ok(context.done("/login", "Your new password is set. Please sign in with it."))
        }
        Err(OpError::Refused(refusal @ (Refusal::NoMatch | Refusal::Changed))) => {
            context.turned_away("recovery failed");
            floor(&context, began).await;
            context.wrong(&recovery_page(&context, &form, None, Some(refusal.message())))
        }
        Err(error) => {
            floor(&context, began).await;
            Err(error.into())
        }
    }
}
