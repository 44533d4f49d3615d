//! The room's options, with Better Auth's names.

use portcullis_core::config::{ConfigError, TableNames};
use portcullis_core::hooks::Callback;
use portcullis_core::store::Schema;
use serde::Deserialize;

use super::store::{ENABLED, Factor};

/// `plugins.twoFactor`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// The name that authenticators show at enabling. Default: `appName`.
    pub issuer: Option<String>,
    /// The table's name in the database.
    pub two_factor_table: Option<String>,
    /// Codes of an authenticator app.
    pub totp_options: TotpOptions,
    /// Codes that are sent.
    pub otp_options: OtpOptions,
    /// Codes on paper.
    pub backup_code_options: BackupCodeOptions,
    /// Enabling an authenticator counts at once, without a first code.
    pub skip_verification_on_enable: bool,
    /// Users without a password need none here.
    pub allow_passwordless: bool,
    /// Other names for tables and columns.
    pub schema: SchemaOptions,
    /// Seconds to answer a challenge. Default 600.
    pub two_factor_cookie_max_age: Option<i64>,
    /// Seconds for which a device is trusted. Default 30 days.
    pub trust_device_max_age: Option<i64>,
    /// The account's own limit of failures.
    pub account_lockout: AccountLockout,
}

/// `totpOptions`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct TotpOptions {
    /// The name in `/two-factor/get-totp-uri`. Default: `appName`.
    pub issuer: Option<String>,
    /// Digits of a code, 1 to 8. Default 6.
    pub digits: Option<u32>,
    /// Seconds of a step. Default 30.
    pub period: Option<u32>,
    /// No authenticators.
    pub disable: bool,
    /// Over the room's own `allowPasswordless`.
    pub allow_passwordless: Option<bool>,
    /// A code may open several sessions while it is good, as with Better Auth. Default false.
    pub allow_reuse: bool,
}

/// `otpOptions`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct OtpOptions {
    /// Sends a code: `({user, otp}, context)`. Without it there are no such codes.
    #[serde(rename = "sendOTP")]
    pub send_otp: Option<Callback>,
    /// The mailer sends codes, where there is no `sendOTP`. Default false: whoever reads somebody's mail
    /// would have a second factor.
    pub send_by_mail: bool,
    /// Minutes for which a code is good. Default 3.
    pub period: Option<f64>,
    /// Digits of a code. Default 6.
    pub digits: Option<u32>,
    /// Guesses at one code. Default 5.
    pub allowed_attempts: Option<u32>,
    /// How a code is stored.
    #[serde(rename = "storeOTP")]
    pub store_otp: StoreOtp,
}

/// `otpOptions.storeOTP`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum StoreOtp {
    /// By name.
    Named(OtpStorage),
    /// By the operator's hash.
    Hash {
        /// `(code)` → hash.
        hash: Callback,
    },
    /// By the operator's cipher.
    Cipher {
        /// `(code)` → stored.
        encrypt: Callback,
        /// `(stored)` → code.
        decrypt: Callback,
    },
}

impl Default for StoreOtp {
    fn default() -> Self {
        Self::Named(OtpStorage::Plain)
    }
}

/// Known ways to store a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtpStorage {
    /// As it is.
    Plain,
    /// Sealed with the secret.
    Encrypted,
    /// SHA-256.
    Hashed,
}

/// `backupCodeOptions`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupCodeOptions {
    /// How many. Default 10.
    pub amount: Option<usize>,
    /// Characters of one, without the dash. Default 10.
    pub length: Option<usize>,
    /// `()` → list of codes.
    pub custom_backup_codes_generate: Option<Callback>,
    /// How they are stored.
    pub store_backup_codes: StoreBackupCodes,
    /// Over the room's own `allowPasswordless`.
    pub allow_passwordless: Option<bool>,
}

/// `backupCodeOptions.storeBackupCodes`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum StoreBackupCodes {
    /// By name.
    Named(BackupCodeStorage),
    /// By the operator's cipher.
    Cipher {
        /// `(json)` → stored.
        encrypt: Callback,
        /// `(stored)` → json.
        decrypt: Callback,
    },
}

impl Default for StoreBackupCodes {
    fn default() -> Self {
        Self::Named(BackupCodeStorage::Encrypted)
    }
}

