//! Just enough DER (X.690) to take a public key out of its `SubjectPublicKeyInfo`. Every read is
//! bounds-checked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::KeyError;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

// RFC 8410 §3, RFC 5480 §2.1.1, RFC 3279 §2.3.1.
const ID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const ID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const CURVES: [(&[u8], &str); 3] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], "P-256"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], "P-384"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], "P-521"),
];

/// A public key as its document has it.
pub(crate) enum Public<'a> {
    Ed25519(&'a [u8]),
    /// The curve's name in JOSE, and the point.
    Ec(&'static str, &'a [u8]),
    Rsa {
        n: &'a [u8],
        e: &'a [u8],
    },
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The content of the next element, which has to have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.byte()? != tag {
            return None;
        }
        let first = self.byte()?;
        let mut len = usize::from(first);
        if first >= 0x80 {
            // The long form: the low bits count the bytes of the length. 0x80 (indefinite) is not DER.
            let count = first & 0x7f;
            if count == 0 || count > 4 {
                return None;
            }
            len = 0;
            for _ in 0..count {
                len = len.checked_mul(256)?.checked_add(usize::from(self.byte()?))?;
            }
        }
        let (content, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(content)
    }

    /// A BIT STRING of whole bytes.
    fn bits(&mut self) -> Option<&'a [u8]> {
        self.take(BIT_STRING)?.strip_prefix(&[0])
    }
}

/// A big-endian number in its shortest form (RFC 7518 §6.3.1.1); zero becomes empty.
pub(crate) fn without_leading_zeros(mut number: &[u8]) -> &[u8] {
    while let Some((0, rest)) = number.split_first() {
        number = rest;
    }
    number
}

/// The document of a PEM text (RFC 7468 §13) with one public key.
pub(crate) fn pem(text: &str) -> Result<Vec<u8>, KeyError> {
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyError::Private);
    }
    let body = text
        .trim()
        .strip_prefix("-----BEGIN PUBLIC KEY-----")
        .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"))
        .ok_or(KeyError::Malformed("not exactly one `BEGIN PUBLIC KEY`"))?;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).map_err(|_| KeyError::Malformed("not base64"))
}

/// The key of a `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7).
pub(crate) fn public_key(document: &[u8]) -> Result<Public<'_>, KeyError> {
    const MALFORMED: KeyError = KeyError::Malformed("not a SubjectPublicKeyInfo");
    let mut whole = Reader(document);
    let mut info = Reader(whole.take(SEQUENCE).ok_or(MALFORMED)?);
    let mut algorithm = Reader(info.take(SEQUENCE).ok_or(MALFORMED)?);
    let id = algorithm.take(OBJECT_IDENTIFIER).ok_or(MALFORMED)?;
    let key = info.bits().ok_or(MALFORMED)?;
    if !whole.0.is_empty() || !info.0.is_empty() {
        return Err(MALFORMED);
    }
    if id == ID_ED25519 {
        if key.len() != 32 {
            return Err(MALFORMED);
        }
        return Ok(Public::Ed25519(key));
    }
    if id == ID_EC {
        let curve = algorithm.take(OBJECT_IDENTIFIER).ok_or(MALFORMED)?;
        let (_, name) = CURVES.into_iter().find(|(id, _)| *id == curve).ok_or_else(|| {
            KeyError::Unsupported("an elliptic curve other than P-256, P-384, P-521".into())
        })?;
        return Ok(Public::Ec(name, key));
    }
    if id == ID_RSA {
        let mut outer = Reader(key);
        let mut numbers = Reader(outer.take(SEQUENCE).ok_or(MALFORMED)?);
        let n = numbers.take(INTEGER).ok_or(MALFORMED)?;
        let e = numbers.take(INTEGER).ok_or(MALFORMED)?;
        if !outer.0.is_empty() || !numbers.0.is_empty() {
            return Err(MALFORMED);
        }
        return Ok(Public::Rsa { n, e });
    }
    Err(KeyError::Unsupported("a public key other than Ed25519, EC or RSA".into()))
}

/// `n` and `e` of an `RSAPublicKey` (RFC 8017 §A.1.1), for the test kit's JWKs.
#[cfg(feature = "testing")]
pub(crate) fn rsa_numbers(document: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut numbers = Reader(Reader(document).take(SEQUENCE)?);
    let n = without_leading_zeros(numbers.take(INTEGER)?);
    let e = without_leading_zeros(numbers.take(INTEGER)?);
    Some((n, e))
}
