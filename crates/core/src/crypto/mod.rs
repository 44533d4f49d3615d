//! Cryptography: signed cookies, sealed values, tokens, signing keys, password hashes, one-time
//! codes and chance.
//!
//! Every format here is Better Auth's (1.7.6), so that rows and cookies may be shared with a Node
//! server. The primitives are those of aws-lc, except XChaCha20 (which aws-lc lacks) and the three
//! password hashes (which aws-lc-rs does not expose).
//!
//! JSON Web Tokens are a thin layer of our own over aws-lc instead of the `jsonwebtoken` crate: a
//! token here has one of six fixed algorithms and is two joins and one signature, which is less code
//! than the conversion of keys would be; and that crate picks its cryptography when the program runs
//! and panics when it finds none or two.
//!
//! Invariants: nothing in this module panics on any input; secrets have no readable `Debug`; what
//! must not be guessed is compared in constant time; time and chance are arguments.

mod der;
mod jwe;
mod jwt;
mod keys;
mod password;
mod queue;
mod random;
mod seal;
mod secret;
mod sign;
mod totp;

use std::fmt;

pub use jwe::{jwe_decrypt, jwe_encrypt};
pub use jwt::{ClaimError, Expect, Header, Hs256, peek, read_hs256, seal_hs256, sign_hs256, verify_hs256};
pub use keys::{Algorithm, KeyPair, verify_jwt};
pub use password::{HashKind, PasswordError, Passwords, PoolOptions, Verdict};
pub use random::{Alphabet, Random};
pub use seal::{hkdf_sha256, purpose_secret};
pub use secret::{Secret, Secrets};
pub use sign::{
    base64url, base64url_decode, constant_time_eq, decode_lenient, decode_uri_component,
    encode_uri_component, hex_decode, hex_encode, hmac_sha256, sha256, sha256_base64url, sign_value,
    verify_signed,
};
pub use totp::{base32_decode, base32_nopad, hotp, otpauth_uri, totp_at, totp_matches};

/// What can go wrong with keys and sealed values. The texts name no secret and no input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CryptoError {
    /// The sealed value is not in a known form.
    Malformed,
    /// The sealed value names a secret that is not configured (any more).
    UnknownVersion(u32),
    /// The sealed value has no version and there is no legacy secret.
    NoLegacySecret,
    /// Wrong secret, or the value was changed.
    Unauthentic,
    /// A key that does not fit its algorithm, or a size that is not supported.
    BadKey,
    /// A setting below what is safe.
    TooWeak,
    /// A setting beyond what this process can serve.
    TooStrong,
    /// The cryptographic library refused; not a matter of the input.
    Backend,
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the sealed value is malformed"),
            Self::UnknownVersion(version) => {
                write!(f, "the value is sealed with secret version {version}, which is not configured")
            }
            Self::NoLegacySecret => {
                f.write_str("the value is sealed without a version and no legacy secret is configured")
            }
            Self::Unauthentic => f.write_str("the value was sealed with another secret or was changed"),
            Self::BadKey => f.write_str("the key does not fit its algorithm"),
            Self::TooWeak => f.write_str("the parameters are below the accepted minimum"),
            Self::TooStrong => f.write_str("the parameters are beyond what can be computed in a request"),
            Self::Backend => f.write_str("the cryptographic library refused the operation"),
        }
    }
}

impl std::error::Error for CryptoError {}

impl From<aws_lc_rs::error::Unspecified> for CryptoError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Backend
    }
}

impl From<aws_lc_rs::error::KeyRejected> for CryptoError {
    fn from(_: aws_lc_rs::error::KeyRejected) -> Self {
        Self::BadKey
    }
}

impl From<CryptoError> for crate::error::Error {
    fn from(error: CryptoError) -> Self {
        Self::broken(error)
    }
}
