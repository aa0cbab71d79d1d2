//! `/fleet/overview`: what the fleet does and earns in all regions, as numbers only, for
//! operators and administrators. The regions are asked side by side, together with the
//! session; each has its own time and source. `?as_of=` shows the page of that time again.

use std::sync::Arc;

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use chrono::{DateTime, Days, DurationRound, NaiveDate, SecondsFormat, TimeDelta, Utc};
use futures_util::future::join_all;
use serde::Deserialize;

use crate::{
    db::overview::Figures,
    domain::{
        catalogue::{Catalogue, City, Region},
        fleet::{STATUSES, status_text},
        money::Currency,
        refusal::Refusal,
        stored::Moment,
    },
    ops::overview::{self, Answer},
    web::{
        context::RequestContext,
        error::PageError,
        form::Query,
        layout::{ago, layout},
        paths,
        views::{
            ChartView, CityFiguresView, FieldView, FiguresView, OverviewPage, RegionFiguresView, Section, TimeView,
        },
    },
};

/// Rides and revenue are shown for so many days, the last one today.
const PERIODS: [u64; 3] = [1, 7, 30];

/// The time to show again.
#[derive(Debug, Deserialize)]
pub struct Asked {
    #[serde(default)]
    as_of: String,
}

/// `GET /fleet/overview`.
pub async fn show(mut context: RequestContext, Query(asked): Query<Asked>) -> Result<HttpResponse, PageError> {
    let nobody = || PageError::Refused(Refusal::NotOperator);
    // Who has no role makes nobody count; the row decides all the same.
    if context.cookie.as_ref().is_some_and(|cookie| cookie.roles.is_empty()) {
        let current_user = context.current_user().await?;
        if current_user.roles.is_empty() {
            return Err(nobody());
        }
    }
    let wanted = as_of(&asked.as_of, context.now);
    let (service, catalogue) = (Arc::clone(&context.service), context.catalogue.clone());
    let past = wanted.clone().ok().flatten();
    let now = context.now.duration_trunc(TimeDelta::seconds(1)).unwrap_or(context.now);
    // What happened within this second is not left out where the figures are strong.
    let at = past
        .unwrap_or_else(|| if service.db.engine().regions { overview::time_of(&service, now) } else { context.now });
    catalogue.regions.iter().for_each(|region| context.names(&region.code));
    let figures = catalogue.regions.iter();
    let figures =
        figures.map(async |region| overview::ask(&service, &catalogue, &region.code, at, past.is_some()).await);
    // Beside the session's check, not inside: no connection is held while others are waited for.
    let (current_user, answers) = tokio::join!(context.current_user(), join_all(figures));
    let current_user = current_user?;
    if current_user.roles.is_empty() {
        return Err(nobody());
    }
    let no_vehicles = past.is_some() && !service.db.engine().regions;
    let regions = catalogue.regions.iter().zip(answers);
    let page = OverviewPage {
        as_of: FieldView { value: asked.as_of, error: wanted.as_ref().err().cloned() },
        past: past.is_some(),
        again: format!("/fleet/overview?as_of={}", paths::encode(&at.to_rfc3339_opts(SecondsFormat::Secs, true))),
        no_vehicles,
        regions: regions.map(|(region, answer)| view(&context, region, answer, no_vehicles)).collect(),
        layout: layout(&context, Some(&current_user), "Overview", Section::Fleet, context.city()),
    };
    if wanted.is_err() { context.wrong(&page) } else { context.ok(&page) }
}

/// The time that was asked for, if any.
fn as_of(text: &str, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<Moment>().map(Moment::at) {
        Ok(at) if at <= now => Ok(Some(at)),
        Ok(_) => Err("This time has not come yet; these are the figures of now.".to_owned()),
        Err(_) => Err("Please give a time such as 2026-11-21T15:00:00Z; these are the figures of now.".to_owned()),
    }
}

fn view(context: &RequestContext, region: &Region, answer: Answer, no_vehicles: bool) -> RegionFiguresView {
    let since = answer.unreachable_since.map(|since| since.format("%H:%M:%S UTC"));
    let note = match (&answer.figures, answer.hidden, since) {
        (_, true, _) => Some(format!(
            "The residency policy keeps the figures of this region in {} (rule analytics).",
            region.jurisdiction
        )),
        (Some(_), _, Some(since)) => {
            Some(format!("This region has not answered since {since}. These are its last known figures."))
        }
        (None, _, Some(since)) => {
            Some(format!("This region has not answered since {since}, and no figures of before are known here."))
        }
        _ => None,
    };
    let mut view = RegionFiguresView {
        code: region.code.to_string(),
        name: region.name.clone(),
        source: answer.source,
        note,
        ..RegionFiguresView::default()
    };
    if let Some((at, figures)) = answer.figures {
        let iso = at.to_rfc3339_opts(SecondsFormat::Secs, true);
        view.as_of = TimeView { text: at.format("%-d %b %Y, %H:%M:%S UTC").to_string(), iso };
        view.lag = ago(context.now - at);
        view.figures = Some(figures_view(&context.catalogue, region, &figures, at, no_vehicles));
    }
    view
}

