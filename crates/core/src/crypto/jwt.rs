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
    let mut claims = claims.clone();
    set(&mut claims, "iat", now.seconds());
    set(&mut claims, "exp", now.seconds().saturating_add(expires_in_secs));
    seal_hs256(secret, Map::new(), &claims)
}

/// Signs these claims, and no others, with HS256; `alg` comes first in the header.
///
/// # Errors
/// [`CryptoError::Malformed`] when the claims cannot be written as JSON.
pub fn seal_hs256(
    secret: &Secret,
    further: Map<String, Value>,
    claims: &Map<String, Value>,
) -> Result<String, CryptoError> {
    let mut header = Map::new();
    set(&mut header, "alg", "HS256");
    header.extend(further);
    let input = signing_input(&header, claims)?;
    let tag = hmac::sign(secret.hmac_key(), input.as_bytes());
    Ok(format!("{input}.{}", base64url(tag.as_ref())))
}

/// The claims of an HS256 token under this secret that is within its time.
pub fn verify_hs256(secret: &Secret, token: &str, now: Timestamp) -> Option<Map<String, Value>> {
    match read_hs256(secret, token, now) {
        Hs256::Good(claims) => Some(claims),
        Hs256::Expired | Hs256::Wrong => None,
    }
}

/// What an HS256 token is, for those who tell a late one from a wrong one.
#[derive(Debug, Clone, PartialEq)]
pub enum Hs256 {
    /// Signed with this secret and within its time: its claims.
    Good(Map<String, Value>),
    /// Signed with this secret and too old.
    Expired,
    /// Anything else.
    Wrong,
}

