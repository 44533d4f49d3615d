//! What can be wrong with a token, and what to do about it.
//!
//! Texts are for logs: they name what was expected and, bounded and escaped, what a token claimed. No
//! text has a token, a signature or a secret in it.

use std::fmt;

use crate::Algorithm;

/// How much of a text that a token chose is repeated.
const MAX_REPEATED: usize = 100;

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The request has no bearer token.
    Missing,
    /// There is an `Authorization: Bearer` header without exactly one token.
    BadHeader,
    /// No dot, or one: a session token of Better Auth, plain or as its signed cookie.
    SessionToken,
    /// Five parts: a JWE.
    Encrypted,
    /// Longer than [`MAX_TOKEN_LEN`](crate::MAX_TOKEN_LEN).
    TooLong,
    /// Not a compact JWS; the text says which part and why.
    Malformed(&'static str),
    /// The header has `crit` (RFC 7515 §4.1.11); no extension is understood here.
    Critical,
    /// `alg` is `none`, in any spelling.
    AlgorithmNone,
    /// An `alg` that this crate does not have.
    UnsupportedAlgorithm(String),
    /// An asymmetric token, and the verifier has shared secrets only.
    NeedsPublicKey(Algorithm),
    /// An HMAC token, and the verifier has public keys only.
    NeedsSecret(Algorithm),
    /// An algorithm that the verifier does not allow, or has no key for.
    AlgorithmNotAllowed(Algorithm),
    /// The key that `kid` names is for another algorithm.
    WrongAlgorithmForKey {
        /// What the token says.
        token: Algorithm,
        /// What the key is for.
        key: Algorithm,
    },
    /// No key has this `kid`; without one: not exactly one key could be meant.
    UnknownKid(Option<String>),
    /// The signature is not one of the key.
    BadSignature,
    /// `typ` is not the expected one.
    WrongType,
    /// A required claim is not there.
    MissingClaim(&'static str),
    /// A claim is of the wrong JSON type.
    InvalidClaim(&'static str),
    /// `iss` is none of the expected.
    WrongIssuer {
        /// What was configured.
        expected: Vec<String>,
        /// What the token says.
        received: String,
    },
    /// `aud` has none of the expected.
    WrongAudience {
        /// What was configured.
        expected: Vec<String>,
        /// What the token says.
        received: String,
    },
    /// `exp` has passed.
    Expired {
        /// `exp`, in seconds since 1970.
        at: i64,
        /// The time of the check.
        now: i64,
    },
    /// `nbf` has not come.
    NotYetValid {
        /// `nbf`, in seconds since 1970.
        at: i64,
        /// The time of the check.
        now: i64,
    },
    /// `iat` has not come: the clocks differ by more than the leeway.
    IssuedInFuture {
        /// `iat`, in seconds since 1970.
        at: i64,
        /// The time of the check.
        now: i64,
    },
    /// The claims are verified and do not fit the service's type.
    ClaimsMismatch(String),
    /// There are no keys yet: the server that publishes them did not answer.
    KeysUnavailable {
        /// In how many seconds it is asked again.
        retry_after: u64,
    },
    /// The key that [`verify_jwt`](crate::verify_jwt) was called with is refused.
    BadKey(KeyError),
    /// The token was revoked.
    Revoked,
    /// Whether the token was revoked could not be found out, so it counts as revoked.
    RevocationUnavailable(String),
    /// None of these roles, one of which is needed.
    MissingRole(Vec<String>),
    /// These scopes are needed.
    MissingScope(Vec<String>),
    /// An extractor or a guard runs without a [`VerifyLayer`](crate::VerifyLayer) around it.
    NoLayer,
}

/// What an [`Error`] means to the caller of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// 401: nothing was presented.
    Missing,
    /// 401: what was presented is not accepted.
    Invalid,
    /// 401: what was presented has expired.
    Expired,
    /// 403: a role or a scope is missing.
    Forbidden,
    /// 503: it cannot be known at present.
    Unavailable,
    /// 500: the service is put together wrongly.
    Misconfigured,
}

impl Kind {
    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::Missing | Self::Invalid | Self::Expired => 401,
            Self::Forbidden => 403,
            Self::Unavailable => 503,
            Self::Misconfigured => 500,
        }
    }
}

impl Error {
    pub(crate) fn unsupported_algorithm(name: &str) -> Self {
        if name.eq_ignore_ascii_case("none") {
            Self::AlgorithmNone
        } else {
            Self::UnsupportedAlgorithm(bounded(name))
        }
    }

