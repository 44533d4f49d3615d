//! Encrypted cookies: the session cache and the account cookie.
//!
//! Compact JWE (RFC 7516) with `dir` and `A256CBC-HS512` (RFC 7518 §5.2), as better-auth 1.7.6 writes
//! it with jose. The key is an HKDF of the secret; its RFC 7638 thumbprint is the `kid`.
//!
//! Better Auth's reader also lists `A256GCM`, but hands it the same 64-byte key, which jose refuses
//! ("Expected 256 bits, got 512 bits"): no such token can be read there, so none is read here.

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::jwt::{Expect, object, set};
use super::seal::hkdf_sha256;
use super::sign::{base64url, base64url_decode, constant_time_eq, sha256};
use super::{CryptoError, Random, Secrets};
use crate::clock::Timestamp;

const INFO: &[u8] = b"BetterAuth.js Generated Encryption Key";
const ENC: &str = "A256CBC-HS512";
const KEY_LEN: usize = 64;
const MAC_LEN: usize = 32;
/// `clockTolerance` of Better Auth's reader, in seconds.
const SKEW: i64 = 15;

/// The two halves of a content key (RFC 7518 §5.2.2.1: first MAC, then encryption) and its name.
pub(super) struct JweKey {
    mac: hmac::Key,
    cipher: Zeroizing<[u8; 32]>,
    kid: String,
}

impl JweKey {
    pub(super) fn derive(secret: &str, salt: &str) -> Self {
        let key = Zeroizing::new(hkdf_sha256(secret.as_bytes(), salt.as_bytes(), INFO, KEY_LEN));
        Self::new(&key)
    }

