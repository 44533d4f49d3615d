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
    let mut routes = Routes::new();
    if options.allow_passwordless {
        routes = add(routes, options, "/two-factor/enable", enable::<false>);
        routes = add(routes, options, "/two-factor/disable", disable::<false>);
    } else {
        routes = add(routes, options, "/two-factor/enable", enable::<true>);
        routes = add(routes, options, "/two-factor/disable", disable::<true>);
    }
    if options.totp_passwordless() {
        routes = add(routes, options, "/two-factor/get-totp-uri", get_totp_uri::<false>);
    } else {
        routes = add(routes, options, "/two-factor/get-totp-uri", get_totp_uri::<true>);
    }
    routes = add(routes, options, "/two-factor/verify-totp", verify_totp);
    routes = add(routes, options, "/two-factor/send-otp", send_otp);
    routes = add(routes, options, "/two-factor/verify-otp", verify_otp);
    routes = add(routes, options, "/two-factor/verify-backup-code", verify_backup_code);
    if options.backup_passwordless() {
        add(routes, options, "/two-factor/generate-backup-codes", generate_backup_codes::<false>)
    } else {
        add(routes, options, "/two-factor/generate-backup-codes", generate_backup_codes::<true>)
    }
}

fn add<B, S, F, Fut>(routes: Routes, options: &Arc<Options>, path: &str, handler: F) -> Routes
where
    B: FromFields + 'static,
    S: Access + 'static,
    F: Fn(Arc<Options>, Call<B, S>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer, Error>> + Send + 'static,
{
    let options = Arc::clone(options);
    routes.post(path, move |call: Call<B, S>| handler(Arc::clone(&options), call))
}

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

async fn disable<const PASSWORD: bool>(
    options: Arc<Options>,
    call: Call<Password<PASSWORD>, Sensitive>,
) -> Result<Answer, Error> {
    let password = call.body.password.as_deref();
    let cookies = service::disable(&call.request, &options, &call.session, password).await?;
    Ok(Answer::value(json!({ "status": true })).with_cookies(cookies))
}

async fn get_totp_uri<const PASSWORD: bool>(
    options: Arc<Options>,
    call: Call<Password<PASSWORD>, Sensitive>,
) -> Result<Answer, Error> {
    let uri = totp::get_uri(call.auth(), &options, &call.session, call.body.password.as_deref()).await?;
    Ok(Answer::value(json!({ "totpURI": uri })))
}

async fn verify_totp(options: Arc<Options>, call: Call<Verify, Either>) -> Result<Answer, Error> {
    totp::check_available(&options)?;
    totp::verify(&call.request, &options, call.session.0?, &call.body).await
}

async fn send_otp(options: Arc<Options>, call: Call<SendOtp, Either>) -> Result<Answer, Error> {
    otp::sender(&options)?;
    otp::send(&call.request, &options, &call.session.0?).await?;
    Ok(Answer::value(json!({ "status": true })))
}

async fn verify_otp(options: Arc<Options>, call: Call<Verify, Either>) -> Result<Answer, Error> {
    otp::verify(&call.request, &options, call.session.0?, &call.body).await
}

async fn verify_backup_code(
    options: Arc<Options>,
    call: Call<VerifyBackupCode, Either>,
) -> Result<Answer, Error> {
    backup_codes::verify(&call.request, &options, call.session.0?, &call.body).await
}

async fn generate_backup_codes<const PASSWORD: bool>(
    options: Arc<Options>,
    call: Call<Password<PASSWORD>, Sensitive>,
) -> Result<Answer, Error> {
    let password = call.body.password.as_deref();
    let codes = backup_codes::regenerate(call.auth(), &options, &call.session, password).await?;
    Ok(Answer::value(json!({ "status": true, "backupCodes": codes })))
}
