//! One-time codes of authenticator apps: HOTP (RFC 4226) and TOTP (RFC 6238) with HMAC-SHA1, which
//! is what the apps speak, and the link that a QR code shows.

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use url::form_urlencoded;

use super::sign::{constant_time_eq, encode_uri_component};
use crate::clock::Timestamp;

/// RFC 4226 §5.3 gives 31 bits; more than nine digits would not be random.
const MAX_DIGITS: u32 = 9;

/// The code for a counter, with `digits` (1 to 9; others are brought into that range).
pub fn hotp(key: &[u8], counter: u64, digits: u32) -> String {
    let digits = digits.clamp(1, MAX_DIGITS);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let tag = hmac::sign(&key, &counter.to_be_bytes());
    // RFC 4226 §5.3: the low four bits of the last byte say where the four bytes begin.
    let offset = usize::from(tag.as_ref().last().map_or(0, |last| last & 15));
    let number = tag.as_ref().iter().skip(offset).take(4).fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
    let code = (number & 0x7fff_ffff) % 10u32.pow(digits);
    format!("{code:0width$}", width = usize::try_from(digits).unwrap_or(6))
}

/// The code at a time; `period` in seconds.
pub fn totp_at(key: &[u8], now: Timestamp, period: u32, digits: u32) -> String {
    hotp(key, step(now, period), digits)
}

/// The number of the period that a time lies in; times before 1970 count as the first.
fn step(now: Timestamp, period: u32) -> u64 {
    u64::try_from(now.seconds()).unwrap_or(0) / u64::from(period.max(1))
}

/// Whether a code is right at `now` or up to `window` periods around it; the newest time step that
/// it is right for, which the caller has to remember so that no code is used twice (RFC 6238 §5.2).
///
/// All candidates are computed and compared in constant time.
pub fn totp_matches(
    key: &[u8],
    code: &str,
    now: Timestamp,
    period: u32,
    digits: u32,
    window: i64,
) -> Option<u64> {
    let current = step(now, period);
    let mut matched = None;
    for offset in -window..=window {
        if let Some(step) = current.checked_add_signed(offset)
            && constant_time_eq(hotp(key, step, digits).as_bytes(), code.as_bytes())
        {
            matched = Some(step);
        }
    }
    matched
}

/// Base32 without padding (RFC 4648 §6), upper case.
pub fn base32_nopad(data: &[u8]) -> String {
    BASE32_NOPAD.encode(data)
}

/// Reads base32 as people copy it: upper case, with or without padding, up to the first `=`.
pub fn base32_decode(text: &str) -> Option<Vec<u8>> {
    let text = text.split('=').next()?;
    let mut spec = BASE32_NOPAD.specification();
    // Better Auth's decoder drops left-over bits whatever they are.
    spec.check_trailing_bits = false;
    spec.encoding().ok()?.decode(text.as_bytes()).ok()
}

/// The link of a QR code, letter for letter as better-auth 1.7.6 writes it: label escaped as a URI
/// component, query as a form (a space is `%20` in the one and `+` in the other).
pub fn otpauth_uri(secret_bytes: &[u8], issuer: &str, account: &str, digits: u32, period: u32) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("secret", &base32_nopad(secret_bytes))
        .append_pair("issuer", issuer)
        .append_pair("digits", &digits.to_string())
        .append_pair("period", &period.to_string())
        .finish();
    format!("otpauth://totp/{}:{}?{query}", encode_uri_component(issuer), encode_uri_component(account))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RFC: &[u8] = b"12345678901234567890";
    const KEY: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEF";

    #[test]
    fn codes_agree_with_rfc_4226_appendix_d() {
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
            "520489",
        ];
        for (counter, code) in (0..).zip(codes) {
            assert_eq!(hotp(RFC, counter, 6), code);
        }
    }

    #[test]
    fn codes_agree_with_rfc_6238_appendix_b() {
        for (seconds, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(totp_at(RFC, Timestamp::from_millis(seconds * 1000), 30, 8), code);
        }
    }

    #[test]
    fn a_secret_of_better_auth_gives_its_codes_and_its_link() {
        assert_eq!(hotp(KEY, 0, 6), "509359");
        assert_eq!(base32_nopad(KEY), "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43UOV3HO6DZPJAUEQ2EIVDA");
        assert_eq!(
            otpauth_uri(KEY, "My App & Co's (é*~!)", "a+b c@ex.org", 6, 30),
            "otpauth://totp/My%20App%20%26%20Co's%20(%C3%A9*~!):a%2Bb%20c%40ex.org?secret=MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43UOV3HO6DZPJAUEQ2EIVDA&issuer=My+App+%26+Co%27s+%28%C3%A9*%7E%21%29&digits=6&period=30"
        );
    }

    #[test]
    fn a_code_is_right_one_period_around_its_own() {
        let at = |step: i64| Timestamp::from_millis(step * 30_000 + 29_999);
        let code = totp_at(KEY, at(1000), 30, 6);
        for (step, expected) in
            [(998, None), (999, Some(1000)), (1000, Some(1000)), (1001, Some(1000)), (1002, None)]
        {
            assert_eq!(totp_matches(KEY, &code, at(step), 30, 6, 1), expected, "at {step}");
        }
        assert_eq!(totp_matches(KEY, &code, at(1001), 30, 6, 0), None);
        assert_eq!(totp_matches(KEY, &hotp(KEY, 0, 6), Timestamp::from_millis(0), 30, 6, 1), Some(0));
    }

    #[test]
    fn a_code_of_another_length_or_script_is_wrong() {
        let now = Timestamp::from_millis(0);
        for code in ["", "50935", "5093590", " 509359", "５０９３５９", "50935é"] {
            assert_eq!(totp_matches(KEY, code, now, 30, 6, 1), None, "{code}");
        }
    }

    #[test]
    fn settings_out_of_range_do_not_panic() {
        assert_eq!(hotp(KEY, u64::MAX, 0).len(), 1);
        assert_eq!(hotp(KEY, 1, 99).len(), 9);
        assert_eq!(totp_at(b"", Timestamp::from_millis(-5), 0, 6).len(), 6);
        assert_eq!(totp_matches(b"", "x", Timestamp::from_millis(i64::MAX), 0, 6, -1), None);
    }

    #[test]
    fn an_imported_secret_is_read_with_or_without_padding() {
        assert_eq!(base32_decode("MZXW6YQ=").unwrap(), b"foob");
        assert_eq!(base32_decode("MZXW6YQ").unwrap(), b"foob");
        assert_eq!(base32_decode("MZXW6Y1").as_deref(), None);
        assert_eq!(base32_decode("mzxw6yq").as_deref(), None);
    }

    proptest! {
        #[test]
        fn base32_is_read_back(data in any::<Vec<u8>>()) {
            prop_assert_eq!(base32_decode(&base32_nopad(&data)).unwrap(), data);
        }
    }
}
