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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CURRENT: &str = "0123456789abcdef0123456789abcdef";

    fn single() -> Secrets {
        Secrets::single(Secret::from(CURRENT))
    }

    fn versioned(legacy: Option<&str>) -> Secrets {
        let versions =
            vec![(2, Secret::from(CURRENT)), (1, Secret::from("fedcba9876543210fedcba9876543210"))];
        Secrets::versioned(versions, legacy.map(Secret::from)).unwrap()
    }

    #[test]
    fn a_sealed_value_is_what_better_auth_writes() {
        let expected = concat!(
            "010101010101010101010101010101010101010101010101",
            "fcea09de1a779f0d070d281e3593d5650bc698881d"
        );
        assert_eq!(seal_with(&Secret::from(CURRENT), [1; 24], "hello").unwrap(), expected);
        assert_eq!(single().open(expected).unwrap(), "hello");
    }

    #[test]
    fn what_node_sealed_is_opened() {
        let bare = "f0e3ddc3ebcd58519b568d561058c10d9104d0faaa194975f956f3d8198d7a96f8ac1cd0f00e02d893a756de";
        assert_eq!(single().open(bare).unwrap(), "höi");
        assert_eq!(single().open(&bare.to_uppercase()).unwrap(), "höi");
        let versioned = versioned(Some("legacy-secret-legacy-secret-0000"));
        assert_eq!(
            versioned
                .open("$ba$2$2a459319edb7425a806f231533e232bdfeb1d4313a46c32e7a1a8033b032deedfe7c621e99cbcdd3c2808240")
                .unwrap(),
            "höi"
        );
        let old = "d5db53732dd4c1f85cca1147a82b3f87890862d5efc6e979544896d178548794632dc89c89ce1069e38cd8";
        assert_eq!(versioned.open(old).unwrap(), "old");
    }

    #[test]
    fn a_versioned_value_is_opened_by_its_version_only() {
        let random = Random::seeded(3);
        let sealed = versioned(None).seal(&random, "x").unwrap();
        assert!(sealed.starts_with("$ba$2$"));
        assert_eq!(versioned(None).open(&sealed).unwrap(), "x");
        let swapped = sealed.replacen("$2$", "$1$", 1);
        assert_eq!(versioned(None).open(&swapped).unwrap_err(), CryptoError::Unauthentic);
        let unknown = sealed.replacen("$2$", "$3$", 1);
        assert_eq!(versioned(None).open(&unknown).unwrap_err(), CryptoError::UnknownVersion(3));
        for bad in ["$ba$", "$ba$2", "$ba$$00", "$ba$-1$00", "$ba$+2$00", "$ba$99999999999$00", "$ba$2x$00"] {
            assert_eq!(versioned(Some("l")).open(bad).unwrap_err(), CryptoError::Malformed, "{bad}");
        }
        assert_eq!(single().open(&sealed).unwrap_err(), CryptoError::Malformed);
    }

    #[test]
    fn bare_hex_needs_the_legacy_secret_once_there_are_versions() {
        let bare = single().seal(&Random::system(), "x").unwrap();
        assert_eq!(versioned(None).open(&bare).unwrap_err(), CryptoError::NoLegacySecret);
        assert_eq!(versioned(Some("other")).open(&bare).unwrap_err(), CryptoError::Unauthentic);
        assert_eq!(versioned(Some(CURRENT)).open(&bare).unwrap(), "x");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let sealed = single().seal(&Random::system(), "attack at dawn").unwrap();
        for at in 0..sealed.len() {
            let mut bent = sealed.clone().into_bytes();
            bent[at] = if bent[at] == b'0' { b'1' } else { b'0' };
            let bent = String::from_utf8(bent).unwrap();
            assert_eq!(single().open(&bent).unwrap_err(), CryptoError::Unauthentic, "position {at}");
            assert!(single().open(&sealed[..at]).is_err());
        }
    }

    #[test]
    fn sealed_tokens_are_told_from_plain_ones_as_better_auth_guesses() {
        for sealed in ["$ba$1$00", "00ff", "ABCDEF"] {
            assert!(Secrets::looks_sealed(sealed), "{sealed}");
        }
        for plain in ["", "0", "00f", "ya29.a0", "gh"] {
            assert!(!Secrets::looks_sealed(plain), "{plain}");
        }
    }

    #[test]
    fn a_purpose_secret_is_what_better_auth_derives() {
        assert_eq!(
            purpose_secret(&Secret::from(CURRENT), "oauth-state-cookie").expose(),
            "bf44e8316bc7629cf04709317f70b8578cb22b15283445ad6302e8f50ac6050d"
        );
        let purposed = versioned(None).for_purpose("oauth-state-cookie").unwrap();
        let sealed = purposed.seal(&Random::seeded(1), "x").unwrap();
        assert!(sealed.starts_with("$ba$2$"));
        assert!(versioned(None).open(&sealed).is_err());
        assert_eq!(
            single()
                .for_purpose("p")
                .unwrap()
                .open(&single().for_purpose("p").unwrap().seal(&Random::seeded(1), "y").unwrap())
                .unwrap(),
            "y"
        );
    }

    #[test]
    fn hkdf_agrees_with_rfc_5869() {
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        assert_eq!(
            hex_encode(&hkdf_sha256(&[0x0b; 22], &salt, &info, 42)),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
        assert!(hkdf_sha256(b"k", b"", b"", 255 * 32 + 1).is_empty());
    }

    proptest! {
        #[test]
        fn what_was_sealed_is_opened(text in any::<String>()) {
            for secrets in [single(), versioned(None)] {
                let sealed = secrets.seal(&Random::system(), &text).unwrap();
                prop_assert!(Secrets::looks_sealed(&sealed));
                prop_assert_eq!(secrets.open(&sealed).unwrap(), text.clone());
            }
        }

        #[test]
        fn no_text_makes_opening_panic(text in "(\\$ba\\$[0-9]{0,3}\\$?)?[0-9a-fé]{0,120}") {
            prop_assert!(single().open(&text).is_err());
            prop_assert!(versioned(Some("l")).open(&text).is_err());
        }
    }
}
