//! `plugins.tokenApi`: as written, and checked.

use portcullis_core::config::{Config, ConfigError, TableNames};
use serde::Deserialize;
use serde_json::Value as Json;

use super::store::RefreshToken;

/// `plugins.tokenApi`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Seconds for which an access token is good.
    pub access_token_expires_in: i64,
    /// Seconds for which a refresh token is good that nobody uses.
    pub refresh_token_expires_in: i64,
    /// Seconds after sign-in at which the last refresh token ends, used or not.
    pub absolute_expires_in: i64,
    /// Seconds for which a refresh token that has been used gives the same successor again.
    pub reuse_interval: i64,
    /// Names in the database.
    pub schema: SchemaOptions,
}

/// `plugins.tokenApi.schema`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SchemaOptions {
    /// The table.
    pub refresh_token: TableNames,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            access_token_expires_in: 900,
            refresh_token_expires_in: 604_800,
            absolute_expires_in: 2_592_000,
            reuse_interval: 10,
            schema: SchemaOptions::default(),
        }
    }
}

/// The longest that may be asked for: ten years.
const LONGEST: i64 = 315_360_000;
/// The longest in which a used token is not called stolen.
const LONGEST_REUSE: i64 = 60;

fn wrong(key: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError::new(format!("plugins.tokenApi.{key}"), problem)
}

impl Options {
    /// They can stand by themselves.
    pub(super) fn checked(self) -> Result<Self, ConfigError> {
        for (key, seconds, most) in [
            ("accessTokenExpiresIn", self.access_token_expires_in, LONGEST),
            ("refreshTokenExpiresIn", self.refresh_token_expires_in, LONGEST),
            ("absoluteExpiresIn", self.absolute_expires_in, LONGEST),
        ] {
            if !(1..=most).contains(&seconds) {
                return Err(wrong(key, format!("must be seconds, from 1 to {most}")));
            }
        }
        if !(0..=LONGEST_REUSE).contains(&self.reuse_interval) {
            return Err(wrong("reuseInterval", format!("must be seconds, from 0 to {LONGEST_REUSE}")));
        }
        if self.refresh_token_expires_in < self.access_token_expires_in {
            return Err(wrong("refreshTokenExpiresIn", "is shorter than `accessTokenExpiresIn`"));
        }
        if self.absolute_expires_in < self.refresh_token_expires_in {
            return Err(wrong("absoluteExpiresIn", "is shorter than `refreshTokenExpiresIn`"));
        }
        let table = RefreshToken::table();
        if let Some(field) =
            self.schema.refresh_token.fields.keys().find(|field| table.column(field).is_none())
        {
            return Err(wrong(&format!("schema.refreshToken.fields.{field}"), "no such field"));
        }
        Ok(self)
    }
}

/// They fit everything else.
pub(super) fn fit(config: &Config) -> Result<(), ConfigError> {
    let jwt = config.settings.plugins.get("jwt");
    let Some(jwt) = jwt.filter(|jwt| **jwt != Json::Bool(false)) else {
        return Err(ConfigError::new(
            "plugins.tokenApi",
            "needs `plugins.jwt`, which signs the access tokens",
        ));
    };
    if jwt.pointer("/jwt/sign").is_some_and(|sign| !sign.is_null()) {
        return Err(ConfigError::new(
            "plugins.tokenApi",
            "needs `plugins.jwt` to sign with keys of its own: what `jwt.sign` signs cannot be read here",
        ));
    }
    if !config.sessions.in_database() || config.stateless {
        return Err(ConfigError::new(
            "plugins.tokenApi",
            "keeps refresh tokens beside sessions in the database; set `session.storeSessionInDatabase = true`",
        ));
    }
    Ok(())
}
