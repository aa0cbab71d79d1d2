//! `/fleet/revenue`: what a city's rides earned in a period, by day, month, type or vehicle, for its
//! operators and for administrators; and the same as a file.

use std::sync::Arc;

use askama::Template;
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, Utc};
use serde::Deserialize;

use super::city_of;
use crate::{
    db::{
        revenue::{self, Cursor, Revenue},
        sessions::CurrentUser,
    },
    domain::{
        Catalogue, City, Refusal, VehicleRef,
        csv::{escape_formula, head, write_line},
        event::RESIDENCY_FIGURES_REFUSED,
        money,
    },
    ops::{overview::may_count, residency},
    web::{BadRequest, Layout, PageResult, Pagination, Query, RequestContext, Section, filters, form, paths},
};

const PAGE: i64 = 50;
/// Lines that are sent at once: all of all but the largest fleets, because each time all rides of the
/// period are read.
const CHUNK: i64 = 20_000;
/// Longest period, in days.
const LONGEST: i64 = 366;

/// Value, title of the choice, and the column's.
const BY: [(&str, &str, &str); 4] = [
    ("day", "By day", "Day"),
    ("month", "By month", "Month"),
    ("type", "By type", "Type"),
    ("vehicle", "By vehicle", "Vehicle"),
];

#[derive(Template)]
#[template(path = "pages/revenue.html")]
struct RevenuePage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    city: &'a City,
    query: &'a Parameters,
    file: String,
    from: NaiveDate,
    to: NaiveDate,
    by: (&'static str, &'static str, &'static str),
    rows: Vec<Revenue>,
    totals: Vec<Revenue>,
    pagination: Pagination,
    error: Option<String>,
}

impl RevenuePage<'_> {
    /// Whether the form shows this choice.
    fn is_by(&self, value: &str) -> bool {
        value == if self.error.is_some() { self.query.by.as_str() } else { self.by.0 }
    }

    fn vehicle(&self, row: &Revenue) -> Option<VehicleRef> {
        let id = form::id(&row.key).filter(|_| self.by.0 == "vehicle")?;
        Some(VehicleRef { region: self.city.region.clone(), id })
    }

    /// Of the other groups.
    fn title(&self, row: &Revenue) -> String {
        let day =
            |text: &str, format| Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.format(format).to_string());
        let written = match self.by.0 {
            "day" => day(&row.key, self.city.units.day()),
            "month" => day(&format!("{}-01", row.key), "%B %Y"),
            _ => self.catalogue.vehicle_type(&row.key).map(|of| of.name.clone()),
        };
        written.unwrap_or_else(|| row.key.clone())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Parameters {
    city: String,
    /// Days of the city; the last one is included.
    from: String,
    to: String,
    by: String,
    /// Key and currency of the last row of the page before.
    after: String,
    currency: String,
}

struct Period {
    from: NaiveDate,
    to: NaiveDate,
    by: (&'static str, &'static str, &'static str),
}

impl Period {
    fn times(&self, city: &City) -> (DateTime<Utc>, DateTime<Utc>) {
        // Where clocks skip midnight, the day begins later.
        let begins = |day: NaiveDate| {
            let local = day.and_time(NaiveTime::MIN).and_local_timezone(city.time_zone).earliest();
            local.map_or_else(|| day.and_time(NaiveTime::MIN).and_utc(), |at| at.to_utc())
        };
        (begins(self.from), begins(self.to + Days::new(1)))
    }
}

impl Parameters {
    fn address(&self, page: &str, city: &City, after: Option<Cursor>) -> String {
        let (key, currency) = after.unwrap_or_default();
        let fields =
            [("from", &*self.from), ("to", &self.to), ("by", &self.by), ("after", &key), ("currency", &currency)];
        paths::with(&format!("{page}?city={}", city.slug), fields)
    }

    /// By default this month until today, by day.
    fn period(&self, city: &City, now: DateTime<Utc>) -> Result<Period, String> {
        let today = now.with_timezone(&city.time_zone).date_naive();
        let day = |text: &str, otherwise| match text {
            "" => Ok(otherwise),
            text => NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .ok()
                .filter(|day| (2000..9000).contains(&day.year()))
                .ok_or("Please enter dates such as 2026-11-21."),
        };
        let to = day(&self.to, today)?;
        let from = day(&self.from, to.with_day(1).unwrap_or(to))?;
        if from > to {
            return Err("The first day must not be after the last one.".to_owned());
        }
        if (to - from).num_days() >= LONGEST {
            return Err("Please choose at most a year.".to_owned());
        }
        let by =
            BY.iter().find(|(by, ..)| *by == self.by || self.by.is_empty()).ok_or("Please choose how to group.")?;
        Ok(Period { from, to, by: *by })
    }

