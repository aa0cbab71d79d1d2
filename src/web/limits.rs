//! Throttles in memory: sign-in and recovery, registration, searches of all regions, promo codes.
//! Each has a short and a long quota, so that the delay grows. Other people's guesses cost a person
//! only the budget of their shared address and provider; a browser that has signed in before has
//! its own.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    time::Duration,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};

use super::region::{provider, subscriber};

/// Neither usernames nor addresses are kept, but slots in a table of fixed size: memory is bounded,
/// and two that share a slot share its budget.
type Limiter = DefaultKeyedRateLimiter<u32>;

/// Slots: about 5 MB when all are in use.
const PLACES: u32 = 1 << 16;

pub struct Limits {
    account: [Limiter; 2],
    account_here: [Limiter; 2],
    device: [Limiter; 2],
    address: [Limiter; 2],
    provider: [Limiter; 2],
    register: [Limiter; 2],
    everywhere: [Limiter; 2],
    promo: [Limiter; 2],
    promo_address: [Limiter; 2],
    code: [Limiter; 2],
    /// Random per process, so nobody can choose whose slot to share.
    places: RandomState,
}

/// `burst` at once, one more each `seconds`.
fn limiter(burst: u32, seconds: f64) -> Limiter {
    let quota = Quota::with_period(Duration::from_secs_f64(seconds)).expect("a period is longer than nothing");
    RateLimiter::keyed(quota.allow_burst(NonZeroU32::new(burst).expect("a burst is at least one")))
}

impl Default for Limits {
    fn default() -> Self {
        // A person mistypes five times in a row; after twenty an hour it is no person.
        let person = || [limiter(5, 10.0), limiter(20, 180.0)];
        // Many people share the address of an office or a mobile carrier.
        let office = || [limiter(30, 2.0), limiter(300, 12.0)];
        Self {
            // Guesses from everywhere together: a day's are too few for any password that is accepted.
            account: [limiter(100, 10.0), limiter(300, 120.0)],
            account_here: person(),
            device: person(),
            address: office(),
            // Whoever has many addresses would otherwise use up the slots of everybody's account: it
            // takes 500 attempts a second to keep all of them empty.
            provider: [limiter(600, 0.1), limiter(3_000, 0.5)],
            register: [limiter(20, 10.0), limiter(100, 36.0)],
            // A page of old links, opened one after another by several people.
            everywhere: office(),
            // A code that is read off a poster needs a few tries.
            promo: [limiter(10, 10.0), limiter(30, 120.0)],
            // Everybody at a concert has the same one, behind the address of one carrier.
            promo_address: [limiter(100, 1.0), limiter(1_000, 4.0)],
            // Whoever asks for one code again and again would learn when somebody parks it.
            code: [limiter(10, 10.0), limiter(30, 120.0)],
            places: RandomState::new(),
        }
    }
}

/// Too many attempts, and how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany(pub Duration);

impl Limits {
    /// Counts an attempt to sign in or to recover an account. `device` proves an earlier sign-in of
    /// this browser to this account.
    pub fn sign_in(&self, account: &str, from: IpAddr, device: Option<&str>) -> Result<(), TooMany> {
        if let Some(device) = device {
            return self.check(&self.device, (account, device));
        }
        self.check(&self.address, subscriber(from))?;
        self.check(&self.provider, provider(from))?;
        self.check(&self.account_here, (account, subscriber(from)))?;
        self.check(&self.account, account)
    }

    pub fn register(&self, from: IpAddr) -> Result<(), TooMany> {
        self.check(&self.register, subscriber(from))
    }

    /// Counts a search of all regions, which is what a wrong link costs.
    pub fn search_everywhere(&self, from: IpAddr) -> Result<(), TooMany> {
        self.check(&self.everywhere, subscriber(from))
    }

    /// For both the person and the address.
    pub fn promo_code(&self, person: &str, from: IpAddr) -> Result<(), TooMany> {
        self.check(&self.promo, person)?;
        self.check(&self.promo_address, subscriber(from))
    }

    /// Counts a look-up of a vehicle by its code.
    pub fn vehicle_code(&self, person: &str) -> Result<(), TooMany> {
        self.check(&self.code, person)
    }

    /// Removes idle entries; called now and then.
    pub fn forget(&self) {
        let tables = [&self.account, &self.account_here, &self.device, &self.address, &self.register];
        let more = [&self.provider, &self.everywhere, &self.promo, &self.promo_address, &self.code];
        tables.into_iter().chain(more).flatten().for_each(RateLimiter::retain_recent);
    }

    fn check(&self, limiters: &[Limiter; 2], who: impl Hash) -> Result<(), TooMany> {
        let place = u32::try_from(self.places.hash_one(who) % u64::from(PLACES)).unwrap_or_default();
        for limiter in limiters {
            if let Err(not_until) = limiter.check_key(&place) {
                return Err(TooMany(not_until.wait_time_from(limiter.clock().now())));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(n).into()
    }

    #[test]
    fn guesses_slow_down_their_address_and_nobody_else() {
        let limits = Limits::default();
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        for _ in 0..5 {
            assert_eq!(limits.sign_in("ann", one, None), Ok(()));
        }
        assert!(limits.sign_in("ann", one, None).is_err());
        assert_eq!(limits.sign_in("ann", two, None), Ok(()), "another address");
        assert_eq!(limits.sign_in("bob", one, None), Ok(()), "another account");
        assert_eq!(limits.sign_in("ann", one, Some("a")), Ok(()), "a known browser");
        let everywhere = (0..200).find(|n| limits.sign_in("ann", address(n << 16), None).is_err());
        assert!(everywhere.is_some_and(|n| (80..=100).contains(&n)), "all together: {everywhere:?}");
        for _ in 0..4 {
            assert_eq!(limits.sign_in("ann", one, Some("a")), Ok(()));
        }
        assert!(limits.sign_in("ann", one, Some("a")).is_err(), "its own budget ends as well");
        assert_eq!(limits.sign_in("ann", one, Some("b")), Ok(()));
    }

    #[test]
    fn one_provider_cannot_use_up_the_slots_of_every_account() {
        let limits = Limits::default();
        for networks in
            [[address(10 << 24), address(11 << 24)], ["2001:db8::", "2001:db9::"].map(|of| of.parse().unwrap())]
        {
            let within = |n: u32| match networks[0] {
                IpAddr::V4(of) => address(of.to_bits() + n),
                IpAddr::V6(of) => IpAddr::V6((of.to_bits() + (u128::from(n) << 64)).into()),
            };
            let tried = (0..20_000).filter(|n| limits.sign_in(&format!("name{n}"), within(*n), None).is_ok()).count();
            assert!((500..=1_000).contains(&tried), "{tried}");
            assert_eq!(limits.sign_in("ann", within(7), Some("a")), Ok(()), "a known browser there");
            assert_eq!(limits.sign_in("ann", networks[1], None), Ok(()), "everywhere else");
        }
    }

    #[test]
    fn memory_is_bounded_whatever_is_sent() {
        let limits = Limits::default();
        for n in 0..200_000_u32 {
            let _ = limits.sign_in(&format!("name{n}"), address(n.wrapping_mul(0x9E37_79B1)), None);
        }
        assert!(limits.account_here.iter().all(|limiter| limiter.len() <= PLACES as usize));
        assert!(limits.account_here.iter().all(|limiter| limiter.len() > PLACES as usize / 2));
    }
}
