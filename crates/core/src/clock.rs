//! Time, as a value that is handed around. Nothing else in the project reads the system clock.
//!
//! Better Auth counts in whole milliseconds (JavaScript's `Date`) and writes ISO-8601 with exactly
//! three decimals and a `Z`; [`Timestamp`] does the same, so that a row or a signed cookie written
//! here is byte for byte what the Node server would have written.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// A point in time in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The years that ISO-8601 writes with four digits; outside them a date is refused, not truncated.
const FIRST_MS: i64 = -62_167_219_200_000;
const LAST_MS: i64 = 253_402_300_799_999;

impl Timestamp {
    /// From milliseconds since the epoch; clamped to the years 0000 to 9999.
    pub const fn from_millis(ms: i64) -> Self {
        Self(if ms < FIRST_MS {
            FIRST_MS
        } else if ms > LAST_MS {
            LAST_MS
        } else {
            ms
        })
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down: the unit of JWT claims.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This time moved by whole seconds (negative: earlier).
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_millis(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Reads an ISO-8601 date with a time zone; `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Some(Self::from(at))
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(at: OffsetDateTime) -> Self {
        let ms = at.unix_timestamp_nanos().div_euclid(1_000_000);
        Self::from_millis(i64::try_from(ms).unwrap_or(if ms < 0 { FIRST_MS } else { LAST_MS }))
    }
}

impl From<Timestamp> for OffsetDateTime {
    fn from(at: Timestamp) -> Self {
        // In range by construction (`from_millis` clamps), so the fallback is never taken.
        Self::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000).unwrap_or(Self::UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from(*self)
            .format(format_description!(
                "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
            ))
            .map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an ISO-8601 date"))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Where "now" comes from: the system, or a test that sets it.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system's clock.
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until [`Clock::advance`] moves it.
    pub fn fixed(at: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at.millis()))))
    }

    /// Moves a fixed clock; a system clock is not moved.
    pub fn advance(&self, by: Duration) {
        if let Some(fixed) = &self.0 {
            fixed.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// The current time.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    pub fn now(&self) -> Timestamp {
        #[cfg(feature = "test-mode")]
        if let Ok(at) = REQUEST_NOW.try_with(|at| *at) {
            return at;
        }
        match &self.0 {
            Some(fixed) => Timestamp::from_millis(fixed.load(Ordering::SeqCst)),
            None => Timestamp::from(OffsetDateTime::now_utc()),
        }
    }
}

#[cfg(feature = "test-mode")]
tokio::task_local! {
    /// The time that `x-test-now` gave to the request at hand (only in a test-mode build).
    pub static REQUEST_NOW: Timestamp;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_javascript_writes_it() {
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_millis(1_700_000_000_007).to_string(), "2023-11-14T22:13:20.007Z");
    }

    #[test]
    fn a_date_survives_writing_and_reading() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        assert_eq!(Timestamp::parse(&at.to_string()).unwrap(), at);
        assert_eq!(Timestamp::parse("2023-11-14T23:13:20.123+01:00").unwrap(), at);
        assert!(Timestamp::parse("yesterday").is_none());
    }

    #[test]
    fn a_date_beyond_four_digit_years_is_clamped_and_never_panics() {
        for ms in [i64::MIN, i64::MAX] {
            assert_eq!(Timestamp::from_millis(ms).to_string().len(), 24);
            assert_eq!(Timestamp::from_millis(ms).plus_seconds(ms).to_string().len(), 24);
        }
    }
}
