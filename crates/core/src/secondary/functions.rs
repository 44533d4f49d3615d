//! Secondary storage by functions of the operator's: Better Auth's `{get, set, delete, getAndDelete,
//! increment}` as webhooks or closures.
//!
//! What such a storage cannot do in one step is done in turns: one caller at a time for a key. That
//! holds within this process only. Several processes need `getAndDelete` and `increment`, and even then
//! a list of sessions that two processes change at once may lose an entry, as with Better Auth.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use async_trait::async_trait;
use serde_json::{Value as Json, json};
use tokio::sync::{Mutex, MutexGuard};

use super::{Lasting, SecondaryStorage, unavailable};
use crate::config::SecondaryFunctions;
use crate::error::Error;
use crate::hooks::Callback;
use crate::outbound::Outbound;

/// So many keys can be waited for at once without waiting for one another.
const TURNS: usize = 64;

/// The operator's functions.
#[derive(Debug)]
pub struct Functions {
    functions: SecondaryFunctions,
    outbound: Outbound,
    turns: Vec<Mutex<()>>,
}

impl Functions {
    /// Calls these.
    pub fn new(functions: SecondaryFunctions, outbound: Outbound) -> Self {
        Self { functions, outbound, turns: (0..TURNS).map(|_| Mutex::new(())).collect() }
    }

    /// Waits for the key's turn: the one thing here that must not happen twice at once is what is
    /// awaited under it, and every call in it ends by the client's timeout.
    async fn turn(&self, key: &str) -> Option<MutexGuard<'_, ()>> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        let index = usize::try_from(hash % TURNS as u64).unwrap_or(0);
        match self.turns.get(index) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        }
    }

    async fn call(&self, callback: &Callback, name: &str, args: Vec<Json>) -> Result<Json, Error> {
        let answer = callback.call(&self.outbound, &format!("secondaryStorage.{name}"), args).await;
        answer.map_err(|error| {
            // Whatever is the matter with it, its answer is not one that a client could do anything about.
            tracing::warn!(%error, "the secondary storage is not available");
            unavailable()
        })
    }

    async fn count(&self, callback: &Callback, key: &str, seconds: u64) -> Result<u64, Error> {
        let answer = self.call(callback, "increment", vec![json!(key), json!(seconds)]).await?;
        let count = match &answer {
            Json::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        count.ok_or_else(|| Error::broken("secondaryStorage.increment answered no number"))
    }
}

/// Some clients of Redis read JSON by themselves: an object is the text that it came from.
fn text_of(answer: Json) -> Option<String> {
    match answer {
        Json::Null => None,
        Json::String(text) => (!text.is_empty()).then_some(text),
        other => Some(other.to_string()),
    }
}

#[async_trait]
impl SecondaryStorage for Functions {
    async fn get(&self, key: &str) -> Result<Option<String>, Error> {
        Ok(text_of(self.call(&self.functions.get, "get", vec![json!(key)]).await?))
    }

    async fn set(&self, key: &str, value: &str, seconds: u64) -> Result<(), Error> {
        let args = vec![json!(key), json!(value), json!(seconds.max(1))];
        self.call(&self.functions.set, "set", args).await.map(|_| ())
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.call(&self.functions.delete, "delete", vec![json!(key)]).await.map(|_| ())
    }

    async fn get_and_delete(&self, key: &str) -> Result<Option<String>, Error> {
        if let Some(callback) = &self.functions.get_and_delete {
            return Ok(text_of(self.call(callback, "getAndDelete", vec![json!(key)]).await?));
        }
        let _turn = self.turn(key).await;
        let value = self.get(key).await?;
        if value.is_some() {
            self.delete(key).await?;
        }
        Ok(value)
    }

    async fn increment(&self, key: &str, seconds: u64) -> Result<u64, Error> {
        match &self.functions.increment {
            Some(callback) => self.count(callback, key, seconds).await,
            None => Err(Error::broken("secondaryStorage has no `increment`")),
        }
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&str>,
        value: Option<Lasting<'_>>,
    ) -> Result<bool, Error> {
        let _turn = self.turn(key).await;
        if self.get(key).await?.as_deref() != expected {
            return Ok(false);
        }
        match value {
            Some((value, seconds)) => self.set(key, value, seconds).await?,
            None => self.delete(key).await?,
        }
        Ok(true)
    }
}
