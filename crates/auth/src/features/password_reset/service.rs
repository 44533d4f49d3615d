//! The rules of forgotten passwords.

use http::StatusCode;
use portcullis_core::crypto::{Alphabet, encode_uri_component};
use portcullis_core::error::{self, Error};
use portcullis_core::events::Kind;
use portcullis_core::http::Request;
use portcullis_core::identity::{Account, RESET_PREFIX, Session, User, Verification, discreetly, password};
use portcullis_core::mail::{Outgoing, RESET_PASSWORD};
use portcullis_core::store::Agreed;
use serde_json::json;
use url::Url;

use super::errors;

/// Under which identifier a token waits.
fn identifier(token: &str) -> String {
    format!("{RESET_PREFIX}{token}")
}

/// Mails a link to the user of an address, if there is one. Neither the answer nor its time tells.
pub(super) async fn request(request: &Request, body: &super::wire::Ask) -> Result<(), Error> {
    let auth = &request.auth;
    let settings = &auth.config().settings.email_and_password;
    if !auth.mailer().sends(RESET_PASSWORD) {
        tracing::error!(
            "a password cannot be reset: neither emailAndPassword.sendResetPassword nor a mailer (mail.smtp, mail.send) is set"
        );
        return Err(errors::RESET_PASSWORD_DISABLED.into());
    }
    discreetly(async {
        let user = User::by_email(&mut auth.db(), &body.email).await?;
        let asked = request.event(Kind::PasswordResetRequested);
        auth.tell(asked.of(user.as_ref().map(|user| user.id.clone())));
        let Some(user) = user else {
            return Verification::pretend_and_mail(auth).await;
        };
        let lasting = settings.reset_password_token_expires_in.filter(|&secs| secs != 0).unwrap_or(3600);
        let token = auth.random().text(24, Alphabet::Alphanumeric);
        let until = request.now.plus_seconds(lasting);
        let back = encode_uri_component(body.redirect_to.as_deref().unwrap_or_default());
        let url = format!("{}/reset-password/{token}?callbackURL={back}", request.base_url());
        let message = json!({ "user": user.for_webhook(auth), "url": url, "token": token });
        let mail = Outgoing::new(RESET_PASSWORD, request, message).until(until).beside();
        let identifier = identifier(&token);
        match Verification::create_and_mail(auth, &identifier, &user.id, until, mail).await {
            // As for everybody else: the database or the storage is away.
            Err(error) if error.code() == Some(&error::SERVICE_UNAVAILABLE) => Err(error),
            // A hook of the operator's refuses or fails. An answer that said so would tell that there is
            // such a user.
            Err(error) => {
                tracing::error!(%error, "a link that resets a password was not mailed");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    })
    .await
}

/// Where the link of the mail leads: the app's page with the token, if that is still good.
pub(super) async fn page(request: &Request, token: &str, callback_url: &str) -> Result<String, Error> {
    let auth = &request.auth;
    let base = Url::parse(&request.base_url()).map_err(Error::broken)?;
    if callback_url.is_empty() {
        return Ok(format!("{}/error?error=INVALID_TOKEN", request.base_url()));
    }
    let page = base.join(callback_url).map_err(Error::broken)?;
    let found = Verification::find(auth, &mut auth.db(), &identifier(token)).await?;
    Ok(match found {
        Some(_) => with_parameter(page, "token", token),
        None => with_parameter(page, "error", "INVALID_TOKEN"),
    })
}

/// The URL with one parameter set, as JavaScript's `searchParams.set` does it.
fn with_parameter(mut url: Url, name: &str, value: &str) -> String {
    let mut value = Some(value.to_owned());
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (key, old) in url.query_pairs().into_owned() {
        if key != name {
            pairs.push((key, old));
        } else if let Some(value) = value.take() {
            pairs.push((key, value));
        }
    }
    pairs.extend(value.map(|value| (name.to_owned(), value)));
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url.into()
}

/// Gives the user of a token a new password. Of any number of callers with one token one succeeds.
pub(super) async fn reset(request: &Request, token: &str, new_password: &str) -> Result<(), Error> {
    let auth = &request.auth;
    if token.is_empty() {
        return Err(errors::INVALID_TOKEN.into());
    }
    password::check_new_length(auth, new_password)?;
    let identifier = identifier(token);
    // Looked at before the hash, so that nobody without a token buys work; taken away after it, with the
    // write, so that a full hash queue does not cost the token (better-auth 1.7.24).
    let Some(waiting) = Verification::find(auth, &mut auth.db(), &identifier).await? else {
        return Err(errors::INVALID_TOKEN.into());
    };
    let unknown = || Error::from(error::USER_NOT_FOUND.at(StatusCode::BAD_REQUEST));
    let Some(owner) = User::by_id(&mut auth.db(), &waiting.value).await? else { return Err(unknown()) };
    password::check_new(auth, new_password, &owner.clone().into_row()).await?;
    let hash = auth.passwords().hash(new_password).await?;

    let settings = &auth.config().settings.email_and_password;
    let mut agreed = Agreed::new();
    Verification::ask_consume(auth, &mut agreed, &identifier).await?;
    // Should the account come or go before the transaction, the write was not asked about and fails: the
    // token is still good then, and the next try succeeds.
    match Account::credential_of(&mut auth.db(), &owner.id).await? {
        Some(_) => Account::ask_password(auth, &mut agreed, hash.clone()).await?,
        None => Account::ask_create_credential(auth, &mut agreed, Some(&owner.id), hash.clone()).await?,
    }
    if settings.revoke_sessions_on_password_reset {
        Session::ask_delete_all(auth, &mut agreed, &owner.id).await?;
    }
    let ticket = Verification::ticket(auth, &identifier).await?;
    let mut tx = auth.begin_agreed(agreed).await?;
    let Some(taken) = ticket.take(auth, &mut tx.db()).await? else {
        return Err(errors::INVALID_TOKEN.into());
    };
    let Some(user) = User::by_id(&mut tx.db(), &taken.value).await? else { return Err(unknown()) };
    match Account::credential_of(&mut tx.db(), &user.id).await? {
        Some(account) => {
            account.set_password(auth, &mut tx.db(), hash).await?;
        }
        None => {
            Account::create_credential(auth, &mut tx.db(), &user, hash).await?;
        }
    }
    if settings.revoke_sessions_on_password_reset {
        Session::delete_all(auth, &mut tx.db(), &user.id).await?;
    }
    Verification::forget_resets(auth, &mut tx.db(), &user.id).await?;
    auth.tell_after(&mut tx.db(), request.event(Kind::PasswordReset).user(&user.id)).await?;
    password::tell_changed(request, &mut tx.db(), &user).await?;
    tx.commit().await?;
    if settings.revoke_sessions_on_password_reset {
        // Those that began between the two, with the old password.
        Session::delete_all(auth, &mut auth.db(), &user.id).await?;
    }
    if let Some(callback) = &settings.on_password_reset {
        let args = vec![json!({ "user": user.for_webhook(auth) }), request.for_webhook()];
        callback.call(auth.outbound(), "emailAndPassword.onPasswordReset", args).await?;
    }
    Ok(())
}
