//! Just enough DER (X.690) to take the numbers out of an RSA private key that aws-lc wrote.
//!
//! aws-lc-rs exports an RSA key as PKCS#8 only, while a JWK wants its eight numbers. Every read is
//! bounds-checked; anything unexpected is `None`.

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

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

    /// A non-negative INTEGER without its leading zero bytes.
    fn number(&mut self) -> Option<&'a [u8]> {
        Some(without_leading_zeros(self.take(INTEGER)?))
    }
}

/// A big-endian number in its shortest form (RFC 7518 §6.3.1.1 wants it so); zero becomes empty.
pub(super) fn without_leading_zeros(mut number: &[u8]) -> &[u8] {
    while let Some((0, rest)) = number.split_first() {
        number = rest;
    }
    number
}

/// `n e d p q dp dq qi` of a PKCS#8 document (RFC 5208) with an `RSAPrivateKey` (RFC 8017 §A.1.2).
pub(super) fn rsa_numbers(pkcs8: &[u8]) -> Option<[&[u8]; 8]> {
    let mut outer = Reader(Reader(pkcs8).take(SEQUENCE)?);
    outer.take(INTEGER)?;
    outer.take(SEQUENCE)?;
    let mut key = Reader(Reader(outer.take(OCTET_STRING)?).take(SEQUENCE)?);
    // Version 0: two primes.
    if !key.number()?.is_empty() {
        return None;
    }
    let mut numbers: [&[u8]; 8] = [&[]; 8];
    for number in &mut numbers {
        *number = key.number()?;
    }
    key.0.is_empty().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cut_document_is_refused_at_every_length() {
        let document = KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
        let document: &[u8] = document.as_ref();
        let numbers = rsa_numbers(document).unwrap();
        assert_eq!(numbers[0].len(), 256);
        assert_eq!(numbers[1], [1, 0, 1]);
        for end in 0..document.len() {
            assert!(rsa_numbers(&document[..end]).is_none(), "{end}");
        }
    }

    #[test]
    fn lengths_that_are_indefinite_or_absurd_are_refused() {
        assert!(Reader(&[0x30, 0x80, 0, 0]).take(SEQUENCE).is_none());
        assert!(Reader(&[0x30, 0x85, 0, 0, 0, 0, 1, 9]).take(SEQUENCE).is_none());
        assert!(Reader(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).take(SEQUENCE).is_none());
        assert_eq!(Reader(&[0x30, 0x81, 1, 9]).take(SEQUENCE), Some(&[9][..]));
        assert_eq!(without_leading_zeros(&[0, 0]), &[] as &[u8]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>()) {
            prop_assert!(rsa_numbers(&bytes).is_none());
        }
    }
}
