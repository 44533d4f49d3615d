//! Codes that are sent to the user. A code belongs to one challenge (or one session), and each guess
//! takes its row away before the guess is judged.

use portcullis_core::auth::Auth;
use portcullis_core::clock::Timestamp;
use portcullis_core::crypto::{Alphabet, constant_time_eq, sha256_base64url};
use portcullis_core::error::Error;
use portcullis_core::hooks::Callback;
use portcullis_core::http::{Answer, Request};
use portcullis_core::identity::{User, Verification, to_json};
use portcullis_core::mail::{Outgoing, TWO_FACTOR_OTP};
use portcullis_core::store::Agreed;
use serde_json::{Map, Value as Json, json};

use super::challenge::{ATTEMPTS, Answerer, answer, check_lock, no_session_to_enable};
use super::errors;
use super::options::{Options, OtpStorage, StoreOtp};
use super::service;
use super::store::{Factor, is_enabled};
use super::wire::Verify;

fn row_of(key: &str) -> String {
    format!("2fa-otp-{key}")
}

/// Refuses where no codes can be sent.
pub(super) fn check_available(options: &Options) -> Result<(), Error> {
    if options.sends_codes() {
        return Ok(());
    }
    Err(errors::OTP_NOT_CONFIGURED.saying("otp isn't configured").into())
}

/// Calls a function of the operator that turns a text into a text.
pub(super) async fn text_of(
    auth: &Auth,
    callback: &Callback,
    name: &str,
    text: &str,
) -> Result<String, Error> {
    match callback.call(auth.outbound(), name, vec![Json::from(text)]).await? {
        Json::String(text) => Ok(text),
        _ => Err(Error::broken(format!("{name} did not answer a text"))),
    }
}

async fn stored(auth: &Auth, options: &Options, code: &str) -> Result<String, Error> {
    match &options.otp_options.store_otp {
        StoreOtp::Named(OtpStorage::Plain) => Ok(code.to_owned()),
        StoreOtp::Named(OtpStorage::Hashed) => Ok(sha256_base64url(code)),
        StoreOtp::Named(OtpStorage::Encrypted) => Ok(auth.config().secrets.seal(auth.random(), code)?),
        StoreOtp::Hash { hash } => {
            text_of(auth, hash, "plugins.twoFactor.otpOptions.storeOTP.hash", code).await
        }
        StoreOtp::Cipher { encrypt, .. } => {
            text_of(auth, encrypt, "plugins.twoFactor.otpOptions.storeOTP.encrypt", code).await
        }
    }
}

async fn is_right(auth: &Auth, options: &Options, kept: &str, code: &str) -> Result<bool, Error> {
    let (expected, given) = match &options.otp_options.store_otp {
        StoreOtp::Named(OtpStorage::Plain) => (kept.to_owned(), code.to_owned()),
        StoreOtp::Named(OtpStorage::Hashed) => (kept.to_owned(), sha256_base64url(code)),
        StoreOtp::Named(OtpStorage::Encrypted) => (auth.config().secrets.open(kept)?, code.to_owned()),
        StoreOtp::Hash { hash } => {
            let name = "plugins.twoFactor.otpOptions.storeOTP.hash";
            (kept.to_owned(), text_of(auth, hash, name, code).await?)
        }
        StoreOtp::Cipher { decrypt, .. } => {
            let name = "plugins.twoFactor.otpOptions.storeOTP.decrypt";
            (text_of(auth, decrypt, name, kept).await?, code.to_owned())
        }
    };
    Ok(constant_time_eq(expected.as_bytes(), given.as_bytes()))
}