    /// What it means to the caller.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Missing => Kind::Missing,
            Self::Expired { .. } => Kind::Expired,
            Self::MissingRole(_) | Self::MissingScope(_) => Kind::Forbidden,
            Self::KeysUnavailable { .. } | Self::RevocationUnavailable(_) => Kind::Unavailable,
            Self::NoLayer | Self::BadKey(_) => Kind::Misconfigured,
            _ => Kind::Invalid,
        }
    }

    /// The `error` of RFC 6750 §3.1; `None` when nothing was presented, or where it is not a matter of
    /// the token.
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::BadHeader => Some("invalid_request"),
            _ => match self.kind() {
                Kind::Invalid | Kind::Expired => Some("invalid_token"),
                Kind::Forbidden => Some("insufficient_scope"),
                Kind::Missing | Kind::Unavailable | Kind::Misconfigured => None,
            },
        }
    }

    /// A text for the caller: it tells nothing of the configuration. ASCII without quotes, as
    /// `error_description` must be (RFC 6750 §3).
    pub const fn public_description(&self) -> &'static str {
        match self {
            Self::Missing => "A bearer token is required",
            Self::BadHeader => "The Authorization header does not have exactly one bearer token",
            Self::SessionToken => "A JWT is expected, not a session token",
            Self::Encrypted => "A signed JWT is expected, not an encrypted one",
            Self::NotYetValid { .. } | Self::IssuedInFuture { .. } => "The token is not valid yet",
            Self::WrongIssuer { .. } => "The token is from another issuer",
            Self::WrongAudience { .. } => "The token is for another audience",
            Self::Revoked => "The token was revoked",
            _ => match self.kind() {
                Kind::Expired => "The token has expired",
                Kind::Forbidden => "The token does not allow this",
                Kind::Unavailable => "Tokens cannot be verified at present",
                Kind::Misconfigured => "Internal error",
                Kind::Missing | Kind::Invalid => "The token is not valid",
            },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no token: send `Authorization: Bearer <JWT>`"),
            Self::BadHeader => f.write_str(
                "the Authorization header is not one `Bearer <JWT>`: send the header once, with one token",
            ),
            Self::SessionToken => f.write_str(
                "this is no JWT; it looks like Better Auth's session token (plain, or `token.signature` from \
                 its cookie): ask the auth server's `GET /token` for a JWT and send that",
            ),
            Self::Encrypted => f.write_str(
                "an encrypted JWT (five parts), which only its server can read: send a signed one, from the \
                 auth server's `GET /token`",
            ),
            Self::TooLong => {
                write!(f, "the token is longer than {} bytes: put fewer claims into it", crate::MAX_TOKEN_LEN)
            }
            Self::Malformed(what) => write!(f, "not a JWT: {what}; check that it was copied as a whole"),
            Self::Critical => f.write_str(
                "the header has `crit`, and no extension is understood here: have the token made without it",
            ),
            Self::AlgorithmNone => {
                f.write_str("the token is not signed (`alg` is none): somebody may be trying to forge one")
            }
            Self::UnsupportedAlgorithm(name) => {
                write!(
                    f,
                    "the algorithm `{name}` is not known here: have the server sign with EdDSA or ES256"
                )
            }
            Self::NeedsPublicKey(alg) => write!(
                f,
                "the token is signed with {alg}, a public key's algorithm, and this verifier has a shared \
                 secret only: give it the server's keys (`jwks_url`)"
            ),
            Self::NeedsSecret(alg) => write!(
                f,
                "the token is signed with {alg}, a shared secret's algorithm, and this verifier has public \
                 keys only: if that is how the server signs, configure its secret; else the token is forged"
            ),
            Self::AlgorithmNotAllowed(alg) => write!(
                f,
                "the token is signed with {alg}, which this verifier does not allow or has no key for: see \
                 `algorithms`"
            ),
            Self::WrongAlgorithmForKey { token, key } => write!(
                f,
                "the token is signed with {token}, and the key that it names is for {key}: no server does \
                 that; somebody may be trying to forge one"
            ),
            Self::UnknownKid(Some(kid)) => write!(
                f,
                "no key has the id `{kid}`: check that the token comes from the server whose keys are \
                 configured; a new key is known here after the next fetch"
            ),
            Self::UnknownKid(None) => f.write_str(
                "the token names no key (`kid`), and not exactly one key could be meant: have the server \
                 name it",
            ),
            Self::BadSignature => f.write_str(
                "the signature does not fit: the token was changed, or signed with another key; check that \
                 the secret or the keys are the server's",
            ),
            Self::WrongType => {
                f.write_str("`typ` is not the expected one: the token is meant for something else; see `typ`")
            }
            Self::MissingClaim(claim) => {
                write!(f, "the claim `{claim}` is missing: have the server put it in, or do not require it")
            }
            Self::InvalidClaim(claim) => {
                write!(f, "the claim `{claim}` has the wrong type: have the server write it as RFC 7519 says")
            }
            Self::WrongIssuer { expected, received } => {
                write!(
                    f,
                    "wrong issuer: expected {}, received {received}; `issuer` here and the server's \
                     `baseURL` or `jwt.issuer` have to be the same, letter for letter",
                    list(expected)
                )
            }
            Self::WrongAudience { expected, received } => {
                write!(
                    f,
                    "wrong audience: expected {}, received {received}; one of `audience` here has to be in \
                     the server's `jwt.audience`",
                    list(expected)
                )
            }
            Self::Expired { at, now } => {
                write!(f, "expired at {at}, {} s ago: get a new token", now.saturating_sub(*at))
            }
            Self::NotYetValid { at, now } => write!(
                f,
                "not valid before {at}, in {} s: check the clocks of both machines",
                at.saturating_sub(*now)
            ),
            Self::IssuedInFuture { at, now } => write!(
                f,
                "issued at {at}, in {} s: check the clocks of both machines",
                at.saturating_sub(*now)
            ),
            Self::ClaimsMismatch(what) => {
                write!(
                    f,
                    "the claims do not fit the service's type: {what}; see the server's `jwt.definePayload`"
                )
            }
            Self::KeysUnavailable { .. } => f.write_str(
                "there are no keys to verify with: the server that publishes them did not answer yet; see \
                 the warnings of the fetch",
            ),
            Self::BadKey(error) => write!(f, "the key is refused: {error}"),
            Self::Revoked => f.write_str("the token was revoked: sign in again"),
            Self::RevocationUnavailable(why) => {
                write!(
                    f,
                    "whether the token was revoked could not be found out, so it is not accepted: {why}"
                )
            }
            Self::MissingRole(roles) => {
                write!(f, "one of the roles {} is needed, and `role` has none of them", list(roles))
            }
            Self::MissingScope(scopes) => write!(
                f,
                "the scopes `{}` are needed, and `scope`, `scopes` or `scp` does not have them all",
                scopes.join(" ")
            ),
            Self::NoLayer => f.write_str(
                "claims or a guard without a VerifyLayer around them: add the layer to the router, outside \
                 of this",
            ),
        }
    }
}

