//! The routes of the room: extract, serve, answer.

use std::sync::Arc;

use portcullis_core::error::Error;
use portcullis_core::http::body::FromFields;
use portcullis_core::http::call::{Access, Sensitive};
use portcullis_core::http::{Answer, Call, Routes};
use serde_json::json;

use super::challenge::Either;
use super::options::Options;
use super::service::{self, Enabled};
use super::wire::{Enable, Password, SendOtp, Verify, VerifyBackupCode};
use super::{backup_codes, otp, totp};

pub(super) fn routes(options: &Arc<Options>) -> Routes {
    let routes = Routes::new();
    let routes = match options.allow_passwordless {
        true => switches::<false>(routes, options),
        false => switches::<true>(routes, options),
    };
    let routes = match options.totp_passwordless() {
        true => authenticator::<false>(routes, options),
        false => authenticator::<true>(routes, options),
    };
    let send_otp = with(options, send_otp);
    let verify_otp = with(options, verify_otp);
    let routes = routes.post("/two-factor/send-otp", send_otp).post("/two-factor/verify-otp", verify_otp);
    match options.backup_passwordless() {
        true => paper::<false>(routes, options),
        false => paper::<true>(routes, options),
    }
}

fn switches<const PASSWORD: bool>(routes: Routes, options: &Arc<Options>) -> Routes {
    let enable = with(options, enable::<PASSWORD>);
    let disable = with(options, disable::<PASSWORD>);
    routes.post("/two-factor/enable", enable).post("/two-factor/disable", disable)
}

fn authenticator<const PASSWORD: bool>(routes: Routes, options: &Arc<Options>) -> Routes {
    let get_totp_uri = with(options, get_totp_uri::<PASSWORD>);
    let verify_totp = with(options, verify_totp);
    routes.post("/two-factor/get-totp-uri", get_totp_uri).post("/two-factor/verify-totp", verify_totp)
}

fn paper<const PASSWORD: bool>(routes: Routes, options: &Arc<Options>) -> Routes {
    let verify_backup_code = with(options, verify_backup_code);
    let generate_backup_codes = with(options, generate_backup_codes::<PASSWORD>);
    routes
        .post("/two-factor/verify-backup-code", verify_backup_code)
        .post("/two-factor/generate-backup-codes", generate_backup_codes)
}

/// Gives a handler the options.
fn with<B, S, F, Fut>(
    options: &Arc<Options>,
    handler: F,
) -> impl Fn(Call<B, S>) -> Fut + Send + Sync + use<B, S, F, Fut>
where
    B: FromFields + 'static,
    S: Access + 'static,
    F: Fn(Arc<Options>, Call<B, S>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer, Error>> + Send + 'static,
{
    let options = Arc::clone(options);
    move |call| handler(Arc::clone(&options), call)
}

/// Begins the setup of a second factor, for the password.
async fn enable<const PASSWORD: bool>(
    options: Arc<Options>,
    call: Call<Enable<PASSWORD>, Sensitive>,
) -> Result<Answer, Error> {
    let Enable { password, method, issuer } = call.body;
    let (password, issuer) = (password.as_deref(), issuer.as_deref());
    Ok(match service::enable(&call.request, &options, &call.session, password, method, issuer).await? {
        Enabled::Otp(cookies) => Answer::value(json!({ "method": "otp" })).with_cookies(cookies),
        Enabled::Totp { uri, backup_codes, cookies } => {
            let body = json!({ "method": "totp", "totpURI": uri, "backupCodes": backup_codes });
            Answer::value(body).with_cookies(cookies)
        }
    })
}

/// Ends the second factor, for the password.
async fn disable<const PASSWORD: bool>(
    options: Arc<Options>,
    call: Call<Password<PASSWORD>, Sensitive>,
) -> Result<Answer, Error> {
    let password = call.body.password.as_deref();
    let cookies = service::disable(&call.request, &options, &call.session, password).await?;
    Ok(Answer::value(json!({ "status": true })).with_cookies(cookies))
}

/// Shows the link for the authenticator again, for the password.
async fn get_totp_uri<const PASSWORD: bool>(
    options: Arc<Options>,
    call: Call<Password<PASSWORD>, Sensitive>,
) -> Result<Answer, Error> {
    let uri = totp::get_uri(call.auth(), &options, &call.session, call.body.password.as_deref()).await?;
    Ok(Answer::value(json!({ "totpURI": uri })))
}

/// Judges the code of an authenticator: finishes the setup or the sign-in.
async fn verify_totp(options: Arc<Options>, call: Call<Verify, Either>) -> Result<Answer, Error> {
    totp::check_available(&options)?;
    totp::verify(&call.request, &options, call.session.0?, &call.body).await
}

/// Sends a code.
async fn send_otp(options: Arc<Options>, call: Call<SendOtp, Either>) -> Result<Answer, Error> {
    otp::check_available(&options)?;
    otp::send(&call.request, &options, &call.session.0?).await?;
    Ok(Answer::value(json!({ "status": true })))
}

/// Judges a code that was sent: switches the second factor on or finishes the sign-in.
async fn verify_otp(options: Arc<Options>, call: Call<Verify, Either>) -> Result<Answer, Error> {
    otp::verify(&call.request, &options, call.session.0?, &call.body).await
}

/// Judges a backup code and uses it up.
async fn verify_backup_code(
    options: Arc<Options>,
    call: Call<VerifyBackupCode, Either>,
) -> Result<Answer, Error> {
    backup_codes::verify(&call.request, &options, call.session.0?, &call.body).await
}

/// Replaces all backup codes, for the password.
async fn generate_backup_codes<const PASSWORD: bool>(
    options: Arc<Options>,
    call: Call<Password<PASSWORD>, Sensitive>,
) -> Result<Answer, Error> {
    let password = call.body.password.as_deref();
    let codes = backup_codes::regenerate(call.auth(), &options, &call.session, password).await?;
    Ok(Answer::value(json!({ "status": true, "backupCodes": codes })))
}
