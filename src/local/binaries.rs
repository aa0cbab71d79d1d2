//! Where PostgreSQL's server programs are installed. Debian keeps them off the PATH, in one folder
//! for each major version; `deploy/install.sh` looks in the same places.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::LocalError;

/// Parents of version folders, and the prefix of their names; the programs are in `bin`.
const VERSIONED: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql"),
    ("/usr/local/opt", "postgresql"),
    ("/Applications/Postgres.app/Contents/Versions", ""),
];

/// The folder with `postgres` and `initdb`: `named` (from `MOVR_PG_BIN`), else the first of the
/// PATH and the usual places. Existing data can only be opened by the major version that made it.
pub(super) async fn find(
    named: Option<&Path>,
    path: Option<&str>,
    made_by: Option<(&str, &Path)>,
) -> Result<PathBuf, LocalError> {
    let candidates = match named {
        Some(folder) if is_complete(folder) => vec![folder.to_owned()],
        Some(folder) => return Err(LocalError::BadBinaries(folder.to_owned())),
        None => installed(path),
    };
    let Some((version, data)) = made_by.filter(|_| !candidates.is_empty()) else {
        return candidates.into_iter().next().ok_or(LocalError::NotInstalled);
    };
    for folder in candidates {
        if major_version(&folder).await.as_deref() == Some(version) {
            return Ok(folder);
        }
    }
    Err(LocalError::OtherVersion { data: data.to_owned(), version: version.to_owned() })
}

fn is_complete(folder: &Path) -> bool {
    folder.join("postgres").is_file() && folder.join("initdb").is_file()
}

fn installed(path: Option<&str>) -> Vec<PathBuf> {
    let on_path = path.map(std::env::split_paths).into_iter().flatten();
    let usual = VERSIONED.iter().flat_map(|(parent, start)| newest_first(Path::new(parent), start));
    on_path.chain(usual).filter(|folder| is_complete(folder)).collect()
}

fn newest_first(parent: &Path, start: &str) -> Vec<PathBuf> {
    let version = |name: &str| -> Option<u32> {
        let digits = name.strip_prefix(start)?.trim_start_matches(|c: char| !c.is_ascii_digit());
        // A name without a version is Homebrew's link to its newest: after the numbered ones.
        Some(leading_digits(digits).parse().unwrap_or(0))
    };
    let entries = parent.read_dir().into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> =
        entries.filter_map(|entry| Some((version(entry.file_name().to_str()?)?, entry.path().join("bin")))).collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, folder)| folder).collect()
}

async fn major_version(folder: &Path) -> Option<String> {
    let output = Command::new(folder.join("postgres")).arg("--version").output().await.ok()?;
    // "postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)", "postgres (PostgreSQL) 18beta1"
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(2).map(leading_digits)
}

fn leading_digits(text: &str) -> String {
    text.chars().take_while(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_numbers_newest_first() {
        let parent = std::env::temp_dir().join(format!("movr-binaries-{}", std::process::id()));
        for version in ["9", "15", "17"] {
            std::fs::create_dir_all(parent.join(version)).unwrap();
        }
        let found = newest_first(&parent, "");
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
