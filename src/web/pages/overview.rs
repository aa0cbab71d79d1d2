//! `/fleet/overview`: what the fleet does and earns in all regions, as numbers only, for operators
//! and administrators. Each region has its own time and source; `?as_of=` shows an earlier page
//! again. Amounts of different currencies are never added up.

use std::collections::BTreeMap;

use askama::Template;
use chrono::{DateTime, Days, NaiveDate, SecondsFormat, SubsecRound, Utc};
use futures_util::future::join_all;
use serde::Deserialize;

use crate::{
    db::overview::Figures,
    domain::{
        City, Currency, Moment, Refusal, Region,
        fleet::{STATUSES, status_text},
    },
    ops::overview::{self, Answer},
    web::{Layout, PageResult, Query, RequestContext, Section, filters, paths},
};

const PERIODS: [u64; 3] = [1, 7, 30];

#[derive(Template)]
#[template(path = "pages/overview.html")]
struct OverviewPage<'a> {
    layout: Layout,
    now: DateTime<Utc>,
    as_of: &'a str,
    error: Option<String>,
    past: bool,
    /// The link to this page as of this time.
    again: String,
    no_vehicles: bool,
    regions: Vec<RegionFigures<'a>>,
}

struct RegionFigures<'a> {
    region: &'a Region,
    answer: Answer,
    cities: Vec<CityFigures<'a>>,
    facts: Vec<(&'static str, String)>,
    /// How the cities do not add up to the region, if they do not.
    mismatch: Option<String>,
    charts: Vec<Chart>,
}

struct CityFigures<'a> {
    city: &'a City,
    /// By status, and the idle ones of the available.
    vehicles: [i64; 5],
    running: i64,
    periods: [Period; 3],
}

struct Period {
    rides: i64,
    /// One amount a currency.
    revenue: Vec<String>,
}

/// Bars, one a day, and their numbers.
struct Chart {
    title: String,
    unit: String,
    highest: String,
    bars: Vec<Bar>,
}

impl Chart {
    /// The days beneath it: the first, one in the middle, the last.
    fn axis(&self) -> impl Iterator<Item = &str> {
        [0, 14, 29].into_iter().filter_map(|n| Some(self.bars.get(n)?.day.as_str()))
    }
}

struct Bar {
    /// In percent of the highest.
    height: i64,
    /// As in "21 Nov".
    day: String,
    value: String,
}

#[derive(Debug, Deserialize)]
pub struct Parameters {
    #[serde(default)]
    as_of: String,
}

pub async fn show(mut context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    // Who has no role makes nobody count; the row decides all the same.
    if context.cookie.as_ref().is_some_and(|cookie| cookie.roles.is_empty())
        && context.current_user().await?.roles.is_empty()
    {
        return Err(Refusal::NotOperator.into());
    }
    let parsed = as_of(&query.as_of, context.now);
    let (service, catalogue) = (context.service.clone(), context.catalogue.clone());
    let past = parsed.clone().ok().flatten();
    let now = context.now.trunc_subsecs(0);
    // What happened within this second is not left out where the figures are strong.
    let at = past
        .unwrap_or_else(|| if service.db.engine().regions { overview::time_of(&service, now) } else { context.now });
    context.may_touch_all();
    let answers = catalogue.regions.iter();
    let answers =
        answers.map(async |region| overview::ask(&service, &catalogue, &region.code, at, past.is_some()).await);
    // Beside the session's check, not inside: no connection is held while others are waited for.
    let (current_user, answers) = tokio::join!(context.current_user(), join_all(answers));
    if current_user?.roles.is_empty() {
        return Err(Refusal::NotOperator.into());
    }
    let no_vehicles = past.is_some() && !service.db.engine().regions;
    let regions = catalogue.regions.iter().zip(answers);
    let page = OverviewPage {
        layout: context.layout("Overview", Section::Fleet, context.city()),
        now: context.now,
        as_of: &query.as_of,
        error: parsed.err(),
        past: past.is_some(),
        again: format!("/fleet/overview?as_of={}", paths::encode(&at.to_rfc3339_opts(SecondsFormat::Secs, true))),
        no_vehicles,
        regions: regions
            .map(|(region, answer)| {
                let cities: Vec<&City> = catalogue.cities_of(&region.code).collect();
                region_figures(region, &cities, answer, no_vehicles)
            })
            .collect(),
    };
    context.ok_or_invalid(page.error.is_some(), &page)
}

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

