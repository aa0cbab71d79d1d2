//! Rows of one region after another, checked by themselves and remembered, so that they
//! can be compared when all regions have been read: open rides, reservations, presence.
//! Memory grows with people and vehicles, not with rides: of those only the open ones and
//! the ones with a promo code are kept.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    CELLS, ENDED, FARES, HOMES, ONE_OPEN, OPEN_USERS, OPEN_VEHICLES, PRESENCE, REFERENCES, REGIONS, RESERVED, Report,
    named,
};
use crate::{
    db::verify::{Ride, User, Vehicle},
    domain::{
        catalogue::Catalogue,
        fare::{Fare, minutes_started},
        geo,
        region::RegionCode,
        ride::RideRef,
    },
};

/// What must be remembered of one region until the others have been read.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) users: HashMap<Uuid, (RegionCode, User)>,
    pub(super) vehicles: HashMap<Uuid, (RegionCode, Vehicle)>,
    open: HashMap<RideRef, (Uuid, Option<Uuid>)>,
    riding: HashSet<Uuid>,
    pub(super) promo: HashMap<RideRef, (String, Option<Uuid>)>,
    /// People who are being erased: their rides and vehicles may have been reached or not.
    pub(super) erased: HashSet<Uuid>,
    present: BTreeSet<(Uuid, RegionCode)>,
}

impl Seen {
    pub(super) fn user(&mut self, report: &mut Report, catalogue: &Catalogue, region: &RegionCode, user: User) {
        let id = user.id;
        let home = catalogue.city(&user.city).is_some_and(|city| city.region == *region);
        report.check(REGIONS, region, home, || named("user", id, &user.city));
        let other = self.users.insert(id, (region.clone(), user));
        report.check(HOMES, region, other.is_none(), || named("user", id, "also in another region"));
    }

    pub(super) fn vehicle(
        &mut self,
        report: &mut Report,
        catalogue: &Catalogue,
        region: &RegionCode,
        vehicle: Vehicle,
    ) {
        let id = vehicle.id;
        let home = catalogue.city(&vehicle.city).is_some_and(|city| city.region == *region);
        report.check(REGIONS, region, home, || named("vehicle", id, &vehicle.city));
        report.check(CELLS, region, vehicle.cell == geo::cell(vehicle.at), || named("vehicle", id, vehicle.cell));
        if let Some((_, owner)) = vehicle.owner
            && !self.erased.contains(&owner)
        {
            self.present.insert((owner, region.clone()));
        }
        let other = self.vehicles.insert(id, (region.clone(), vehicle));
        report.check(HOMES, region, other.is_none(), || named("vehicle", id, "also in another region"));
    }

    pub(super) fn ride(&mut self, report: &mut Report, catalogue: &Catalogue, region: &RegionCode, ride: Ride) {
        let (id, rider) = (ride.id, ride.rider.filter(|rider| !self.erased.contains(rider)));
        let home = catalogue.city(&ride.city).is_some_and(|city| city.region == *region);
        report.check(REGIONS, region, home, || named("ride", id, &ride.city));
        let there = self.vehicles.contains_key(&ride.vehicle);
        report.check(REFERENCES, region, there, || named("ride", id, format!("no vehicle {}", ride.vehicle)));
        report.check(ENDED, region, !ride.partial, || named("ride", id, "fields of its end do not fit together"));
        if let (Some(ended_at), Some(stored)) = (ride.ended_at, ride.stored) {
            let minutes = minutes_started(ended_at - ride.started_at);
            let fare = Fare::new(ride.rate, minutes, ride.discount, ride.fee_minor);
            report.check(FARES, region, stored == fare, || {
                named("ride", id, format!("stored {stored:?}, computed {fare:?}"))
            });
        }
        let key = || RideRef { region: region.clone(), id };
        let open = ride.ended_at.is_none();
        let first = !open || self.riding.insert(ride.vehicle) & rider.is_none_or(|rider| self.riding.insert(rider));
        report.check(ONE_OPEN, region, first, || named("open ride", id, "its vehicle or rider has another"));
        if open {
            self.open.insert(key(), (ride.vehicle, rider));
        }
        if let Some(code) = ride.promo_code {
            self.promo.insert(key(), (code, rider));
        }
        if let Some(rider) = rider {
            self.present.insert((rider, region.clone()));
        }
    }

