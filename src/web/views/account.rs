//! Pages of the account: register, sign in, recovery, profile, moving home, deleting.
//! Plain structs only. Surprise: no struct has a password's value, only what is wrong with it.

use askama::Template;
use uuid::Uuid;

use super::{FieldView, Layout, OptionGroupView, Section, TimeView};

/// `/register`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/register.html")]
pub struct RegisterPage {
    pub layout: Layout,
    pub id: Uuid,
    pub cities: Vec<OptionGroupView>,
    pub city_error: Option<String>,
    pub first_name: FieldView,
    pub last_name: FieldView,
    pub email: FieldView,
    pub username: FieldView,
    pub password_error: Option<String>,
    pub error: Option<String>,
}

/// `/login`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/login.html")]
pub struct LoginPage {
    pub layout: Layout,
    pub username: FieldView,
    pub password_error: Option<String>,
    pub next: String,
    pub error: Option<String>,
}

/// `/recover`: a recovery code sets a new password.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/recovery.html")]
pub struct RecoveryPage {
    pub layout: Layout,
    pub username: FieldView,
    pub code_error: Option<String>,
    pub password_error: Option<String>,
    pub error: Option<String>,
}

/// New recovery codes, shown this once.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/recovery_codes.html")]
pub struct RecoveryCodesPage {
    pub layout: Layout,
    pub codes: Vec<String>,
}

/// `/profile`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/profile.html")]
pub struct ProfilePage {
    pub layout: Layout,
    pub username: String,
    pub city: String,
    pub region: String,
    pub first_name: FieldView,
    pub last_name: FieldView,
    pub email: FieldView,
    pub details_error: Option<String>,
    pub current_error: Option<String>,
    pub password_error: Option<String>,
    pub codes_left: u32,
    pub codes_error: Option<String>,
    pub sessions: Vec<SessionView>,
    pub more_sessions: bool,
}

/// One session of the person.
#[derive(Debug, Clone, Default)]
pub struct SessionView {
    pub id: String,
    /// As in "Firefox on Linux".
    pub device: String,
    pub started: TimeView,
    pub seen: TimeView,
    pub current: bool,
}

/// `/profile/home`: move home to another city, maybe in another region.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/move_home.html")]
pub struct MoveHomePage {
    pub layout: Layout,
    pub city: String,
    pub region: String,
    pub cities: Vec<OptionGroupView>,
    pub city_error: Option<String>,
    pub password_error: Option<String>,
    pub error: Option<String>,
}

/// `/profile/delete`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/delete_account.html")]
pub struct DeleteAccountPage {
    pub layout: Layout,
    pub password_error: Option<String>,
    pub error: Option<String>,
}

/// `/erasure/{region}/{id}`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/erasure.html")]
pub struct ErasurePage {
    pub layout: Layout,
    pub href: String,
    pub regions: Vec<String>,
    pub rides: i64,
    pub over: Option<TimeView>,
}
