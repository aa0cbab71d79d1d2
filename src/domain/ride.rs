//! Rides: how they are named, and the human number on a receipt. The number is for
//! people only and made without a counter, because a counter row would be the hottest
//! row of the database.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::region::RegionCode;

/// A ride, for ever in the region where it happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RideRef {
    /// Region of the ride's city.
    pub region: RegionCode,
    /// Id inside it, made by the page that offered the ride.
    pub id: Uuid,
}

/// Letters that are not mistaken for each other when read aloud.
const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

impl RideRef {
    /// The number on the receipt, such as `EUW1-261120-7F3K9`: region, day (UTC), and
    /// five letters from the id. For display only: it is not unique.
    #[must_use]
    pub fn number(&self, started_at: DateTime<Utc>) -> String {
        let mut bits = self.id.as_u128();
        let letters: String = std::iter::repeat_with(|| {
            let letter = LETTERS.get((bits & 31) as usize).copied().unwrap_or(b'2');
            bits >>= 5;
            char::from(letter)
        })
        .take(5)
        .collect();
        format!("{}-{}-{letters}", self.region.short(), started_at.format("%y%m%d"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_tells_region_and_day() -> Result<(), Box<dyn std::error::Error>> {
        let ride = RideRef { region: "europe-west1".parse()?, id: Uuid::from_u128(0x1234_5678_9abc) };
        let number = ride.number("2026-11-20T23:59:00Z".parse()?);
        assert!(number.starts_with("EUW1-261120-"), "{number}");
        assert_eq!(number.len(), "EUW1-261120-7F3K9".len());
        Ok(())
    }
}