    pub(super) fn open_rides(&self, report: &mut Report) {
        for (ride, (vehicle, rider)) in &self.open {
            let id = ride.id;
            let carries =
                self.vehicles.get(vehicle).is_some_and(|(region, v)| *region == ride.region && v.open_ride == Some(id));
            report.check(OPEN_VEHICLES, &ride.region, carries, || {
                named("open ride", id, format!("not on vehicle {vehicle}"))
            });
            let Some(rider) = rider else {
                report.check(OPEN_USERS, &ride.region, false, || named("open ride", id, "has no rider"));
                continue;
            };
            let carries = self.users.get(rider).and_then(|(_, user)| user.open_ride.as_ref());
            let carries = carries.is_some_and(|(region, open)| *region == ride.region && *open == id);
            report.check(OPEN_USERS, &ride.region, carries, || named("open ride", id, format!("not on user {rider}")));
        }
        for (home, user) in self.users.values() {
            let open = user.open_ride.clone().map(|(region, id)| self.open.get(&RideRef { region, id }));
            let theirs = open.is_none_or(|ride| ride.is_some_and(|(_, rider)| *rider == Some(user.id)));
            report
                .check(OPEN_USERS, home, theirs, || named("user", user.id, "carries an open ride that is not theirs"));
        }
        for (region, vehicle) in self.vehicles.values() {
            let open = vehicle.open_ride.and_then(|id| self.open.get(&RideRef { region: region.clone(), id }));
            let agrees = vehicle.in_use == open.is_some_and(|(of, _)| *of == vehicle.id);
            report.check(OPEN_VEHICLES, region, agrees, || {
                named("vehicle", vehicle.id, "its status is not that of its open ride")
            });
        }
    }

    pub(super) fn reservations(&self, report: &mut Report, now: DateTime<Utc>) {
        let by_public_id: HashMap<_, _> =
            self.vehicles.values().map(|(region, v)| ((region, v.public_id), v)).collect();
        for (home, user) in self.users.values() {
            let lapsed = user.reserved_until <= Some(now);
            let vehicle = user.reserved.as_ref().and_then(|(region, id)| by_public_id.get(&(region, *id)));
            let agrees = vehicle.is_some_and(|v| {
                v.reserved_until == user.reserved_until && v.reserved.as_ref() == Some(&(home.clone(), user.id))
            });
            report.check(RESERVED, home, lapsed || agrees, || {
                named("user", user.id, "the vehicle knows of no such reservation")
            });
        }
        for (region, vehicle) in self.vehicles.values() {
            let lapsed = vehicle.reserved_until <= Some(now);
            let user = vehicle.reserved.as_ref().and_then(|(_, id)| self.users.get(id));
            let agrees = user.is_some_and(|(_, u)| {
                u.reserved_until == vehicle.reserved_until
                    && u.reserved.as_ref() == Some(&(region.clone(), vehicle.public_id))
            });
            report.check(RESERVED, region, lapsed || agrees, || {
                named("vehicle", vehicle.id, "the person knows of no such reservation")
            });
        }
    }

    pub(super) fn presence(&self, report: &mut Report) {
        for (id, region) in &self.present {
            let user = self.users.get(id);
            report.check(REFERENCES, region, user.is_some(), || {
                named("user", id, "not there, but rides or vehicles of theirs are")
            });
            if let Some((_, user)) = user {
                report.check(PRESENCE, region, user.present_in.contains(region), || {
                    named("user", id, "present_in lacks this region")
                });
            }
        }
    }
}
