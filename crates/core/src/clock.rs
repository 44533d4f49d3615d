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
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime};

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

    /// The ISO-8601 date, digit by digit: each answer has several, and `format!` takes ten times as long.
    pub fn to_iso(self) -> [u8; 24] {
        const DAY: i64 = 86_400_000;
        const EPOCH: i32 = time::macros::date!(1970 - 01 - 01).to_julian_day();
        // Both fit, by construction (`from_millis` clamps): no fallback is ever taken.
        let ms = u32::try_from(self.0.rem_euclid(DAY)).unwrap_or_default();
        let days = i32::try_from(self.0.div_euclid(DAY)).ok();
        let date = days.and_then(|days| Date::from_julian_day(EPOCH + days).ok());
        let (year, month, day) = date.unwrap_or(Date::MIN).to_calendar_date();
        let [y1, y2, y3, y4] = digits(year.unsigned_abs());
        let ([o1, o2], [d1, d2]) = (digits(u8::from(month).into()), digits(day.into()));
        let ([h1, h2], [m1, m2]) = (digits(ms / 3_600_000), digits(ms / 60_000 % 60));
        let ([s1, s2], [t1, t2, t3]) = (digits(ms / 1000 % 60), digits(ms % 1000));
        [
            y1, y2, y3, y4, b'-', o1, o2, b'-', d1, d2, b'T', h1, h2, b':', m1, m2, b':', s1, s2, b'.', t1,
            t2, t3, b'Z',
        ]
    }

    /// Reads an ISO-8601 date with a time zone; `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Some(Self::from(at))
    }
}

/// The last digits of a number that is not negative.
fn digits<const N: usize>(mut number: u32) -> [u8; N] {
    let mut text = [b'0'; N];
    for byte in text.iter_mut().rev() {
        *byte += u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    text
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
        f.write_str(std::str::from_utf8(&self.to_iso()).map_err(|_| fmt::Error)?)
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
    fn digits_are_those_of_the_calendar() {
        // A step of some 37 days and odd milliseconds, from the first year to the last.
        for ms in (FIRST_MS..=LAST_MS).step_by(3_200_000_123) {
            let at = Timestamp::from_millis(ms);
            let date = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap();
            let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
            let (hour, minute, second, ms) = date.to_hms_milli();
            let expected =
                format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z");
            assert_eq!(at.to_string(), expected);
            assert_eq!(Timestamp::parse(&expected), Some(at));
        }
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
