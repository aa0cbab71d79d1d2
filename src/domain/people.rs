//! People: the rules for what they type about themselves. Messages are for the person who typed.
//! The password rule follows ASVS 6.2: long enough, no composition rules, common ones refused.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_security::{
    GeneralSecurityProfile, RestrictionLevel, RestrictionLevelDetection, confusable_detection::skeleton,
};
use uuid::Uuid;

pub use super::text::{line, optional_line};
use super::{region::RegionCode, text::marks_are_carried};

#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct UserRef {
    pub region: RegionCode,
    pub id: Uuid,
}

#[derive(Debug, Clone)]
pub struct Registration {
    pub id: Uuid,
    pub city: String,
    pub region: RegionCode,
    pub username: String,
    pub first_name: String,
    pub last_name: String,
    pub email: String,
    /// In clear, only here.
    pub password: String,
}

/// What a person may do, each role as `role:city`; an administrator's names no city.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roles(Vec<String>);

impl Roles {
    pub fn new(mut roles: Vec<String>) -> Self {
        roles.sort();
        Self(roles)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn administers(&self) -> bool {
        self.0.iter().any(|role| role == "administrator:")
    }

    pub fn operates(&self, city: &str) -> bool {
        self.operated().any(|operated| operated == city)
    }

    /// The cities whose fleets the person operates.
    pub fn operated(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|role| role.strip_prefix("operator:"))
    }
}

const NAME_MAX: usize = 60;
/// In characters; argon2 takes more, but not a flood of megabytes.
pub const PASSWORD_MAX: usize = 128;
const PASSWORD_MIN: usize = 8;
/// How many characters of a password are checked for being guessable.
const GUESSED: usize = 40;

pub fn name(text: &str, what: &str) -> Result<String, String> {
    let name = line(text, NAME_MAX, what)?;
    let letter = |c: char| c.general_category_group() == GeneralCategoryGroup::Letter;
    if name.chars().any(letter) { Ok(name) } else { Err(format!("Please enter {what} in letters.")) }
}

/// Optional: not everybody has one.
pub fn last_name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Ok(String::new()) } else { name(text, "your last name") }
}

/// After RFC 8265 and UTS 39: 3 to 30 letters, digits, dots, dashes and underscores in their
/// ordinary width and shape, of one script or of scripts that are written together.
pub fn username(text: &str) -> Result<String, String> {
    let name: String = text.trim().chars().take(TYPED_MAX).nfkc().collect();
    let good = |c: char| match c.general_category_group() {
        GeneralCategoryGroup::Letter | GeneralCategoryGroup::Mark => c.identifier_allowed(),
        _ => c.general_category() == GeneralCategory::DecimalNumber || matches!(c, '.' | '-' | '_'),
    };
    if !(3..=30).contains(&name.chars().count()) || !name.chars().all(good) || !marks_are_carried(&name) {
        return Err("Please use 3 to 30 letters, digits, dots, dashes or underscores.".to_owned());
    }
    if !name.check_restriction_level(RestrictionLevel::HighlyRestrictive) {
        return Err("Please use the letters of one alphabet.".to_owned());
    }
    Ok(name)
}

const TYPED_MAX: usize = 200;

/// Usernames that people would call the same fold to the same: case, width, composition and the
/// four letters i do not count.
pub fn folded(username: &str) -> String {
    let name: String = username.trim().chars().take(TYPED_MAX).nfkc().collect();
    let name: String = caseless::default_case_fold_str(&name).nfkc().collect();
    name.replace("i\u{307}", "i").replace('ı', "i")
}

/// What makes a username unique: the folded form, with letters of other scripts replaced by the
/// Latin ones they look like. Unaccented Latin letters stay, as every earlier version stored them.
pub fn username_key(username: &str) -> String {
    let alike = |c: char| {
        let letters: String = if c.is_ascii() { c.to_string() } else { skeleton(c.encode_utf8(&mut [0; 4])).collect() };
        match letters.as_str() {
            // That is how the table of confusables spells these two.
            "rn" => "m".to_owned(),
            "vv" => "w".to_owned(),
            _ => folded(&letters),
        }
    };
    folded(username).nfd().map(alike).collect::<String>().nfc().collect()
}

/// Checks for one `@`, something on each side, and a dot after it.
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

pub fn password(text: &str, username: &str) -> Result<(), String> {
    let length = text.chars().count();
    if length < PASSWORD_MIN {
        return Err(format!("At least {PASSWORD_MIN} characters, please. A few words in a row are easy to remember."));
    }
    if length > PASSWORD_MAX {
        return Err(format!("Please use at most {PASSWORD_MAX} characters."));
    }
    // Its dictionaries hold tens of thousands of passwords that are tried first. What begins
    // well ends well, and the time it takes grows with the square of the length.
    let begins = |text: &str| text.chars().take(GUESSED).collect::<String>();
    if zxcvbn::zxcvbn(&begins(text), &[&begins(username), "movr"]).score() < zxcvbn::Score::Two {
        return Err("This password is too easy to guess; please choose another one.".to_owned());
    }
    Ok(())
}

/// First name and initial: all that other riders of the city see.
pub fn public_name(first: &str, last: &str) -> String {
    last.chars().next().map_or_else(|| first.to_owned(), |initial| format!("{first} {initial}."))
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
    fn usernames_are_of_one_script_and_in_their_ordinary_shape() {
        for good in
            ["ann", "Zoë.Q", "हिन्दी", "ไทยนี้", "தமிழ்", "Иван-2", "東京タワー", "ユーザーab", "한국어abc", "Straße"]
        {
            assert_eq!(username(good).as_deref(), Ok(good));
        }
        assert_eq!(username("Ａｎｎ").as_deref(), Ok("Ann"), "full width");
        assert_eq!(username("𝐚𝐝𝐦𝐢𝐧").as_deref(), Ok("admin"), "bold");
        for bad in [
            "ab", "аdmin", "аdministrator", "αnna", "pat doe", "a\u{200d}nn", "\u{301}ann", "a\u{202e}nn",
            "ann\u{3164}", "♥♥♥",
        ] {
            assert!(username(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_looks_or_sounds_the_same_has_one_key() {
        for (one, other) in [
            ("Ann", "ａｎｎ"),
            ("zo\u{eb}", "Zoe\u{308}"),
            ("straße", "STRASSE"),
            ("ΟΔΟΣ", "οδος"),
            ("İstanbul", "istanbul"),
            ("ISTANBUL", "ıstanbul"),
            ("coco", "сосо"),
            ("pope", "роре"),
            ("ann", "𝗔𝗡𝗡"),
        ] {
            assert_eq!(username_key(one), username_key(other), "{one} {other}");
        }
        for name in ["rider-one", "m_w.rn0l1", "zoë", "josé"] {
            assert_eq!(username_key(name), name, "as earlier versions stored it");
        }
        assert_ne!(username_key("anna"), username_key("anne"));
    }
}
