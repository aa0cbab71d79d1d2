//! `/profile`: one's own data, password, recovery codes, sessions, export, and deleting
//! the account. Everything is read and written at the person's home.

use std::sync::Arc;

use actix_web::{HttpResponse, http::header, web::Bytes};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    db::{
        sessions::{self, CurrentUser, SessionRow},
        users::{self, Profile},
    },
    domain::{people, refusal::Refusal},
    ops::{self, OpError, accounts::IDLE, own_data},
    web::{
        context::RequestContext,
        error::PageError,
        form::{Form, Id},
        layout::{layout, time},
        paths,
        views::{DeleteAccountPage, FieldView, ProfilePage, RecoveryCodesPage, Section, SessionView},
    },
};

/// Sessions on the page.
const SESSIONS: usize = 50;

/// What went wrong with one of the forms of the page.
#[derive(Default)]
struct Wrong {
    details: Option<(Details, [Option<String>; 3])>,
    current: Option<String>,
    password: Option<String>,
    codes: Option<String>,
}

async fn page(context: &mut RequestContext, wrong: Wrong) -> Result<ProfilePage, PageError> {
    let auth = context.auth()?;
    let (now, user) = (context.now, auth.user.clone());
    let (current_user, (profile, sessions)) = context
        .read_signed_in(&user.region, async |conn| {
            let profile = users::find_profile(conn, &user);
            let sessions = sessions::list(conn, &user, now, now - IDLE);
            let (profile, sessions) = tokio::join!(profile, sessions);
            Ok((profile?, sessions?))
        })
        .await?;
    let profile = profile.ok_or_else(|| context.sign_in_first())?;
    Ok(view(context, &current_user, profile, &sessions, auth.session, wrong))
}

fn view(
    context: &RequestContext,
    current_user: &CurrentUser,
    profile: Profile,
    sessions: &[SessionRow],
    current: Uuid,
    wrong: Wrong,
) -> ProfilePage {
    let city = context.catalogue.city(&profile.city).unwrap_or_else(|| context.city());
    let region =
        context.catalogue.region(&city.region).map_or_else(|| city.region.to_string(), |region| region.name.clone());
    let (details, errors) = wrong.details.unwrap_or_else(|| {
        let Profile { first_name, last_name, email, .. } = profile;
        (Details { first_name, last_name, email }, Default::default())
    });
    let [first, last, email] = errors;
    let mut views: Vec<SessionView> = sessions
        .iter()
        .take(SESSIONS)
        .map(|session| SessionView {
            id: session.id.to_string(),
            device: session.device.clone(),
            started: time(session.created_at, city.time_zone),
            seen: time(session.seen_at, city.time_zone),
            current: session.id == current,
        })
        .collect();
    views.sort_by_key(|session| !session.current);
    ProfilePage {
        layout: layout(context, Some(current_user), "Profile", Section::Profile, city),
        username: profile.username,
        city: city.name.clone(),
        region,
        first_name: FieldView { value: details.first_name, error: first },
        last_name: FieldView { value: details.last_name, error: last },
        email: FieldView { value: details.email, error: email },
        details_error: None,
        current_error: wrong.current,
        password_error: wrong.password,
        codes_left: u32::try_from(profile.recovery_codes).unwrap_or(0),
        codes_error: wrong.codes,
        more_sessions: sessions.len() > SESSIONS,
        sessions: views,
    }
}

/// `GET /profile`.
pub async fn show(mut context: RequestContext) -> Result<HttpResponse, PageError> {
    let page = page(&mut context, Wrong::default()).await?;
    context.ok(&page)
}

async fn again(mut context: RequestContext, wrong: Wrong) -> Result<HttpResponse, PageError> {
    let page = page(&mut context, wrong).await?;
    context.wrong(&page)
}

/// Names and e-mail address.
#[derive(Debug, Deserialize)]
pub struct Details {
    first_name: String,
    last_name: String,
    email: String,
}

/// `POST /profile`.
pub async fn save(context: RequestContext, Form(form): Form<Details>) -> Result<HttpResponse, PageError> {
    let first = people::name(&form.first_name, "your first name");
    let last = people::last_name(&form.last_name);
    let email = people::email(&form.email);
    match (first, last, email) {
        (Ok(first), Ok(last), Ok(email)) => {
            ops::accounts::set_profile(&context.service, &context.auth()?, [&first, &last, &email]).await?;
            Ok(context.done("/profile", "Your details are saved."))
        }
        (first, last, email) => {
            let errors = [first.err(), last.err(), email.err()];
            again(context, Wrong { details: Some((form, errors)), ..Wrong::default() }).await
        }
    }
}

/// The current and a new password.
#[derive(Debug, Deserialize)]
pub struct SetPassword {
    current: String,
    password: String,
    #[serde(default)]
    username: String,
}

