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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::crypto::{Secret, hex_decode};

    const CURRENT: &str = "0123456789abcdef0123456789abcdef";
    const OLD: &str = "fedcba9876543210fedcba9876543210";
    const SALT: &str = "better-auth-session";
    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_123);
    const KEY: &str = concat!(
        "19b3d82cf97a9e0fa45a2d1160ae469d0a1a56e895166a826e978942ab1e9cbe",
        "6a7f0ddbcaba818572b78576e685e9572d3d3d0acb925279682acf20694129c7"
    );
    const NODE: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiNDJIQmxzVXVYTTVnTTl5NmV5LWxYWkg4c01GRzM1Y1c4eVhWa2FsdWlHOCJ9..QmDUvZulo5i7Xfp0zKarjA.t1E3vZw-eRIOoWJxKuBgSEPhPlszHIWIkX5gJbCukKLXjwupv2qPZZj5XPiZdMtsiNw4q779xWhjL0S7Kdp_kGFTZiP7WNNl28L4scGDzSaFNq80ds8Olckcanl5TQdJz0qdLofLhHaYqx8ASn7Jkum-oBZF_mUjUEsfZsWOFJ0.c-wFN6Rn_SoPKdXP4Y6_pf8IrIfmR0dZ8AueTiZGmhU";
    const NODE_OLD: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoicFNRTHVrWTFDX011cHJMQTJXQVFZVnlGOHhxT20zb3ZQMkZXblo1a1I3cyJ9..KfRotudwAmPTnpCk6_LUVg.NwcX8ml0jxFimw54TKv-6yWepDV8yIUXBZ1r4o04bgRWbUOrgn8wty8gXwgoCmwDECdxzpqbIBiyWzxcugQTqZHnCAA12qPbDVizAH8Wh5l7vMaXLvIf0ykUc8romez3.ug2rjFSRii6HeBMKYhf06-AoJApB-04XRsgLS3d9pds";
    const NODE_NO_KID: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIn0..XgM8TMnBt0-RtRQEufo0hg.MJ4ODbf9roPIx9oOr9LQNzGcUAY_EO8JvOfQZ8XpD2FBknvN9GUPnzMXwIlGp1Vk.Hw6S5qs0QBJ18rY0bFfGzFZEokC9xxxJSg2r-7tpTsM";
    const NODE_GCM: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..kpxkKi_oufTDvU8Q.70I6kb1QfyYS9fXNympM1JY4Te49qgXl.IZhapWmhdvtSKpgNPex6lA";

    fn single() -> Secrets {
        Secrets::single(Secret::from(CURRENT))
    }

    fn rotated() -> Secrets {
        Secrets::versioned(
            vec![(2, Secret::from("the newest secret of the three"))],
            Some(Secret::from(CURRENT)),
        )
        .unwrap()
    }

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    /// A token with any header over the real key: what only an attacker or a bug would make.
    fn forged(header: &str, plain: &[u8]) -> String {
        let key = JweKey::new(&hex_decode(KEY).unwrap());
        let good = key.encrypt(plain, [7; 16]).unwrap();
        let parts: Vec<&str> = good.split('.').collect();
        let header = base64url(header.as_bytes());
        let (iv, body) = (base64url_decode(parts[2]).unwrap(), base64url_decode(parts[3]).unwrap());
        let tag = key.tag(&header, &iv, &body).unwrap();
        format!("{header}..{}.{}.{}", parts[2], parts[3], base64url(&tag))
    }

    #[test]
    fn key_and_name_follow_from_secret_and_salt_as_in_better_auth() {
        assert_eq!(hkdf_sha256(CURRENT.as_bytes(), SALT.as_bytes(), INFO, 64), hex_decode(KEY).unwrap());
        assert_eq!(Secret::from(CURRENT).jwe_key(SALT).kid(), "42HBlsUuXM5gM9y6ey-lXZH8sMFG35cW8yXVkaluiG8");
    }

    #[test]
    fn the_cipher_agrees_with_rfc_7518_appendix_b_3() {
        let key: Vec<u8> = (0..64).collect();
        let key = JweKey::new(&key);
        let plain = concat!(
            "A cipher system must not be required to be secret, ",
            "and it must be able to fall into the hands of the enemy without inconvenience"
        );
        let iv = hex_decode("1af38c2dc2b96ffdd86694092341bc04").unwrap();
        let aad = "The second principle of Auguste Kerckhoffs";
        let mut body = plain.as_bytes().to_vec();
        let context = EncryptionContext::Iv128(FixedLength::from(<[u8; 16]>::try_from(iv.clone()).unwrap()));
        PaddedBlockEncryptingKey::cbc_pkcs7(key.cipher().unwrap())
            .unwrap()
            .less_safe_encrypt(&mut body, context)
            .unwrap();
        assert_eq!(
            crate::crypto::hex_encode(&body),
            concat!(
                "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd",
                "822c301dd67c373bccb584ad3e9279c2e6d12a1374b77f077553df829410446b",
                "36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3",
                "a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950b",
                "be2638d09dd7a4930930806d0703b1f6"
            )
        );
        assert_eq!(
            crate::crypto::hex_encode(&key.tag(aad, &iv, &body).unwrap()),
            "4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5"
        );
    }

    #[test]
    fn a_token_of_better_auth_is_read() {
        let read = jwe_decrypt(&single(), SALT, NODE, NOW).unwrap();
        assert_eq!(read["session"]["token"], "tök");
        assert_eq!(read["iat"], 1_700_000_000);
        assert_eq!(read["exp"], 1_700_000_300);
        assert_eq!(read.keys().collect::<Vec<_>>(), ["session", "n", "iat", "exp", "jti"]);
        assert!(jwe_decrypt(&single(), SALT, NODE_NO_KID, NOW).is_some());
        // jose refuses it as well: the derived key has 64 bytes and A256GCM wants 32.
        assert!(jwe_decrypt(&single(), SALT, NODE_GCM, NOW).is_none());
    }

    #[test]
    fn an_older_secret_still_reads_with_and_without_a_name() {
        assert!(jwe_decrypt(&rotated(), SALT, NODE, NOW).is_some());
        assert!(jwe_decrypt(&rotated(), SALT, NODE_NO_KID, NOW).is_some());
        assert!(jwe_decrypt(&rotated(), SALT, NODE_OLD, NOW).is_none());
        let all = Secrets::versioned(vec![(2, Secret::from(CURRENT)), (1, Secret::from(OLD))], None).unwrap();
        assert!(jwe_decrypt(&all, SALT, NODE_OLD, NOW).is_some());
    }

    #[test]
    fn a_token_has_the_header_and_claims_of_better_auth() {
        let given = claims(json!({"b": 1, "a": {"z": null}, "exp": 5}));
        let token = jwe_encrypt(&single(), SALT, &given, NOW, 300, &Random::seeded(1)).unwrap();
        let (header, _) = token.split_once('.').unwrap();
        assert_eq!(
            String::from_utf8(base64url_decode(header).unwrap()).unwrap(),
            r#"{"alg":"dir","enc":"A256CBC-HS512","kid":"42HBlsUuXM5gM9y6ey-lXZH8sMFG35cW8yXVkaluiG8"}"#
        );
        let read = jwe_decrypt(&single(), SALT, &token, NOW).unwrap();
        assert_eq!(read.keys().collect::<Vec<_>>(), ["b", "a", "exp", "iat", "jti"]);
        assert_eq!(read["exp"], 1_700_000_300);
        assert_eq!(read["jti"].as_str().unwrap().len(), 36);
        let again = jwe_encrypt(&single(), SALT, &given, NOW, 300, &Random::seeded(2)).unwrap();
        assert_ne!(token, again);
    }

    #[test]
    fn a_token_lives_fifteen_seconds_longer_and_no_more() {
        assert!(jwe_decrypt(&single(), SALT, NODE, NOW.plus_seconds(314)).is_some());
        assert!(jwe_decrypt(&single(), SALT, NODE, NOW.plus_seconds(315)).is_none());
    }

    #[test]
    fn another_salt_or_secret_does_not_read() {
        assert!(jwe_decrypt(&single(), "better-auth-account", NODE, NOW).is_none());
        assert!(jwe_decrypt(&Secrets::single(Secret::from(OLD)), SALT, NODE, NOW).is_none());
        assert!(jwe_decrypt(&Secrets::single(Secret::from(OLD)), SALT, NODE_NO_KID, NOW).is_none());
    }

    #[test]
    fn every_changed_letter_and_every_missing_end_is_refused() {
        for (at, was) in NODE.char_indices() {
            let mut bent = NODE.to_owned();
            bent.replace_range(at..=at, if was == 'A' { "B" } else { "A" });
            assert!(jwe_decrypt(&single(), SALT, &bent, NOW).is_none(), "position {at}");
            assert!(jwe_decrypt(&single(), SALT, &NODE[..at], NOW).is_none());
        }
        assert!(jwe_decrypt(&single(), SALT, &format!("{NODE}.x"), NOW).is_none());
        assert!(jwe_decrypt(&single(), SALT, &NODE.replace("..", ".AA."), NOW).is_none());
    }

    #[test]
    fn headers_that_ask_for_something_else_are_refused_even_with_the_right_key() {
        let plain = br#"{"a":1,"iss":"me"}"#;
        let good = r#"{"alg":"dir","enc":"A256CBC-HS512"}"#;
        assert!(jwe_decrypt(&single(), SALT, &forged(good, plain), NOW).is_some());
        assert!(
            jwe_decrypt(
                &single(),
                SALT,
                &forged(r#"{"alg":"dir","enc":"A256CBC-HS512","iss":"me"}"#, plain),
                NOW
            )
            .is_some()
        );
        for bad in [
            r#"{"alg":"none","enc":"A256CBC-HS512"}"#,
            r#"{"enc":"A256CBC-HS512"}"#,
            r#"{"alg":"dir","enc":"A128CBC-HS256"}"#,
            r#"{"alg":"dir","enc":"A256GCM"}"#,
            r#"{"alg":"dir","enc":"A256CBC-HS512","kid":"other"}"#,
            r#"{"alg":"dir","enc":"A256CBC-HS512","kid":null}"#,
            r#"{"alg":"dir","enc":"A256CBC-HS512","zip":"DEF"}"#,
            r#"{"alg":"dir","enc":"A256CBC-HS512","crit":["x"],"x":1}"#,
            r#"{"alg":"dir","enc":"A256CBC-HS512","iss":"you"}"#,
            "[]",
            "",
        ] {
            assert!(jwe_decrypt(&single(), SALT, &forged(bad, plain), NOW).is_none(), "{bad}");
        }
        for plain in [&b"\xff"[..], b"[]", b"", br#"{"exp":"soon"}"#, br#"{"nbf":1700001000}"#] {
            assert!(jwe_decrypt(&single(), SALT, &forged(good, plain), NOW).is_none());
        }
    }

    proptest! {
        #[test]
        fn what_was_encrypted_is_read(name in "[a-z]{1,8}x", text in any::<String>()) {
            let mut given = Map::new();
            given.insert(name.clone(), Value::from(text.clone()));
            let token = jwe_encrypt(&single(), SALT, &given, NOW, 60, &Random::system()).unwrap();
            prop_assert_eq!(&jwe_decrypt(&single(), SALT, &token, NOW).unwrap()[&name], &Value::from(text));
        }

        #[test]
        fn no_text_makes_reading_panic(text in "[A-Za-z0-9_é.-]{0,200}") {
            prop_assert!(jwe_decrypt(&single(), SALT, &text, NOW).is_none());
        }
    }
}
