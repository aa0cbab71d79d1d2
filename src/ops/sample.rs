//! `movr load` and the sample accounts of `movr demo`: plausible people, vehicles and a
//! month of rides. People and vehicles are the same for the same seed whatever the counts,
//! so a larger load adds to a smaller one. Rides are drawn for the people who are at home
//! now, which is why they come second.

mod draw;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

use super::OpError;
use crate::{
    db::{
        Db,
        error::{DbError, DbErrorKind},
        gates,
        sample::{self, Inserted, User, Vehicle},
    },
    domain::{
        catalogue::{Catalogue, City},
        refusal::Refusal,
        region::RegionCode,
    },
};
use draw::{Busy, Drawn};

/// Rows of one statement, about: long enough to be quick, short of any write deadline.
const BATCH: usize = 500;

/// The sample accounts: username, first and last name, role.
const ACCOUNTS: [(&str, &str, &str, Option<&str>); 4] = [
    ("rider", "Robin", "Rider", None),
    ("owner", "Olive", "Owner", None),
    ("operator", "Oscar", "Operator", Some("operator")),
    ("administrator", "Alma", "Administrator", Some("administrator")),
];

/// What to load.
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

/// How many rows are new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    pub users: i64,
    pub vehicles: i64,
}

/// Loads sample data; `progress` is told how many rows of how many are done.
pub async fn load(
    db: &Db,
    catalogue: &Catalogue,
    plan: &SamplePlan,
    password_hash: &str,
    now: DateTime<Utc>,
    progress: impl Fn(usize, usize),
) -> Result<Loaded, OpError> {
    let now = now.trunc_subsecs(3);
    let cities = cities(catalogue, &plan.cities)?;
    let total = cities.len() * (plan.users + plan.vehicles + plan.rides);
    let (mut done, mut loaded) = (0, Loaded::default());
    let mut people: HashMap<&str, Vec<Uuid>> = HashMap::new();
    for city in &cities {
        let epoch = epoch(db, &city.region).await?;
        let planned: Vec<User> = (0..plan.users).map(|n| draw::user(plan.seed, city, n, now)).collect();
        for batch in planned.chunks(BATCH) {
            let (new, at_home) = insert_users(db, &city.region, epoch, password_hash, batch).await?;
            loaded.users += new;
            people.entry(&city.slug).or_default().extend(at_home);
            done += batch.len();
            progress(done, total);
        }
    }
    let mut busy = Busy::default();
    for city in &cities {
        let epoch = epoch(db, &city.region).await?;
        let mut drawn = Drawn::new(catalogue, city, plan, &cities, &people, now);
        let mut batch: Vec<Vehicle> = Vec::new();
        let mut rows = 0;
        for n in 0..plan.vehicles {
            let vehicle = drawn.vehicle(n, &mut busy);
            rows += 1 + vehicle.rides.len();
            batch.push(vehicle);
            if rows >= BATCH || n + 1 == plan.vehicles {
                loaded.vehicles += insert_vehicles(db, city, epoch, &batch).await?;
                batch.clear();
                done += std::mem::take(&mut rows);
                progress(done, total);
            }
        }
    }
    progress(total, total);
    Ok(loaded)
}

/// Makes the accounts `rider`, `owner`, `operator` and `administrator`, where they do not
/// exist yet, in the first city of `here`; the owner brings two vehicles. Returns the city.
pub async fn accounts(
    db: &Db,
    catalogue: &Catalogue,
    here: &RegionCode,
    password_hash: &str,
    now: DateTime<Utc>,
) -> Result<String, OpError> {
    let city = catalogue.cities_of(here).next().ok_or_else(|| unknown(&format!("region {here} with a city")))?;
    let epoch = epoch(db, here).await?;
    let accounts = ACCOUNTS.map(|(username, first_name, last_name, role)| User {
        id: Uuid::new_v4(),
        city: city.slug.clone(),
        username: username.to_owned(),
        first_name,
        last_name,
        created_at: now,
        role: role.map(|role| (role, if role == "operator" { city.slug.clone() } else { String::new() })),
    });
    let (_, new) = insert_users(db, here, epoch, password_hash, &accounts).await?;
    if let Some(owner) = accounts.iter().find(|account| account.username == "owner" && new.contains(&account.id)) {
        let plan = SamplePlan { cities: Vec::new(), users: 0, vehicles: 2, rides: 0, seed: rand::random() };
        let mut drawn = Drawn::new(catalogue, city, &plan, &[], &HashMap::new(), now);
        let mut vehicles = [0, 1].map(|n| drawn.vehicle(n, &mut Busy::default()));
        for vehicle in &mut vehicles {
            (vehicle.owner, vehicle.code) = (Some(owner.id), None);
            (vehicle.status, vehicle.created_at) = ("available", now);
        }
        insert_vehicles(db, city, epoch, &vehicles).await?;
    }
    Ok(city.slug.clone())
}

fn unknown(what: &str) -> DbError {
    DbError::new(DbErrorKind::BadValue, "sample", format!("the catalogue has no {what}"))
}

fn cities<'a>(catalogue: &'a Catalogue, wanted: &[String]) -> Result<Vec<&'a City>, DbError> {
    if wanted.is_empty() {
        return Ok(catalogue.cities.iter().collect());
    }
    let find = |slug: &String| catalogue.city(slug).ok_or_else(|| unknown(&format!("city {slug}")));
    wanted.iter().map(find).collect()
}

async fn epoch(db: &Db, region: &RegionCode) -> Result<i64, OpError> {
    let missing =
        || DbError::new(DbErrorKind::Bug, "gates.find", format!("region {region} has no gate: run movr migrate"));
    let gate = gates::find(&db.at(region).await?, region).await?.ok_or_else(missing)?;
    if gate.writable {
        return Ok(gate.epoch);
    }
    Err(Refusal::RegionReadOnly { region: gate.region, reason: gate.reason, until: gate.until }.into())
}

fn counted(region: &RegionCode, inserted: &Inserted) -> Result<i64, OpError> {
    if inserted.open {
        return Ok(inserted.new);
    }
    Err(Refusal::RegionReadOnly { region: region.clone(), reason: None, until: None }.into())
}

async fn insert_users(
    db: &Db,
    region: &RegionCode,
    epoch: i64,
    password_hash: &str,
    users: &[User],
) -> Result<(i64, Vec<Uuid>), OpError> {
    let insert = async |conn: &_| sample::insert_users(conn, region, epoch, password_hash, users).await;
    let (inserted, at_home) = db.write(region, insert).await?;
    let new = counted(region, &inserted)?;
    // In the order of the plan, which the database does not keep.
    let at_home: HashSet<Uuid> = at_home.into_iter().collect();
    Ok((new, users.iter().map(|user| user.id).filter(|id| at_home.contains(id)).collect()))
}

async fn insert_vehicles(db: &Db, city: &City, epoch: i64, vehicles: &[Vehicle]) -> Result<i64, OpError> {
    let (region, currency) = (&city.region, city.currency.as_str());
    let insert = async |conn: &_| sample::insert_vehicles(conn, region, epoch, &city.slug, currency, vehicles).await;
    counted(region, &db.write(region, insert).await?)
}
