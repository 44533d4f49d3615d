#![doc = include_str!("README.md")]

use std::sync::Arc;

use portcullis_core::config::{Config, ConfigError, Delivery, Settings, read};
use portcullis_core::feature::Feature;
use portcullis_core::http::{RateRule, Routes};
use portcullis_core::identity::User;
use portcullis_core::mail::{MailKind, TWO_FACTOR_OTP};
use portcullis_core::seams::Seams;
use portcullis_core::store::{Column, Schema, Table};
use serde_json::Value as Json;

mod backup_codes;
mod challenge;
pub mod errors;
pub mod options;
mod otp;
mod routes;
mod service;
mod store;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
mod totp;
mod wire;

pub use options::Options;

/// The room.
#[derive(Debug)]
pub struct TwoFactor {
    options: Arc<Options>,
}

/// Makes the room.
///
/// # Errors
/// An option that does not exist or cannot be.
pub fn make(options: Json, _: &Settings) -> Result<Arc<dyn Feature>, ConfigError> {
    let options: Options = read("plugins.twoFactor", options)?;
    options.check()?;
    Ok(Arc::new(TwoFactor { options: Arc::new(options) }))
}

impl Feature for TwoFactor {
    fn id(&self) -> &'static str {
        "two-factor"
    }

    fn tables(&self) -> Vec<Table> {
        vec![store::Factor::table()]
    }

    fn lends(&self) -> Vec<(&'static str, Column)> {
        vec![(User::KEY, Column::bool(store::ENABLED).default(false).no_input())]
    }

    fn rename(&self, schema: &mut Schema) {
        self.options.rename(schema);
    }

    fn mails(&self, _: &Config) -> Vec<MailKind> {
        let otp = &self.options.otp_options;
        let code = MailKind::new(TWO_FACTOR_OTP, include_str!("two-factor-otp.mail.json"))
            .told_to("plugins.twoFactor.otpOptions.sendOTP", otp.send_otp.as_ref());
        vec![code.mailed_if(otp.send_by_mail)]
    }

    fn check(&self, config: &Config, _: &Schema) -> Result<(), ConfigError> {
        let otp = &self.options.otp_options;
        if otp.send_by_mail && otp.send_otp.is_none() && matches!(config.mail.delivery, Delivery::None) {
            let problem = "needs a mailer; set mail.smtp or mail.send";
            return Err(ConfigError::new("plugins.twoFactor.otpOptions.sendByMail", problem));
        }
        Ok(())
    }

    fn routes(&self) -> Routes {
        routes::routes(&self.options)
    }

    fn rate_limits(&self) -> Vec<RateRule> {
        vec![RateRule::starting("/two-factor/", 10, 3)]
    }

    fn attach(self: Arc<Self>, seams: &mut Seams) {
        seams.gate_sign_in.push(self);
    }
}
