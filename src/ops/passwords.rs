//! Passwords: argon2id in a bounded blocking pool, so that a flood of sign-ins waits instead of
//! exhausting memory (19 MiB a hash). Session secrets and recovery codes are random and long, so a
//! plain SHA-256 is enough for them.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;

use crate::{
    config::Passwords,
    db::{DbError, DbErrorKind},
    domain::people,
};

pub struct Hasher {
    argon: Argon2<'static>,
    permits: Arc<Semaphore>,
    decoy: String,
}

impl Hasher {
    /// # Panics
    /// If argon2 does not take the cost; the bounds of the settings are its own.
    pub fn new(config: Passwords) -> Self {
        let params = Params::new(config.memory_kib, config.iterations, 1, None).expect("a cost that argon2 takes");
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = argon.hash_password(b"nobody").expect("a password that argon2 takes").to_string();
        Self { argon, permits: Arc::new(Semaphore::new(config.threads.max(1))), decoy }
    }

    pub async fn hash(&self, password: &str) -> Result<String, DbError> {
        let (argon, password) = (self.argon.clone(), composed(password));
        self.blocking(move || argon.hash_password(password.as_bytes()).map(|hash| hash.to_string()).ok())
            .await?
            .ok_or_else(|| trouble("hashing failed"))
    }

    /// Whether a new password may be used, or why not. Blocking, because it estimates guesses.
    pub async fn acceptable(&self, password: &str, username: &str) -> Result<Result<(), String>, DbError> {
        let (password, username) = (password.to_owned(), username.to_owned());
        self.blocking(move || people::password(&password, &username)).await
    }

    /// Without a hash (unknown username) it takes as long and is false. Earlier versions hashed
    /// passwords as typed, so one that is not composed is tried that way too.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, DbError> {
        let (argon, typed) = (self.argon.clone(), password.to_owned());
        let (known, hash) = (hash.is_some(), hash.unwrap_or(&self.decoy).to_owned());
        let matches = move || {
            let is = |password: &str| argon.verify_password(password.as_bytes(), hash.as_str()).is_ok();
            let password = composed(&typed);
            is(&password) || password != typed && is(&typed)
        };
        let matches = self.blocking(matches).await?;
        Ok(known && matches)
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, DbError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|error| trouble(&error.to_string()))?;
        let outcome = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(permit);
            outcome
        });
        outcome.await.map_err(|error| trouble(&error.to_string()))
    }
}

/// The same password, however the keyboard composed its accents.
fn composed(password: &str) -> String {
    password.nfc().collect()
}

fn trouble(detail: &str) -> DbError {
    DbError::new(DbErrorKind::Bug, "password", detail)
}

/// 256 random bits, as text for a cookie.
pub fn new_token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

pub fn token_hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()))
}

/// Letters of recovery codes: none that looks like another.
const CODE_LETTERS: &[u8; 32] = b"23456789abcdefghjkmnpqrstuvwxyz-";

/// Twenty random letters, about 99 bits, in groups that can be read aloud.
pub fn new_recovery_code() -> String {
    let letters: Vec<char> = rand::random::<[u8; 20]>()
        .iter()
        // Thirty-one letters: the dash only separates groups.
        .filter_map(|byte| CODE_LETTERS.get(usize::from(byte % 31)).map(|b| char::from(*b)))
        .collect();
    letters.chunks(5).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

/// Folds a recovery code as typed to how it was made.
pub fn recovery_hash(code: &str) -> String {
    let folded: String = code.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    token_hash(&folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_costs_what_was_configured() {
        let hasher = Hasher::new(Passwords { memory_kib: 16, iterations: 3, threads: 1 });
        assert!(hasher.decoy.contains("m=16,t=3,p=1"), "{}", hasher.decoy);
    }

    #[test]
    #[should_panic(expected = "a cost that argon2 takes")]
    fn a_cost_that_argon2_refuses_is_not_another_one() {
        drop(Hasher::new(Passwords { memory_kib: 1, iterations: 3, threads: 1 }));
    }
}
