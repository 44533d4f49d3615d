//! `emailAndPassword.passwordPolicy`: what a new password has to be besides long enough.

use serde::Deserialize;

use super::ConfigError;

/// Ours: `emailAndPassword.passwordPolicy`. Everything is off by default, as in Better Auth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct PasswordPolicySettings {
    /// Refuse the 40,000 most common passwords.
    pub reject_common: bool,
    /// Refuse passwords with a word of the user's name, address or user name, or of `appName`, in them.
    pub reject_context: bool,
    /// So many of the four kinds: lower case, upper case, digits, other signs. Default 0.
    pub min_classes: Option<usize>,
    /// A lower-case letter.
    pub require_lowercase: bool,
    /// An upper-case letter.
    pub require_uppercase: bool,
    /// A digit.
    pub require_digit: bool,
    /// A sign that is neither letter nor digit; a space is one.
    pub require_symbol: bool,
}

impl PasswordPolicySettings {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self.min_classes {
            Some(most) if most > 4 => Err(ConfigError::new(
                "emailAndPassword.passwordPolicy.minClasses",
                "must be at most 4: lower case, upper case, digits, other signs",
            )),
            _ => Ok(()),
        }
    }
}
