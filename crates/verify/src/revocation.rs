//! Tokens that must end before they expire.

use std::fmt;

use async_trait::async_trait;

use crate::Verified;

/// Says whether a token was revoked. It is asked after everything else was found right; what it cannot
/// find out counts as revoked, and the caller gets 503.
#[async_trait]
pub trait Revocation: Send + Sync + 'static {
    /// Whether this token was revoked. Bound the time: the request waits.
    ///
    /// # Errors
    /// When it cannot be found out.
    async fn is_revoked(&self, token: &str, verified: &Verified) -> Result<bool, RevocationFailed>;
}

/// Why it could not be found out, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationFailed(String);

impl RevocationFailed {
    /// With a reason that has neither tokens nor secrets in it.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for RevocationFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RevocationFailed {}

#[cfg(feature = "jwks")]
pub use endpoint::HttpRevocation;

#[cfg(feature = "jwks")]
mod endpoint {
    use std::collections::HashMap;
    use std::fmt;
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use async_trait::async_trait;
    use aws_lc_rs::digest;

    use super::{Revocation, RevocationFailed};
    use crate::outbound::{Endpoint, Http};
    use crate::{Clock, ConfigError, Verified};

    /// Answers that are remembered; beyond them the endpoint is asked.
    const MAX_REMEMBERED: usize = 10_000;
    /// For a longer time a short `exp` is the better means.
    const MAX_CACHE: Duration = Duration::from_secs(60);
    /// A session has a few hundred bytes; a longer answer is an error.
    const MAX_ANSWER: usize = 64 * 1024;

    /// Asks an HTTP endpoint with the token as bearer: 200 is alive, 401 is revoked, and everything
    /// else is 503 for the caller. A 200 whose body is `null` is revoked, too: that is how Better
    /// Auth's `/get-session` says that there is no session.
    pub struct HttpRevocation {
        http: Http,
        endpoint: Endpoint,
        cache: Duration,
        remembered: Mutex<HashMap<[u8; 32], (Duration, bool)>>,
        clock: Clock,
    }

    impl fmt::Debug for HttpRevocation {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("HttpRevocation").field("cache", &self.cache).finish_non_exhaustive()
        }
    }

    impl HttpRevocation {
        /// With this endpoint, `https` or on this machine, and five seconds for an answer.
        ///
        /// # Errors
        /// When the URL is refused.
        pub fn new(url: &str) -> Result<Self, ConfigError> {
            Self::make(url, false)
        }

        /// As [`HttpRevocation::new`] over plain HTTP: whoever is on the way reads the tokens.
        ///
        /// # Errors
        /// When the URL is refused.
        pub fn new_allowing_http(url: &str) -> Result<Self, ConfigError> {
            Self::make(url, true)
        }

        fn make(url: &str, allow_http: bool) -> Result<Self, ConfigError> {
            let endpoint = Endpoint::parse(url, allow_http)?;
            Ok(Self {
                http: Http::new(Duration::from_secs(5), &endpoint)?,
                endpoint,
                cache: Duration::ZERO,
                remembered: Mutex::default(),
                clock: Clock::system(),
            })
        }

        /// How long an answer is believed: at most a minute, and by default not at all.
        #[must_use]
        pub fn cache_for(mut self, time: Duration) -> Self {
            self.cache = time.min(MAX_CACHE);
            self
        }

        /// The time of a test.
        #[must_use]
        pub fn clock(mut self, clock: Clock) -> Self {
            self.clock = clock;
            self
        }

        fn remembered(&self, key: &[u8; 32]) -> Option<bool> {
            let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            remembered
                .get(key)
                .filter(|(until, _)| self.clock.elapsed() < *until)
                .map(|(_, revoked)| *revoked)
        }

        fn remember(&self, key: [u8; 32], revoked: bool) {
            let now = self.clock.elapsed();
            let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            if remembered.len() >= MAX_REMEMBERED {
                remembered.retain(|_, (until, _)| now < *until);
            }
            if remembered.len() < MAX_REMEMBERED {
                remembered.insert(key, (now + self.cache, revoked));
            }
        }
    }

    #[async_trait]
    impl Revocation for HttpRevocation {
        async fn is_revoked(&self, token: &str, _verified: &Verified) -> Result<bool, RevocationFailed> {
            let key = (!self.cache.is_zero()).then(|| {
                let mut key = [0; 32];
                let hash = digest::digest(&digest::SHA256, token.as_bytes());
                for (to, from) in key.iter_mut().zip(hash.as_ref()) {
                    *to = *from;
                }
                key
            });
            if let Some(revoked) = key.as_ref().and_then(|key| self.remembered(key)) {
                return Ok(revoked);
            }
            let answer = self
                .http
                .get(&self.endpoint, Some(token), MAX_ANSWER)
                .await
                .map_err(RevocationFailed::new)?;
            let revoked = match answer.status {
                200 => answer.body.trim_ascii() == b"null",
                401 => true,
                other => return Err(RevocationFailed::new(format!("the endpoint answered {other}"))),
            };
            if let Some(key) = key {
                self.remember(key, revoked);
            }
            Ok(revoked)
        }
    }
}
