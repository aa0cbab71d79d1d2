//! Ids of the rows that forms make: a keyed hash of the purpose, region, owner and the form's id.
//! The same form finds the same row again, and nobody can choose a row's id or make two rows of one
//! id, here or in another region.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::{Builder, Uuid};

use crate::domain::{RegionCode, UserRef};

type Key = Hmac<Sha256>;

/// Keys derived from the secret keys and so the same in all regions.
pub struct Ids(Vec<([u8; 2], Key)>);

impl Ids {
    /// The first key serves new forms. A form's id names its key, so that a double click during a
    /// rotation finds its row as long as its key is among `secrets`.
    pub fn new(secrets: &[Vec<u8>]) -> Self {
        let key = |secret: &Vec<u8>| {
            let purpose = |text: &[u8]| key_of(secret).chain_update(text).finalize().into_bytes();
            let name: [u8; 32] = purpose(b"movr: name of a key").into();
            let [first, second, ..] = name;
            ([first, second], key_of(&purpose(b"movr: ids of rows")))
        };
        Self(secrets.iter().map(key).collect())
    }

    pub fn form(&self) -> Uuid {
        let mut bytes: uuid::Bytes = rand::random();
        if let Some((name, _)) = self.0.first() {
            bytes.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        }
        Builder::from_random_bytes(bytes).into_uuid()
    }

    /// The id of the `purpose` that `form` makes in `region`; `owner` is none where nobody is
    /// signed in yet.
    ///
    /// # Panics
    /// Without a secret key; nothing starts without one.
    pub fn row(&self, purpose: &str, region: &RegionCode, owner: Option<&UserRef>, form: Uuid) -> Uuid {
        let named = |(name, _): &&([u8; 2], Key)| form.as_bytes().starts_with(name);
        let (_, key) = self.0.iter().find(named).or(self.0.first()).expect("there is no start without a secret key");
        let owner = owner.map_or_else(String::new, |owner| format!("{}/{}", owner.region, owner.id));
        // No part can hold the byte that separates them.
        let text = format!("{purpose}\0{region}\0{owner}\0{form}");
        let mut id = uuid::Bytes::default();
        id.iter_mut().zip(key.clone().chain_update(text).finalize().into_bytes()).for_each(|(to, from)| *to = from);
        Builder::from_custom_bytes(id).into_uuid()
    }
}

fn key_of(secret: &[u8]) -> Key {
    Key::new_from_slice(secret).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts_and_a_rotation_changes_no_form() {
        let keys = |bytes: &[u8]| Ids::new(&bytes.iter().map(|byte| vec![*byte; 64]).collect::<Vec<_>>());
        let region = |code: &str| code.parse::<RegionCode>().unwrap();
        let (here, there) = (region("us-east1"), region("europe-west1"));
        let old = keys(&[1]);
        let form = old.form();
        let ann = UserRef { region: here.clone(), id: Uuid::from_u128(1) };
        let abroad = UserRef { region: there.clone(), ..ann.clone() };
        let all = [
            old.row("ride", &here, Some(&ann), form),
            old.row("vehicle", &here, Some(&ann), form),
            old.row("ride", &there, Some(&ann), form),
            old.row("ride", &here, Some(&abroad), form),
            old.row("ride", &here, None, form),
            old.row("ride", &here, Some(&ann), old.form()),
            keys(&[2]).row("ride", &here, Some(&ann), form),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|id| id.get_version_num() == 8));
        let rotated = keys(&[2, 1]);
        assert_eq!(rotated.row("ride", &here, Some(&ann), form), all[0]);
        let newer = rotated.form();
        assert_eq!(rotated.row("user", &here, None, newer), keys(&[2]).row("user", &here, None, newer));
    }
}
