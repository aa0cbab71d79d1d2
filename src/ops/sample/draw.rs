//! Draws plausible people, vehicles and rides, each from its own generator, seeded by seed, city
//! and number, so that it does not depend on how many there are. No database, no clock.

use std::collections::HashMap;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::SamplePlan;
use crate::{
    db::sample::{Position, Ride, Street, User, Vehicle},
    domain::{
        Catalogue, City, Point, Tariff,
        catalogue::fold,
        fare::{Fare, minutes_started},
        geo::{self},
        place::{moved, offset, place},
    },
};

/// Rides began within so many days.
const DAYS: i64 = 30;

const FIRST: [&str; 40] = [
    "Ada", "Amina", "André", "Anneke", "Ben", "Carla", "Chiara", "Daan", "Deepa", "Elif", "Emma", "Fatou", "Femke",
    "Giulia", "Grace", "Hassan", "Hugo", "Ines", "Jamal", "Jürgen", "Kenji", "Lars", "Léa", "Lin", "Lucia", "Malik",
    "Marta", "Mei", "Nadia", "Noah", "Olu", "Pablo", "Priya", "Rosa", "Sam", "Sofia", "Tariq", "Tess", "Yara", "Zoë",
];
const LAST: [&str; 40] = [
    "Adeyemi", "Ahmed", "Bakker", "Bernard", "Bianchi", "Brown", "Chen", "Costa", "Davis", "De Luca", "De Vries",
    "Diallo", "Dubois", "Evans", "Fontana", "Garcia", "Greco", "Haddad", "Ito", "Jansen", "Johnson", "Kaya", "Kim",
    "Laurent", "López", "Martin", "Miller", "Moreau", "Nguyen", "Okafor", "Patel", "Ricci", "Rossi", "Santos", "Singh",
    "Smit", "Tanaka", "Visser", "Wilson", "Yılmaz",
];
const COLOURS: [&str; 10] =
    ["black", "white", "red", "blue", "green", "yellow", "orange", "grey", "silver", "turquoise"];
const BRANDS: [&str; 8] = ["Veloria", "Kestrel", "Northwind", "Gazelia", "Piccolo", "Tramontane", "Bluejay", "Cascade"];

fn generator(seed: u64, city: &City, what: &str, number: usize) -> StdRng {
    StdRng::from_seed(Sha256::digest(format!("{seed}/{}/{what}/{number}", city.slug)).into())
}

fn new_id(rng: &mut impl Rng) -> Uuid {
    uuid::Builder::from_random_bytes(rng.random()).into_uuid()
}