impl std::error::Error for Error {}

fn list(items: &[String]) -> String {
    items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(" or ")
}

/// A text of a token as it may be logged: short, and without control characters.
pub(crate) fn bounded(text: &str) -> String {
    let mut out = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == MAX_REPEATED {
            out.push('…');
            break;
        }
        out.extend(c.escape_debug());
    }
    out
}

/// Why a [`Verifier`](crate::Verifier) cannot be built.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// No issuer, and not said that any will do.
    NoIssuer,
    /// No audience, and not said that any will do.
    NoAudience,
    /// Nothing to verify with.
    NoKeys,
    /// More than a minute.
    LeewayTooLong,
    /// An empty list of algorithms, or none that a key is for.
    NoAlgorithm,
    /// A key that is refused.
    Key(KeyError),
    /// A URL that is refused; the text says why.
    Url(String),
    /// The HTTP client could not be set up.
    Client(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIssuer => f.write_str("say whose tokens are meant with `issuer`, or `any_issuer`"),
            Self::NoAudience => f.write_str("say for whom tokens must be with `audience`, or `any_audience`"),
            Self::NoKeys => f.write_str("give keys: `jwks_url`, `jwks_json`, `key`, `pem` or `secret`"),
            Self::LeewayTooLong => {
                f.write_str("a leeway of more than 60 s hides broken clocks: set the clocks right")
            }
            Self::NoAlgorithm => f.write_str("`algorithms` leaves nothing that the keys are for"),
            Self::Key(error) => write!(f, "a key is refused: {error}"),
            Self::Url(why) => write!(f, "the URL is refused: {why}"),
            Self::Client(why) => write!(f, "the HTTP client cannot be set up: {why}"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<KeyError> for ConfigError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

/// Why a key is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a JWK, a set or a PEM document; the text says what is wrong.
    Malformed(&'static str),
    /// A `kty`, `crv` or `alg` that this crate does not have.
    Unsupported(String),
    /// `alg`, `use` or `key_ops` do not agree with the key, or with verifying.
    Disagrees(&'static str),
    /// Too short, or known to be weak.
    Weak(&'static str),
    /// A private key where a public one belongs.
    Private,
    /// A shared secret in a set of public keys.
    SecretInSet,
    /// Two keys of a set have one `kid`.
    DuplicateKid(String),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "malformed: {what}"),
            Self::Unsupported(what) => write!(f, "not supported: {what}"),
            Self::Disagrees(what) => write!(f, "contradictory: {what}"),
            Self::Weak(what) => write!(f, "too weak: {what}"),
            Self::Private => f.write_str("a private key; verifying needs its public half only"),
            Self::SecretInSet => f.write_str("a shared secret among public keys"),
            Self::DuplicateKid(kid) => write!(f, "two keys have the id `{kid}`"),
        }
    }
}

impl std::error::Error for KeyError {}
