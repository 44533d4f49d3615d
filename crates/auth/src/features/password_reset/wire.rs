//! Bodies and queries, as Better Auth's schemas read them.

use portcullis_core::http::{Fields, FromFields};

/// `POST /request-password-reset`.
#[derive(Debug)]
pub(super) struct Ask {
    pub email: String,
    pub redirect_to: Option<String>,
}

impl FromFields for Ask {
    const FIELDS: &'static [(&'static str, &'static str)] = &[("email", "email"), ("redirectTo", "string?")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self { email: fields.email("email"), redirect_to: fields.optional_string("redirectTo") }
    }
}

/// The query of `GET /reset-password/{token}`.
#[derive(Debug)]
pub(super) struct Follow {
    pub callback_url: String,
}

impl FromFields for Follow {
    fn from_fields(fields: &mut Fields) -> Self {
        Self { callback_url: fields.string("callbackURL") }
    }
}

/// `POST /reset-password`. No `Debug`: it holds a password and what stands for one.
pub(super) struct Reset {
    pub new_password: String,
    pub token: Option<String>,
}

impl FromFields for Reset {
    const FIELDS: &'static [(&'static str, &'static str)] =
        &[("newPassword", "string"), ("token", "string?")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self { new_password: fields.string("newPassword"), token: fields.optional_string("token") }
    }
}

/// The query of `POST /reset-password`, where the token may stand as well.
pub(super) struct ResetQuery {
    pub token: Option<String>,
}

impl FromFields for ResetQuery {
    fn from_fields(fields: &mut Fields) -> Self {
        Self { token: fields.optional_string("token") }
    }
}