/// `POST /profile/password`.
pub async fn set_password(
    mut context: RequestContext,
    Form(form): Form<SetPassword>,
) -> Result<HttpResponse, PageError> {
    throttled(&context)?;
    if let Err(error) = context.service.hasher.acceptable(&form.password, &form.username).await? {
        return again(context, Wrong { password: Some(error), ..Wrong::default() }).await;
    }
    let (auth, device) = (context.auth()?, context.device());
    match ops::accounts::set_password(&context.service, &auth, &form.current, &form.password, &device).await {
        Ok(started) => {
            context.go_on_as(started);
            Ok(context.done("/profile", "Your password is changed. Your other sessions have ended."))
        }
        Err(OpError::Refused(refusal @ Refusal::WrongPassword)) => {
            context.turned_away("wrong password");
            again(context, Wrong { current: Some(refusal.message()), ..Wrong::default() }).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Guesses of the current password count like sign-ins of this person.
pub fn throttled(context: &RequestContext) -> Result<(), PageError> {
    context.try_account(&context.auth()?.user.id.to_string())
}

/// The current password, to confirm.
#[derive(Debug, Deserialize)]
pub struct Confirm {
    #[serde(alias = "password")]
    current: String,
}

/// `POST /profile/recovery-codes`: shows them, this once.
pub async fn make_recovery_codes(
    mut context: RequestContext,
    Form(form): Form<Confirm>,
) -> Result<HttpResponse, PageError> {
    throttled(&context)?;
    let (auth, device) = (context.auth()?, context.device());
    match ops::accounts::make_recovery_codes(&context.service, &auth, &form.current, &device).await {
        Ok((codes, started)) => {
            context.go_on_as(started);
            let layout = layout(&context, None, "Your recovery codes", Section::Profile, context.city());
            context.ok(&RecoveryCodesPage { layout, codes })
        }
        Err(OpError::Refused(refusal @ Refusal::WrongPassword)) => {
            context.turned_away("wrong password");
            again(context, Wrong { codes: Some(refusal.message()), ..Wrong::default() }).await
        }
        Err(error) => Err(error.into()),
    }
}

/// The session to end.
#[derive(Debug, Deserialize)]
pub struct EndSession {
    session: Id,
}

/// `POST /profile/sessions/end`.
pub async fn end_session(context: RequestContext, Form(form): Form<EndSession>) -> Result<HttpResponse, PageError> {
    ops::accounts::end_session(&context.service, &context.auth()?, form.session.0).await?;
    Ok(context.done("/profile", "That session has ended."))
}

/// `POST /profile/sessions/end-others`.
pub async fn end_other_sessions(context: RequestContext) -> Result<HttpResponse, PageError> {
    ops::accounts::end_other_sessions(&context.service, &context.auth()?).await?;
    Ok(context.done("/profile", "All other sessions have ended."))
}

/// `GET /profile/export`: everything about the person, as a JSON file.
pub async fn export(context: RequestContext) -> Result<HttpResponse, PageError> {
    let export = own_data::begin(&context.service, &context.auth()?).await?;
    // Few: a slow receiver makes the reader wait.
    let (sender, receiver) = mpsc::channel(2);
    let service = Arc::clone(&context.service);
    actix_web::rt::spawn(async move { export.write(&service, &sender).await });
    let body = stream::unfold(receiver, |mut receiver| async move {
        let text: String = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), receiver))
    });
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"movr-export.json\""))
        .streaming(body))
}

fn delete_page(context: &RequestContext, password: Option<String>, error: Option<String>) -> DeleteAccountPage {
    let layout = layout(context, None, "Delete my account", Section::Profile, context.city());
    DeleteAccountPage { layout, password_error: password, error }
}

/// `GET /profile/delete`.
pub async fn delete_form(mut context: RequestContext) -> Result<HttpResponse, PageError> {
    context.current_user().await?;
    context.ok(&delete_page(&context, None, None))
}

/// `POST /profile/delete`: closes the account; the rest is erased behind it.
pub async fn delete(mut context: RequestContext, Form(form): Form<Confirm>) -> Result<HttpResponse, PageError> {
    throttled(&context)?;
    let auth = context.auth()?;
    let erased = async {
        let hash = ops::accounts::confirm_password(&context.service, &auth, &form.current).await?;
        ops::erasure::close_account(&context.service, &auth, &hash).await
    };
    match erased.await {
        Ok(job) => {
            context.forget_session();
            Ok(context.done(&paths::erasure(&job), "Your account is deleted. Goodbye, and ride safely."))
        }
        Err(OpError::Refused(refusal @ Refusal::WrongPassword)) => {
            context.turned_away("wrong password");
            context.wrong(&delete_page(&context, Some(refusal.message()), None))
        }
        Err(OpError::Refused(refusal @ (Refusal::StillRiding | Refusal::StillOwner | Refusal::Changed))) => {
            context.wrong(&delete_page(&context, None, Some(refusal.message())))
        }
        Err(error) => Err(error.into()),
    }
}
