//! `/register`, `/login`, `/logout`, `/recover`. Attempts are throttled per account and per
//! address; failed ones take a fixed time, whatever the reason, and show no timings.

use std::time::Instant;

use actix_web::{HttpResponse, http::header};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    domain::{
        Catalogue, Refusal,
        people::{self, Registration},
    },
    ops::{self, OpError, accounts::SessionStart},
    web::{
        FormState, FormWithState, Id, Layout, PageResult, Query, RequestContext, Section, form, paths,
        session::SessionCookie,
    },
};

#[derive(Template)]
#[template(path = "pages/register.html")]
struct RegisterPage<'a> {
    layout: Layout,
    /// New whenever the form is rendered: the old one may have been used.
    id: Uuid,
    catalogue: &'a Catalogue,
    form: FormState,
}

#[derive(Template)]
#[template(path = "pages/login.html")]
struct LoginPage {
    layout: Layout,
    form: FormState,
}

#[derive(Template)]
#[template(path = "pages/recovery.html")]
struct RecoveryPage {
    layout: Layout,
    form: FormState,
}

async fn end_old(context: &RequestContext) {
    if let Ok(old) = context.auth()
        && let Err(error) = ops::accounts::sign_out(&context.service, &old).await
    {
        tracing::warn!(?error, "the session before was not ended");
    }
}

/// The browser's previous session ends.
async fn begin(context: &mut RequestContext, started: SessionStart, account: &str) {
    end_old(context).await;
    context.remember_device(account);
    if !context.has_chosen_city() {
        context.set_city(&started.city);
    }
    context.set_session(SessionCookie::new(started, context.now));
}

/// Waits until a failed attempt took as long as every failed attempt.
async fn constant_time(context: &RequestContext, began: Instant) {
    tokio::time::sleep_until((began + context.service.config.sign_in_floor).into()).await;
}

fn register_page(context: &RequestContext, mut form: FormState) -> PageResult {
    if form.value("city").is_empty() {
        form = form.with("city", &context.city().slug);
    }
    let next = paths::own_path(form.value("next"), "").to_owned();
    form = form.with("next", next);
    let page = RegisterPage {
        layout: context.layout("Sign up", Section::Register, context.city()),
        id: context.service.ids.form(),
        catalogue: &context.catalogue,
        form,
    };
    context.ok_or_invalid(page.form.has_errors(), &page)
}

#[derive(Debug, Deserialize)]
pub struct Parameters {
    #[serde(default)]
    next: String,
}

pub async fn register_form(context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    if context.cookie.is_some() {
        return Ok(signed_in_already(&context, &query.next));
    }
    register_page(&context, FormState::default().with("next", query.next))
}

/// Where somebody who is signed in wanted to go.
fn signed_in_already(context: &RequestContext, next: &str) -> HttpResponse {
    context.done(paths::own_path(next, "/vehicles"), "")
}

#[derive(Deserialize)]
pub struct Register {
    id: Id,
    city: String,
    first_name: String,
    last_name: String,
    email: String,
    username: String,
    password: String,
    #[serde(default)]
    next: String,
    /// Not empty: recovery codes are wanted.
    #[serde(default)]
    codes: String,
}

/// `POST /register`: a person at home in the chosen city, signed in.
pub async fn register(
    mut context: RequestContext,
    FormWithState(form, mut state): FormWithState<Register>,
) -> PageResult {
    context.state.limits.register(context.client_address())?;
    let password = context.service.hasher.acceptable(&form.password, &form.username).await?;
    let city = context.catalogue.city(&form.city).ok_or_else(|| "Please choose a city.".to_owned());
    let (Some(first_name), Some(last_name), Some(email), Some(username), Some(()), Some(city)) = (
        state.check("first_name", people::name(&form.first_name, "your first name")),
        state.check("last_name", people::last_name(&form.last_name)),
        state.check("email", people::email(&form.email)),
        state.check("username", people::username(&form.username)),
        state.check("password", password),
        state.check("city", city),
    ) else {
        return register_page(&context, state);
    };
    let registration = Registration {
        id: form.id.0,
        city: city.slug.clone(),
        region: city.region.clone(),
        username,
        first_name,
        last_name,
        email,
        password: form.password.clone(),
    };
    let device = context.device();
    let mut codes = if form.codes.is_empty() { Vec::new() } else { ops::accounts::new_recovery_codes() };
    let registered = match ops::accounts::register(&context.service, registration, &codes, &device).await {
        // The second click of a double click: this person exists, and knows the password.
        Err(OpError::Refused(Refusal::FormUsed | Refusal::UsernameTaken)) => {
            // Those of the first are stored.
            codes.clear();
            ops::accounts::sign_in(&context.service, &form.username, &form.password, &device, Some(form.id.0))
                .await
                .map_err(|error| match error {
                    OpError::Refused(_) => Refusal::UsernameTaken.into(),
                    // Whether this person is there is not known.
                    OpError::Db(_) => error,
                })
        }
        other => other,
    };
    let registered = context.unless_refused(&mut state, registered, |refusal| {
        if refusal.region_closed() { Some("") } else { form::field_of(refusal) }
    });
    let Some(registered) = registered else { return register_page(&context, state) };
    let started = registered?;
    let list = paths::vehicles(&started.city);
    context.set_city(&started.city);
    begin(&mut context, started, &people::username_key(&form.username)).await;
    let next = paths::own_path(&form.next, &list);
    if !codes.is_empty() {
        return context.show_codes(codes, next.to_owned());
    }
    Ok(context.done(next, "Welcome to MovR. Choose a vehicle and ride."))
}

