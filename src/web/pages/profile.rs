//! `/profile`: a person's own data, password, recovery codes, sessions, export, and deleting the
//! account. Everything is read and written at the person's home.

use std::sync::Arc;

use actix_web::{HttpResponse, http::header, web::Bytes};
use askama::Template;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    db::{
        sessions::{self, SessionRow},
        users::{self, Profile},
    },
    domain::{City, Refusal, people},
    ops::{self, OpError, accounts::IDLE, own_data},
    web::{
        Form, FormState, FormWithState, Id, Layout, PageResult, RequestContext, Section, filters, paths,
        session::NewCodes,
    },
};

#[derive(Template)]
#[template(path = "pages/profile.html")]
struct ProfilePage<'a> {
    layout: Layout,
    profile: Profile,
    city: &'a City,
    region: &'a str,
    /// The current one comes first.
    sessions: Vec<SessionRow>,
    more_sessions: bool,
    current_session: Uuid,
    forms: Forms,
}

#[derive(Default)]
struct Forms {
    /// Shows what is stored unless it was typed.
    details: Option<FormState>,
    password: FormState,
    codes: FormState,
}

#[derive(Template)]
#[template(path = "pages/recovery_codes.html")]
struct RecoveryCodesPage {
    layout: Layout,
    codes: Vec<String>,
    next: String,
}

#[derive(Template)]
#[template(path = "pages/delete_account.html")]
struct DeleteAccountPage {
    layout: Layout,
    form: FormState,
}

async fn page(mut context: RequestContext, forms: Option<Forms>) -> PageResult {
    let auth = context.auth()?;
    let (now, user) = (context.now, auth.user);
    let (_, (profile, mut sessions)) = context
        .read_signed_in(&user.region, async |conn| {
            let profile = users::find_profile(conn, &user);
            let sessions = sessions::list(conn, &user, now, now - IDLE);
            let (profile, sessions) = tokio::join!(profile, sessions);
            Ok((profile?, sessions?))
        })
        .await?;
    let profile = profile.ok_or_else(|| context.sign_in_first())?;
    let city = context.catalogue.city(&profile.city).unwrap_or_else(|| context.city());
    let more_sessions = sessions.len() > sessions::PAGE;
    sessions.truncate(sessions::PAGE);
    sessions.sort_by_key(|session| session.id != auth.session);
    let rejected = forms.is_some();
    let mut forms = forms.unwrap_or_default();
    forms.details.get_or_insert_with(|| {
        FormState::default()
            .with("first_name", &profile.first_name)
            .with("last_name", &profile.last_name)
            .with("email", &profile.email)
    });
    let page = ProfilePage {
        layout: context.layout("Profile", Section::Profile, city),
        region: context.catalogue.region_name(&city.region),
        profile,
        city,
        sessions,
        more_sessions,
        current_session: auth.session,
        forms,
    };
    context.ok_or_invalid(rejected, &page)
}

pub async fn show(context: RequestContext) -> PageResult {
    page(context, None).await
}

#[derive(Deserialize)]
pub struct Details {
    first_name: String,
    last_name: String,
    email: String,
}

pub async fn save(context: RequestContext, FormWithState(form, mut state): FormWithState<Details>) -> PageResult {
    let (Some(first), Some(last), Some(email)) = (
        state.check("first_name", people::name(&form.first_name, "your first name")),
        state.check("last_name", people::last_name(&form.last_name)),
        state.check("email", people::email(&form.email)),
    ) else {
        return page(context, Some(Forms { details: Some(state), ..Forms::default() })).await;
    };
    ops::accounts::set_profile(&context.service, &context.auth()?, [&first, &last, &email]).await?;
    Ok(context.done("/profile", "Your details are saved."))
}

#[derive(Deserialize)]
pub struct SetPassword {
    current: String,
    password: String,
    #[serde(default)]
    username: String,
}

pub async fn set_password(
    mut context: RequestContext,
    FormWithState(form, mut state): FormWithState<SetPassword>,
) -> PageResult {
    throttled(&context)?;
    let password = context.service.hasher.acceptable(&form.password, &form.username).await?;
    if state.check("password", password).is_none() {
        return page(context, Some(Forms { password: state, ..Forms::default() })).await;
    }
    let (auth, device) = (context.auth()?, context.device());
    let set = ops::accounts::set_password(&context.service, &auth, &form.current, &form.password, &device).await;
    let Some(started) = unless_refused(&context, &mut state, set, "current", |_| false) else {
        return page(context, Some(Forms { password: state, ..Forms::default() })).await;
    };
    context.replace_session(started?);
    Ok(context.done("/profile", "Your password is changed. Your other sessions have ended."))
}

