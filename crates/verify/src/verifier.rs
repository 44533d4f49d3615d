//! The verifier: which keys, which algorithms, which claims.

use std::fmt;
use std::sync::Arc;
#[cfg(feature = "jwks")]
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::claims::{self, Times};
#[cfg(feature = "jwks")]
use crate::jwks::{self, Remote};
use crate::{Algorithm, Claims, Clock, ConfigError, Error, Jws, Key, KeyError, KeySet, Revocation, Verified};

/// The longest leeway: clocks that differ by more want setting, not patience.
const MAX_LEEWAY_SECS: u64 = 60;

/// The leeway without another.
const DEFAULT_LEEWAY_SECS: u64 = 5;

/// Verifies tokens. Copies share their keys and cost nothing.
#[derive(Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
    revocation: Option<Arc<dyn Revocation>>,
}

struct Inner {
    keys: KeySet,
    #[cfg(feature = "jwks")]
    remote: Option<Arc<Remote>>,
    algorithms: Vec<Algorithm>,
    issuer: Option<Vec<String>>,
    audience: Option<Vec<String>>,
    typ: Option<String>,
    require_expiry: bool,
    leeway_secs: i64,
    clock: Clock,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("algorithms", &self.inner.algorithms)
            .field("issuer", &self.inner.issuer)
            .field("audience", &self.inner.audience)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    /// A builder without keys.
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder::default()
    }

    /// The same verifier, sharing its keys, that also asks whether a token was revoked: for the routes
    /// where a token must end with its session.
    #[must_use]
    pub fn with_revocation(&self, revocation: impl Revocation) -> Self {
        Self { inner: Arc::clone(&self.inner), revocation: Some(Arc::new(revocation)) }
    }

    /// Fetches the keys now, so that the first request does not wait for them.
    ///
    /// # Errors
    /// [`Error::KeysUnavailable`]. The verifier is good all the same: it fetches when it needs keys.
    #[cfg(feature = "jwks")]
    pub async fn warm_up(&self) -> Result<(), Error> {
        let Some(remote) = &self.inner.remote else { return Ok(()) };
        if remote.keys().is_none() {
            remote.fetched().await;
        }
        remote.keys().map(drop).ok_or_else(|| remote.unavailable())
    }

    /// Verifies a token and reads its claims into `T`. It waits where keys have to be fetched, never
    /// longer than `max_wait`, and for the revocation check where there is one.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub async fn verify<T: DeserializeOwned>(&self, token: &str) -> Result<Claims<T>, Error> {
        Claims::of(Arc::new(self.verify_token(token).await?))
    }

    /// As [`Verifier::verify`], without a type for the claims.
    ///
    /// # Errors
    /// As there.
    pub async fn verify_token(&self, token: &str) -> Result<Verified, Error> {
        let jws = Jws::parse(token)?;
        let algorithm = self.admit(&jws)?;
        let verified = match self.key_at_hand(&jws, algorithm) {
            Ok(key) => self.finish(jws, &key)?,
            #[cfg(feature = "jwks")]
            Err(error) => {
                let key = self.key_after_fetch(&jws, algorithm, error).await?;
                self.finish(jws, &key)?
            }
            #[cfg(not(feature = "jwks"))]
            Err(error) => return Err(error),
        };
        if let Some(revocation) = &self.revocation
            && revocation
                .is_revoked(token, &verified)
                .await
                .map_err(|failed| Error::RevocationUnavailable(failed.to_string()))?
        {
            return Err(Error::Revoked);
        }
        Ok(verified)
    }

    /// Verifies a token with the keys at hand, without waiting for anything. Keys that are stale are
    /// renewed in the background where a tokio runtime is running.
    ///
    /// # Errors
    /// As [`Verifier::verify`]; [`Error::RevocationUnavailable`] from a verifier with a revocation
    /// check, which it cannot make.
    pub fn verify_now<T: DeserializeOwned>(&self, token: &str) -> Result<Claims<T>, Error> {
        if self.revocation.is_some() {
            return Err(Error::RevocationUnavailable("verify_now does not wait: use verify".to_owned()));
        }
        let jws = Jws::parse(token)?;
        let algorithm = self.admit(&jws)?;
        let key = self.key_at_hand(&jws, algorithm)?;
        Claims::of(Arc::new(self.finish(jws, &key)?))
    }

    /// The token's algorithm, if it is one of this verifier's.
    fn admit(&self, jws: &Jws<'_>) -> Result<Algorithm, Error> {
        let algorithm = jws.algorithm()?;
        let allowed = &self.inner.algorithms;
        if allowed.contains(&algorithm) {
            return Ok(algorithm);
        }
        Err(if algorithm.is_symmetric() && !allowed.iter().any(|one| one.is_symmetric()) {
            Error::NeedsSecret(algorithm)
        } else if !algorithm.is_symmetric() && allowed.iter().all(|one| one.is_symmetric()) {
            Error::NeedsPublicKey(algorithm)
        } else {
            Error::AlgorithmNotAllowed(algorithm)
        })
    }

    fn key_at_hand(&self, jws: &Jws<'_>, algorithm: Algorithm) -> Result<Arc<Key>, Error> {
        let kid = jws.header().kid.as_deref();
        let found = self.inner.keys.find(algorithm, kid).map(Arc::clone);
        #[cfg(feature = "jwks")]
        if let (Err(Error::UnknownKid(_)), Some(remote), false) =
            (&found, &self.inner.remote, algorithm.is_symmetric())
        {
            let keys = remote.keys_kept_fresh().ok_or_else(|| remote.unavailable())?;
            return keys.find(algorithm, kid).map(Arc::clone);
        }
        found
    }

    #[cfg(feature = "jwks")]
    async fn key_after_fetch(
        &self,
        jws: &Jws<'_>,
        algorithm: Algorithm,
        error: Error,
    ) -> Result<Arc<Key>, Error> {
        let fetch = match &error {
            Error::KeysUnavailable { .. } => true,
            // Another fetch does not help a token that names no key.
            Error::UnknownKid(kid) => kid.is_some() && !algorithm.is_symmetric(),
            _ => false,
        };
        match &self.inner.remote {
            Some(remote) if fetch => {
                remote.fetched().await;
                self.key_at_hand(jws, algorithm)
            }
            _ => Err(error),
        }
    }

    fn finish(&self, jws: Jws<'_>, key: &Key) -> Result<Verified, Error> {
        jws.verify(key)?;
        let inner = &self.inner;
        if let Some(expected) = &inner.typ
            && !jws.header().typ.as_deref().is_some_and(|typ| same_type(typ, expected))
        {
            return Err(Error::WrongType);
        }
        let claims = jws.claims()?;
        let times = Times {
            now: inner.clock.unix_seconds(),
            leeway_secs: inner.leeway_secs,
            require_expiry: inner.require_expiry,
            refuse_future_issue: true,
        };
        claims::check(inner.issuer.as_deref(), inner.audience.as_deref(), times, &claims)?;
        Ok(Verified { header: jws.into_header(), claims })
    }
}

