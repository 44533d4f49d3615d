#![doc = include_str!("README.md")]

use std::sync::Arc;

use portcullis_core::config::{Config, ConfigError, Settings};
use portcullis_core::feature::Feature;
use portcullis_core::http::Routes;
use portcullis_core::mail::{MailKind, VERIFY_EMAIL};
use serde_json::Value as Json;

pub mod errors;
mod routes;
mod service;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
mod wire;

/// The room.
#[derive(Debug)]
pub struct EmailVerification;

/// Makes the room.
///
/// # Errors
/// None.
pub fn make(_: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    Ok(Arc::new(EmailVerification))
}

impl Feature for EmailVerification {
    fn id(&self) -> &'static str {
        "email-verification"
    }

    fn mails(&self, config: &Config) -> Vec<MailKind> {
        let callback = config.settings.email_verification.send_verification_email.as_ref();
        let texts = include_str!("verify-email.mail.json");
        vec![MailKind::new(VERIFY_EMAIL, texts).told_to("emailVerification.sendVerificationEmail", callback)]
    }

    fn routes(&self) -> Routes {
        routes::routes()
    }
}
