//! The time, as an argument: the system's, or one that a test moves.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where a verifier reads the time.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    /// The time of day, and one that only goes forward, since the clock was made.
    System(Instant),
    /// Milliseconds since 1970.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// A clock that stands at this many seconds since 1970 until it is moved. Copies move together.
    pub fn manual(seconds: u64) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(seconds.saturating_mul(1000)))))
    }

    /// Moves a manual clock forward; the system's stays.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(millis) = &self.0 {
            millis.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }

    /// Sets a manual clock to this many seconds since 1970; the system's stays.
    pub fn set(&self, seconds: u64) {
        if let Source::Manual(millis) = &self.0 {
            millis.store(seconds.saturating_mul(1000), Ordering::SeqCst);
        }
    }

    /// Whole seconds since 1970.
    #[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads the time of day")]
    pub fn unix_seconds(&self) -> i64 {
        let seconds = match &self.0 {
            // Before 1970 every token is from the future, which is the refusal that is due.
            Source::System(_) => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
            }
            Source::Manual(millis) => millis.load(Ordering::SeqCst) / 1000,
        };
        i64::try_from(seconds).unwrap_or(i64::MAX)
    }

    /// For the ages of what is kept: setting the time of day does not change it.
    #[cfg_attr(not(feature = "jwks"), expect(dead_code, reason = "only what is fetched has an age"))]
    pub(crate) fn elapsed(&self) -> Duration {
        match &self.0 {
            Source::System(since) => since.elapsed(),
            Source::Manual(millis) => Duration::from_millis(millis.load(Ordering::SeqCst)),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System(_) => "Clock::System",
            Source::Manual(_) => "Clock::Manual",
        })
    }
}
