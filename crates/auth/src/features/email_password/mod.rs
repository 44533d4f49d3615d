#![doc = include_str!("README.md")]

use std::sync::Arc;

use portcullis_core::config::{Config, ConfigError, Settings};
use portcullis_core::feature::Feature;
use portcullis_core::http::Routes;
use portcullis_core::mail::{EXISTING_USER, MailKind, PASSWORD_CHANGED};
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
pub struct EmailPassword;

/// Makes the room.
///
/// # Errors
/// None.
pub fn make(_: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    Ok(Arc::new(EmailPassword))
}

impl Feature for EmailPassword {
    fn id(&self) -> &'static str {
        "email-password"
    }

    fn mails(&self, config: &Config) -> Vec<MailKind> {
        let existing = config.settings.email_and_password.on_existing_user_sign_up.as_ref();
        vec![
            MailKind::new(EXISTING_USER, include_str!("existing-user-sign-up.mail.json"))
                .told_to("emailAndPassword.onExistingUserSignUp", existing),
            MailKind::new(PASSWORD_CHANGED, include_str!("password-changed.mail.json"))
                .mailed_if(config.mail.notify_password_changed),
        ]
    }

    fn routes(&self) -> Routes {
        routes::routes()
    }
}