/// Guesses of the current password count like sign-ins of this person.
pub fn throttled(context: &RequestContext) -> PageResult<()> {
    context.try_account(&context.auth()?.user.id.to_string())
}

/// Shows at `field` that the current password was wrong, and at the top what `at_top` names.
pub fn unless_refused<T>(
    context: &RequestContext,
    state: &mut FormState,
    outcome: Result<T, OpError>,
    field: &'static str,
    at_top: impl Fn(&Refusal) -> bool,
) -> Option<Result<T, OpError>> {
    context.unless_refused(state, outcome, |refusal| match refusal {
        Refusal::WrongPassword => {
            context.log_rejected("wrong password");
            Some(field)
        }
        refusal => at_top(refusal).then_some(""),
    })
}

#[derive(Deserialize)]
pub struct Confirm {
    #[serde(alias = "password")]
    current: String,
}

/// `GET /profile/recovery-codes`: those that were just made, once.
pub async fn recovery_codes(mut context: RequestContext) -> PageResult {
    context.current_user().await?;
    let Some(NewCodes { codes, next, .. }) = context.take_codes() else {
        return Ok(context.done("/profile", ""));
    };
    let layout = context.layout("Your recovery codes", Section::Profile, context.city());
    context.ok(&RecoveryCodesPage { layout, codes, next })
}

/// `POST /profile/recovery-codes`: makes new ones.
pub async fn make_recovery_codes(
    mut context: RequestContext,
    FormWithState(form, mut state): FormWithState<Confirm>,
) -> PageResult {
    throttled(&context)?;
    let (auth, device) = (context.auth()?, context.device());
    let made = ops::accounts::make_recovery_codes(&context.service, &auth, &form.current, &device).await;
    let Some(made) = unless_refused(&context, &mut state, made, "current", |_| false) else {
        return page(context, Some(Forms { codes: state, ..Forms::default() })).await;
    };
    let (codes, started) = made?;
    context.replace_session(started);
    context.show_codes(codes, "/profile".to_owned())
}

#[derive(Debug, Deserialize)]
pub struct EndSession {
    session: Id,
}

pub async fn end_session(context: RequestContext, Form(form): Form<EndSession>) -> PageResult {
    ops::accounts::end_session(&context.service, &context.auth()?, form.session.0).await?;
    Ok(context.done("/profile", "That session has ended."))
}

pub async fn end_other_sessions(context: RequestContext) -> PageResult {
    ops::accounts::end_other_sessions(&context.service, &context.auth()?).await?;
    Ok(context.done("/profile", "All other sessions have ended."))
}

/// `GET /profile/export`: everything about the person, as a JSON file.
pub async fn export(context: RequestContext) -> PageResult {
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

fn delete_page(context: &RequestContext, form: FormState) -> PageResult {
    let layout = context.layout("Delete my account", Section::Profile, context.city());
    context.ok_or_invalid(form.has_errors(), &DeleteAccountPage { layout, form })
}

pub async fn delete_form(mut context: RequestContext) -> PageResult {
    context.current_user().await?;
    delete_page(&context, FormState::default())
}

/// `POST /profile/delete`: closes the account; the rest is erased in the background.
pub async fn delete(mut context: RequestContext, FormWithState(form, mut state): FormWithState<Confirm>) -> PageResult {
    throttled(&context)?;
    let auth = context.auth()?;
    let erased = async {
        let hash = ops::accounts::confirm_password(&context.service, &auth, &form.current).await?;
        ops::erasure::close_account(&context.service, &auth, &hash).await
    };
    let erased = unless_refused(&context, &mut state, erased.await, "password", |refusal| {
        matches!(refusal, Refusal::StillRiding | Refusal::StillOwner | Refusal::Changed)
    });
    let Some(job) = erased else { return delete_page(&context, state) };
    let job = job?;
    context.forget_session();
    Ok(context.done(&paths::erasure(&job), "Your account is deleted. Goodbye, and ride safely."))
}