/// Sends a new code.
pub(super) async fn send(request: &Request, options: &Options, answerer: &Answerer) -> Result<(), Error> {
    let auth = &request.auth;
    check_available(options)?;
    let digits = usize::try_from(options.otp_digits()).map_err(Error::broken)?;
    let code = auth.random().text(digits, Alphabet::Digits);
    let kept = stored(auth, options, &code).await?;
    let expires_at = Timestamp::from_millis(request.now.millis().saturating_add(options.otp_lasting()));
    let row = row_of(&answerer.key());
    let user = to_json(auth.table(User::KEY), answerer.user().clone().into_row(), true);
    let message = json!({ "user": user, "otp": code });
    let mail = Outgoing::with_context(TWO_FACTOR_OTP, request, message, context(request)).until(expires_at);
    let value = format!("{kept}:0");
    let mut agreed = Agreed::new();
    Verification::ask_delete(auth, &mut agreed, &row).await?;
    Verification::ask_create(auth, &mut agreed, &row, &value, expires_at).await?;
    let mut tx = auth.begin_agreed(agreed).await?;
    // The newest counts; without the older ones that does not hang on the clock.
    Verification::delete(auth, &mut tx.db(), &row).await?;
    Verification::create(auth, &mut tx.db(), &row, &value, expires_at).await?;
    auth.send_mail(&mut tx.db(), mail).await?;
    tx.commit().await
}

/// The request, as functions of the operator see it, with the body's one field.
fn context(request: &Request) -> Json {
    let mut context = request.context_for_webhook();
    if let Some(map) = context.as_object_mut() {
        let trust = request.body.as_ref().and_then(|body| body.get("trustDevice")).cloned();
        let body = request
            .body
            .as_ref()
            .map(|_| trust.into_iter().map(|trust| ("trustDevice".to_owned(), trust)).collect::<Map<_, _>>());
        map.insert("body".into(), body.map_or(Json::Null, Json::Object));
    }
    context
}

/// Judges a code.
pub(super) async fn verify(
    request: &Request,
    options: &Options,
    answerer: Answerer,
    body: &Verify,
) -> Result<Answer, Error> {
    let auth = &request.auth;
    let factor = match answerer.challenge() {
        Some(_) => Factor::of(&mut auth.db(), &answerer.user().id).await?,
        None => None,
    };
    if let Some(factor) = &factor {
        check_lock(request, options, factor).await?;
    }
    let row = row_of(&answerer.key());
    let Some(taken) = Verification::consume(auth, &mut auth.db(), &row).await? else {
        return Err(errors::OTP_HAS_EXPIRED.into());
    };
    let (kept, count) = taken.value.rsplit_once(':').unwrap_or((&taken.value, "0"));
    // A count that cannot be read is a count that is used up.
    let before: u32 = count.parse().unwrap_or(u32::MAX);
    if before >= options.otp_attempts() {
        return Err(errors::TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE.into());
    }
    let guess = match answerer.challenge() {
        Some(pending) => {
            let most = options.otp_attempts().max(ATTEMPTS);
            Some(pending.guess(request, options, factor.as_ref(), most).await?)
        }
        None => None,
    };
    match is_right(auth, options, kept, &body.code).await {
        Ok(true) => {
            if let Some(guess) = guess {
                guess.right(request).await?;
            }
        }
        Ok(false) => {
            let value = format!("{kept}:{}", before.saturating_add(1));
            Verification::create(auth, &mut auth.db(), &row, &value, taken.expires_at).await?;
            if let Some(guess) = guess {
                guess.wrong(request, options).await?;
            }
            return Err(errors::INVALID_CODE.into());
        }
        Err(error) => {
            Verification::create(auth, &mut auth.db(), &row, &taken.value, taken.expires_at).await?;
            if let Some(guess) = guess {
                guess.take_back(request).await?;
            }
            return Err(error);
        }
    }
    if is_enabled(answerer.user()) {
        return answerer.finish(request, options, body.trust_device).await;
    }
    let Answerer::Session(current) = answerer else { return Err(no_session_to_enable()) };
    let mut agreed = Agreed::new();
    service::ask_enable_for(request, &mut agreed, &current).await?;
    let mut tx = auth.begin_agreed(agreed).await?;
    let replaced = service::enable_for(request, &mut tx.db(), &current).await?;
    tx.commit().await?;
    let Some(renewed) = replaced else { return Ok(answer(auth, &current.session.token, &current.user)) };
    let cookies = service::handed(request, &renewed).await?;
    Ok(answer(auth, &renewed.session.token, &renewed.user).with_cookies(cookies))
}
