//! Pages of the account: register, sign in, recovery, profile, moving home, deleting.
//! Plain structs only. Surprise: no struct has a password's value, only what is wrong with it.

use askama::Template;
use uuid::Uuid;

use super::{Chrome, FieldView, OptionGroupView, Section, TimeView};

/// `/register`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/register.html")]
pub struct RegisterPage {
    /// The frame.
    pub chrome: Chrome,
    /// Id of the person that the form makes.
    pub id: Uuid,
    /// Cities by region; the chosen one decides where the person's data lives.
    pub cities: Vec<OptionGroupView>,
    /// What is wrong with the city.
    pub city_error: Option<String>,
    /// First name.
    pub first_name: FieldView,
    /// Last name.
    pub last_name: FieldView,
    /// E-mail address.
    pub email: FieldView,
    /// Name to sign in with.
    pub username: FieldView,
    /// What is wrong with the password.
    pub password_error: Option<String>,
    /// What is wrong with the form as a whole.
    pub error: Option<String>,
}

/// `/login`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/login.html")]
pub struct LoginPage {
    /// The frame.
    pub chrome: Chrome,
    /// Name to sign in with.
    pub username: FieldView,
    /// What is wrong with the password.
    pub password_error: Option<String>,
    /// Where to go afterwards: an own path; empty for the vehicles.
    pub next: String,
    /// What is wrong with the form as a whole.
    pub error: Option<String>,
}

/// `/recover`: a recovery code sets a new password.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/recovery.html")]
pub struct RecoveryPage {
    /// The frame.
    pub chrome: Chrome,
    /// Name to sign in with.
    pub username: FieldView,
    /// What is wrong with the code.
    pub code_error: Option<String>,
    /// What is wrong with the new password.
    pub password_error: Option<String>,
    /// What is wrong with the form as a whole.
    pub error: Option<String>,
}

/// New recovery codes, shown this once.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/recovery_codes.html")]
pub struct RecoveryCodesPage {
    /// The frame.
    pub chrome: Chrome,
    /// The codes.
    pub codes: Vec<String>,
}

/// `/profile`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/profile.html")]
pub struct ProfilePage {
    /// The frame.
    pub chrome: Chrome,
    /// Name to sign in with; it does not change.
    pub username: String,
    /// Name of the home city.
    pub city: String,
    /// Name of the region where the person's data lives.
    pub region: String,
    /// First name.
    pub first_name: FieldView,
    /// Last name.
    pub last_name: FieldView,
    /// E-mail address.
    pub email: FieldView,
    /// What is wrong with the details form as a whole.
    pub details_error: Option<String>,
    /// What is wrong with the current password in the password form.
    pub current_error: Option<String>,
    /// What is wrong with the new password.
    pub password_error: Option<String>,
    /// How many recovery codes are left.
    pub codes_left: u32,
    /// What is wrong with the current password in the recovery codes form.
    pub codes_error: Option<String>,
    /// Where the person is signed in, this session first.
    pub sessions: Vec<SessionView>,
    /// There are more than are shown.
    pub more_sessions: bool,
}

/// One session of the person.
#[derive(Debug, Clone, Default)]
pub struct SessionView {
    /// What the form that ends it sends.
    pub id: String,
    /// As in "Firefox on Linux".
    pub device: String,
    /// Start.
    pub started: TimeView,
    /// Last use.
    pub seen: TimeView,
    /// The session of this page.
    pub current: bool,
}

/// `/profile/home`: move home to another city, maybe in another region.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/move_home.html")]
pub struct MoveHomePage {
    /// The frame.
    pub chrome: Chrome,
    /// Name of the home city now.
    pub city: String,
    /// Name of the region now.
    pub region: String,
    /// Cities by region.
    pub cities: Vec<OptionGroupView>,
    /// What is wrong with the city.
    pub city_error: Option<String>,
    /// What is wrong with the password.
    pub password_error: Option<String>,
    /// What is wrong with the form as a whole.
    pub error: Option<String>,
}

/// `/profile/delete`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/delete_account.html")]
pub struct DeleteAccountPage {
    /// The frame.
    pub chrome: Chrome,
    /// What is wrong with the password.
    pub password_error: Option<String>,
    /// Why it cannot be done now, or what is wrong with the form.
    pub error: Option<String>,
}

/// `/erasure/{region}/{id}`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/erasure.html")]
pub struct ErasurePage {
    /// The frame.
    pub chrome: Chrome,
    /// This page.
    pub href: String,
    /// Regions that still keep something.
    pub regions: Vec<String>,
    /// Rides that do not point to the person any more.
    pub rides: i64,
    /// Since when nothing is left.
    pub over: Option<TimeView>,
}
