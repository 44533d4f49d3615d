//! Bodies, as Better Auth's schemas read them.

use portcullis_core::http::{Fields, FromFields};

/// `POST /sign-in/username`.
#[derive(Debug)]
pub(super) struct SignIn {
    pub username: String,
    pub password: String,
    pub callback_url: Option<String>,
    pub remember_me: Option<bool>,
}

impl FromFields for SignIn {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("username", "string"),
        ("password", "string"),
        ("rememberMe", "boolean?"),
        ("callbackURL", "string?"),
    ];
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            username: fields.string("username"),
            password: fields.string("password"),
            remember_me: fields.optional_bool("rememberMe"),
            callback_url: fields.optional_string("callbackURL"),
        }
    }
}

/// `POST /is-username-available`.
#[derive(Debug)]
pub(super) struct IsAvailable {
    pub username: String,
}

impl FromFields for IsAvailable {
    const FIELDS: &'static [(&'static str, &'static str)] = &[("username", "string")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self { username: fields.string("username") }
    }
}