fn figures_view(
    catalogue: &Catalogue,
    region: &Region,
    figures: &Figures,
    at: DateTime<Utc>,
    no_vehicles: bool,
) -> FiguresView {
    let cities: Vec<&City> = catalogue.cities_of(&region.code).collect();
    let views: Vec<CityFiguresView> = cities.iter().map(|city| city_view(city, figures, at, no_vehicles)).collect();
    let sum = |of: &dyn Fn(&CityFiguresView) -> i64| views.iter().map(of).sum::<i64>();
    let mut facts = Vec::new();
    if !no_vehicles {
        let counts = [0, 1, 2, 3, 4].map(|n| sum(&|city| city.vehicles.and_then(|v| v.get(n).copied()).unwrap_or(0)));
        let [available, riding, _, _, idle] = counts;
        facts.extend(STATUSES.iter().zip(counts).map(|(status, count)| (status_text(status), count.to_string())));
        facts.push(("Idle for 3 days", idle.to_string()));
        facts.push(("Utilisation", share(riding, available + riding)));
    }
    facts.push(("Rides under way", sum(&|city| city.running).to_string()));
    FiguresView { check: check(&cities, figures, no_vehicles), charts: charts(figures, at), facts, cities: views }
}

/// As in "25 %".
fn share(part: i64, whole: i64) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{} %", (100 * part + whole / 2) / whole) }
}

fn city_view(city: &City, figures: &Figures, at: DateTime<Utc>, no_vehicles: bool) -> CityFiguresView {
    let mut vehicles = [0; 5];
    for (_, status, count, idle) in figures.vehicles.iter().filter(|(slug, ..)| *slug == city.slug) {
        let place = STATUSES.iter().position(|known| known == status);
        if let Some(number) = place.and_then(|place| vehicles.get_mut(place)) {
            *number += count;
        }
        if status == "available"
            && let [.., number] = &mut vehicles
        {
            *number += idle;
        }
    }
    let [available, riding, ..] = vehicles;
    let today = at.with_timezone(&city.time_zone).date_naive();
    let (mut rides, mut revenue) = ([0; 3], [(); 3].map(|()| BTreeMap::<&str, i64>::new()));
    for day in figures.days.iter().filter(|day| day.city == city.slug) {
        for ((days, rides), revenue) in PERIODS.iter().zip(&mut rides).zip(&mut revenue) {
            if today.checked_sub_days(Days::new(days - 1)).is_some_and(|first| day.day >= first) {
                *rides += day.rides;
                *revenue.entry(&day.currency).or_default() += day.revenue;
            }
        }
    }
    CityFiguresView {
        name: city.name.clone(),
        vehicles: (!no_vehicles).then_some(vehicles),
        running: figures.running.iter().find(|(slug, _)| *slug == city.slug).map_or(0, |(_, count)| *count),
        utilisation: share(riding, available + riding),
        rides,
        revenue: revenue.map(|by| by.into_iter().map(|(currency, minor)| money(currency, minor)).collect()),
    }
}

fn money(currency: &str, minor: i64) -> String {
    currency.parse::<Currency>().map_or_else(|_unknown| format!("{minor} {currency}"), |known| known.format(minor))
}

/// Whether the sums of the cities are what the region has without looking at cities.
fn check(cities: &[&City], figures: &Figures, no_vehicles: bool) -> (String, bool) {
    let known = |slug: &str| cities.iter().any(|city| city.slug == slug);
    let vehicles: i64 = figures.vehicles.iter().filter(|(slug, ..)| known(slug)).map(|(_, _, count, _)| count).sum();
    let rides: i64 = figures.days.iter().filter(|day| known(&day.city)).map(|day| day.rides).sum();
    if (no_vehicles || vehicles == figures.all_vehicles) && rides == figures.all_rides {
        return ("The cities add up to the region".to_owned(), true);
    }
    let words = format!(
        "The cities do not add up to the region: {vehicles} of {} vehicles, {rides} of {} rides of the last 32 days",
        figures.all_vehicles, figures.all_rides
    );
    (words, false)
}

/// Rides, and revenue in each currency, of the last 30 days.
fn charts(figures: &Figures, at: DateTime<Utc>) -> Vec<ChartView> {
    let last = figures.days.iter().map(|day| day.day).max().unwrap_or_default().max(at.date_naive());
    let first = last.checked_sub_days(Days::new(29)).unwrap_or(last);
    let mut rides: BTreeMap<NaiveDate, i64> = first.iter_days().take(30).map(|day| (day, 0)).collect();
    let mut revenue: BTreeMap<&str, BTreeMap<NaiveDate, i64>> = BTreeMap::new();
    let none = rides.clone();
    for day in figures.days.iter().filter(|day| day.day >= first) {
        *rides.entry(day.day).or_default() += day.rides;
        let days = revenue.entry(&day.currency).or_insert_with(|| none.clone());
        *days.entry(day.day).or_default() += day.revenue;
    }
    let label = |days: BTreeMap<NaiveDate, i64>| -> Vec<(String, i64)> {
        days.into_iter().map(|(day, number)| (day.format("%-d %b").to_string(), number)).collect()
    };
    let rides = ChartView::new("Rides by day".to_owned(), "Rides", &label(rides), |number| number.to_string());
    let of_currency = |(currency, days)| {
        let title = format!("Revenue by day in {currency}");
        ChartView::new(title, currency, &label(days), |minor| money(currency, minor))
    };
    std::iter::once(rides).chain(revenue.into_iter().map(of_currency)).collect()
}
