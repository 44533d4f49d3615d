//! Secondary storage in this process's memory: for tests, and for one process that may forget.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Lasting, SecondaryStorage};
use crate::clock::{Clock, Timestamp};
use crate::error::Error;

/// Entries at most; beyond that those go that end soonest.
const MOST: usize = 100_000;

/// Keys and values of this process.
pub struct Memory {
    clock: Clock,
    entries: Mutex<HashMap<String, (String, Timestamp)>>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Memory {
    /// Empty.
    pub fn new(clock: Clock) -> Self {
        Self { clock, entries: Mutex::default() }
    }

    /// All keys with their values and the seconds that they have left, by key: for tests.
    pub fn all(&self) -> Vec<(String, String, i64)> {
        let now = self.clock.now();
        let mut all: Vec<_> = self
            .alive()
            .iter()
            .map(|(key, (value, until))| {
                (key.clone(), value.clone(), (until.millis() - now.millis()).div_euclid(1000))
            })
            .collect();
        all.sort();
        all
    }

    fn alive(&self) -> MutexGuard<'_, HashMap<String, (String, Timestamp)>> {
        let now = self.clock.now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MOST {
            entries.retain(|_, (_, until)| *until > now);
        }
        if entries.len() >= MOST {
            let mut ends: Vec<Timestamp> = entries.values().map(|(_, until)| *until).collect();
            let (_, first, _) = ends.select_nth_unstable(MOST / 10);
            let first = *first;
            entries.retain(|_, (_, until)| *until > first);
        }
        entries
    }

    fn with<T>(&self, key: &str, change: impl FnOnce(Option<&str>) -> (T, Change)) -> T {
        let now = self.clock.now();
        let mut entries = self.alive();
        let present = entries.get(key).filter(|(_, until)| *until > now);
        let (answer, change) = change(present.map(|(value, _)| value.as_str()));
        match change {
            Change::None => {}
            Change::Delete => {
                entries.remove(key);
            }
            Change::Set(value, seconds) => {
                let until = now.plus_seconds(i64::try_from(seconds.max(1)).unwrap_or(i64::MAX));
                entries.insert(key.to_owned(), (value, until));
            }
            Change::Keep(value) => {
                if let Some((present, _)) = entries.get_mut(key) {
                    *present = value;
                }
            }
        }
        answer
    }
}

enum Change {
    None,
    Delete,
    Set(String, u64),
    /// Another value for the time that is left.
    Keep(String),
}

#[async_trait]
impl SecondaryStorage for Memory {
    async fn get(&self, key: &str) -> Result<Option<String>, Error> {
        Ok(self.with(key, |present| (present.map(str::to_owned), Change::None)))
    }

    async fn set(&self, key: &str, value: &str, seconds: u64) -> Result<(), Error> {
        self.with(key, |_| ((), Change::Set(value.to_owned(), seconds)));
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.with(key, |_| ((), Change::Delete));
        Ok(())
    }

    async fn get_and_delete(&self, key: &str) -> Result<Option<String>, Error> {
        Ok(self.with(key, |present| (present.map(str::to_owned), Change::Delete)))
    }

    async fn increment(&self, key: &str, seconds: u64) -> Result<u64, Error> {
        Ok(self.with(key, |present| match present.and_then(|text| text.parse::<u64>().ok()) {
            Some(count) => (count.saturating_add(1), Change::Keep(count.saturating_add(1).to_string())),
            None => (1, Change::Set("1".to_owned(), seconds)),
        }))
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&str>,
        value: Option<Lasting<'_>>,
    ) -> Result<bool, Error> {
        Ok(self.with(key, |present| match (present == expected, value) {
            (false, _) => (false, Change::None),
            (true, Some((value, seconds))) => (true, Change::Set(value.to_owned(), seconds)),
            (true, None) => (true, Change::Delete),
        }))
    }
}
