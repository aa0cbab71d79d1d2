//! Throttles, in this instance's memory: sign-in, recovery and registration, per
//! account and per address; and questions to all regions, per address. Two quotas each, a short and a long one, so that the delay
//! grows with the number of tries and nobody is locked out for ever by somebody else.

use std::{num::NonZeroU32, time::Duration};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};
use sha2::{Digest, Sha256};

type Limiter = DefaultKeyedRateLimiter<[u8; 16]>;

/// The throttles of an instance.
pub struct Limits {
    account: [Limiter; 2],
    address: [Limiter; 2],
    register: [Limiter; 2],
    everywhere: [Limiter; 2],
}

const fn at_most(burst: u32) -> NonZeroU32 {
    match NonZeroU32::new(burst) {
        Some(burst) => burst,
        None => NonZeroU32::MIN,
    }
}

/// `burst` at once, one more each `seconds`.
fn limiter(burst: u32, seconds: u64) -> Limiter {
    let quota = Quota::with_period(Duration::from_secs(seconds)).unwrap_or(Quota::per_minute(NonZeroU32::MIN));
    RateLimiter::keyed(quota.allow_burst(at_most(burst)))
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A person mistypes five times in a row; after twenty an hour it is no person.
            account: [limiter(5, 10), limiter(20, 180)],
            // Many people share the address of an office or a mobile carrier.
            address: [limiter(30, 2), limiter(300, 12)],
            register: [limiter(20, 10), limiter(100, 36)],
            // A page of old links, opened one after another by several people.
            everywhere: [limiter(30, 2), limiter(300, 12)],
        }
    }
}

/// Too many tries; this long is to be waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany(pub Duration);

impl Limits {
    /// Counts a try to sign in or to recover an account.
    pub fn sign_in(&self, username_key: &str, address: &str) -> Result<(), TooMany> {
        check(&self.address, address)?;
        check(&self.account, username_key)
    }

    /// Counts a registration.
    pub fn register(&self, address: &str) -> Result<(), TooMany> {
        check(&self.register, address)
    }

    /// Counts a question to all regions, which is what a wrong link costs.
    pub fn look_everywhere(&self, address: &str) -> Result<(), TooMany> {
        check(&self.everywhere, address)
    }

    /// Forgets those who have not tried for long enough; called now and then.
    pub fn forget(&self) {
        for limiter in [&self.account, &self.address, &self.register, &self.everywhere].into_iter().flatten() {
            limiter.retain_recent();
        }
    }
}

/// Usernames and addresses are not kept, only a part of their hash.
fn check(limiters: &[Limiter; 2], who: &str) -> Result<(), TooMany> {
    let mut key = [0; 16];
    key.copy_from_slice(Sha256::digest(who.as_bytes()).get(..16).unwrap_or(&[0; 16]));
    for limiter in limiters {
        if let Err(not_until) = limiter.check_key(&key) {
            return Err(TooMany(not_until.wait_time_from(limiter.clock().now())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_slowed_down_and_others_are_not() {
        let limits = Limits::default();
        for _ in 0..5 {
            assert_eq!(limits.sign_in("ann", "192.0.2.1"), Ok(()));
        }
        assert!(limits.sign_in("ann", "192.0.2.2").is_err());
        assert_eq!(limits.sign_in("bob", "192.0.2.1"), Ok(()));
    }
}
