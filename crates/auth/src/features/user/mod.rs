#![doc = include_str!("README.md")]

use std::sync::Arc;

use portcullis_core::config::{Config, ConfigError, Settings};
use portcullis_core::feature::Feature;
use portcullis_core::http::Routes;
use portcullis_core::mail::{CHANGE_EMAIL, DELETE_ACCOUNT, MailKind};
use serde_json::Value as Json;

mod change_email;
mod delete;
pub mod errors;
mod routes;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
mod update;
mod wire;

/// The room.
#[derive(Debug)]
pub struct Users;

/// Makes the room.
///
/// # Errors
/// None.
pub fn make(_: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    Ok(Arc::new(Users))
}

impl Feature for Users {
    fn id(&self) -> &'static str {
        "user"
    }

    fn mails(&self, config: &Config) -> Vec<MailKind> {
        let user = &config.settings.user;
        let confirm = user.change_email.send_change_email_confirmation.as_ref();
        let delete = user.delete_user.send_delete_account_verification.as_ref();
        vec![
            MailKind::new(CHANGE_EMAIL, include_str!("change-email-confirmation.mail.json"))
                .told_to("user.changeEmail.sendChangeEmailConfirmation", confirm)
                .mailed_if(config.mail.confirm_change_email),
            MailKind::new(DELETE_ACCOUNT, include_str!("delete-account.mail.json"))
                .told_to("user.deleteUser.sendDeleteAccountVerification", delete)
                .mailed_if(config.mail.confirm_delete_user),
        ]
    }

    fn routes(&self) -> Routes {
        routes::routes()
    }
}
