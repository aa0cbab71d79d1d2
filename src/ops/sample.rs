//! `movr load` and the sample accounts of `movr demo`. People and vehicles depend only on the seed,
//! not on the counts, so a larger load adds to a smaller one. Rides are drawn for the people who
//! are at home now, so they come second.

mod draw;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    Result,
    gates::{self, open_epoch},
};
use crate::{
    db::{
        Db, DbError, DbErrorKind,
        sample::{self, Street, User},
    },
    domain::{Catalogue, City, Refusal, RegionCode},
};
use draw::{Busy, Drawn, People};

/// Rows of one statement, about: well within any write deadline.
const BATCH: usize = 500;

/// Username, first and last name, role.
const ACCOUNTS: [(&str, &str, &str, Option<&str>); 4] = [
    ("rider", "Robin", "Rider", None),
    ("owner", "Olive", "Owner", None),
    ("operator", "Oscar", "Operator", Some("operator")),
    ("administrator", "Alma", "Administrator", Some("administrator")),
];

#[derive(Debug, Clone)]
pub struct SamplePlan {
    /// Slugs; none means every city of the catalogue.
    pub cities: Vec<String>,
    pub users: usize,
    pub vehicles: usize,
    pub rides: usize,
    /// The same seed gives the same ids, names and places.
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SampleCounts {
    pub users: i64,
    pub vehicles: i64,
}

pub async fn load(
    db: &Db,
    catalogue: &Catalogue,
    plan: &SamplePlan,
    password_hash: &str,
    now: DateTime<Utc>,
    progress: impl Fn(usize, usize),
) -> Result<SampleCounts> {
    let now = now.trunc_subsecs(3);
    let known = |slug: &String| catalogue.city(slug).ok_or_else(|| unknown(&format!("city {slug}")));
    let cities: Vec<&City> = if plan.cities.is_empty() {
        catalogue.cities.iter().collect()
    } else {
        plan.cities.iter().map(known).collect::<Result<_, _>>()?
    };
    let total = cities.len() * (plan.users + plan.vehicles + plan.rides);
    let (mut done, mut loaded) = (0, SampleCounts::default());
    let mut people = People::default();
    for city in &cities {
        let planned: Vec<User> = (0..plan.users).map(|n| draw::user(plan.seed, city, n, now)).collect();
        for batch in planned.chunks(BATCH) {
            let (new, at_home) = insert_users(db, &city.region, password_hash, batch).await?;
            loaded.users += i64::try_from(new.len()).unwrap_or(i64::MAX);
            people.new.extend(new);
            people.at_home.entry(&city.slug).or_default().extend(at_home);
            done += batch.len();
            progress(done, total);
        }
    }
    let mut busy = Busy::default();
    for city in &cities {
        let drawn = Drawn::new(catalogue, city, plan, &cities, &people, now);
        let mut street = Street::default();
        for n in 0..plan.vehicles {
            drawn.vehicle(n, &mut busy, &mut street);
            let rows = street.vehicles.len() + street.rides.len();
            if rows >= BATCH || n + 1 == plan.vehicles {
                loaded.vehicles += insert_vehicles(db, city, &std::mem::take(&mut street)).await?;
                done += rows;
                progress(done, total);
            }
        }
    }
    progress(total, total);
    Ok(loaded)
}

/// Creates the accounts `rider`, `owner`, `operator` and `administrator` in the first city of
/// `here`, unless they exist; the owner has two vehicles, and the rider has ridden them and two of the fleet.
/// Returns the city.
pub async fn accounts(
    db: &Db,
    catalogue: &Catalogue,
    here: &RegionCode,
    password_hash: &str,
    now: DateTime<Utc>,
) -> Result<String> {
    let city = catalogue.cities_of(here).next().ok_or_else(|| unknown(&format!("region {here} with a city")))?;
    let accounts = ACCOUNTS.map(|(username, first_name, last_name, role)| User {
        id: Uuid::new_v4(),
        city: city.slug.clone(),
        username: username.to_owned(),
        first_name,
        last_name,
        created_at: now - TimeDelta::days(100),
        role,
        role_city: if role == Some("operator") { city.slug.clone() } else { String::new() },
    });
    let (_, new) = insert_users(db, here, password_hash, &accounts).await?;
    let added = |name: &str| {
        let account = accounts.iter().find(|account| account.username == name && new.contains(&account.id));
        account.map(|account| account.id)
    };
    if let (Some(rider), Some(owner)) = (added("rider"), added("owner")) {
        let plan = SamplePlan { cities: Vec::new(), users: 0, vehicles: 4, rides: 14, seed: rand::random() };
        // Nobody is new: the rider is not under way.
        let people = People { at_home: HashMap::from([(city.slug.as_str(), vec![rider])]), ..Default::default() };
        let drawn = Drawn::new(catalogue, city, &plan, &[], &people, now.trunc_subsecs(3));
        let (mut street, mut busy) = (Street::default(), Busy::default());
        (0..plan.vehicles).for_each(|n| drawn.vehicle(n, &mut busy, &mut street));
        for (n, vehicle) in street.vehicles.iter_mut().enumerate() {
            let id = vehicle.id.simple().to_string();
            let code = format!("R-{id:.6}");
            (vehicle.owner, vehicle.code) = if n < 2 { (Some(owner), None) } else { (None, Some(code)) };
            vehicle.created_at = now - TimeDelta::days(60);
        }
        insert_vehicles(db, city, &street).await?;
    }
    Ok(city.slug.clone())
}

fn unknown(what: &str) -> DbError {
    DbError::new(DbErrorKind::BadValue, "sample", format!("the catalogue has no {what}"))
}

/// Who is new, and who of all is at home in `region`, in order.
async fn insert_users(
    db: &Db,
    region: &RegionCode,
    password_hash: &str,
    users: &[User],
) -> Result<(Vec<Uuid>, Vec<Uuid>)> {
    let epoch = open_epoch(gates::find(db, region).await?)?;
    let insert = async |conn: &_| sample::insert_users(conn, (region, epoch), password_hash, users).await;
    let (new, at_home) = db.write_with_retry(region, insert).await?.ok_or_else(|| closed(region))?;
    let at_home: HashSet<Uuid> = at_home.into_iter().collect();
    Ok((new, users.iter().map(|user| user.id).filter(|id| at_home.contains(id)).collect()))
}

async fn insert_vehicles(db: &Db, city: &City, street: &Street) -> Result<i64> {
    let epoch = open_epoch(gates::find(db, &city.region).await?)?;
    let insert = async |conn: &_| sample::insert_vehicles(conn, city, epoch, street).await;
    Ok(db.write_with_retry(&city.region, insert).await?.ok_or_else(|| closed(&city.region))?)
}

fn closed(region: &RegionCode) -> Refusal {
    Refusal::RegionReadOnly { region: region.clone(), reason: None, until: None }
}
