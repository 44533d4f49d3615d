//! The mail that proves an address. Every way in that needs a proven address sends the same one.

use serde_json::{Map, Value as Json, json};

use super::user::User;
use crate::crypto::{encode_uri_component, sign_hs256};
use crate::error::Error;
use crate::http::Request;

/// Why the mail might be sent; each has an option of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// Somebody signed up: `emailVerification.sendOnSignUp`.
    SignUp,
    /// A sign-in is refused because the address is not proven: `emailVerification.sendOnSignIn`.
    SignIn,
}

/// Mails the link that proves the address, when the options say so. A delivery that fails does not
/// fail the request.
///
/// # Errors
/// The link cannot be signed.
pub async fn mail_verification(
    request: &Request,
    user: &User,
    callback_url: Option<&str>,
    occasion: Occasion,
) -> Result<(), Error> {
    let auth = &request.auth;
    let settings = &auth.config().settings.email_verification;
    let required = auth.config().settings.email_and_password.require_email_verification;
    let wanted = match occasion {
        Occasion::SignUp => settings.send_on_sign_up.unwrap_or(required),
        Occasion::SignIn => settings.send_on_sign_in,
    };
    let Some(callback) = settings.send_verification_email.as_ref().filter(|_| wanted) else { return Ok(()) };
    let mut claims = Map::new();
    claims.insert("email".into(), Json::from(user.email.to_lowercase()));
    let lasting = settings.expires_in.unwrap_or(3600);
    let token =
        sign_hs256(auth.config().secrets.current(), &claims, request.now, lasting).map_err(Error::broken)?;
    let callback_url = encode_uri_component(callback_url.filter(|url| !url.is_empty()).unwrap_or("/"));
    let url = format!("{}/verify-email?token={token}&callbackURL={callback_url}", request.base_url());
    let message = json!({ "user": user.for_webhook(auth), "url": url, "token": token });
    let args = vec![message, request.for_webhook()];
    callback.tell(auth.outbound(), "emailVerification.sendVerificationEmail", args).await;
    Ok(())
}