/// Known ways to store backup codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupCodeStorage {
    /// As they are.
    Plain,
    /// Sealed with the secret.
    Encrypted,
}

/// `accountLockout`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountLockout {
    /// Default true.
    pub enabled: Option<bool>,
    /// Failures in a row. Default 10.
    pub max_failed_attempts: Option<i64>,
    /// Seconds. Default 900.
    pub duration_seconds: Option<i64>,
}

/// `schema`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SchemaOptions {
    /// The `user` table.
    pub user: TableNames,
    /// The `twoFactor` table.
    pub two_factor: TableNames,
}

/// JavaScript's `value || default`: nothing and zero mean the default.
fn or(value: Option<u32>, default: u32) -> u32 {
    value.filter(|value| *value != 0).unwrap_or(default)
}

impl Options {
    /// Are they possible?
    /// Can codes be sent?
    pub(super) fn sends_codes(&self) -> bool {
        self.otp_options.send_otp.is_some() || self.otp_options.send_by_mail
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !(1..=8).contains(&self.totp_digits()) {
            return Err(ConfigError::new("plugins.twoFactor.totpOptions.digits", "must be between 1 and 8"));
        }
        if !(1..=64).contains(&self.otp_digits()) {
            return Err(ConfigError::new("plugins.twoFactor.otpOptions.digits", "must be between 1 and 64"));
        }
        if self.otp_options.period.is_some_and(|minutes| !minutes.is_finite() || minutes < 0.0) {
            return Err(ConfigError::new("plugins.twoFactor.otpOptions.period", "must be minutes, above 0"));
        }
        let codes = &self.backup_code_options;
        for (option, value, most) in [("amount", codes.amount, 100), ("length", codes.length, 64)] {
            if value.is_some_and(|value| value > most) {
                let key = format!("plugins.twoFactor.backupCodeOptions.{option}");
                return Err(ConfigError::new(key, format!("must be at most {most}")));
            }
        }
        for (table, names, columns) in [
            ("user", &self.schema.user, &[ENABLED] as &[&str]),
            (
                "twoFactor",
                &self.schema.two_factor,
                &["secret", "backupCodes", "userId", "verified", "failedVerificationCount", "lockedUntil"],
            ),
        ] {
            if let Some(unknown) = names.fields.keys().find(|key| !columns.contains(&key.as_str())) {
                let key = format!("plugins.twoFactor.schema.{table}.fields.{unknown}");
                return Err(ConfigError::new(
                    key,
                    format!("unknown field; there are {}", columns.join(", ")),
                ));
            }
        }
        Ok(())
    }

    /// Gives tables and columns the operator's names.
    pub(super) fn rename(&self, schema: &mut Schema) {
        for (table, names) in [("user", &self.schema.user), (Factor::KEY, &self.schema.two_factor)] {
            names.apply(schema, table);
        }
        if let Some(name) = &self.two_factor_table {
            schema.set_table_name(Factor::KEY, name.clone());
        }
    }

    pub(super) fn totp_digits(&self) -> u32 {
        or(self.totp_options.digits, 6)
    }

    pub(super) fn totp_period(&self) -> u32 {
        or(self.totp_options.period, 30)
    }

    pub(super) fn otp_digits(&self) -> u32 {
        or(self.otp_options.digits, 6)
    }

    /// How long a sent code is good, in milliseconds.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`check` refused what is not a number; `as` saturates"
    )]
    pub(super) fn otp_lasting(&self) -> i64 {
        let minutes = self.otp_options.period.filter(|minutes| *minutes != 0.0).unwrap_or(3.0);
        (minutes * 60_000.0) as i64
    }

    pub(super) fn otp_attempts(&self) -> u32 {
        or(self.otp_options.allowed_attempts, 5)
    }

    pub(super) fn challenge_lasting(&self) -> i64 {
        self.two_factor_cookie_max_age.unwrap_or(600)
    }

    pub(super) fn trust_lasting(&self) -> i64 {
        self.trust_device_max_age.unwrap_or(30 * 24 * 60 * 60)
    }

    pub(super) fn totp_passwordless(&self) -> bool {
        self.totp_options.allow_passwordless.unwrap_or(self.allow_passwordless)
    }

    pub(super) fn backup_passwordless(&self) -> bool {
        self.backup_code_options.allow_passwordless.unwrap_or(self.allow_passwordless)
    }
}