fn pick(rng: &mut impl Rng, from: &[&'static str]) -> &'static str {
    from.choose(rng).copied().unwrap_or_default()
}

/// Registered long before any ride.
pub(super) fn user(seed: u64, city: &City, number: usize, now: DateTime<Utc>) -> User {
    let mut rng = generator(seed, city, "user", number);
    let (id, first_name, last_name) = (new_id(&mut rng), pick(&mut rng, &FIRST), pick(&mut rng, &LAST));
    User {
        id,
        city: city.slug.clone(),
        username: format!("{}.{}.{}", fold(first_name), city.slug, number + 1),
        first_name,
        last_name,
        created_at: long_ago(&mut rng, now),
        role: None,
        role_city: String::new(),
    }
}

type Span = (DateTime<Utc>, DateTime<Utc>);

/// When each rider was under way: nobody is in two places at once.
#[derive(Debug, Default)]
pub(super) struct Busy(HashMap<Uuid, Vec<Span>>);

impl Busy {
    fn take(&mut self, rider: Uuid, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
        let times = self.0.entry(rider).or_default();
        let free = times.iter().all(|(start, end)| *end < from || to < *start);
        if free {
            times.push((from, to));
        }
        free
    }
}

pub(super) struct Drawn<'a> {
    catalogue: &'a Catalogue,
    city: &'a City,
    seed: u64,
    now: DateTime<Utc>,
    locals: Vec<Uuid>,
    /// From other cities of the region.
    guests: Vec<Uuid>,
    /// How many rides each vehicle has had.
    rides: Vec<i32>,
    /// From the centre to the farthest corner of the service area, in metres.
    radius: f64,
}

impl<'a> Drawn<'a> {
    pub(super) fn new(
        catalogue: &'a Catalogue,
        city: &'a City,
        plan: &SamplePlan,
        cities: &[&City],
        people: &HashMap<&str, Vec<Uuid>>,
        now: DateTime<Utc>,
    ) -> Self {
        let of = |other: &City| people.get(other.slug.as_str()).cloned().unwrap_or_default();
        let others = cities.iter().filter(|other| other.region == city.region && other.slug != city.slug);
        let corners = city.service_area.points().iter().map(|corner| city.centre.distance_m(*corner));
        let (mut rides, mut rng) = (vec![0; plan.vehicles], generator(plan.seed, city, "rides", 0));
        let working: Vec<usize> = (0..plan.vehicles).filter(|n| !in_maintenance(*n)).collect();
        for _ in 0..plan.rides {
            if let Some(count) = working.choose(&mut rng).and_then(|n| rides.get_mut(*n)) {
                *count += 1;
            }
        }
        Self {
            catalogue,
            city,
            seed: plan.seed,
            now,
            locals: of(city),
            guests: others.flat_map(|other| of(other)).collect(),
            rides,
            radius: corners.fold(0.0, f64::max),
        }
    }

    /// Adds a vehicle with its rides, one in each of as many equal parts of the month.
    pub(super) fn vehicle(&self, number: usize, busy: &mut Busy, street: &mut Street) {
        let rng = &mut generator(self.seed, self.city, "vehicle", number);
        let (id, public_id) = (new_id(rng), new_id(rng));
        let vehicle_type =
            self.catalogue.vehicle_types.choose(rng).map(|vehicle_type| vehicle_type.slug.clone()).unwrap_or_default();
        let owner = if rng.random_bool(0.1) { self.locals.choose(rng).copied() } else { None };
        // Unique over all cities, and different for the next seed.
        let city = self.city.slug.get(..3).unwrap_or("mov").to_uppercase();
        let code = owner.is_none().then(|| format!("{city}-{}-{:04}", self.seed % 10_000, number + 1));
        let (brand, colour) = (pick(rng, &BRANDS), pick(rng, &COLOURS));
        let first = self.somewhere(rng, true);
        let created_at = long_ago(rng, self.now);
        let battery = rng.random_range(15..=100);

        let rides = self.rides.get(number).copied().unwrap_or_default();
        let part = TimeDelta::days(DAYS) / rides.max(1);
        let (mut at, mut changed_at, mut version) = (first, created_at, 1);
        for nth in 0..rides {
            let begin = self.now - TimeDelta::days(DAYS) + part * nth;
            let Some(tariff) = self.catalogue.tariff(&self.city.slug, &vehicle_type, begin) else { break };
            // The last one brings it back into the service area.
            let outside = nth + 1 < rides && rng.random_bool(0.03);
            let (ride, positions) = self.ride(id, tariff, at, (begin, part), outside, rng, busy);
            (at, changed_at, version) = (ride.end, ride.ended_at, version + 2);
            street.rides.push(Ride { version, ..ride });
            street.positions.extend(positions);
        }
        street.vehicles.push(Vehicle {
            id,
            public_id,
            vehicle_type,
            status: if in_maintenance(number) { "maintenance" } else { "available" },
            code,
            brand,
            colour,
            battery,
            first,
            at,
            cell: geo::cell(at),
            place: place(self.city.units, self.city.centre, at),
            owner,
            version,
            created_at,
            changed_at,
        });
    }

    /// A ride within `part` of the month from `begin` on, and its positions.
    #[allow(clippy::too_many_arguments, reason = "all that a ride depends on")]
    fn ride(
        &self,
        vehicle: Uuid,
        tariff: &Tariff,
        start: Point,
        (begin, part): (DateTime<Utc>, TimeDelta),
        outside_area: bool,
        rng: &mut StdRng,
        busy: &mut Busy,
    ) -> (Ride, Vec<Position>) {
        let (id, end) = (new_id(rng), self.somewhere(rng, !outside_area));
        // 2.5 to 5 m/s as the crow flies, and a few minutes of standing about.
        let duration = start.distance_m(end) / rng.random_range(2.5..5.0) + rng.random_range(60.0..600.0);
        let seconds = duration.min(part.as_seconds_f64() * 0.6);
        let started_at = later(begin, rng.random_range(0.0..part.as_seconds_f64() * 0.95 - seconds));
        let ended_at = later(started_at, seconds);
        let rider = (0..10).find_map(|_| {
            let from_elsewhere = self.locals.is_empty() || rng.random_bool(0.15);
            let rider = if from_elsewhere { self.guests.choose(rng) } else { self.locals.choose(rng) };
            rider.copied().filter(|rider| busy.take(*rider, started_at, ended_at))
        });
        let noted = if rng.random_bool(0.3) { rng.random_range(3..=8_u8) } else { 0 };
        let (north, east) = offset(start, end);
        let (mut positions, mut distance, mut last) = (Vec::new(), 0.0, start);
        for n in 1..=noted {
            let share = f64::from(n) / f64::from(noted + 1);
            let (aside_n, aside_e) = (rng.random_range(-80.0..80.0), rng.random_range(-80.0..80.0));
            let at = moved(start, north * share + aside_n, east * share + aside_e);
            positions.push(Position { ride: id, noted_at: later(started_at, seconds * share), at });
            distance += last.distance_m(at);
            last = at;
        }
        let fee = if outside_area { tariff.out_of_area_fee_minor } else { 0 };
        let ride = Ride {
            id,
            vehicle,
            version: 0,
            rider,
            started_at,
            start,
            start_place: place(self.city.units, self.city.centre, start),
            ended_at,
            end,
            end_place: place(self.city.units, self.city.centre, end),
            outside_area,
            distance_m: whole(distance + last.distance_m(end)),
            rate: tariff.rate(),
            out_of_area_minor: tariff.out_of_area_fee_minor,
            fare: Fare::new(tariff.rate(), minutes_started(ended_at - started_at), None, fee),
        };
        (ride, positions)
    }

    /// A point inside (or outside) the service area, denser towards the centre.
    fn somewhere(&self, rng: &mut StdRng, inside: bool) -> Point {
        let reach = if inside { self.radius } else { self.radius * 1.3 };
        let mut points = std::iter::repeat_with(|| {
            let (metres, angle) = (reach * rng.random::<f64>(), std::f64::consts::TAU * rng.random::<f64>());
            moved(self.city.centre, metres * angle.cos(), metres * angle.sin())
        });
        // The service area contains its centre, so a hit is only a matter of tries.
        let hit = points.by_ref().take(200).find(|point| self.city.service_area.contains(*point) == inside);
        hit.unwrap_or(self.city.centre)
    }
}

/// One in 25 is in maintenance and has had no rides.
fn in_maintenance(number: usize) -> bool {
    number % 25 == 17
}

/// Up to 400 days before any ride.
fn long_ago(rng: &mut StdRng, now: DateTime<Utc>) -> DateTime<Utc> {
    now - TimeDelta::days(DAYS + 1) - TimeDelta::seconds(rng.random_range(0..400 * 86_400))
}

fn later(time: DateTime<Utc>, seconds: f64) -> DateTime<Utc> {
    (time + TimeDelta::milliseconds(whole(seconds * 1000.0))).trunc_subsecs(3)
}

#[allow(clippy::cast_possible_truncation, reason = "metres within a city, milliseconds within a month")]
fn whole(number: f64) -> i64 {
    number.round() as i64
}