/// Reads an HS256 token under this secret.
pub fn read_hs256(secret: &Secret, token: &str, now: Timestamp) -> Hs256 {
    let Some(jws) = Jws::parse(token) else { return Hs256::Wrong };
    if jws.alg() != Some("HS256")
        || hmac::verify(secret.hmac_key(), jws.input.as_bytes(), &jws.signature).is_err()
    {
        return Hs256::Wrong;
    }
    let Some(claims) = object(&jws.payload) else { return Hs256::Wrong };
    let expect = Expect { issuer: None, audience: None, now, leeway_secs: 0 };
    match expect.check(&claims) {
        Ok(()) => Hs256::Good(claims),
        Err(ClaimError::Expired) => Hs256::Expired,
        Err(_) => Hs256::Wrong,
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_999);
    const NODE: &str = "eyJhbGciOiJIUzI1NiJ9.eyJlbWFpbCI6ImFAYi5jIiwidXBkYXRlVG8iOiLDqSIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAzNjAwfQ.h1yVOoc6R8Pjc7ZNzpR54QXjNzCQ3Oe53S8Vz4FMsz4";

    fn secret() -> Secret {
        Secret::from("0123456789abcdef0123456789abcdef")
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn signed(header: &str, payload: &[u8]) -> String {
        let input = format!("{}.{}", base64url(header.as_bytes()), base64url(payload));
        let tag = hmac::sign(secret().hmac_key(), input.as_bytes());
        format!("{input}.{}", base64url(tag.as_ref()))
    }

    #[test]
    fn a_token_is_letter_for_letter_what_better_auth_signs() {
        let claims = map(json!({"email": "a@b.c", "updateTo": "é"}));
        assert_eq!(sign_hs256(&secret(), &claims, NOW, 3600).unwrap(), NODE);
        let read = verify_hs256(&secret(), NODE, NOW).unwrap();
        assert_eq!(read["email"], "a@b.c");
        assert_eq!(read.keys().collect::<Vec<_>>(), ["email", "updateTo", "iat", "exp"]);
    }

    #[test]
    fn hs256_agrees_with_rfc_7515_appendix_a_1() {
        let key = base64url_decode(concat!(
            "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75",
            "aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
        ))
        .unwrap();
        let token = concat!(
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        );
        let jws = Jws::parse(token).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        hmac::verify(&key, jws.input.as_bytes(), &jws.signature).unwrap();
        assert_eq!(jws.alg(), Some("HS256"));
        let header = Header::of(token).unwrap();
        assert_eq!(header, Header { alg: "HS256".into(), kid: None, typ: Some("JWT".into()) });
    }

    #[test]
    fn a_token_ends_at_its_second_without_leeway() {
        assert!(verify_hs256(&secret(), NODE, NOW.plus_seconds(3599)).is_some());
        assert!(verify_hs256(&secret(), NODE, NOW.plus_seconds(3600)).is_none());
    }

    #[test]
    fn only_a_token_of_ours_is_called_expired() {
        let late = NOW.plus_seconds(3600);
        assert_eq!(read_hs256(&secret(), NODE, late), Hs256::Expired);
        assert_eq!(read_hs256(&Secret::from("another secret"), NODE, late), Hs256::Wrong);
        assert_eq!(read_hs256(&secret(), "x", late), Hs256::Wrong);
    }

    #[test]
    fn another_algorithm_is_refused_even_with_a_right_signature() {
        let payload = br#"{"a":1}"#;
        assert!(verify_hs256(&secret(), &signed(r#"{"alg":"HS256","typ":"JWT"}"#, payload), NOW).is_some());
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS512"}"#,
            r#"{"alg":"hs256"}"#,
            r#"{"alg":["HS256"]}"#,
            r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
            r#"{}"#,
            r#"[]"#,
            "",
        ] {
            assert!(verify_hs256(&secret(), &signed(header, payload), NOW).is_none(), "{header}");
        }
        let unsigned = format!("{}.{}.", base64url(br#"{"alg":"none"}"#), base64url(payload));
        assert!(verify_hs256(&secret(), &unsigned, NOW).is_none());
        let unsigned = format!("{}.{}.", base64url(br#"{"alg":"HS256"}"#), base64url(payload));
        assert!(verify_hs256(&secret(), &unsigned, NOW).is_none());
    }

    #[test]
    fn a_payload_that_is_no_object_or_has_odd_dates_is_refused() {
        for payload in [
            &b"\xff\xfe"[..],
            b"[]",
            b"",
            b"1",
            br#"{"exp":"tomorrow"}"#,
            br#"{"exp":null}"#,
            br#"{"iat":"now"}"#,
            br#"{"nbf":1700000001}"#,
            br#"{"exp":1700000000}"#,
            br#"{"exp":1699999999.9}"#,
        ] {
            assert!(verify_hs256(&secret(), &signed(r#"{"alg":"HS256"}"#, payload), NOW).is_none());
        }
        for payload in [&br#"{"exp":1700000000.5}"#[..], br#"{"nbf":1700000000}"#, br#"{"exp":1e300}"#] {
            assert!(verify_hs256(&secret(), &signed(r#"{"alg":"HS256"}"#, payload), NOW).is_some());
        }
    }

    #[test]
    fn every_changed_letter_and_every_missing_end_is_refused() {
        for (at, was) in NODE.char_indices() {
            let mut bent = NODE.to_owned();
            bent.replace_range(at..=at, if was == 'A' { "B" } else { "A" });
            assert!(verify_hs256(&secret(), &bent, NOW).is_none(), "position {at}");
            assert!(verify_hs256(&secret(), &NODE[..at], NOW).is_none());
        }
        assert!(verify_hs256(&Secret::from("other"), NODE, NOW).is_none());
        assert!(verify_hs256(&secret(), &format!("{NODE}.x"), NOW).is_none());
    }

    #[test]
    fn a_huge_token_is_refused_without_harm() {
        let huge = "A".repeat(4 << 20);
        assert!(verify_hs256(&secret(), &huge, NOW).is_none());
        assert!(verify_hs256(&secret(), &format!("{huge}.{huge}.{huge}"), NOW).is_none());
        let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert!(verify_hs256(&secret(), &signed(r#"{"alg":"HS256"}"#, deep.as_bytes()), NOW).is_none());
    }

    #[test]
    fn peeking_reads_without_verifying() {
        let bent = format!("{}AA", &NODE[..NODE.len() - 2]);
        let (header, claims) = peek(&bent).unwrap();
        assert_eq!(header["alg"], "HS256");
        assert_eq!(claims["email"], "a@b.c");
        assert!(peek("a.b").is_none());
    }

    #[test]
    fn issuer_and_audience_have_to_be_expected_ones() {
        let expect = |issuer: Option<&[&str]>, audience: Option<&[&str]>| Expect {
            issuer: issuer.map(|list| list.iter().map(|one| (*one).to_owned()).collect()),
            audience: audience.map(|list| list.iter().map(|one| (*one).to_owned()).collect()),
            now: NOW,
            leeway_secs: 5,
        };
        let claims = map(json!({"iss": "i", "aud": ["a", "b"], "exp": 1_700_000_000}));
        assert_eq!(expect(None, None).check(&claims), Ok(()));
        assert_eq!(expect(Some(&["x", "i"]), Some(&["b"])).check(&claims), Ok(()));
        assert_eq!(expect(Some(&["x"]), None).check(&claims), Err(ClaimError::Unexpected("iss")));
        assert_eq!(expect(None, Some(&["c"])).check(&claims), Err(ClaimError::Unexpected("aud")));
        assert_eq!(expect(None, Some(&[])).check(&claims), Err(ClaimError::Unexpected("aud")));
        let bare = Map::new();
        assert_eq!(expect(Some(&["i"]), None).check(&bare), Err(ClaimError::Missing("iss")));
        assert_eq!(expect(None, Some(&["a"])).check(&bare), Err(ClaimError::Missing("aud")));
        assert_eq!(expect(None, Some(&["a"])).check(&map(json!({"aud": "a"}))), Ok(()));
        assert_eq!(
            expect(None, Some(&["1"])).check(&map(json!({"aud": 1}))),
            Err(ClaimError::Unexpected("aud"))
        );
        assert_eq!(
            expect(Some(&["i"]), None).check(&map(json!({"iss": ["i"]}))),
            Err(ClaimError::Unexpected("iss"))
        );
        assert_eq!(expect(None, None).check(&map(json!({"exp": 1_699_999_995}))), Err(ClaimError::Expired));
        assert_eq!(expect(None, None).check(&map(json!({"nbf": 1_700_000_006}))), Err(ClaimError::NotYet));
        assert_eq!(expect(None, None).check(&map(json!({"iat": "x"}))), Err(ClaimError::Invalid("iat")));
    }

    proptest! {
        #[test]
        fn what_was_signed_is_verified(name in "[a-z]{1,8}x", text in any::<String>()) {
            let mut given = Map::new();
            given.insert(name.clone(), Value::from(text.clone()));
            let token = sign_hs256(&secret(), &given, NOW, 60).unwrap();
            prop_assert_eq!(&verify_hs256(&secret(), &token, NOW).unwrap()[&name], &Value::from(text));
        }

        #[test]
        fn no_text_makes_reading_panic(text in any::<String>(), dotted in "[A-Za-z0-9_é.-]{0,200}") {
            for text in [text, dotted] {
                prop_assert!(verify_hs256(&secret(), &text, NOW).is_none());
                let _ = peek(&text);
                let _ = Header::of(&text);
            }
        }
    }
}
