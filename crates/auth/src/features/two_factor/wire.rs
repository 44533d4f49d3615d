//! The bodies of the room's routes. `PASSWORD` says whether the options demand one.

use portcullis_core::http::body::{Fields, FromFields};

type Described = &'static [(&'static str, &'static str)];

fn password(fields: &mut Fields, required: bool) -> Option<String> {
    if required { Some(fields.string("password")) } else { fields.optional_string("password") }
}

/// What is to be enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// An authenticator app.
    Totp,
    /// Codes that are sent.
    Otp,
}

/// `POST /two-factor/enable`.
#[derive(Debug)]
pub(super) struct Enable<const PASSWORD: bool> {
    pub password: Option<String>,
    pub method: Method,
    pub issuer: Option<String>,
}

impl<const PASSWORD: bool> FromFields for Enable<PASSWORD> {
    const FIELDS: Described = if PASSWORD {
        &[("password", "string"), ("method", "totp|otp?"), ("issuer", "string?")]
    } else {
        &[("password", "string?"), ("method", "totp|otp?"), ("issuer", "string?")]
    };
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            password: password(fields, PASSWORD),
            method: match fields.optional_one_of("method", &["otp", "totp"]).as_deref() {
                Some("otp") => Method::Otp,
                _ => Method::Totp,
            },
            issuer: fields.optional_string("issuer"),
        }
    }
}

/// `disable`, `get-totp-uri`, `generate-backup-codes`.
#[derive(Debug)]
pub(super) struct Password<const PASSWORD: bool> {
    pub password: Option<String>,
}

impl<const PASSWORD: bool> FromFields for Password<PASSWORD> {
    const FIELDS: Described = if PASSWORD { &[("password", "string")] } else { &[("password", "string?")] };
    fn from_fields(fields: &mut Fields) -> Self {
        Self { password: password(fields, PASSWORD) }
    }
}

/// `POST /two-factor/send-otp`.
#[derive(Debug)]
pub(super) struct SendOtp;

impl FromFields for SendOtp {
    const OPTIONAL: bool = true;
    const FIELDS: Described = &[("trustDevice", "boolean?")];
    fn from_fields(fields: &mut Fields) -> Self {
        fields.optional_bool("trustDevice");
        Self
    }
}

/// `verify-totp`, `verify-otp`.
#[derive(Debug)]
pub(super) struct Verify {
    pub code: String,
    pub trust_device: bool,
}

impl FromFields for Verify {
    const FIELDS: Described = &[("code", "string"), ("trustDevice", "boolean?")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            code: fields.string("code"),
            trust_device: fields.optional_bool("trustDevice").unwrap_or(false),
        }
    }
}

/// `POST /two-factor/verify-backup-code`.
#[derive(Debug)]
pub(super) struct VerifyBackupCode {
    pub code: String,
    pub disable_session: bool,
    pub trust_device: bool,
}

impl FromFields for VerifyBackupCode {
    const FIELDS: Described =
        &[("code", "string"), ("disableSession", "boolean?"), ("trustDevice", "boolean?")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self {
            code: fields.string("code"),
            disable_session: fields.optional_bool("disableSession").unwrap_or(false),
            trust_device: fields.optional_bool("trustDevice").unwrap_or(false),
        }
    }
}
