//! JSON Web Tokens (RFC 7515, RFC 7519): the HS256 ones of Better Auth's own flows, and the parts
//! that all signed tokens share.
//!
//! The algorithm is never taken from the token: a reader says which one it expects and the header
//! has to agree, so `none` and swapped algorithms have nowhere to enter.

use std::fmt;

use aws_lc_rs::hmac;
use serde_json::{Map, Value};

use super::sign::{base64url, base64url_decode};
use super::{CryptoError, Secret};
use crate::clock::Timestamp;

/// The header members that this project reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// `alg`: the signature algorithm that the token claims.
    pub alg: String,
    /// `kid`: which key.
    pub kid: Option<String>,
    /// `typ`: what kind of token.
    pub typ: Option<String>,
}

impl Header {
    /// Reads the header of a token without verifying anything.
    pub fn of(token: &str) -> Option<Self> {
        Self::from_map(&Jws::parse(token)?.header)
    }

    /// Reads the members out of a parsed header; `None` without an `alg`.
    pub fn from_map(header: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| header.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self { alg: text("alg")?, kid: text("kid"), typ: text("typ") })
    }
}

/// A compact JWS cut into its parts; nothing is verified yet.
pub(super) struct Jws<'a> {
    pub(super) header: Map<String, Value>,
    /// `header.payload` as it was signed.
    pub(super) input: &'a str,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        let (input, signature) = token.rsplit_once('.')?;
        let (header, payload) = input.split_once('.')?;
        // A further dot would be in the payload, where base64url has none.
        let header = object(&base64url_decode(header)?)?;
        // RFC 7515 §4.1.11: what must be understood and is not makes the token invalid; no extension
        // is understood here (`b64` is not allowed in a JWT: RFC 7797 §7).
        if header.contains_key("crit") {
            return None;
        }
        Some(Self {
            header,
            input,
            payload: base64url_decode(payload)?,
            signature: base64url_decode(signature)?,
        })
    }

    pub(super) fn alg(&self) -> Option<&str> {
        self.header.get("alg").and_then(Value::as_str)
    }
}

/// A JSON object in UTF-8; `None` when it is anything else.
pub(super) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    // Bytes of a client: that they are no JSON object is all there is to know.
    serde_json::from_slice(bytes).ok()
}

/// Sets a claim as JavaScript does: one that exists keeps its place.
pub(super) fn set(claims: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    claims.insert(name.to_owned(), value.into());
}

/// `base64url(header).base64url(claims)`.
pub(super) fn signing_input(
    header: &Map<String, Value>,
    claims: &Map<String, Value>,
) -> Result<String, CryptoError> {
    let header = serde_json::to_vec(header).map_err(|_| CryptoError::Malformed)?;
    let claims = serde_json::to_vec(claims).map_err(|_| CryptoError::Malformed)?;
    Ok(format!("{}.{}", base64url(&header), base64url(&claims)))
}

/// Signs claims with HS256 under the secret's UTF-8 bytes: header `{"alg":"HS256"}`, the claims, then
/// `iat` and `exp` (now + `expires_in_secs`), as Better Auth's `signJWT`.
///
/// # Errors
/// [`CryptoError::Malformed`] when the claims cannot be written as JSON.
pub fn sign_hs256(
    secret: &Secret,
    claims: &Map<String, Value>,
    now: Timestamp,
    expires_in_secs: i64,
) -> Result<String, CryptoError> {
    let mut header = Map::new();
    set(&mut header, "alg", "HS256");
    let mut claims = claims.clone();
    set(&mut claims, "iat", now.seconds());
    set(&mut claims, "exp", now.seconds().saturating_add(expires_in_secs));
    let input = signing_input(&header, &claims)?;
    let tag = hmac::sign(secret.hmac_key(), input.as_bytes());
    Ok(format!("{input}.{}", base64url(tag.as_ref())))
}

/// The claims of an HS256 token under this secret that is within its time.
pub fn verify_hs256(secret: &Secret, token: &str, now: Timestamp) -> Option<Map<String, Value>> {
    let jws = Jws::parse(token)?;
    if jws.alg() != Some("HS256") {
        return None;
    }
    hmac::verify(secret.hmac_key(), jws.input.as_bytes(), &jws.signature).ok()?;
    let claims = object(&jws.payload)?;
    let expect = Expect { issuer: None, audience: None, now, leeway_secs: 0 };
    expect.check(&claims).is_ok().then_some(claims)
}

/// Header and claims of a token, **unverified**: to find the key, never to decide anything else.
pub fn peek(token: &str) -> Option<(Map<String, Value>, Map<String, Value>)> {
    let jws = Jws::parse(token)?;
    let claims = object(&jws.payload)?;
    Some((jws.header, claims))
}

/// What the registered claims of a token must say (RFC 7519 §4.1), checked as jose checks them.
#[derive(Debug, Clone)]
pub struct Expect {
    /// `iss` has to be one of these; `None`: not checked.
    pub issuer: Option<Vec<String>>,
    /// `aud` has to be or contain one of these; `None`: not checked.
    pub audience: Option<Vec<String>>,
    /// The time at which the token is used.
    pub now: Timestamp,
    /// How many seconds the clocks may differ.
    pub leeway_secs: i64,
}

/// Why claims are not accepted; the text is the claim's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimError {
    /// A required claim is not there.
    Missing(&'static str),
    /// A claim of the wrong type.
    Invalid(&'static str),
    /// A claim with another value than expected.
    Unexpected(&'static str),
    /// `nbf` is in the future.
    NotYet,
    /// `exp` is not in the future.
    Expired,
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(claim) => write!(f, "the claim {claim} is missing"),
            Self::Invalid(claim) => write!(f, "the claim {claim} has the wrong type"),
            Self::Unexpected(claim) => write!(f, "the claim {claim} has an unexpected value"),
            Self::NotYet => f.write_str("the token is not valid yet"),
            Self::Expired => f.write_str("the token has expired"),
        }
    }
}

impl std::error::Error for ClaimError {}

impl Expect {
    /// Checks the claims; a token without `exp` or `nbf` is not bound by them.
    ///
    /// # Errors
    /// The first rule that the claims break.
    pub fn check(&self, claims: &Map<String, Value>) -> Result<(), ClaimError> {
        if let Some(issuers) = &self.issuer {
            let value = claims.get("iss").ok_or(ClaimError::Missing("iss"))?;
            if !value.as_str().is_some_and(|iss| issuers.iter().any(|one| one == iss)) {
                return Err(ClaimError::Unexpected("iss"));
            }
        }
        if let Some(audiences) = &self.audience {
            let value = claims.get("aud").ok_or(ClaimError::Missing("aud"))?;
            let wanted = |aud: &Value| aud.as_str().is_some_and(|aud| audiences.iter().any(|one| one == aud));
            let found = match value {
                Value::Array(list) => list.iter().any(wanted),
                one => wanted(one),
            };
            if !found {
                return Err(ClaimError::Unexpected("aud"));
            }
        }
        date(claims, "iat")?;
        // Whole seconds up to the year 9999 are exact in a double; so they are for jose.
        let now = self.now.seconds() as f64;
        let leeway = self.leeway_secs as f64;
        if date(claims, "nbf")?.is_some_and(|nbf| nbf > now + leeway) {
            return Err(ClaimError::NotYet);
        }
        if date(claims, "exp")?.is_some_and(|exp| exp <= now - leeway) {
            return Err(ClaimError::Expired);
        }
        Ok(())
    }
}

/// A NumericDate, which may have decimals (RFC 7519 §2).
fn date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, ClaimError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(ClaimError::Invalid(name)),
    }
}
