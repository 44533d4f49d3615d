//! The signature algorithms that are accepted at all. `none` is not among them.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A signature algorithm for tokens (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519. `Ed25519`, its name in RFC 9864 §2.2, is read as the same.
    EdDSA,
    /// ECDSA with P-256 and SHA-256.
    ES256,
    /// ECDSA with P-384 and SHA-384.
    ES384,
    /// ECDSA with P-521 and SHA-512.
    ES512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::EdDSA,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::HS256,
        Self::HS384,
        Self::HS512,
    ];

    /// The `alg` of a token.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
        }
    }

    /// The `kty` of its keys.
    pub const fn key_type(self) -> &'static str {
        match self {
            Self::EdDSA => "OKP",
            Self::ES256 | Self::ES384 | Self::ES512 => "EC",
            Self::HS256 | Self::HS384 | Self::HS512 => "oct",
            _ => "RSA",
        }
    }

    /// The `crv` of its keys, for those that are points.
    pub const fn curve(self) -> Option<&'static str> {
        match self {
            Self::EdDSA => Some("Ed25519"),
            Self::ES256 => Some("P-256"),
            Self::ES384 => Some("P-384"),
            Self::ES512 => Some("P-521"),
            _ => None,
        }
    }

    /// Whether who can verify can sign, too.
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }

    /// Bytes of one coordinate of its curve (RFC 7518 §6.2.1.2, RFC 8037 §2).
    pub(crate) const fn coordinate_len(self) -> usize {
        match self {
            Self::ES384 => 48,
            Self::ES512 => 66,
            _ => 32,
        }
    }

    /// Bytes of its hash: the shortest HMAC key that RFC 7518 §3.2 allows.
    pub(crate) const fn hash_len(self) -> usize {
        match self {
            Self::ES384 | Self::PS384 | Self::RS384 | Self::HS384 => 48,
            Self::EdDSA | Self::ES512 | Self::PS512 | Self::RS512 | Self::HS512 => 64,
            _ => 32,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    /// Names are compared letter for letter (RFC 7515 §4.1.1).
    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "Ed25519" => Ok(Self::EdDSA),
            _ => Self::ALL
                .into_iter()
                .find(|one| one.name() == name)
                .ok_or_else(|| Error::unsupported_algorithm(name)),
        }
    }
}
