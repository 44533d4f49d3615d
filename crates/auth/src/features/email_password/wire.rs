//! Bodies, as Better Auth's schemas read them.

use portcullis_core::http::{Fields, FromFields};
use serde_json::{Map, Value as Json};

/// `POST /sign-up/email`.
#[derive(Debug)]
pub(super) struct SignUp {
    pub name: String,
    pub email: String,
    pub password: String,
    pub image: Option<String>,
    pub callback_url: Option<String>,
    pub remember_me: Option<bool>,
    /// Everything, for the fields of the operator and of rooms.
    pub all: Map<String, Json>,
}

impl FromFields for SignUp {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("name", "string"),
        ("email", "email"),
        ("password", "string"),
        ("image", "string?"),
        ("callbackURL", "string?"),
        ("rememberMe", "boolean?"),
    ];
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            name: fields.string("name"),
            email: fields.email("email"),
            password: fields.nonempty("password"),
            image: fields.optional_string("image"),
            callback_url: fields.optional_string("callbackURL"),
            remember_me: fields.optional_bool("rememberMe"),
            all: fields.rest(&[]),
        }
    }
}

/// `POST /sign-in/email`.
#[derive(Debug)]
pub(super) struct SignIn {
    pub email: String,
    pub password: String,
    pub callback_url: Option<String>,
    pub remember_me: Option<bool>,
}

impl FromFields for SignIn {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("email", "string"),
        ("password", "string"),
        ("callbackURL", "string?"),
        ("rememberMe", "boolean?"),
    ];
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            email: fields.string("email"),
            password: fields.string("password"),
            callback_url: fields.optional_string("callbackURL"),
            remember_me: fields.optional_bool("rememberMe"),
        }
    }
}

/// `POST /verify-password`.
#[derive(Debug)]
pub(super) struct VerifyPassword {
    pub password: String,
}

impl FromFields for VerifyPassword {
    const FIELDS: &'static [(&'static str, &'static str)] = &[("password", "string")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self { password: fields.string("password") }
    }
}

/// `POST /change-password`.
#[derive(Debug)]
pub(super) struct ChangePassword {
    pub new_password: String,
    pub current_password: String,
    pub revoke_other_sessions: bool,
}

impl FromFields for ChangePassword {
    const FIELDS: &'static [(&'static str, &'static str)] =
        &[("newPassword", "string"), ("currentPassword", "string"), ("revokeOtherSessions", "boolean?")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            new_password: fields.string("newPassword"),
            current_password: fields.string("currentPassword"),
            revoke_other_sessions: fields.optional_bool("revokeOtherSessions").unwrap_or(false),
        }
    }
}
