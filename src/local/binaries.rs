//! Where this machine keeps PostgreSQL's server programs.
//!
//! Looks at folders only, apart from asking `postgres --version` when existing data asks for one.
//! The surprise: Debian keeps the server off the PATH, one folder for each major version, and data of
//! one major version can be opened by that version alone.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::error::LocalError;

/// Folders with a folder for each version in them: (parent, start of the name, path below it).
const VERSIONED: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// The folder that holds `postgres` and `initdb`: of major version `wanted` when data of that version
/// exists, else `named` (from `MOVR_PG_BIN`), else the first of the PATH and the usual places.
pub(super) async fn find(
    named: Option<&Path>,
    path: Option<&OsStr>,
    wanted: Option<(&str, &Path)>,
) -> Result<PathBuf, LocalError> {
    let candidates = match named {
        Some(folder) if is_complete(folder) => vec![folder.to_owned()],
        Some(folder) => return Err(LocalError::BadBinaries(folder.to_owned())),
        None => installed(path),
    };
    let Some((version, data)) = wanted else {
        return candidates.into_iter().next().ok_or(LocalError::NotInstalled);
    };
    if candidates.is_empty() {
        return Err(LocalError::NotInstalled);
    }
    for folder in candidates {
        if major_version(&folder).await.as_deref() == Some(version) {
            return Ok(folder);
        }
    }
    Err(LocalError::OtherVersion { folder: data.to_owned(), cluster: version.to_owned() })
}

fn is_complete(folder: &Path) -> bool {
    folder.join("postgres").is_file() && folder.join("initdb").is_file()
}

fn installed(path: Option<&OsStr>) -> Vec<PathBuf> {
    let on_path = path.map(std::env::split_paths).into_iter().flatten();
    let usual = VERSIONED.iter().flat_map(|(parent, start, below)| newest_first(Path::new(parent), start, below));
    on_path.chain(usual).filter(|folder| is_complete(folder)).collect()
}

fn newest_first(parent: &Path, start: &str, below: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = parent
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let digits: String = name
                .strip_prefix(start)?
                .chars()
                .skip_while(|c| !c.is_ascii_digit())
                .take_while(char::is_ascii_digit)
                .collect();
            // A name without a version is Homebrew's link to its newest: after the numbered ones.
            Some((digits.parse().unwrap_or(0), entry.path().join(below)))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, folder)| folder).collect()
}

async fn major_version(folder: &Path) -> Option<String> {
    let output = Command::new(folder.join("postgres")).arg("--version").output().await.ok()?;
    // "postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)", "postgres (PostgreSQL) 18beta1"
    let text = String::from_utf8(output.stdout).ok()?;
    let number = text.split_whitespace().nth(2)?;
    Some(number.chars().take_while(char::is_ascii_digit).collect::<String>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at a surprise")]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_numbers_newest_first() {
        let parent = std::env::temp_dir().join(format!("movr-binaries-{}", std::process::id()));
        for version in ["9", "15", "17"] {
            std::fs::create_dir_all(parent.join(version)).unwrap();
        }
        let found = newest_first(&parent, "", "bin");
        std::fs::remove_dir_all(&parent).unwrap();
        let expected: Vec<_> = ["17/bin", "15/bin", "9/bin"].map(|below| parent.join(below)).into();
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn a_folder_named_by_hand_must_hold_the_programs() {
        let empty = Path::new("/nonexistent");
        let found = find(Some(empty), None, None).await;
        assert!(matches!(found, Err(LocalError::BadBinaries(folder)) if folder == empty));
    }
}
