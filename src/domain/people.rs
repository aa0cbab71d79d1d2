//! People: the rules for what they type about themselves, and how they are named by
//! `(region, id)`. Pure; messages are for the person who typed. The password rule
//! follows ASVS 6.2: long enough, no composition rules, common ones refused.

use uuid::Uuid;

use super::region::RegionCode;

/// A person, wherever they live: the key of their users row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserRef {
    /// Home region.
    pub region: RegionCode,
    /// Id inside it.
    pub id: Uuid,
}

/// The cities whose fleets somebody with these roles (`role:city`) operates.
pub fn operated(roles: &[String]) -> impl Iterator<Item = &str> {
    roles.iter().filter_map(|role| role.strip_prefix("operator:"))
}

/// Whether somebody with these roles operates the fleet of `city`.
#[must_use]
pub fn operates(roles: &[String], city: &str) -> bool {
    operated(roles).any(|operated| operated == city)
}

/// Longest first or last name, in characters.
pub const NAME_MAX: usize = 60;
/// Longest password, in characters; argon2 takes more, a flood of megabytes it should not.
pub const PASSWORD_MAX: usize = 128;
const PASSWORD_MIN: usize = 8;
/// Characters of a password at which guesses are tried.
const GUESSED: usize = 40;

/// A trimmed single line of at most `max` characters without control characters.
pub fn line(text: &str, max: usize, what: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("Please enter {what}."));
    }
    if text.chars().any(char::is_control) {
        return Err("Control characters and line breaks are not allowed.".to_owned());
    }
    if text.chars().count() > max {
        return Err(format!("At most {max} characters, please."));
    }
    Ok(text.to_owned())
}

/// The same; none when it is empty.
pub fn optional_line(text: &str, max: usize, what: &str) -> Result<Option<String>, String> {
    if text.trim().is_empty() { Ok(None) } else { line(text, max, what).map(Some) }
}

/// A username as chosen: 3 to 30 letters, digits, dots, dashes and underscores.
pub fn username(text: &str) -> Result<String, String> {
    let text = text.trim();
    let good = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !(3..=30).contains(&text.chars().count()) || !text.chars().all(good) {
        return Err("3 to 30 letters, digits, dots, dashes or underscores, please.".to_owned());
    }
    Ok(text.to_owned())
}

/// What makes a username unique: `Ann` and `ann` are one.
#[must_use]
pub fn username_key(username: &str) -> String {
    username.trim().to_lowercase()
}

/// An e-mail address that could exist: one `@`, something on each side, a dot behind it.
pub fn email(text: &str) -> Result<String, String> {
    let text = line(text, 254, "your e-mail address")?;
    let plausible = text.split_once('@').is_some_and(|(name, domain)| {
        !name.is_empty()
            && !domain.contains('@')
            && domain.contains('.')
            && domain.split('.').all(|label| !label.is_empty())
    });
    if !plausible || text.contains(char::is_whitespace) {
        return Err("This does not look like an e-mail address.".to_owned());
    }
    Ok(text)
}

/// Whether a password may be used, given the username it goes with.
pub fn password(text: &str, username: &str) -> Result<(), String> {
    let length = text.chars().count();
    if length < PASSWORD_MIN {
        return Err(format!("At least {PASSWORD_MIN} characters, please; a few words are easy to remember."));
    }
    if length > PASSWORD_MAX {
        return Err(format!("At most {PASSWORD_MAX} characters, please."));
    }
    // Its dictionaries hold tens of thousands of passwords that are tried first. What begins
    // well ends well, and the time it takes grows with the square of the length.
    let begins = |text: &str| text.chars().take(GUESSED).collect::<String>();
    if zxcvbn::zxcvbn(&begins(text), &[&begins(username), "movr"]).score() < zxcvbn::Score::Two {
        return Err("This password is among those tried first; please choose another one.".to_owned());
    }
    Ok(())
}

/// First name and initial: all that other riders of the city see.
#[must_use]
pub fn public_name(first: &str, last: &str) -> String {
    match last.chars().next() {
        Some(initial) => format!("{first} {initial}."),
        None => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_that_everybody_uses_are_refused() {
        for bad in ["short", "password", "Password1", "12345678", "rider-one"] {
            assert!(password(bad, "Rider-One").is_err(), "{bad}");
        }
        assert!(password("four plain words here", "ann").is_ok());
        assert!(password(&"x".repeat(PASSWORD_MAX + 1), "ann").is_err());
    }

    #[test]
    fn e_mail_addresses_are_plausible() {
        for bad in ["", "a", "a@b", "@b.c", "a@b@c.d", "a b@c.d", "a@.d", "a@b.\u{0}c"] {
            assert!(email(bad).is_err(), "{bad:?}");
        }
        assert_eq!(email(" a.b+c@d.example ").as_deref(), Ok("a.b+c@d.example"));
    }

    #[test]
    fn lines_are_single_and_bounded() {
        assert!(line("a\nb", 9, "it").is_err());
        assert!(line("  ", 9, "it").is_err());
        assert!(line("0123456789", 9, "it").is_err());
        assert_eq!(line(" ok ", 9, "it").as_deref(), Ok("ok"));
    }
}
