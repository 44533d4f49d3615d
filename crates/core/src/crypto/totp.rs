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