fn login_page(context: &RequestContext, form: FormState) -> PageResult {
    let next = paths::own_path(form.value("next"), "").to_owned();
    let layout = context.layout("Sign in", Section::Login, context.city());
    context.ok_or_invalid(form.has_errors(), &LoginPage { layout, form: form.with("next", next) })
}

pub async fn login_form(context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    if context.cookie.is_some() {
        return Ok(signed_in_already(&context, &query.next));
    }
    login_page(&context, FormState::default().with("next", query.next))
}

#[derive(Deserialize)]
pub struct Login {
    username: String,
    password: String,
    #[serde(default)]
    next: String,
}

const ONLY_READING: &str = "You can look around, but you cannot change anything until your city is back.";

/// `POST /login`: a new session; this browser's previous one ends.
pub async fn login(mut context: RequestContext, FormWithState(form, mut state): FormWithState<Login>) -> PageResult {
    let began = Instant::now();
    let key = people::username_key(&form.username);
    context.try_account(&key).inspect_err(|_too_many| context.sign_in("throttled"))?;
    let device = context.device();
    let outcome = if form.password.chars().count() > people::PASSWORD_MAX {
        Err(OpError::Refused(Refusal::NoMatch))
    } else {
        ops::accounts::sign_in(&context.service, &form.username, &form.password, &device, None).await
    };
    if outcome.is_err() {
        constant_time(&context, began).await;
    }
    let wrong = |refusal: &Refusal| matches!(refusal, Refusal::NoMatch | Refusal::Blocked).then_some("");
    let Some(outcome) = context.unless_refused(&mut state, outcome, wrong) else {
        context.sign_in("failed");
        context.log_rejected("sign-in failed");
        return login_page(&context, state);
    };
    let started = outcome?;
    context.sign_in("ok");
    let welcome = if started.unstored.is_some() { ONLY_READING } else { "" };
    begin(&mut context, started, &key).await;
    let list = paths::vehicles(&context.city().slug);
    Ok(context.done(paths::own_path(&form.next, &list), welcome))
}

/// `POST /logout`: the session ends on the server, the browser forgets its data.
pub async fn logout(mut context: RequestContext) -> PageResult {
    let mut text = "You are signed out.";
    if let Ok(auth) = context.auth() {
        context.forget_session();
        if let Err(error) = ops::accounts::sign_out(&context.service, &auth).await {
            tracing::warn!(request = context.ids.request, ?error, "a session was not ended");
            text =
                "You are signed out here. Your home region does not answer; the session ends there within 30 minutes.";
        }
    }
    let mut response = context.done("/", text);
    let clear = header::HeaderValue::from_static("\"cache\", \"storage\"");
    response.headers_mut().insert(header::HeaderName::from_static("clear-site-data"), clear);
    Ok(response)
}

fn recovery_page(context: &RequestContext, form: FormState) -> PageResult {
    let layout = context.layout("Set a new password", Section::Login, context.city());
    context.ok_or_invalid(form.has_errors(), &RecoveryPage { layout, form })
}

pub async fn recover_form(context: RequestContext) -> PageResult {
    recovery_page(&context, FormState::default())
}

#[derive(Deserialize)]
pub struct Recover {
    username: String,
    code: String,
    password: String,
}

/// `POST /recover`: a recovery code sets a new password and ends all sessions.
pub async fn recover(
    mut context: RequestContext,
    FormWithState(form, mut state): FormWithState<Recover>,
) -> PageResult {
    let began = Instant::now();
    let key = people::username_key(&form.username);
    context.try_account(&key).inspect_err(|_too_many| context.sign_in("throttled"))?;
    let password = context.service.hasher.acceptable(&form.password, &form.username).await?;
    if state.check("password", password).is_none() {
        return recovery_page(&context, state);
    }
    let outcome = ops::accounts::recover(&context.service, &form.username, &form.code, &form.password).await;
    let outcome = outcome.map_err(|error| match error {
        OpError::Refused(Refusal::NoMatch) => Refusal::WrongRecoveryCode.into(),
        error => error,
    });
    if outcome.is_err() {
        constant_time(&context, began).await;
    }
    let outcome = context.unless_refused(&mut state, outcome, |refusal| {
        let wrong = matches!(refusal, Refusal::WrongRecoveryCode | Refusal::Changed | Refusal::Blocked);
        (wrong || refusal.region_closed()).then_some("")
    });
    let Some(outcome) = outcome else {
        context.sign_in("failed");
        context.log_rejected("recovery failed");
        return recovery_page(&context, state);
    };
    outcome?;
    context.sign_in("ok");
    end_old(&context).await;
    context.forget_session();
    Ok(context.done("/login", "Your new password is set. Please sign in with it."))
}
