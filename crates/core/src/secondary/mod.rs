//! Secondary storage: keys with values that expire, beside the database. Sessions, verifications and
//! rate limits can live there, under Better Auth's keys and in its JSON.
//!
//! Whatever decides something is one step of the storage's own: [`SecondaryStorage::get_and_delete`]
//! gives a value to one of many, [`SecondaryStorage::swap`] changes it only if nobody else has.

mod functions;
mod memory;
#[cfg(feature = "redis")]
mod redis;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::RETRY_AFTER;

pub use functions::Functions;
pub use memory::Memory;
#[cfg(feature = "redis")]
pub use redis::Redis;

use crate::config::{ConfigError, SecondaryStorageSettings};
use crate::error::{self, Error};
use crate::outbound::Outbound;

/// A value to store and for how many seconds.
pub type Lasting<'a> = (&'a str, u64);

/// Keys with values that expire. Errors of a storage that is away are
/// [`unavailable`], never an absent value: nobody is signed out because a server is down.
#[async_trait]
pub trait SecondaryStorage: Send + Sync {
    /// The value of a key.
    async fn get(&self, key: &str) -> Result<Option<String>, Error>;

    /// The values of some keys, in their order.
    async fn get_all(&self, keys: &[String]) -> Result<Vec<Option<String>>, Error> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.get(key).await?);
        }
        Ok(values)
    }

    /// Stores a value for some seconds (at least one).
    async fn set(&self, key: &str, value: &str, seconds: u64) -> Result<(), Error>;

    /// Forgets a key.
    async fn delete(&self, key: &str) -> Result<(), Error>;

    /// The value of a key, which is gone then; of any number of callers one gets it.
    async fn get_and_delete(&self, key: &str) -> Result<Option<String>, Error>;

    /// Counts; the seconds run from the first count on and are never extended.
    async fn increment(&self, key: &str, seconds: u64) -> Result<u64, Error>;

    /// Stores (or with `None` forgets) a value if the present one is what the caller has read;
    /// `expected` `None` = there is none. Whether it did.
    async fn swap(
        &self,
        key: &str,
        expected: Option<&str>,
        value: Option<Lasting<'_>>,
    ) -> Result<bool, Error>;

    /// Does it answer?
    async fn ping(&self) -> Result<(), Error> {
        self.get("portcullis-ping").await.map(|_| ())
    }
}

/// The answer while a storage is away: 503, try again in a second.
pub fn unavailable() -> Error {
    Error::from(error::SERVICE_UNAVAILABLE).with_header(RETRY_AFTER, HeaderValue::from_static("1"))
}

/// Makes what the settings say. Nothing is connected yet: a Redis that is away at start is a 503 until
/// it comes, and no reason to fail.
pub(crate) fn open(
    settings: &SecondaryStorageSettings,
    outbound: &Outbound,
) -> Result<Option<Arc<dyn SecondaryStorage>>, ConfigError> {
    match settings {
        #[cfg(feature = "redis")]
        SecondaryStorageSettings::Redis(settings) => Ok(Some(Arc::new(Redis::new(settings)?))),
        #[cfg(not(feature = "redis"))]
        SecondaryStorageSettings::Redis(_) => {
            Err(ConfigError::new("secondaryStorage.url", "needs a build with the cargo feature `redis`"))
        }
        SecondaryStorageSettings::Functions(functions) => {
            Ok(Some(Arc::new(Functions::new((**functions).clone(), outbound.clone()))))
        }
        SecondaryStorageSettings::Given => Ok(None),
    }
}
