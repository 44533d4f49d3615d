//! Settings of what calls the operator: `webhooks` (ours) and `databaseHooks`.

use std::time::Duration;

use serde::Deserialize;
use url::{Host, Url};

use super::ConfigError;
use crate::crypto::Secret;
use crate::hooks::Callback;

/// Ours: `webhooks`, how webhooks are called.
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookSettings {
    /// Signs every call (Standard Webhooks): `whsec_` and base64 of 24 to 64 bytes.
    pub secret: Option<String>,
    /// Several, while one takes another's place: every call has a signature of each.
    pub secrets: Vec<String>,
    /// Seconds that a call may take in all, waiting for its turn included; 1 to 60. Default 10.
    pub timeout_seconds: Option<u64>,
    /// Calls that one host gets at a time; further ones wait for their turn. Default 32.
    pub max_in_flight: Option<usize>,
}

impl std::fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookSettings")
            .field("timeout_seconds", &self.timeout_seconds)
            .finish_non_exhaustive()
    }
}

/// `webhooks`, checked.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// Keys that sign, decoded.
    pub keys: Vec<SigningKey>,
    /// In all.
    pub timeout: Duration,
    /// Calls to one host at a time.
    pub max_in_flight: usize,
}

/// A key that signs webhooks.
#[derive(Clone)]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// The bytes, to sign with.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self { keys: Vec::new(), timeout: Duration::from_secs(10), max_in_flight: 32 }
    }
}

impl WebhookSettings {
    /// Checks them.
    pub(super) fn check(&self) -> Result<WebhookConfig, ConfigError> {
        let mut keys = Vec::new();
        if let Some(secret) = &self.secret {
            keys.push(key("webhooks.secret", secret)?);
        }
        for (at, secret) in self.secrets.iter().enumerate() {
            keys.push(key(&format!("webhooks.secrets.{at}"), secret)?);
        }
        if keys.len() > 4 {
            return Err(ConfigError::new("webhooks.secrets", "are too many: 4 at most sign a call"));
        }
        let timeout = self.timeout_seconds.unwrap_or(10);
        if !(1..=60).contains(&timeout) {
            return Err(ConfigError::new("webhooks.timeoutSeconds", "must be 1 to 60"));
        }
        let max_in_flight = self.max_in_flight.unwrap_or(32);
        if !(1..=1024).contains(&max_in_flight) {
            return Err(ConfigError::new("webhooks.maxInFlight", "must be 1 to 1024"));
        }
        Ok(WebhookConfig { keys, timeout: Duration::from_secs(timeout), max_in_flight })
    }
}

/// Standard Webhooks, "Signature scheme": the key is the base64 behind `whsec_`, 24 to 64 bytes.
fn key(name: &str, text: &str) -> Result<SigningKey, ConfigError> {
    use base64::Engine as _;
    let wrong = || {
        ConfigError::new(
            name,
            "must be `whsec_` and the base64 of 24 to 64 random bytes, e.g. of `openssl rand -base64 32`",
        )
    };
    let encoded = Secret::new(text.strip_prefix("whsec_").ok_or_else(wrong)?.to_owned());
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded.expose()).map_err(|_| wrong())?;
    if (24..=64).contains(&bytes.len()) { Ok(SigningKey(bytes)) } else { Err(wrong()) }
}

/// Does a call to this URL stay on the machine, or travel encrypted?
pub(crate) fn is_private_channel(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || loopback
}

/// `databaseHooks`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseHooksSettings {
    /// The `user` table.
    pub user: TableHooks,
    /// The `session` table.
    pub session: TableHooks,
    /// The `account` table.
    pub account: TableHooks,
    /// The `verification` table.
    pub verification: TableHooks,
}

/// The hooks of one table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableHooks {
    /// A row comes.
    pub create: VerbHooks,
    /// A row changes.
    pub update: VerbHooks,
    /// A row goes.
    pub delete: VerbHooks,
}

/// The hooks of one verb.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerbHooks {
    /// `(row or changes, context)` → `false` or `{data}` or nothing.
    pub before: Option<Callback>,
    /// Told `(row, context)` once the write lasts.
    pub after: Option<Callback>,
}