fn region_figures<'a>(region: &'a Region, cities: &[&'a City], answer: Answer, no_vehicles: bool) -> RegionFigures<'a> {
    let (mut facts, mut mismatch, mut of_cities, mut of_days) = (Vec::new(), None, Vec::new(), Vec::new());
    if let Some((at, figures)) = &answer.figures {
        of_cities = cities.iter().map(|city| city_figures(city, figures, *at)).collect();
        mismatch = add_up(cities, figures, no_vehicles);
        of_days = charts(figures, *at);
        if !no_vehicles {
            let counts = counts(figures, |slug| cities.iter().any(|city| city.slug == slug));
            let [available, riding, .., idle] = counts;
            facts.extend(
                STATUSES.iter().zip(counts).map(|(status, count)| (status_text(status), filters::number(count))),
            );
            facts.push(("Idle for 3 days", filters::number(idle)));
            facts.push(("Utilisation", share(riding, available + riding)));
        }
        facts.push(("Rides under way", filters::number(of_cities.iter().map(|city| city.running).sum::<i64>())));
    }
    RegionFigures { region, answer, cities: of_cities, facts, mismatch, charts: of_days }
}

/// By status in the cities `of`, and the idle ones of the available.
fn counts(figures: &Figures, of: impl Fn(&str) -> bool) -> [i64; 5] {
    let rows = || figures.vehicles.iter().filter(|(slug, ..)| of(slug));
    let count = |status: &str| rows().filter(|(_, is, ..)| is == status).map(|(_, _, count, _)| count).sum();
    let idle = rows().filter(|(_, is, ..)| is == "available").map(|(.., idle)| idle).sum();
    let [available, riding, maintenance, lost] = STATUSES.map(count);
    [available, riding, maintenance, lost, idle]
}

/// As in "25%".
fn share(part: i64, whole: i64) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{}%", (100 * part + whole / 2) / whole) }
}

fn city_figures<'a>(city: &'a City, figures: &Figures, at: DateTime<Utc>) -> CityFigures<'a> {
    let today = at.with_timezone(&city.time_zone).date_naive();
    let period = |days| {
        let first = today.checked_sub_days(Days::new(days - 1)).unwrap_or(today);
        let (mut rides, mut revenue) = (0, BTreeMap::new());
        for day in figures.days.iter().filter(|day| day.city == city.slug && day.day >= first) {
            rides += day.rides;
            *revenue.entry(day.currency).or_default() += day.revenue;
        }
        Period { rides, revenue: revenue.into_iter().map(|(currency, minor)| currency.format(minor)).collect() }
    };
    CityFigures {
        city,
        vehicles: counts(figures, |slug| slug == city.slug),
        running: figures.running.iter().find(|(slug, _)| *slug == city.slug).map_or(0, |(_, count)| *count),
        periods: PERIODS.map(period),
    }
}

impl CityFigures<'_> {
    fn utilisation(&self) -> String {
        let [available, riding, ..] = self.vehicles;
        share(riding, available + riding)
    }
}

/// Compares the sums of the cities with the region's totals.
fn add_up(cities: &[&City], figures: &Figures, no_vehicles: bool) -> Option<String> {
    let known = |slug: &str| cities.iter().any(|city| city.slug == slug);
    let vehicles: i64 = figures.vehicles.iter().filter(|(slug, ..)| known(slug)).map(|(_, _, count, _)| count).sum();
    let rides: i64 = figures.days.iter().filter(|day| known(&day.city)).map(|day| day.rides).sum();
    let same = (no_vehicles || vehicles == figures.all_vehicles) && rides == figures.all_rides;
    (!same).then(|| {
        format!(
            "The cities do not add up to the region: {vehicles} of {} vehicles, {rides} of {} rides of the last 32 days",
            figures.all_vehicles, figures.all_rides
        )
    })
}

fn charts(figures: &Figures, at: DateTime<Utc>) -> Vec<Chart> {
    let last = figures.days.iter().map(|day| day.day).max().unwrap_or_default().max(at.date_naive());
    let first = last.checked_sub_days(Days::new(29)).unwrap_or(last);
    let mut rides: BTreeMap<NaiveDate, i64> = first.iter_days().take(30).map(|day| (day, 0)).collect();
    let mut revenue: BTreeMap<Currency, BTreeMap<NaiveDate, i64>> = BTreeMap::new();
    let none = rides.clone();
    for day in figures.days.iter().filter(|day| day.day >= first) {
        *rides.entry(day.day).or_default() += day.rides;
        let days = revenue.entry(day.currency).or_insert_with(|| none.clone());
        *days.entry(day.day).or_default() += day.revenue;
    }
    let rides = chart("Rides by day".to_owned(), "Rides", &rides, filters::number);
    let of_currency = |(currency, days): (Currency, _)| {
        chart(format!("Revenue by day in {currency}"), currency.as_str(), &days, |minor| currency.format(minor))
    };
    std::iter::once(rides).chain(revenue.into_iter().map(of_currency)).collect()
}

/// `format` writes a number for people.
fn chart(title: String, unit: &str, days: &BTreeMap<NaiveDate, i64>, format: impl Fn(i64) -> String) -> Chart {
    let highest = days.values().copied().max().unwrap_or(0).max(1);
    let bar = |(day, number): (&NaiveDate, &i64)| Bar {
        // What is not nothing is seen.
        height: (number * 100 / highest).max(i64::from(*number > 0)),
        day: day.format("%-d %b").to_string(),
        value: format(*number),
    };
    Chart { title, unit: unit.to_owned(), highest: format(highest), bars: days.iter().map(bar).collect() }
}
