//! Signed values (cookies), and the encodings and digests that the rest of the project shares.
//!
//! A signed value is `value.base64(HMAC-SHA256(secret, value))` (better-call's signed cookie). It is
//! not encrypted and carries no purpose: who signs a value that a client may choose must put the
//! purpose into it.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use subtle::ConstantTimeEq as _;

use super::Secret;

/// Length of a SHA-256 in padded base64.
const SIGNATURE_LEN: usize = 44;

/// HMAC-SHA256 (RFC 2104).
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    tag_bytes(&hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data))
}

fn tag_bytes(tag: &hmac::Tag) -> [u8; 32] {
    let mut bytes = [0u8; 32];
    for (to, from) in bytes.iter_mut().zip(tag.as_ref()) {
        *to = *from;
    }
    bytes
}

/// `value.signature`, not yet URL-encoded: a cookie writer encodes the whole.
pub fn sign_value(secret: &Secret, value: &str) -> String {
    let tag = hmac::sign(secret.hmac_key(), value.as_bytes());
    let mut signed = String::with_capacity(value.len() + 1 + SIGNATURE_LEN);
    signed.push_str(value);
    signed.push('.');
    STANDARD.encode_string(tag.as_ref(), &mut signed);
    signed
}

/// The value of a signed text, when the signature is right.
///
/// The text is split at its *last* dot, so that values may contain dots; an empty value is refused,
/// as better-call does. The comparison takes the same time wherever the signatures differ.
pub fn verify_signed<'a>(secret: &Secret, signed: &'a str) -> Option<&'a str> {
    let (value, signature) = signed.rsplit_once('.')?;
    if value.is_empty() || signature.len() != SIGNATURE_LEN || !signature.ends_with('=') {
        return None;
    }
    // A wrong encoding is a wrong signature.
    let signature = STANDARD.decode(signature).ok()?;
    hmac::verify(secret.hmac_key(), value.as_bytes(), &signature).is_ok().then_some(value)
}

/// JavaScript's `encodeURIComponent`: all but `A-Za-z0-9-_.!~*'()` becomes `%XX` of its UTF-8.
pub fn encode_uri_component(text: &str) -> String {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(HEX.get(usize::from(byte >> 4)));
            out.extend(HEX.get(usize::from(byte & 15)));
        }
    }
    out
}

/// JavaScript's `decodeURIComponent`; `None` where that throws (a bad escape, or bytes that are not
/// UTF-8). A `+` stays a `+`.
pub fn decode_uri_component(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    // Escapes that are not UTF-8 are what decodeURIComponent throws a URIError for.
    String::from_utf8(bytes).ok()
}

/// The decoded text, or the text itself where it cannot be decoded: how Better Auth reads cookies.
pub fn decode_lenient(text: &str) -> String {
    decode_uri_component(text).unwrap_or_else(|| text.to_owned())
}

/// Base64url without padding (RFC 4648 §5).
pub fn base64url(data: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(data)
}

