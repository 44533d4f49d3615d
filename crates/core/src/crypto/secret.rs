//! The operator's secrets, and the keys that follow from them.
//!
//! Deriving a key costs more than using it once, and a session request uses several, so a
//! [`Secret`] derives each key at its first use and keeps it for its lifetime.

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::CryptoError;
use super::jwe::JweKey;
use super::sign::sha256;

/// More salts than the two in use (session cache and account cookie) would be a mistake of a
/// caller; beyond this many, keys are derived anew instead of kept.
const KEPT_SALTS: usize = 8;

/// One secret text. Cheap to clone; wiped from memory with its last clone; `Debug` hides it.
#[derive(Clone)]
pub struct Secret(Arc<Inner>);

struct Inner {
    text: SecretString,
    hmac: OnceLock<hmac::Key>,
    seal: OnceLock<Zeroizing<[u8; 32]>>,
    jwe: RwLock<Vec<(String, Arc<JweKey>)>>,
}

impl Secret {
    /// Takes a secret.
    pub fn new(text: String) -> Self {
        Self(Arc::new(Inner {
            text: SecretString::from(text),
            hmac: OnceLock::new(),
            seal: OnceLock::new(),
            jwe: RwLock::new(Vec::new()),
        }))
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        self.0.text.expose_secret()
    }

    /// The HMAC-SHA256 key of the secret's UTF-8 bytes.
    pub(super) fn hmac_key(&self) -> &hmac::Key {
        self.0.hmac.get_or_init(|| hmac::Key::new(hmac::HMAC_SHA256, self.expose().as_bytes()))
    }

    /// The XChaCha20 key: SHA-256 of the secret's UTF-8 bytes.
    pub(super) fn seal_key(&self) -> &[u8; 32] {
        self.0.seal.get_or_init(|| Zeroizing::new(sha256(self.expose().as_bytes())))
    }

    /// The token encryption key for `salt`.
    pub(super) fn jwe_key(&self, salt: &str) -> Arc<JweKey> {
        {
            let kept = self.0.jwe.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, key)) = kept.iter().find(|(name, _)| name == salt) {
                return Arc::clone(key);
            }
        }
        let key = Arc::new(JweKey::derive(self.expose(), salt));
        let mut kept = self.0.jwe.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_SALTS && !kept.iter().any(|(name, _)| name == salt) {
            kept.push((salt.to_owned(), Arc::clone(&key)));
        }
        key
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

/// All secrets of the operator: the current one, and older ones that still open what they sealed.
///
/// Cookies and HS256 tokens know the current secret only; sealed values and encrypted cookies are
/// also opened with the others (Better Auth's `secrets` option).
#[derive(Debug, Clone)]
pub struct Secrets {
    current: Secret,
    /// Empty when a single secret is configured without a version; else the first is current.
    versions: Vec<(u32, Secret)>,
    legacy: Option<Secret>,
}

impl Secrets {
    /// One secret without a version (`secret`).
    pub const fn single(secret: Secret) -> Self {
        Self { current: secret, versions: Vec::new(), legacy: None }
    }

    /// Versioned secrets (`secrets`), the first being current; `legacy` (`secret`) opens what was
    /// sealed before there were versions. Without any version this is the single `legacy` secret.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] when there is no secret at all, or a version comes twice.
    pub fn versioned(versions: Vec<(u32, Secret)>, legacy: Option<Secret>) -> Result<Self, CryptoError> {
        let Some((_, current)) = versions.first() else {
            return legacy.map(Self::single).ok_or(CryptoError::BadKey);
        };
        let mut numbers: Vec<u32> = versions.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.len() != versions.len() {
            return Err(CryptoError::BadKey);
        }
        Ok(Self { current: current.clone(), versions, legacy })
    }

    /// The secret that signs and seals.
    pub const fn current(&self) -> &Secret {
        &self.current
    }

    /// Every secret, the current one first, the legacy one last and only if it is not among the
    /// versions already.
    pub fn all(&self) -> Vec<&Secret> {
        if self.versions.is_empty() {
            return vec![&self.current];
        }
        let mut all: Vec<&Secret> = self.versions.iter().map(|(_, secret)| secret).collect();
        if let Some(legacy) = &self.legacy
            && !all.iter().any(|secret| secret.expose() == legacy.expose())
        {
            all.push(legacy);
        }
        all
    }

    pub(super) fn versions(&self) -> &[(u32, Secret)] {
        &self.versions
    }

    pub(super) const fn legacy(&self) -> Option<&Secret> {
        self.legacy.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        let secret = Secret::from("do-not-print-me");
        assert_eq!(format!("{secret:?}"), "[secret]");
        let secrets = Secrets::versioned(vec![(2, secret.clone())], Some(secret)).unwrap();
        assert!(!format!("{secrets:?}").contains("print-me"));
    }

    #[test]
    fn the_first_version_is_current_and_the_legacy_secret_comes_last_and_once() {
        let secrets = Secrets::versioned(
            vec![(1, Secret::from("one")), (7, Secret::from("seven"))],
            Some(Secret::from("old")),
        )
        .unwrap();
        assert_eq!(secrets.current().expose(), "one");
        let all: Vec<&str> = secrets.all().into_iter().map(Secret::expose).collect();
        assert_eq!(all, ["one", "seven", "old"]);
        let again = Secrets::versioned(vec![(1, Secret::from("one"))], Some(Secret::from("one"))).unwrap();
        assert_eq!(again.all().len(), 1);
    }

    #[test]
    fn no_secret_at_all_and_a_version_given_twice_are_refused() {
        assert_eq!(Secrets::versioned(vec![], None).unwrap_err(), CryptoError::BadKey);
        let twice = vec![(1, Secret::from("a")), (1, Secret::from("b"))];
        assert_eq!(Secrets::versioned(twice, None).unwrap_err(), CryptoError::BadKey);
        let alone = Secrets::versioned(vec![], Some(Secret::from("a"))).unwrap();
        assert_eq!(alone.all().len(), 1);
    }

    #[test]
    fn more_salts_than_are_kept_still_give_the_same_keys() {
        let secret = Secret::from("s");
        for salt in 0..20 {
            let salt = salt.to_string();
            assert_eq!(secret.jwe_key(&salt).kid(), secret.jwe_key(&salt).kid());
        }
    }
}
