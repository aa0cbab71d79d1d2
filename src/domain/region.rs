//! Region codes: the name of a cloud region in the database, the catalogue and URLs (`us-east1`).

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use strum::{EnumString, IntoStaticStr};
use uuid::Uuid;

/// Lower-case letters, digits and dashes, 1 to 32 of them. The catalogue decides whether the region
/// exists.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegionCode(Arc<str>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a region code is 1 to 32 lower-case letters, digits and dashes")]
pub struct BadRegionCode;

impl RegionCode {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The region's id in events, the same at every instance.
    pub fn id(&self) -> Uuid {
        let mut bytes: uuid::Bytes = [0; 16];
        bytes.iter_mut().zip(Sha256::digest(self.0.as_bytes())).for_each(|(byte, digest)| *byte = digest);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// The first part of this region's ride numbers: `us-east1` gives `USE1`.
    pub fn short(&self) -> String {
        // CockroachDB Cloud puts the provider in front: `gcp-us-east1`.
        let providers = ["gcp-", "aws-", "azure-"];
        let name = providers.iter().find_map(|provider| self.0.strip_prefix(provider)).unwrap_or(&self.0);
        let mut parts = name.split('-');
        let area: String = parts.next().unwrap_or_default().chars().take(2).collect();
        let rest: String = parts.collect();
        let initial = rest.chars().next().map(String::from).unwrap_or_default();
        let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
        format!("{area}{initial}{digits}").to_uppercase()
    }
}

/// What a region's gate lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, IntoStaticStr, EnumString)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "snake_case")]
pub enum GateState {
    Writable,
    /// Nothing new begins; what is under way can end.
    Draining,
    ReadOnly,
}

impl GateState {
    /// As statements, events and `/status.json` have it.
    pub fn code(self) -> &'static str {
        self.into()
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Writable => "open",
            Self::Draining => "draining",
            Self::ReadOnly => "closed",
        }
    }
}

impl FromStr for RegionCode {
    type Err = BadRegionCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 32 || !text.chars().all(good) {
            return Err(BadRegionCode);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for RegionCode {
    type Error = BadRegionCode;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RegionCode> for String {
    fn from(code: RegionCode) -> Self {
        code.0.as_ref().to_owned()
    }
}

impl fmt::Display for RegionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RegionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_tell_regions_apart() {
        for (code, short) in [("us-east1", "USE1"), ("gcp-us-west1", "USW1"), ("europe-west1", "EUW1")] {
            let region: RegionCode = code.parse().unwrap();
            assert_eq!(region.short(), short);
            assert_eq!(region.id(), code.parse::<RegionCode>().unwrap().id());
            assert_ne!(region.id(), "asia-east1".parse::<RegionCode>().unwrap().id());
        }
    }

    #[test]
    fn only_codes_are_codes() {
        for bad in ["", "US-EAST1", "us east", "é", "'; --"] {
            assert_eq!(bad.parse::<RegionCode>(), Err(BadRegionCode));
        }
    }
}
