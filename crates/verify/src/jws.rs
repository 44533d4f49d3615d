//! Compact JWS (RFC 7515 §7.1), read strictly: one token has one encoding, and nothing in it is
//! trusted before its signature is verified.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::{Algorithm, Error, Key};

/// The longest token that is read, in bytes. Servers refuse longer headers anyway.
pub const MAX_TOKEN_LEN: usize = 16 * 1024;

/// The header members that this crate reads. `jwk`, `jku`, `x5u` and `x5c` are not among them: a token
/// does not bring its own key.
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
    /// Reads the header of a token **without verifying anything**.
    pub fn of(token: &str) -> Option<Self> {
        // Why it is none is of no use to who only looks.
        Some(Jws::parse(token).ok()?.header)
    }
}

/// A compact JWS cut into its parts. Nothing is verified yet.
pub struct Jws<'a> {
    header: Header,
    members: Map<String, Value>,
    input: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Cuts a token: exactly three parts, base64url without padding or stray bits, a header that is a
    /// JSON object with unique members, a string `alg`, and no `crit`.
    ///
    /// # Errors
    /// The first of these rules that the token breaks.
    pub fn parse(token: &'a str) -> Result<Self, Error> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(Error::TooLong);
        }
        match token.bytes().filter(|byte| *byte == b'.').count() {
            2 => {}
            0 if token.is_empty() => return Err(Error::Malformed("it is empty")),
            0 | 1 => return Err(Error::SessionToken),
            4 => return Err(Error::Encrypted),
            _ => return Err(Error::Malformed("it does not have three parts")),
        }
        let parts = token.rsplit_once('.').and_then(|(input, signature)| {
            let (header, payload) = input.split_once('.')?;
            Some((input, header, payload, signature))
        });
        let (input, header, payload, signature) =
            parts.ok_or(Error::Malformed("it does not have three parts"))?;
        let members = object(&decode(header, "the header is not base64url")?, "the header")?;
        // RFC 7515 §4.1.11: what must be understood and is not makes the token invalid; no extension
        // is understood here (`b64` is not allowed in a JWT: RFC 7797 §7).
        if members.contains_key("crit") {
            return Err(Error::Critical);
        }
        let text = |name: &str, wrong| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Error::Malformed(wrong)),
        };
        let header = Header {
            alg: text("alg", "`alg` is no text")?.ok_or(Error::Malformed("the header has no `alg`"))?,
            kid: text("kid", "`kid` is no text")?,
            typ: text("typ", "`typ` is no text")?,
        };
        Ok(Self {
            header,
            members,
            input,
            payload: decode(payload, "the payload is not base64url")?,
            signature: decode(signature, "the signature is not base64url")?,
        })
    }

    /// The members that are read.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The whole header, **unverified** like the rest.
    pub const fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// `alg`, when it is one that this crate has.
    ///
    /// # Errors
    /// [`Error::AlgorithmNone`] and [`Error::UnsupportedAlgorithm`].
    pub fn algorithm(&self) -> Result<Algorithm, Error> {
        self.header.alg.parse()
    }

    /// The bytes that were signed, as a payload, whether or not they are claims.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The signature is one of this key, with the algorithm that both the key is for and the token
    /// says. Claims are not looked at: see [`Expect`](crate::Expect).
    ///
    /// # Errors
    /// [`Error::WrongAlgorithmForKey`] and [`Error::BadSignature`], and those of
    /// [`Jws::algorithm`].
    pub fn verify(&self, key: &Key) -> Result<(), Error> {
        key.verify(self.algorithm()?, self.input.as_bytes(), &self.signature)
    }

    /// The claims: a JSON object with unique members (RFC 7519 §4). Nested objects may repeat a
    /// member, of which the last counts, as RFC 8259 §4 leaves open.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn claims(&self) -> Result<Map<String, Value>, Error> {
        object(&self.payload, "the payload")
    }

    pub(crate) fn into_header(self) -> Header {
        self.header
    }
}

impl fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jws").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Header and claims of a token, **unverified**: to find the key, never to decide anything else.
pub fn peek(token: &str) -> Option<(Map<String, Value>, Map<String, Value>)> {
    let jws = Jws::parse(token).ok()?;
    let claims = jws.claims().ok()?;
    Some((jws.members, claims))
}

/// The claims of a token that this JWK signed with this algorithm; `exp` and the others are not
/// looked at.
///
/// # Errors
/// When the key ([`Error::BadKey`]), the token or the signature is not right.
pub fn verify_jwt(
    algorithm: Algorithm,
    jwk: &Map<String, Value>,
    token: &str,
) -> Result<Map<String, Value>, Error> {
    let key = Key::from_jwk_for(algorithm, jwk).map_err(Error::BadKey)?;
    let jws = Jws::parse(token)?;
    jws.verify(&key)?;
    jws.claims()
}

/// Strict: other alphabets, padding, white space and stray bits in the last letter are refused
/// (RFC 7515 §2).
pub(crate) fn base64url(text: &str) -> Option<Vec<u8>> {
    // Where it is wrong is of no use: the text is a client's, or named by whoever asks.
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn decode(part: &str, wrong: &'static str) -> Result<Vec<u8>, Error> {
    base64url(part).ok_or(Error::Malformed(wrong))
}

fn object(bytes: &[u8], what: &'static str) -> Result<Map<String, Value>, Error> {
    let header = what == "the header";
    match serde_json::from_slice::<Unique>(bytes) {
        Ok(Unique { members, repeated: false }) => Ok(members),
        Ok(_) if header => Err(Error::Malformed("the header has a member twice")),
        Ok(_) => Err(Error::Malformed("the payload has a claim twice")),
        Err(_) if header => Err(Error::Malformed("the header is no JSON object")),
        Err(_) => Err(Error::Malformed("the payload is no JSON object")),
    }
}

/// A JSON object that knows whether a member came twice: serde_json keeps the last, and two readers
/// that keep different ones see different tokens.
struct Unique {
    members: Map<String, Value>,
    repeated: bool,
}

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Unique, A::Error> {
                let mut found = Unique { members: Map::new(), repeated: false };
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    found.repeated |= found.members.insert(name, value).is_some();
                }
                Ok(found)
            }
        }

        deserializer.deserialize_map(Object)
    }
}
