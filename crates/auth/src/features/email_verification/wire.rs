//! Bodies and queries, as Better Auth's schemas read them.

use portcullis_core::http::{Fields, FromFields};

/// `POST /send-verification-email`.
#[derive(Debug)]
pub(super) struct Ask {
    pub email: String,
    pub callback_url: Option<String>,
}

impl FromFields for Ask {
    const FIELDS: &'static [(&'static str, &'static str)] = &[("email", "email"), ("callbackURL", "string?")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self { email: fields.email("email"), callback_url: fields.optional_string("callbackURL") }
    }
}

/// The query of `GET /verify-email`. No `Debug`: the token proves an address.
pub(super) struct Follow {
    pub token: String,
    pub callback_url: Option<String>,
}

impl FromFields for Follow {
    fn from_fields(fields: &mut Fields) -> Self {
        Self { token: fields.string("token"), callback_url: fields.optional_string("callbackURL") }
    }
}