/// Media types, of which `application/` may be left out (RFC 7515 §4.1.9).
fn same_type(one: &str, other: &str) -> bool {
    let bare = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.strip_prefix("application/").map(str::to_owned).unwrap_or(text)
    };
    bare(one) == bare(other)
}

/// Builds a [`Verifier`]. What is wrong is told by [`VerifierBuilder::build`].
#[derive(Debug, Default)]
pub struct VerifierBuilder {
    keys: KeySet,
    #[cfg(feature = "jwks")]
    remote: jwks::Options,
    algorithms: Option<Vec<Algorithm>>,
    issuer: Vec<String>,
    any_issuer: bool,
    audience: Vec<String>,
    any_audience: bool,
    typ: Option<String>,
    allow_missing_expiry: bool,
    leeway: Option<std::time::Duration>,
    clock: Clock,
    wrong: Option<KeyError>,
}

impl VerifierBuilder {
    /// Everything as a Better Auth server at this URL has it without options of its own: the keys at
    /// `/api/auth/jwks` (or `/jwks` below the URL's path, if it has one), its origin as issuer and as
    /// audience.
    #[cfg(feature = "jwks")]
    #[must_use]
    pub fn server(self, base: &str) -> Self {
        let base = base.trim_end_matches('/');
        let authority = base.find("://").map_or(0, |at| at + 3);
        let (origin, path) = match base.get(authority..).and_then(|rest| rest.find('/')) {
            Some(at) => base.split_at_checked(authority + at).unwrap_or((base, "")),
            None => (base, "/api/auth"),
        };
        self.jwks_url(format!("{origin}{path}/jwks")).issuer(origin).audience(origin)
    }

