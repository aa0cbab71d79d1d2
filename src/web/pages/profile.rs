//! `/profile`: one's own data, password, recovery codes, sessions, export, and deleting
//! the account. Everything is read and written at the person's home.

use actix_web::{HttpResponse, http::header, web::Bytes};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    db::{
        sessions::{self, SessionRow, Visitor},
        users::{self, Profile},
    },
    domain::{people, refusal::Refusal},
    ops::{self, OpError, accounts::IDLE, own_data},
    web::{
        chrome::{chrome, time},
        error::PageError,
        form::{Form, Id},
        paths,
        views::{DeleteAccountPage, FieldView, ProfilePage, RecoveryCodesPage, Section, SessionView},
        visit::Visit,
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

async fn page(visit: &mut Visit, wrong: Wrong) -> Result<ProfilePage, PageError> {
    let signed = visit.signed()?;
    let (now, user) = (visit.now, signed.user.clone());
    let (visitor, (profile, sessions)) = visit
        .read_signed(&user.region, async |conn| {
            let profile = users::find_profile(conn, &user);
            let sessions = sessions::list(conn, &user, now, now - IDLE);
            let (profile, sessions) = tokio::join!(profile, sessions);
            Ok((profile?, sessions?))
        })
        .await?;
    let profile = profile.ok_or_else(|| visit.sign_in_first())?;
    Ok(view(visit, &visitor, profile, &sessions, signed.session, wrong))
}

fn view(
    visit: &Visit,
    visitor: &Visitor,
    profile: Profile,
    sessions: &[SessionRow],
    current: Uuid,
    wrong: Wrong,
) -> ProfilePage {
    let city = visit.catalogue.city(&profile.city).unwrap_or_else(|| visit.city());
    let region =
        visit.catalogue.region(&city.region).map_or_else(|| city.region.to_string(), |region| region.name.clone());
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
        chrome: chrome(visit, Some(visitor), "Profile", Section::Profile, city),
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
pub async fn show(mut visit: Visit) -> Result<HttpResponse, PageError> {
    let page = page(&mut visit, Wrong::default()).await?;
    visit.ok(&page)
}

async fn again(mut visit: Visit, wrong: Wrong) -> Result<HttpResponse, PageError> {
    let page = page(&mut visit, wrong).await?;
    visit.wrong(&page)
}

/// Names and e-mail address.
#[derive(Debug, Deserialize)]
pub struct Details {
    first_name: String,
    last_name: String,
    email: String,
}

/// `POST /profile`.
pub async fn save(visit: Visit, Form(form): Form<Details>) -> Result<HttpResponse, PageError> {
    let first = people::name(&form.first_name, "your first name");
    let last = people::last_name(&form.last_name);
    let email = people::email(&form.email);
    match (first, last, email) {
        (Ok(first), Ok(last), Ok(email)) => {
            ops::accounts::set_profile(&visit.app, &visit.signed()?, [&first, &last, &email]).await?;
            Ok(visit.done("/profile", "Your details are saved."))
        }
        (first, last, email) => {
            let errors = [first.err(), last.err(), email.err()];
            again(visit, Wrong { details: Some((form, errors)), ..Wrong::default() }).await
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
pub async fn set_password(mut visit: Visit, Form(form): Form<SetPassword>) -> Result<HttpResponse, PageError> {
    throttled(&visit)?;
    if let Err(error) = visit.app.hasher.acceptable(&form.password, &form.username).await? {
        return again(visit, Wrong { password: Some(error), ..Wrong::default() }).await;
    }
    let (signed, device) = (visit.signed()?, visit.device());
    match ops::accounts::set_password(&visit.app, &signed, &form.current, &form.password, &device).await {
        Ok(started) => {
            visit.go_on_as(started);
            Ok(visit.done("/profile", "Your password is changed. Your other sessions have ended."))
        }
        Err(OpError::Refused(refusal @ Refusal::WrongPassword)) => {
            visit.turned_away("wrong password");
            again(visit, Wrong { current: Some(refusal.message()), ..Wrong::default() }).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Guesses of the current password count like sign-ins of this person.
pub fn throttled(visit: &Visit) -> Result<(), PageError> {
    visit.try_account(&visit.signed()?.user.id.to_string())
}

/// The current password, to confirm.
#[derive(Debug, Deserialize)]
pub struct Confirm {
    #[serde(alias = "password")]
    current: String,
}

/// `POST /profile/recovery-codes`: shows them, this once.
pub async fn make_recovery_codes(mut visit: Visit, Form(form): Form<Confirm>) -> Result<HttpResponse, PageError> {
    throttled(&visit)?;
    let (signed, device) = (visit.signed()?, visit.device());
    match ops::accounts::make_recovery_codes(&visit.app, &signed, &form.current, &device).await {
        Ok((codes, started)) => {
            visit.go_on_as(started);
            let chrome = chrome(&visit, None, "Your recovery codes", Section::Profile, visit.city());
            visit.ok(&RecoveryCodesPage { chrome, codes })
        }
        Err(OpError::Refused(refusal @ Refusal::WrongPassword)) => {
            visit.turned_away("wrong password");
            again(visit, Wrong { codes: Some(refusal.message()), ..Wrong::default() }).await
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
pub async fn end_session(visit: Visit, Form(form): Form<EndSession>) -> Result<HttpResponse, PageError> {
    ops::accounts::end_session(&visit.app, &visit.signed()?, form.session.0).await?;
    Ok(visit.done("/profile", "That session has ended."))
}

/// `POST /profile/sessions/end-others`.
pub async fn end_other_sessions(visit: Visit) -> Result<HttpResponse, PageError> {
    ops::accounts::end_other_sessions(&visit.app, &visit.signed()?).await?;
    Ok(visit.done("/profile", "All other sessions have ended."))
}

/// `GET /profile/export`: everything about the person, as a JSON file.
pub async fn export(visit: Visit) -> Result<HttpResponse, PageError> {
    let export = own_data::begin(&visit.app, &visit.signed()?).await?;
    // Few: a slow receiver makes the reader wait.
    let (sender, receiver) = mpsc::channel(2);
    let app = visit.app.clone();
    actix_web::rt::spawn(async move { export.write(&app, &sender).await });
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

fn delete_page(visit: &Visit, password: Option<String>, error: Option<String>) -> DeleteAccountPage {
    let chrome = chrome(visit, None, "Delete my account", Section::Profile, visit.city());
    DeleteAccountPage { chrome, password_error: password, error }
}

/// `GET /profile/delete`.
pub async fn delete_form(mut visit: Visit) -> Result<HttpResponse, PageError> {
    visit.visitor().await?;
    visit.ok(&delete_page(&visit, None, None))
}

/// `POST /profile/delete`: closes the account; the rest is erased behind it.
pub async fn delete(mut visit: Visit, Form(form): Form<Confirm>) -> Result<HttpResponse, PageError> {
    throttled(&visit)?;
    let signed = visit.signed()?;
    let erased = async {
        let hash = ops::accounts::confirm_password(&visit.app, &signed, &form.current).await?;
        ops::erasure::close_account(&visit.app, &signed, &hash).await
    };
    match erased.await {
        Ok(job) => {
            visit.forget_session();
            Ok(visit.done(&paths::erasure(&job), "Your account is deleted. Goodbye, and ride safely."))
        }
        Err(OpError::Refused(refusal @ Refusal::WrongPassword)) => {
            visit.turned_away("wrong password");
            visit.wrong(&delete_page(&visit, Some(refusal.message()), None))
        }
        Err(OpError::Refused(refusal @ (Refusal::StillRiding | Refusal::StillOwner | Refusal::Changed))) => {
            visit.wrong(&delete_page(&visit, None, Some(refusal.message())))
        }
        Err(error) => Err(error.into()),
    }
}
