//! The rules of users who delete themselves: what they have to show, and what goes with them.

use http::StatusCode;
use portcullis_core::config::DeleteUserSettings;
use portcullis_core::crypto::{Alphabet, Verdict, encode_uri_component};
use portcullis_core::error::{self, Code, Error};
use portcullis_core::events::Kind;
use portcullis_core::http::{Cookies, Request};
use portcullis_core::identity::{
    Account, Session, SessionUser, User, Verification, clear_session_cookies, password,
};
use portcullis_core::mail::{DELETE_ACCOUNT, Outgoing};
use portcullis_core::store::Agreed;
use serde_json::json;

use super::errors;
use super::wire::Delete;

/// What came of the wish.
pub(super) enum Deletion {
    /// The user is gone; the cookies take the session from the client.
    Done(Cookies),
    /// A link was mailed that does it.
    Mailed,
}

fn settings(request: &Request) -> &DeleteUserSettings {
    &request.auth.config().settings.user.delete_user
}

/// Under which identifier a token waits.
fn identifier(token: &str) -> String {
    format!("delete-account-{token}")
}

/// Deletes the caller: with a token, or by mail where there is one, or with the password, or with a
/// session that has just begun.
pub(super) async fn delete(
    request: &Request,
    current: &SessionUser,
    body: Delete,
) -> Result<Deletion, Error> {
    let auth = &request.auth;
    let settings = settings(request);
    if !settings.enabled {
        return Err(Code::bare(StatusCode::NOT_FOUND).into());
    }
    if let Some(text) = &body.password {
        check_password(request, &current.user, text).await?;
    }
    if let Some(token) = &body.token {
        return by_token(request, current, token).await.map(Deletion::Done);
    }
    if auth.mailer().sends(DELETE_ACCOUNT) {
        mail(request, &current.user, body.callback_url.as_deref()).await?;
        return Ok(Deletion::Mailed);
    }
    if body.password.is_none() && !current.is_fresh(auth, request.now) {
        return Err(error::SESSION_EXPIRED.into());
    }
    remove(request, &current.user).await.map(Deletion::Done)
}

async fn check_password(request: &Request, user: &User, text: &str) -> Result<(), Error> {
    let auth = &request.auth;
    password::check_length(auth, text)?;
    let account = Account::credential_of(&mut auth.db(), &user.id).await?;
    let Some(stored) = account.and_then(|account| account.password) else {
        return Err(error::CREDENTIAL_ACCOUNT_NOT_FOUND.into());
    };
    match auth.passwords().verify(&stored, text).await? {
        Verdict::Wrong => Err(error::INVALID_PASSWORD.into()),
        Verdict::Right | Verdict::RightButWeak => Ok(()),
    }
}

/// Mails the link.
async fn mail(request: &Request, user: &User, back: Option<&str>) -> Result<(), Error> {
    let auth = &request.auth;
    let token = auth.random().text(32, Alphabet::LowerDigits);
    let lasting = settings(request).delete_token_expires_in.filter(|&secs| secs != 0).unwrap_or(86_400);
    let until = request.now.plus_seconds(lasting);
    let back = encode_uri_component(back.unwrap_or("/"));
    let url = format!("{}/delete-user/callback?token={token}&callbackURL={back}", request.base_url());
    let message = json!({ "user": user.for_webhook(auth), "url": url, "token": token });
    let mail = Outgoing::new(DELETE_ACCOUNT, request, message).until(until);
    let identifier = identifier(&token);
    Verification::create_and_mail(auth, &identifier, &user.id, until, mail).await
}

/// Deletes the caller with the token that was mailed to them; of several at once one does.
pub(super) async fn by_token(
    request: &Request,
    current: &SessionUser,
    token: &str,
) -> Result<Cookies, Error> {
    let auth = &request.auth;
    let identifier = identifier(token);
    let waiting = Verification::find(auth, &mut auth.db(), &identifier).await?;
    // Looked at before it is taken away, so that nobody uses up what is somebody else's.
    if waiting.is_none_or(|waiting| waiting.value != current.user.id) {
        return Err(errors::INVALID_TOKEN.into());
    }
    if Verification::consume(auth, &mut auth.db(), &identifier).await?.is_none() {
        return Err(errors::INVALID_TOKEN.into());
    }
    remove(request, &current.user).await
}

/// Deletes a user and what is theirs, unless the operator refuses.
async fn remove(request: &Request, user: &User) -> Result<Cookies, Error> {
    let auth = &request.auth;
    let told = || vec![user.for_webhook(auth), request.for_webhook()];
    if let Some(callback) = &settings(request).before_delete {
        callback.call(auth.outbound(), "user.deleteUser.beforeDelete", told()).await?;
    }
    let mut agreed = Agreed::new();
    User::ask_delete(auth, &mut agreed, &user.id).await?;
    Session::end_ahead(auth, &user.id).await?;
    let mut tx = auth.begin_agreed(agreed).await?;
    let gone = User::delete(auth, &mut tx.db(), &user.id).await?;
    if gone {
        auth.tell_after(&mut tx.db(), request.event(Kind::UserDeleted).user(&user.id)).await?;
    }
    let told_of = tx.commit().await;
    let cookies = clear_session_cookies(request, false);
    if !gone && !auth.config().stateless {
        // Of several requests at once one has deleted the user, and the operator hears of it once.
        return Err(Error::from(error::UNAUTHORIZED).with_cookies(cookies));
    }
    told_of.map_err(|error| error.with_cookies(cookies.clone()))?;
    if let Some(callback) = &settings(request).after_delete {
        let told = callback.call(auth.outbound(), "user.deleteUser.afterDelete", told()).await;
        told.map_err(|error| error.with_cookies(cookies.clone()))?;
    }
    Ok(cookies)
}
