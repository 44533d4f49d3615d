//! Bodies and queries, as Better Auth's schemas read them.

use portcullis_core::http::{Fields, FromFields};
use serde_json::{Map, Value as Json};

/// `POST /update-user`: any object. Name, image, and the operator's and rooms' fields.
pub(super) struct Changes(pub Map<String, Json>);

impl FromFields for Changes {
    const SHAPE: &'static str = "record";
    const FIELDS: &'static [(&'static str, &'static str)] = &[("name", "string?"), ("image", "string?")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self(fields.rest(&[]))
    }
}

/// `POST /change-email`.
#[derive(Debug)]
pub(super) struct ChangeEmail {
    pub new_email: String,
    pub callback_url: Option<String>,
}

impl FromFields for ChangeEmail {
    const FIELDS: &'static [(&'static str, &'static str)] =
        &[("newEmail", "email"), ("callbackURL", "string?")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self { new_email: fields.email("newEmail"), callback_url: fields.optional_string("callbackURL") }
    }
}

/// `POST /delete-user`. No `Debug`: it holds a password.
pub(super) struct Delete {
    pub callback_url: Option<String>,
    pub password: Option<String>,
    pub token: Option<String>,
}

impl FromFields for Delete {
    const FIELDS: &'static [(&'static str, &'static str)] =
        &[("callbackURL", "string?"), ("password", "string?"), ("token", "string?")];
    fn from_fields(fields: &mut Fields) -> Self {
        // An empty text is none (better-auth 1.7.6).
        let mut text = |name: &str| fields.optional_string(name).filter(|text| !text.is_empty());
        Self { callback_url: text("callbackURL"), password: text("password"), token: text("token") }
    }
}

/// The query of `GET /delete-user/callback`. No `Debug`: the token deletes.
pub(super) struct Follow {
    pub token: String,
    pub callback_url: Option<String>,
}

impl FromFields for Follow {
    fn from_fields(fields: &mut Fields) -> Self {
        Self { token: fields.string("token"), callback_url: fields.optional_string("callbackURL") }
    }
}
