#![doc = include_str!("README.md")]

use std::sync::Arc;

use portcullis_core::config::{Config, ConfigError, Settings};
use portcullis_core::feature::Feature;
use portcullis_core::http::Routes;
use portcullis_core::mail::{MailKind, RESET_PASSWORD};
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
pub struct PasswordReset;

/// Makes the room.
///
/// # Errors
/// None.
pub fn make(_: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    Ok(Arc::new(PasswordReset))
}

impl Feature for PasswordReset {
    fn id(&self) -> &'static str {
        "password-reset"
    }

    fn mails(&self, config: &Config) -> Vec<MailKind> {
        let callback = config.settings.email_and_password.send_reset_password.as_ref();
        let texts = include_str!("reset-password.mail.json");
        vec![MailKind::new(RESET_PASSWORD, texts).told_to("emailAndPassword.sendResetPassword", callback)]
    }

    fn routes(&self) -> Routes {
        routes::routes()
    }
}
