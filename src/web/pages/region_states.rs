//! `/admin/regions`: the gates of all regions, each read at its own gateway, and closing and
//! opening them. The form carries the epoch that it showed; the page never waits for a fence.

use actix_web::web::Path;
use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Deserialize;

use super::{administrator, each_region};
use crate::{
    db::gates::{Change, Gate},
    domain::{Region, RegionCode, Version},
    ops::{self, Done},
    web::{FormState, FormWithState, Layout, PageError, PageResult, RequestContext, Section, filters, form},
};

const PATH: &str = "/admin/regions";

#[derive(Template)]
#[template(path = "pages/region_states.html")]
struct RegionStatesPage<'a> {
    layout: Layout,
    regions: Vec<RegionState<'a>>,
    /// In seconds.
    refresh: Option<i64>,
}

struct RegionState<'a> {
    region: &'a Region,
    /// None when the region does not answer.
    gate: Option<Gate>,
    /// When a closed region is fenced, and the seconds until then.
    fence: Option<(DateTime<Utc>, i64)>,
    form: FormState,
}

pub async fn list(context: RequestContext) -> PageResult {
    page(context, None).await
}

async fn page(mut context: RequestContext, rejected: Option<(RegionCode, FormState)>) -> PageResult {
    // First who asks: nobody else makes us ask all regions.
    administrator(&mut context).await?;
    let db = &context.service.db;
    let gates = each_region(&context, async |region| ops::gates::find(db, region).await).await;
    let regions = gates.into_iter().map(|(region, gate)| {
        let fence = gate.as_ref().and_then(|gate| {
            let at = gate.fenced_at(db.fence())?;
            let left = at - gate.read_at;
            Some((at, if left > TimeDelta::zero() { left.num_seconds() + 1 } else { 0 }))
        });
        let typed = rejected.as_ref().filter(|(code, _)| region.code == *code).map(|(_, form)| form.clone());
        let form = typed.unwrap_or_else(|| gate.as_ref().map(stored).unwrap_or_default());
        RegionState { region, gate, fence, form }
    });
    let regions: Vec<RegionState<'_>> = regions.collect();
    // A form that came back keeps what was typed.
    let waits = regions.iter().filter_map(|of| of.fence).map(|(_, left)| left).filter(|left| *left > 0);
    let page = RegionStatesPage {
        layout: context.layout("Regions", Section::Fleet, context.city()),
        refresh: waits.min().filter(|_| rejected.is_none()),
        regions,
    };
    context.ok_or_invalid(rejected.is_some(), &page)
}

fn stored(gate: &Gate) -> FormState {
    let until = gate.until.map(|until| until.format(form::MOMENT).to_string());
    let form = FormState::default().with("reason", gate.reason.clone().unwrap_or_default());
    form.with("until", until.unwrap_or_default())
}

#[derive(Debug, Deserialize)]
pub struct NewState {
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

pub async fn change(
    context: RequestContext,
    region: Path<RegionCode>,
    FormWithState(form, mut state): FormWithState<NewState>,
) -> PageResult {
    let region = region.into_inner();
    let name = context.catalogue.region(&region).ok_or(PageError::NotFound)?.name.clone();
    let writable = form.state == State::Writable;
    let (mut reason, mut until) = (None, None);
    if !writable {
        reason = state.check("reason", optional_reason(&form.reason)).flatten();
        until = state.check("until", optional_until(&form.until, context.now)).flatten();
    }
    if state.has_errors() {
        return page(context, Some((region, state))).await;
    }
    let change = Change { region, writable, epoch: Some(form.epoch.get()), reason, until };
    let auth = context.auth()?;
    let outcome = ops::gates::change(&context.service.db, &change, &context.service.here, Some(&auth)).await;
    let already = if matches!(outcome, Ok(Done::Before)) { "already " } else { "" };
    let is = if writable { "open" } else { "closed" };
    context.respond(outcome.map(|_| Done::Now), PATH, &format!("{name} is {already}{is}."))
}

/// Empty for no reason.
fn optional_reason(text: &str) -> Result<Option<String>, String> {
    Some(text).filter(|text| !text.trim().is_empty()).map(ops::gates::reason).transpose()
}

/// Empty for no expected end.
fn optional_until(text: &str, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, String> {
    match form::moment(text, Tz::UTC)? {
        Some(at) if at <= now => Err("This time has passed.".to_owned()),
        until => Ok(until),
    }
}
