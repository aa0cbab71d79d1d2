//! `/admin/regions`: the gates of all regions, each read at its own gateway; draining, closing and opening them, now or as
//! planned. A change that restricts people is previewed first, with what is under way; the form carries the epoch it showed,
//! and the page never waits for a fence.

use actix_web::web::Path;
use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Deserialize;

use super::{administrator, each_region};
use crate::{
    db::gates::{self, Change, Gate, Open, Plan},
    domain::{Catalogue, Region, RegionCode, Version, region::GateState},
    ops::{self, Done},
    web::{FormState, FormWithState, Layout, PageError, PageResult, RequestContext, Section, filters, form, notice},
};

const PATH: &str = "/admin/regions";

#[derive(Template)]
#[template(path = "pages/region_states.html")]
struct RegionStatesPage<'a> {
    layout: Layout,
    regions: Vec<RegionState<'a>>,
    /// After so many seconds.
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

impl RegionState<'_> {
    /// Fields of times with their labels, as far as they apply.
    fn times(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        const ALL: &[(&str, &str, &str)] = &[
            ("drain", "No new rides from", "empty: at once"),
            ("close", "Closed from", "empty: when you close it"),
            ("until", "Expected to open", "optional"),
        ];
        let from = self.gate.as_ref().map_or(0, |gate| gate.state as usize);
        ALL.get(from..).unwrap_or_default()
    }
}

#[derive(Template)]
#[template(path = "pages/region_change.html")]
struct RegionChangePage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    region: &'a Region,
    change: &'a Change,
    form: &'a FormState,
    open: Open,
    notice: Option<String>,
    /// The administrator's own region.
    home: bool,
}

pub async fn list(mut context: RequestContext) -> PageResult {
    // Checked first: nobody else may make us ask all regions.
    administrator(&mut context).await?;
    page(context, None).await
}

async fn page(context: RequestContext, rejected: Option<(RegionCode, FormState)>) -> PageResult {
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
    let time = |at: Option<DateTime<Utc>>| at.map(|at| at.format(form::MOMENT).to_string()).unwrap_or_default();
    FormState::default()
        .with("reason", gate.reason.clone().unwrap_or_default())
        .with("drain", time(gate.plan.drain_at))
        .with("close", time(gate.plan.close_at))
        .with("until", time(gate.until))
}

#[derive(Debug, Deserialize)]
pub struct NewState {
    /// `draining` may be a plan: then the region stays writable until its time.
    state: GateState,
    epoch: Version,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    drain: String,
    #[serde(default)]
    close: String,
    #[serde(default)]
    until: String,
    #[serde(default)]
    confirmed: String,
}

impl NewState {
    /// What is asked for; mistakes are noted in `state`.
    fn change(&self, region: RegionCode, state: &mut FormState, now: DateTime<Utc>) -> Change {
        let epoch = Some(self.epoch.get());
        if self.state == GateState::Writable {
            let plan = Plan::default();
            return Change { region, state: self.state, epoch, reason: None, until: None, plan };
        }
        let reason = state.check("reason", optional_reason(&self.reason)).flatten();
        let mut before = now;
        let mut time = |field, text: &str| {
            let read = form::moment(text, Tz::UTC).and_then(|at| match at {
                Some(at) if at <= now => Err("This time has passed.".to_owned()),
                Some(at) if at <= before => Err("This must be later than the time above.".to_owned()),
                at => Ok(at),
            });
            let at = state.check(field, read).flatten()?;
            before = at;
            Some(at)
        };
        let plan = Plan { drain_at: time("drain", &self.drain), close_at: time("close", &self.close) };
        let until = time("until", &self.until);
        let at_once = self.state == GateState::ReadOnly;
        for (field, at) in [("drain", plan.drain_at), ("close", plan.close_at)] {
            if at_once && at.is_some() {
                state.reject(field, "Leave this empty to close at once.".to_owned());
            }
        }
        let planned = !at_once && plan.drain_at.is_some();
        Change { region, state: if planned { GateState::Writable } else { self.state }, epoch, reason, until, plan }
    }
}

pub async fn change(
    mut context: RequestContext,
    region: Path<RegionCode>,
    FormWithState(form, mut state): FormWithState<NewState>,
) -> PageResult {
    let catalogue = context.catalogue.clone();
    let region = catalogue.region(&region).ok_or(PageError::NotFound)?;
    let change = form.change(region.code.clone(), &mut state, context.now);
    if state.has_errors() {
        administrator(&mut context).await?;
        return page(context, Some((region.code.clone(), state))).await;
    }
    if form.state != GateState::Writable && form.confirmed.is_empty() {
        return confirm(context, region, &change, &state).await;
    }
    let auth = context.auth()?;
    let service = &context.service;
    let outcome = ops::gates::change(&service.db, &change, &service.here, Some(&auth)).await;
    // The other instances learn of it with their next probe.
    let reload = async || service.gates.reload(&service.db.at(&region.code).await?, &region.code).await;
    if let Err(error) = reload().await {
        tracing::warn!(%error, region = %region.code, "the gate was not read again");
    }
    let already = if matches!(outcome, Ok(Done::Before)) { "already " } else { "" };
    let is = if change.plan == Plan::default() || change.state == GateState::Draining {
        format!("{already}{}", change.state.word())
    } else {
        format!("{already}planned to close")
    };
    context.respond(outcome.map(|_| Done::Now), PATH, &format!("{} is {is}.", region.name))
}

async fn confirm(mut context: RequestContext, region: &Region, change: &Change, form: &FormState) -> PageResult {
    administrator(&mut context).await?;
    context.may_touch(&region.code);
    let open = gates::count_open(&context.service.db.at(&region.code).await?, &region.code).await?;
    let catalogue = &*context.catalogue;
    let Change { state, reason, until, plan, .. } = change;
    let notice = catalogue
        .cities_of(&region.code)
        .next()
        .and_then(|city| notice::text(&city.name, city, context.now, (*state, reason.as_deref(), *until, plan)));
    context.ok(&RegionChangePage {
        layout: context.layout(&region.name, Section::Fleet, context.city()),
        catalogue,
        region,
        change,
        form,
        open,
        notice,
        home: context.cookie.as_ref().is_some_and(|cookie| cookie.region == region.code),
    })
}

/// Empty for no reason.
fn optional_reason(text: &str) -> Result<Option<String>, String> {
    Some(text).filter(|text| !text.trim().is_empty()).map(ops::gates::reason).transpose()
}
