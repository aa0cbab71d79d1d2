//! The user that runs the server when this program is root.
//!
//! Plain look-ups and permission bits; nothing here starts a process.
//! The surprise: existing data decides. A cluster made as `nobody` stays with `nobody` after the
//! `postgres` user appears, so nothing is ever chowned recursively.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use nix::unistd::{Uid, User, geteuid};

use super::error::LocalError;

/// An unprivileged user of this machine.
#[derive(Clone, Debug)]
pub(super) struct Account {
    name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// The user for the server on `cluster`, or `None` when this process can run it itself.
    pub(super) fn for_cluster(cluster: &Path) -> Result<Option<Self>, LocalError> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let owner = fs::metadata(cluster).ok().filter(|owner| owner.uid() != 0);
        if let Some(owner) = owner {
            let user = User::from_uid(Uid::from_raw(owner.uid())).ok().flatten();
            return Ok(Some(Self {
                name: user.map_or_else(|| owner.uid().to_string(), |user| user.name),
                uid: owner.uid(),
                gid: owner.gid(),
            }));
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() })
            .map_or(Err(LocalError::NoAccount), |account| Ok(Some(account)))
    }

    /// Hands a file or folder over to this user.
    pub(super) fn own(&self, path: &Path) -> Result<(), LocalError> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(LocalError::io("hand over", path))
    }

    /// Checks that this user can reach `folder`: every folder on the way may be entered.
    pub(super) fn check_can_enter(&self, folder: &Path) -> Result<(), LocalError> {
        for step in folder.ancestors() {
            let facts = fs::metadata(step).map_err(LocalError::io("look at", step))?;
            let mode = facts.permissions().mode();
            let bit = match (facts.uid() == self.uid, facts.gid() == self.gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            if mode & bit == 0 {
                return Err(LocalError::Closed { folder: step.to_owned(), user: self.name.clone() });
            }
        }
        Ok(())
    }
}
