//! Settings of where else than in the database things are kept: `secondaryStorage`,
//! `verification.storeIdentifier`, `rateLimit.customStorage`.

use std::fmt;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::Error as _;
use serde_json::{Map, Value as Json};

use crate::hooks::Callback;

/// What stands before every key in Redis, as `@better-auth/redis-storage` has it.
pub const KEY_PREFIX: &str = "better-auth:";

/// `secondaryStorage`.
#[derive(Clone)]
pub enum SecondaryStorageSettings {
    /// A Redis or Valkey server.
    Redis(RedisSettings),
    /// Functions of the operator's.
    Functions(Box<SecondaryFunctions>),
    /// A storage of the program's own, given to the builder in Rust.
    Given,
}

/// Without the URL and the functions' URLs: they may hold passwords.
impl fmt::Debug for SecondaryStorageSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis(_) => "SecondaryStorageSettings::Redis",
            Self::Functions(_) => "SecondaryStorageSettings::Functions",
            Self::Given => "SecondaryStorageSettings::Given",
        })
    }
}

impl<'de> Deserialize<'de> for SecondaryStorageSettings {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::String(url) => {
                Ok(Self::Redis(RedisSettings { url: url.into(), key_prefix: KEY_PREFIX.to_owned() }))
            }
            map @ Json::Object(_) if map.get("url").is_some() || map.get("keyPrefix").is_some() => {
                serde_json::from_value(map).map(Self::Redis).map_err(D::Error::custom)
            }
            map @ Json::Object(_) => serde_json::from_value(map)
                .map(|functions| Self::Functions(Box::new(functions)))
                .map_err(D::Error::custom),
            _ => Err(D::Error::custom(
                "must be a redis:// URL, { url, keyPrefix }, or { get, set, delete, getAndDelete, increment }",
            )),
        }
    }
}

/// `secondaryStorage` in Redis.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedisSettings {
    /// `redis://`, `rediss://` (TLS) or `unix://`, with user, password and number of the database.
    #[serde(deserialize_with = "secret")]
    pub url: SecretString,
    /// Stands before every key. Default `better-auth:`.
    #[serde(default = "key_prefix")]
    pub key_prefix: String,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(Into::into)
}

fn key_prefix() -> String {
    KEY_PREFIX.to_owned()
}

/// `secondaryStorage` as functions, as Better Auth takes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecondaryFunctions {
    /// `(key)` → the text, or null.
    pub get: Callback,
    /// `(key, text, seconds)`; without seconds it stays.
    pub set: Callback,
    /// `(key)`.
    pub delete: Callback,
    /// `(key)` → the text, or null; of several callers one has it.
    pub get_and_delete: Option<Callback>,
    /// `(key, seconds)` → the count; the seconds count from the first.
    pub increment: Option<Callback>,
}

/// How `verification.identifier` is stored.
#[derive(Debug, Clone, Default)]
pub enum StoreIdentifier {
    /// As it is.
    #[default]
    Plain,
    /// base64url SHA-256.
    Hashed,
    /// `(identifier)` → text.
    Asked(Callback),
}

/// `verification.storeIdentifier`.
#[derive(Debug, Clone, Default)]
pub struct StoreIdentifiers {
    /// Where no prefix fits.
    pub default: StoreIdentifier,
    /// The first prefix that fits decides.
    pub overrides: Vec<(String, StoreIdentifier)>,
}

impl<'de> Deserialize<'de> for StoreIdentifier {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Asked {
            hash: Callback,
        }
        match Json::deserialize(deserializer)? {
            Json::String(name) if name == "plain" => Ok(Self::Plain),
            Json::String(name) if name == "hashed" => Ok(Self::Hashed),
            map @ Json::Object(_) => serde_json::from_value::<Asked>(map)
                .map(|asked| Self::Asked(asked.hash))
                .map_err(D::Error::custom),
            _ => Err(D::Error::custom("must be `plain`, `hashed` or { hash }")),
        }
    }
}

impl<'de> Deserialize<'de> for StoreIdentifiers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            default: StoreIdentifier,
            #[serde(default)]
            overrides: Map<String, Json>,
        }
        let json = Json::deserialize(deserializer)?;
        if json.get("default").is_none() && json.get("overrides").is_none() {
            let default = serde_json::from_value(json).map_err(D::Error::custom)?;
            return Ok(Self { default, overrides: Vec::new() });
        }
        let Written { default, overrides } = serde_json::from_value(json).map_err(D::Error::custom)?;
        let overrides = overrides
            .into_iter()
            .map(|(prefix, option)| {
                let option = serde_json::from_value(option)
                    .map_err(|error| D::Error::custom(format!("overrides.{prefix}: {error}")))?;
                Ok((prefix, option))
            })
            .collect::<Result<_, D::Error>>()?;
        Ok(Self { default, overrides })
    }
}

/// `rateLimit.customStorage`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimitFunctions {
    /// `(key, {window, max})` → `{allowed, retryAfter}`: counts and decides in one step.
    pub consume: Option<Callback>,
    /// `(key)` → `{key, count, lastRequest}`; where there is no `consume`.
    pub get: Option<Callback>,
    /// `(key, {key, count, lastRequest}, update)`; where there is no `consume`.
    pub set: Option<Callback>,
}

/// Where rows of a table are that may also be in secondary storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In the database.
    Database,
    /// In secondary storage; the database has no such table.
    Secondary,
    /// In both.
    Both,
}

impl Kept {
    /// Is there a table in the database?
    pub fn in_database(self) -> bool {
        self != Self::Secondary
    }

    /// Are they in secondary storage?
    pub fn in_secondary(self) -> bool {
        self != Self::Database
    }
}
