//! `/admin/regions`: the gates of all regions, each read at its own gateway, and closing
//! and opening them. A region that does not answer is shown as such: it cannot be changed
//! either. The form carries the epoch that it showed; the page never waits for a fence.

use std::sync::Arc;

use actix_web::{HttpResponse, web::Path};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;
use futures_util::future::join_all;
use serde::Deserialize;

use super::administrator;
use crate::{
    db::gates::{Change, Gate},
    domain::{catalogue::Region, refusal::Refusal, region::RegionCode, stored::Version},
    ops::{self, Done, OpError},
    web::{
        context::RequestContext,
        error::PageError,
        form::{self, Form},
        layout::layout,
        paths,
        views::{FieldView, GateView, RegionStateView, RegionStatesPage, Section, TimeView},
    },
};

const PATH: &str = "/admin/regions";

/// `GET /admin/regions`.
pub async fn list(mut context: RequestContext) -> Result<HttpResponse, PageError> {
    let page = page(&mut context, None).await?;
    context.ok(&page)
}

/// The page, with what was typed for one region and is wrong.
async fn page(
    context: &mut RequestContext,
    wrong: Option<(RegionCode, [FieldView; 2])>,
) -> Result<RegionStatesPage, PageError> {
    // First who asks: nobody else makes us ask all regions.
    let current_user = administrator(context).await?;
    let (service, catalogue) = (Arc::clone(&context.service), context.catalogue.clone());
    let asked = catalogue.regions.iter().map(async |region| {
        context.names(&region.code);
        ops::gates::find(&service.db, &region.code).await
    });
    let gates = join_all(asked).await;
    let (fence, mut refresh) = (service.db.fence(), None);
    let mut regions = Vec::with_capacity(gates.len());
    for (region, gate) in catalogue.regions.iter().zip(gates) {
        let gate = gate.inspect_err(|error| tracing::warn!(%error, region = %region.code, "a gate was not read")).ok();
        let fenced_at = gate.as_ref().and_then(|gate| gate.fenced_at(fence).map(|at| (at, at - gate.read_at)));
        let left = fenced_at.filter(|(_, left)| *left > TimeDelta::zero()).map(|(_, left)| left.num_seconds() + 1);
        // A form that came back keeps what was typed.
        refresh = refresh.into_iter().chain(left.filter(|_| wrong.is_none())).min();
        let mut view = view(region, gate, fenced_at.map(|(at, _)| at), left.is_none());
        if let (Some(gate), Some((code, [reason, until]))) = (&mut view.gate, &wrong)
            && region.code == *code
        {
            (gate.reason, gate.until) = (reason.clone(), until.clone());
        }
        regions.push(view);
    }
    let layout = layout(context, Some(&current_user), "Regions", Section::Fleet, context.city());
    Ok(RegionStatesPage { layout, regions, refresh })
}

fn view(region: &Region, gate: Option<Gate>, fenced_at: Option<DateTime<Utc>>, fenced: bool) -> RegionStateView {
    let value = |value: Option<String>| FieldView { value: value.unwrap_or_default(), error: None };
    let gate = gate.map(|gate| GateView {
        action: paths::region_state(&region.code),
        writable: gate.writable,
        epoch: gate.epoch,
        since: time(gate.changed_at),
        fenced_at: fenced_at.map(time).unwrap_or_default(),
        fenced,
        opens: gate.until.map(time),
        until: value(gate.until.map(|until| until.format(form::MOMENT).to_string())),
        reason: value(gate.reason),
    });
    RegionStateView { code: region.code.to_string(), name: region.name.clone(), gate }
}

/// A moment to the second, as fences need it.
fn time(at: DateTime<Utc>) -> TimeView {
    TimeView {
        iso: at.to_rfc3339_opts(SecondsFormat::Secs, true),
        text: at.format("%a %-d %b, %H:%M:%S UTC").to_string(),
    }
}

/// What a region shall be, and the epoch that the page showed.
#[derive(Debug, Deserialize)]
pub struct Wish {
    state: State,
    epoch: Version,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    until: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    ReadOnly,
    Writable,
}

/// `POST /admin/regions/{region}`.
pub async fn change(
    mut context: RequestContext,
    path: Path<String>,
    Form(form): Form<Wish>,
) -> Result<HttpResponse, PageError> {
    let region: RegionCode = path.parse().map_err(|_bad| PageError::NotFound)?;
    let name = context.catalogue.region(&region).ok_or(PageError::NotFound)?.name.clone();
    let epoch = form.epoch.get();
    let writable = form.state == State::Writable;
    let (reason, until) = match (writable, reason(&form.reason), until(&form.until, context.now)) {
        (true, _, _) => (None, None),
        (false, Ok(reason), Ok(until)) => (reason, until),
        (false, reason, until) => {
            let field = |value, error| FieldView { value, error };
            let fields = [field(form.reason, reason.err()), field(form.until, until.err())];
            let page = page(&mut context, Some((region, fields))).await?;
            return context.wrong(&page);
        }
    };
    let change = Change { region: region.clone(), writable, epoch: Some(epoch), reason, until };
    match ops::gates::change(&context.service.db, &change, &context.service.here, Some(&context.auth()?)).await {
        Ok(done) => {
            let already = if done == Done::Before { "already " } else { "" };
            let state = if writable { "open" } else { "closed" };
            Ok(context.done(PATH, &format!("{name} is {already}{state}.")))
        }
        Err(OpError::Refused(refusal @ Refusal::GateChanged { .. })) => Ok(context.refused(PATH, &refusal.message())),
        Err(error) => Err(error.into()),
    }
}

/// No text is no reason.
fn reason(text: &str) -> Result<Option<String>, String> {
    Some(text).filter(|text| !text.trim().is_empty()).map(ops::gates::reason).transpose()
}

/// No text is no expected end.
fn until(text: &str, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, String> {
    match form::moment(text, Tz::UTC)? {
        Some(at) if at <= now => Err("This time has passed.".to_owned()),
        until => Ok(until),
    }
}