    /// Whose tokens; several calls allow several. Compared letter for letter.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer.push(issuer.into());
        self
    }

    /// `iss` is not looked at. Right only where nobody else signs with the same keys.
    #[must_use]
    pub fn any_issuer(mut self) -> Self {
        self.any_issuer = true;
        self
    }

    /// For whom; several calls allow several, one of which has to be in `aud`.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience.push(audience.into());
        self
    }

    /// `aud` is not looked at: a token for another service is good here, too.
    #[must_use]
    pub fn any_audience(mut self) -> Self {
        self.any_audience = true;
        self
    }

    /// Where the server publishes its keys. `https`, unless the host is this machine or
    /// [`allow_http`](Self::allow_http) was said.
    #[cfg(feature = "jwks")]
    #[must_use]
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.remote.url = Some(url.into());
        self
    }

    /// Keys may come over plain HTTP. Whoever is on the way can then sign tokens.
    #[cfg(feature = "jwks")]
    #[must_use]
    pub fn allow_http(mut self) -> Self {
        self.remote.allow_http = true;
        self
    }

    /// How long one fetch may take; 10 s.
    #[cfg(feature = "jwks")]
    #[must_use]
    pub fn fetch_timeout(mut self, timeout: Duration) -> Self {
        self.remote.timeout = timeout;
        self
    }

    /// How long a request waits for a fetch; 5 s.
    #[cfg(feature = "jwks")]
    #[must_use]
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.remote.max_wait = wait;
        self
    }

    /// The least time between two fetches once there are keys; 30 s.
    #[cfg(feature = "jwks")]
    #[must_use]
    pub fn min_refetch(mut self, interval: Duration) -> Self {
        self.remote.min_refetch = interval;
        self
    }

    /// One more key.
    #[must_use]
    pub fn key(mut self, key: Key) -> Self {
        self.keys.push(key);
        self
    }

    /// A JWK as JSON.
    #[must_use]
    pub fn jwk_json(self, json: &str) -> Self {
        self.add(Key::from_jwk_json(json))
    }

    /// A JWK set as JSON, which is not renewed.
    #[must_use]
    pub fn jwks_json(mut self, json: &str) -> Self {
        match KeySet::from_json(json) {
            Ok(set) => self.keys.append(set),
            Err(error) => self.wrong = Some(error),
        }
        self
    }

    /// A public key in PEM (`BEGIN PUBLIC KEY`), for one algorithm.
    #[must_use]
    pub fn pem(self, algorithm: Algorithm, pem: &str) -> Self {
        self.add(Key::from_pem(algorithm, pem))
    }

    /// A shared secret of at least 32 bytes, for one algorithm. Who has it can sign, too.
    #[must_use]
    pub fn secret(self, algorithm: Algorithm, secret: impl AsRef<[u8]>) -> Self {
        self.add(Key::from_secret(algorithm, secret.as_ref()))
    }

    /// Only these; without: all that the keys are for, and no HMAC with a JWK set of a server.
    #[must_use]
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// `typ` has to be this (RFC 8725 §3.11), for instance `at+jwt`; without, it is not looked at.
    #[must_use]
    pub fn typ(mut self, typ: impl Into<String>) -> Self {
        self.typ = Some(typ.into());
        self
    }

    /// A token without `exp` is good for ever.
    #[must_use]
    pub fn allow_missing_expiry(mut self) -> Self {
        self.allow_missing_expiry = true;
        self
    }

    /// How much the clocks may differ, in whole seconds; 5 s, at most 60 s.
    #[must_use]
    pub fn leeway(mut self, leeway: std::time::Duration) -> Self {
        self.leeway = Some(leeway);
        self
    }

    /// The time of a test.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn add(mut self, key: Result<Key, KeyError>) -> Self {
        match key {
            Ok(key) => self.keys.push(key),
            Err(error) => self.wrong = Some(error),
        }
        self
    }

    /// The verifier. Nothing is fetched yet.
    ///
    /// # Errors
    /// What is missing or refused.
    pub fn build(self) -> Result<Verifier, ConfigError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong.into());
        }
        let leeway = self.leeway.unwrap_or(std::time::Duration::from_secs(DEFAULT_LEEWAY_SECS));
        if leeway > std::time::Duration::from_secs(MAX_LEEWAY_SECS) {
            return Err(ConfigError::LeewayTooLong);
        }
        let leeway_secs = i64::try_from(leeway.as_secs()).map_err(|_| ConfigError::LeewayTooLong)?;
        #[cfg(feature = "jwks")]
        let remote = Remote::new(self.remote, self.clock.clone())?;
        #[cfg(feature = "jwks")]
        let fetched = remote.is_some();
        #[cfg(not(feature = "jwks"))]
        let fetched = false;
        if self.keys.is_empty() && !fetched {
            return Err(ConfigError::NoKeys);
        }
        let algorithms: Vec<Algorithm> = Algorithm::ALL
            .into_iter()
            .filter(|one| (fetched && !one.is_symmetric()) || self.keys.algorithms().any(|alg| alg == *one))
            .filter(|one| self.algorithms.as_ref().is_none_or(|allowed| allowed.contains(one)))
            .collect();
        if algorithms.is_empty() {
            return Err(ConfigError::NoAlgorithm);
        }
        if self.issuer.is_empty() && !self.any_issuer {
            return Err(ConfigError::NoIssuer);
        }
        if self.audience.is_empty() && !self.any_audience {
            return Err(ConfigError::NoAudience);
        }
        Ok(Verifier {
            inner: Arc::new(Inner {
                keys: self.keys,
                #[cfg(feature = "jwks")]
                remote,
                algorithms,
                issuer: (!self.any_issuer).then_some(self.issuer),
                audience: (!self.any_audience).then_some(self.audience),
                typ: self.typ,
                require_expiry: !self.allow_missing_expiry,
                leeway_secs,
                clock: self.clock,
            }),
            revocation: None,
        })
    }
}
