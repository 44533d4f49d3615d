//! Codes of an authenticator app (RFC 6238).

use portcullis_core::auth::Auth;
use portcullis_core::clock::Timestamp;
use portcullis_core::crypto::{Alphabet, base32_decode, otpauth_uri, totp_matches};
use portcullis_core::error::Error;
use portcullis_core::http::{Answer, Request};
use portcullis_core::identity::{SessionUser, Verification};
use portcullis_core::store::{Agreed, Row};

use super::challenge::{Answerer, answer, check_lock};
use super::errors;
use super::options::Options;
use super::service;
use super::store::Factor;
use super::wire::Verify;

/// Steps around the present one in which a code is good.
const WINDOW: i64 = 1;

/// A new secret: the authenticator's key is the text itself (better-auth 1.7.6 two-factor).
pub(super) fn new_secret(auth: &Auth) -> String {
    auth.random().text(32, Alphabet::UrlSafe)
}

/// The key of a stored secret. Imported ones are base32 behind a prefix (better-auth 1.7.24).
fn key(auth: &Auth, stored: &str) -> Result<Vec<u8>, Error> {
    let plain = auth.config().secrets.open(stored)?;
    match plain.strip_prefix("base32:") {
        None => Ok(plain.into_bytes()),
        Some(text) => {
            base32_decode(text).ok_or_else(|| Error::broken("an imported TOTP secret is not base32"))
        }
    }
}

/// The link that an authenticator reads.
pub(super) fn uri(options: &Options, key: &[u8], issuer: &str, email: &str) -> String {
    otpauth_uri(key, issuer, email, options.totp_digits(), options.totp_period())
}

/// Refuses where there are no authenticators.
pub(super) fn check_available(options: &Options) -> Result<(), Error> {
    if options.totp_options.disable {
        return Err(errors::TOTP_NOT_CONFIGURED.saying("totp isn't configured").into());
    }
    Ok(())
}

/// The link once more, for another device.
pub(super) async fn get_uri(
    auth: &Auth,
    options: &Options,
    current: &SessionUser,
    password: Option<&str>,
) -> Result<String, Error> {
    check_available(options)?;
    let user = &current.user;
    let Some(factor) = Factor::of(&mut auth.db(), &user.id).await? else {
        return Err(errors::TOTP_NOT_ENABLED.into());
    };
    let key = key(auth, &factor.secret)?;
    service::check_password(auth, &user.id, password, options.totp_passwordless()).await?;
    let own = options.totp_options.issuer.as_deref().filter(|issuer| !issuer.is_empty());
    Ok(uri(options, &key, own.unwrap_or(&auth.config().app_name), &user.email))
}

/// Judges a code. With a session it also finishes the setup; at sign-in it makes the session.
pub(super) async fn verify(
    request: &Request,
    options: &Options,
    answerer: Answerer,
    body: &Verify,
) -> Result<Answer, Error> {
    let auth = &request.auth;
    let Some(factor) = Factor::of(&mut auth.db(), &answerer.user().id).await? else {
        return Err(errors::TOTP_NOT_ENABLED.into());
    };
    if let Some(pending) = answerer.challenge() {
        if !factor.is_ready() {
            return Err(errors::TOTP_NOT_ENABLED.into());
        }
        check_lock(request, options, &factor).await?;
        let guess = pending.guess(request, options, Some(&factor), super::challenge::ATTEMPTS).await?;
        match judge_once(request, options, &factor, &body.code).await {
            Ok(true) => guess.right(request).await?,
            Ok(false) => {
                guess.wrong(request, options).await?;
                return Err(errors::INVALID_CODE.into());
            }
            Err(error) => {
                guess.take_back(request).await?;
                return Err(error);
            }
        }
    } else if judge(request, options, &factor, &body.code)?.is_none() {
        return Err(errors::INVALID_CODE.into());
    }
    if factor.verified == Some(true) {
        return answerer.finish(request, options, body.trust_device).await;
    }
    let confirmed = Row::new().with(Factor::VERIFIED.key, true);
    let same = Factor::SECRET.is(factor.secret.as_str());
    let Answerer::Session(current) = answerer else {
        if !factor.change_if_same(&mut auth.db(), same, confirmed).await? {
            return Err(errors::INVALID_CODE.into());
        }
        return answerer.finish(request, options, body.trust_device).await;
    };
    let mut agreed = Agreed::new();
    service::ask_enable_for(request, &mut agreed, &current).await?;
    let mut tx = auth.begin_agreed(agreed).await?;
    // The setup may have been begun anew since; then the code was one of the old secret.
    if !factor.change_if_same(&mut tx.db(), same, confirmed).await? {
        return Err(errors::INVALID_CODE.into());
    }
    let replaced = service::enable_for(request, &mut tx.db(), &current).await?;
    tx.commit().await?;
    Ok(match replaced {
        Some(renewed) => {
            let cookies = service::handed(request, &renewed).await?;
            answer(auth, &renewed.session.token, &current.user).with_cookies(cookies)
        }
        None => answer(auth, &current.session.token, &current.user),
    })
}

/// The step that the code is right for.
fn judge(request: &Request, options: &Options, factor: &Factor, code: &str) -> Result<Option<u64>, Error> {
    let key = key(&request.auth, &factor.secret)?;
    Ok(totp_matches(&key, code, request.now, options.totp_period(), options.totp_digits(), WINDOW))
}

/// Is the code right, and has its step not opened a session before?
///
/// RFC 6238 §5.2: a code must not be accepted twice. A step that was used is a reserved verification of
/// the user's, kept as long as its code would be good; of several who show it at once one has it.
async fn judge_once(
    request: &Request,
    options: &Options,
    factor: &Factor,
    code: &str,
) -> Result<bool, Error> {
    let Some(step) = judge(request, options, factor, code)? else { return Ok(false) };
    if options.totp_options.allow_reuse {
        return Ok(true);
    }
    let auth = &request.auth;
    let mut db = auth.db();
    let period = i64::from(options.totp_period());
    let begins = i64::try_from(step).map_err(Error::broken)?.saturating_mul(period);
    let ends = begins.saturating_add(period.saturating_mul(1 + WINDOW));
    let ends = Timestamp::from_millis(ends.saturating_mul(1000));
    Verification::reserve(auth, &mut db, &format!("2fa-totp-{}-{step}", factor.id), ends).await
}