/// Reads base64url without padding. Strict: other alphabets, padding, white space and stray bits in
/// the last letter are refused, so that one value has one encoding.
pub fn base64url_decode(text: &str) -> Option<Vec<u8>> {
    // The reason of a refusal is of no use to anybody: the text is a client's.
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// SHA-256.
pub fn sha256(data: impl AsRef<[u8]>) -> [u8; 32] {
    let mut bytes = [0u8; 32];
    for (to, from) in bytes.iter_mut().zip(digest::digest(&digest::SHA256, data.as_ref()).as_ref()) {
        *to = *from;
    }
    bytes
}

/// SHA-256 of the UTF-8 text in base64url: how Better Auth stores hashed identifiers and keys.
pub fn sha256_base64url(text: &str) -> String {
    base64url(&sha256(text))
}

/// Whether two byte strings are equal, in time that depends on their length only.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Lower-case hex.
pub fn hex_encode(data: &[u8]) -> String {
    HEXLOWER.encode(data)
}

/// Reads hex in either case.
pub fn hex_decode(text: &str) -> Option<Vec<u8>> {
    // As above: the text is a client's, and "not hex" is all there is to say.
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret() -> Secret {
        Secret::from("0123456789abcdef0123456789abcdef")
    }

    #[test]
    fn a_signed_cookie_is_what_better_auth_writes() {
        let signed = sign_value(&secret(), "tok");
        assert_eq!(encode_uri_component(&signed), "tok.9cDSFHBrMkKTSkj%2FqP9yF4Y6PILGGZGtKFjc4wzuRxs%3D");
        assert_eq!(verify_signed(&secret(), &signed), Some("tok"));
        assert_eq!(sign_value(&secret(), "a.b=ü"), "a.b=ü.G/r9gvphn6P1c4y7HUGjfp1Y4m7xer8FhbhBJ9zZugk=");
    }

    #[test]
    fn a_hashed_identifier_is_what_better_auth_stores() {
        assert_eq!(sha256_base64url("reset-password:abc"), "IMUqJ3lXuvod79AbI4EdsWmdAkZeIP5syfKs7-d5fQQ");
    }

    #[test]
    fn hmac_agrees_with_rfc_4231() {
        assert_eq!(
            hex_encode(&hmac_sha256(&[0x0b; 20], b"Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            hex_encode(&hmac_sha256(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn another_secret_another_value_or_a_bent_signature_is_refused() {
        let signed = sign_value(&secret(), "a.b");
        assert_eq!(verify_signed(&secret(), &signed), Some("a.b"));
        assert_eq!(verify_signed(&Secret::from("other"), &signed), None);
        assert_eq!(verify_signed(&secret(), &signed.replacen('a', "c", 1)), None);
        for (at, _) in signed.char_indices().skip("a.b.".len()) {
            let mut bent = signed.clone().into_bytes();
            bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(verify_signed(&secret(), &String::from_utf8(bent).unwrap()), None, "position {at}");
        }
    }

    #[test]
    fn a_text_without_a_whole_signature_is_refused() {
        let signed = sign_value(&secret(), "tok");
        for end in 0..signed.len() {
            assert_eq!(verify_signed(&secret(), &signed[..end]), None);
        }
        assert_eq!(verify_signed(&secret(), &sign_value(&secret(), "")), None);
        assert_eq!(verify_signed(&secret(), ""), None);
        assert_eq!(verify_signed(&secret(), "."), None);
        assert_eq!(verify_signed(&secret(), &format!("tok.{}=", "é".repeat(22))), None);
    }

    #[test]
    fn uri_escapes_are_those_of_javascript() {
        assert_eq!(encode_uri_component("aZ0-_.!~*'()"), "aZ0-_.!~*'()");
        assert_eq!(encode_uri_component(" +/=é€😀"), "%20%2B%2F%3D%C3%A9%E2%82%AC%F0%9F%98%80");
        assert_eq!(decode_uri_component("%c3%A9+a").as_deref(), Some("é+a"));
        for bad in ["%", "%4", "%zz", "%+1", "%c3", "%c3é", "%ed%a0%80", "%c0%80", "a%é"] {
            assert_eq!(decode_uri_component(bad), None, "{bad}");
            assert_eq!(decode_lenient(bad), bad);
        }
    }

    #[test]
    fn one_value_has_one_base64url_text() {
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
        for bad in ["-_9", "-_8=", "+/8", "-_8 ", "-", "é"] {
            assert_eq!(base64url_decode(bad), None, "{bad}");
        }
        assert_eq!(base64url_decode(""), Some(vec![]));
    }

    #[test]
    fn hex_is_written_lower_and_read_in_both_cases() {
        assert_eq!(hex_encode(&[0xab, 1]), "ab01");
        assert_eq!(hex_decode("AB01"), Some(vec![0xab, 1]));
        assert_eq!(hex_decode("ab0"), None);
        assert_eq!(hex_decode("zz"), None);
    }

    #[test]
    fn equality_also_compares_lengths() {
        assert!(constant_time_eq(b"abc", b"abc"));
        assert!(!constant_time_eq(b"abc", b"abd"));
        assert!(!constant_time_eq(b"abc", b"abcd"));
        assert!(constant_time_eq(b"", b""));
    }

    proptest! {
        #[test]
        fn what_was_signed_is_verified(value in "\\PC{1,60}", key in "\\PC{0,40}") {
            let secret = Secret::new(key);
            let signed = sign_value(&secret, &value);
            prop_assert_eq!(verify_signed(&secret, &signed), Some(value.as_str()));
        }

        #[test]
        fn what_was_escaped_is_read_back(text in any::<String>()) {
            let escaped = encode_uri_component(&text);
            prop_assert_eq!(decode_uri_component(&escaped), Some(text.clone()));
            let lenient = decode_lenient(&escaped);
            prop_assert_eq!(lenient, text);
        }

        #[test]
        fn no_text_makes_a_reader_panic(text in any::<String>()) {
            let _ = verify_signed(&Secret::from("k"), &text);
            let _ = decode_lenient(&text);
            let _ = base64url_decode(&text);
            let _ = hex_decode(&text);
        }
    }
}