    fn cursor(&self) -> Cursor {
        (self.after.clone(), self.currency.clone())
    }
}

fn may(current_user: &CurrentUser, city: &City) -> PageResult<()> {
    let roles = &current_user.roles;
    if roles.operates(&city.slug) || roles.administers() { Ok(()) } else { Err(Refusal::NotOperator.into()) }
}

/// Refuses where the region's policy keeps its figures from here.
async fn counted_here(context: &mut RequestContext, city: &City) -> PageResult<()> {
    if may_count(&context.catalogue, &city.region, &context.service.here) {
        return Ok(());
    }
    let auth = context.auth()?;
    may(&context.current_user().await?, city)?;
    let what = (RESIDENCY_FIGURES_REFUSED, "analytics");
    Err(residency::refuse(&context.service, &auth, what, &city.region).await.into())
}

pub async fn show(mut context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    let city = city_of(&context, &query.city)?;
    counted_here(&mut context, &city).await?;
    context.may_touch(&city.region);
    // With wrong filters: the figures without them.
    let all = Parameters::default();
    let error = query.period(&city, context.now).err();
    let set = if error.is_some() { &all } else { &query };
    let period = set.period(&city, context.now).map_err(|_never| BadRequest::Field)?;
    let (times, after) = (period.times(&city), set.cursor());
    let (current_user, (mut rows, totals)) = context
        .read_signed_in(&city.region, async |conn| {
            revenue::list(conn, &city, times, period.by.0, &after, PAGE + 1).await
        })
        .await?;
    may(&current_user, &city)?;
    let newest = (!set.after.is_empty()).then(|| set.address("/fleet/revenue", &city, None));
    let next = |last: &Revenue| set.address("/fleet/revenue", &city, Some(last.cursor()));
    let pagination = Pagination::cut(&mut rows, PAGE, newest, next);
    let page = RevenuePage {
        layout: context.layout(&format!("Revenue in {}", city.name), Section::Fleet, &city),
        catalogue: &context.catalogue,
        city: &city,
        query: &query,
        file: set.address("/fleet/revenue.csv", &city, None),
        from: period.from,
        to: period.to,
        by: period.by,
        rows,
        totals,
        pagination,
        error,
    };
    context.ok_or_invalid(page.error.is_some(), &page)
}

/// `GET /fleet/revenue.csv`. With wrong filters: their page.
pub async fn export(mut context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    let city = city_of(&context, &query.city)?;
    let Ok(period) = query.period(&city, context.now) else {
        return show(context, Query(query)).await;
    };
    counted_here(&mut context, &city).await?;
    context.may_touch(&city.region);
    may(&context.current_user().await?, &city)?;
    let (times, by) = (period.times(&city), period.by.0);
    let columns = [by, "vehicle_code", "currency", "rides", "fares", "discounts", "fees", "credits", "revenue"];
    let name = format!("movr-{}-revenue-{}-{}.csv", city.slug, period.from, period.to);
    let service = Arc::clone(&context.service);
    let read = async move |after: Cursor| {
        Ok(lines(&revenue::list(&service.db.at(&city.region).await?, &city, times, by, &after, CHUNK).await?.0))
    };
    let (text, next) = read(Cursor::default()).await?;
    Ok(context.csv(&name, (head(&columns) + &text, next), read))
}

/// The lines of these rows, and where the next ones begin.
fn lines(rows: &[Revenue]) -> (String, Option<Cursor>) {
    let mut text = String::new();
    for row in rows {
        let minors = [row.fares_minor, row.discounts_minor, row.fees_minor, row.credits_minor, row.revenue_minor()];
        let first = [
            escape_formula(&row.key),
            escape_formula(row.code.as_deref().unwrap_or_default()),
            row.currency.as_str().into(),
            row.rides.to_string().into(),
        ];
        write_line(&mut text, first.into_iter().chain(minors.into_iter().map(|minor| money::plain(minor).into())));
    }
    let full = i64::try_from(rows.len()) == Ok(CHUNK);
    (text, rows.last().filter(|_| full).map(Revenue::cursor))
}
