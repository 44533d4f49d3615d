//! Sealed values: text encrypted for the database (Better Auth's `symmetricEncrypt`).
//!
//! XChaCha20-Poly1305 under SHA-256 of the secret; lower-case hex of nonce (24 bytes), ciphertext
//! and tag (16). With versioned secrets the hex follows `$ba$<version>$`, so that a value says which
//! secret opens it.

use aws_lc_rs::hkdf;
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use super::sign::{hex_decode, hex_encode};
use super::{CryptoError, Random, Secret, Secrets};

const ENVELOPE: &str = "$ba$";
const NONCE_LEN: usize = 24;

impl Secrets {
    /// Encrypts a text with the current secret and a fresh nonce.
    ///
    /// # Errors
    /// [`CryptoError::Backend`] when the cipher refuses, which it does for texts beyond 256 GiB only.
    pub fn seal(&self, random: &Random, plain: &str) -> Result<String, CryptoError> {
        let sealed = seal_with(self.current(), random.bytes(), plain)?;
        Ok(match self.versions().first() {
            Some((version, _)) => format!("{ENVELOPE}{version}${sealed}"),
            None => sealed,
        })
    }

    /// Decrypts what [`Secrets::seal`] or Better Auth sealed, with the secret that the value names;
    /// bare hex is opened with the single or the legacy secret.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`], [`CryptoError::UnknownVersion`], [`CryptoError::NoLegacySecret`] or
    /// [`CryptoError::Unauthentic`].
    pub fn open(&self, sealed: &str) -> Result<String, CryptoError> {
        if self.versions().is_empty() {
            return open_with(self.current(), sealed);
        }
        if let Some(envelope) = sealed.strip_prefix(ENVELOPE) {
            let (version, hex) = envelope.split_once('$').ok_or(CryptoError::Malformed)?;
            if version.is_empty() || !version.bytes().all(|digit| digit.is_ascii_digit()) {
                return Err(CryptoError::Malformed);
            }
            let version: u32 = version.parse().map_err(|_| CryptoError::Malformed)?;
            let (_, secret) = self
                .versions()
                .iter()
                .find(|(number, _)| *number == version)
                .ok_or(CryptoError::UnknownVersion(version))?;
            return open_with(secret, hex);
        }
        open_with(self.legacy().ok_or(CryptoError::NoLegacySecret)?, sealed)
    }

    /// Whether a stored OAuth token looks sealed rather than plain: Better Auth's own guess, by which
    /// it reads rows from before `account.encryptOAuthTokens`.
    pub fn looks_sealed(stored: &str) -> bool {
        stored.starts_with(ENVELOPE)
            || (!stored.is_empty()
                && stored.len().is_multiple_of(2)
                && stored.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }

    /// These secrets, each turned into its [`purpose_secret`]; versions stay.
    ///
    /// # Errors
    /// [`CryptoError::BadKey`] never in practice: the versions were distinct before.
    pub fn for_purpose(&self, purpose: &str) -> Result<Self, CryptoError> {
        if self.versions().is_empty() {
            return Ok(Self::single(purpose_secret(self.current(), purpose)));
        }
        let versions = self
            .versions()
            .iter()
            .map(|(version, secret)| (*version, purpose_secret(secret, purpose)))
            .collect();
        Self::versioned(versions, self.legacy().map(|secret| purpose_secret(secret, purpose)))
    }
}

fn seal_with(secret: &Secret, nonce: [u8; NONCE_LEN], plain: &str) -> Result<String, CryptoError> {
    let cipher = XChaCha20Poly1305::new(secret.seal_key().into());
    let body = cipher.encrypt(&XNonce::from(nonce), plain.as_bytes()).map_err(|_| CryptoError::Backend)?;
    let mut hex = hex_encode(&nonce);
    hex.push_str(&hex_encode(&body));
    Ok(hex)
}

fn open_with(secret: &Secret, hex: &str) -> Result<String, CryptoError> {
    let bytes = hex_decode(hex).ok_or(CryptoError::Malformed)?;
    let (nonce, body) = bytes.split_first_chunk::<NONCE_LEN>().ok_or(CryptoError::Malformed)?;
    let cipher = XChaCha20Poly1305::new(secret.seal_key().into());
    let plain = cipher.decrypt(&XNonce::from(*nonce), body).map_err(|_| CryptoError::Unauthentic)?;
    String::from_utf8(plain).map_err(|_| CryptoError::Malformed)
}

/// HKDF-SHA256 (RFC 5869), at most 8160 bytes; more gives an empty output, as no key is that long.
pub fn hkdf_sha256(ikm: &[u8], salt: &[u8], info: &[u8], len: usize) -> Vec<u8> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(ikm);
    let mut out = vec![0u8; len];
    let filled = prk.expand(&[info], Length(len)).and_then(|okm| okm.fill(&mut out));
    // Never the zeroes of a buffer that was not filled: those would be a key everybody knows.
    if filled.is_err() { Vec::new() } else { out }
}

/// The secret for one purpose of Better Auth's OAuth state: hex of an HKDF, used as a secret text.
pub fn purpose_secret(secret: &Secret, purpose: &str) -> Secret {
    let key = hkdf_sha256(
        secret.expose().as_bytes(),
        b"better-auth:oauth-encryption:v1",
        format!("better-auth:{purpose}:v1").as_bytes(),
        32,
    );
    Secret::new(hex_encode(&key))
}