    fn new(key: &[u8]) -> Self {
        // HKDF gave exactly 64 bytes, so neither half is short.
        let (mac, rest) = key.split_at(MAC_LEN.min(key.len()));
        let mut cipher = Zeroizing::new([0u8; 32]);
        for (to, from) in cipher.iter_mut().zip(rest) {
            *to = *from;
        }
        // RFC 7638 §3: the required members in lexical order, without white space.
        let jwk = Zeroizing::new(format!(r#"{{"k":"{}","kty":"oct"}}"#, base64url(key)));
        Self { mac: hmac::Key::new(hmac::HMAC_SHA512, mac), cipher, kid: base64url(&sha256(jwk.as_bytes())) }
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    fn cipher(&self) -> Result<UnboundCipherKey, CryptoError> {
        Ok(UnboundCipherKey::new(&AES_256, self.cipher.as_ref())?)
    }

    /// The authentication tag over `AAD ‖ IV ‖ ciphertext ‖ bit length of AAD` (RFC 7518 §5.2.2.1).
    fn tag(&self, aad: &str, iv: &[u8], ciphertext: &[u8]) -> Result<[u8; MAC_LEN], CryptoError> {
        let bits = u64::try_from(aad.len()).map_err(|_| CryptoError::Malformed)?.saturating_mul(8);
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(aad.as_bytes());
        context.update(iv);
        context.update(ciphertext);
        context.update(&bits.to_be_bytes());
        let full = context.sign();
        let (tag, _) = full.as_ref().split_first_chunk::<MAC_LEN>().ok_or(CryptoError::Backend)?;
        Ok(*tag)
    }

    fn encrypt(&self, plain: &[u8], iv: [u8; 16]) -> Result<String, CryptoError> {
        let header = base64url(format!(r#"{{"alg":"dir","enc":"{ENC}","kid":"{}"}}"#, self.kid).as_bytes());
        let mut body = plain.to_vec();
        PaddedBlockEncryptingKey::cbc_pkcs7(self.cipher()?)?
            .less_safe_encrypt(&mut body, EncryptionContext::Iv128(FixedLength::from(iv)))?;
        let tag = self.tag(&header, &iv, &body)?;
        Ok(format!("{header}..{}.{}.{}", base64url(&iv), base64url(&body), base64url(&tag)))
    }

    /// The tag is checked before a byte is decrypted, so that padding errors tell nobody anything.
    fn decrypt(&self, token: &Token<'_>) -> Option<Zeroizing<Vec<u8>>> {
        let expected = self.tag(token.aad, &token.iv, &token.ciphertext).ok()?;
        if !constant_time_eq(&expected, &token.tag) {
            return None;
        }
        let mut body = Zeroizing::new(token.ciphertext.clone());
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(self.cipher().ok()?).ok()?;
        let len = key.decrypt(&mut body, DecryptionContext::Iv128(FixedLength::from(token.iv))).ok()?.len();
        body.truncate(len);
        Some(body)
    }
}

/// A token cut into its five parts; the second (an encrypted key) is empty with `dir`.
struct Token<'a> {
    aad: &'a str,
    header: Map<String, Value>,
    iv: [u8; 16],
    ciphertext: Vec<u8>,
    tag: Vec<u8>,
}

impl<'a> Token<'a> {
    fn parse(token: &'a str) -> Option<Self> {
        let mut parts = token.split('.');
        let aad = parts.next()?;
        let encrypted_key = parts.next()?;
        let iv = base64url_decode(parts.next()?)?;
        let ciphertext = base64url_decode(parts.next()?)?;
        let tag = base64url_decode(parts.next()?)?;
        if parts.next().is_some() || !encrypted_key.is_empty() {
            return None;
        }
        let header = object(&base64url_decode(aad)?)?;
        let named = |name: &str, value: &str| header.get(name).and_then(Value::as_str) == Some(value);
        // `crit`: no extension is understood here (RFC 7516 §4.1.13). `zip`: never written by Better
        // Auth, and decompressing is work that a small token could ask for.
        if !named("alg", "dir")
            || !named("enc", ENC)
            || header.contains_key("crit")
            || header.contains_key("zip")
        {
            return None;
        }
        Some(Self { aad, header, iv: iv.try_into().ok()?, ciphertext, tag })
    }
}

/// Encrypts claims with the current secret; adds `iat`, `exp` (now + `max_age_secs`) and a random
/// `jti`. `salt` tells the uses of a secret apart: `better-auth-session`, `better-auth-account`.
///
/// # Errors
/// [`CryptoError`] when the cipher refuses, which is not a matter of the claims.
pub fn jwe_encrypt(
    secrets: &Secrets,
    salt: &str,
    claims: &Map<String, Value>,
    now: Timestamp,
    max_age_secs: i64,
    random: &Random,
) -> Result<String, CryptoError> {
    let mut claims = claims.clone();
    set(&mut claims, "iat", now.seconds());
    set(&mut claims, "exp", now.seconds().saturating_add(max_age_secs));
    set(&mut claims, "jti", random.uuid_v4());
    let plain = serde_json::to_vec(&claims).map_err(|_| CryptoError::Malformed)?;
    secrets.current().jwe_key(salt).encrypt(&plain, random.bytes())
}

/// The claims of a token that one of the secrets encrypted and that has not expired.
///
/// With a `kid` only the secret of that name is tried, without one all of them, as Better Auth does.
/// Everything else is `None`: for a cookie, unreadable and absent are the same.
pub fn jwe_decrypt(secrets: &Secrets, salt: &str, token: &str, now: Timestamp) -> Option<Map<String, Value>> {
    let token = Token::parse(token)?;
    let kid = token.header.get("kid");
    let expect = Expect { issuer: None, audience: None, now, leeway_secs: SKEW };
    for secret in secrets.all() {
        let key = secret.jwe_key(salt);
        if kid.is_some_and(|kid| kid.as_str() != Some(key.kid())) {
            continue;
        }
        if let Some(plain) = key.decrypt(&token) {
            let claims = object(&plain)?;
            // RFC 7519 §5.3: claims that the header repeats have to agree with it.
            let agrees = ["iss", "sub", "aud"]
                .iter()
                .all(|name| token.header.get(*name).is_none_or(|value| claims.get(*name) == Some(value)));
            return (agrees && expect.check(&claims).is_ok()).then_some(claims);
        }
    }
    None
}
