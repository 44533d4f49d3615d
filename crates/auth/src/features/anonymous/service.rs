//! The rules of anonymous users: how they come, and how they go when somebody real takes over.

use http::StatusCode;
use portcullis_core::auth::Auth;
use portcullis_core::error::{self, Error};
use portcullis_core::events::Kind;
use portcullis_core::http::{Cookies, Request};
use portcullis_core::identity::{
    Account, Session, SessionUser, SignIn as Proven, SignedIn, User, check_new_user, clear_session_cookies,
};
use portcullis_core::store::{Agreed, Db, DefaultValue, Field, Row, Value};
use serde_json::json;

use super::errors;
use super::options::Options;

/// Lent to `user`.
pub(super) const IS_ANONYMOUS: Field<Option<bool>> = Field::new("isAnonymous");

fn is_anonymous(user: &User) -> bool {
    user.extra.get(IS_ANONYMOUS.key).and_then(Value::as_bool) == Some(true)
}

/// Makes a user of whom nothing is known, and a session.
pub(super) async fn sign_in(
    options: &Options,
    request: &Request,
    caller: Option<&SessionUser>,
) -> Result<SignedIn, Error> {
    if caller.is_some_and(|caller| is_anonymous(&caller.user)) {
        return Err(errors::ANONYMOUS_USERS_CANNOT_SIGN_IN_AGAIN_ANONYMOUSLY.into());
    }
    let auth = &request.auth;
    let email = options.email(request).await?;
    let name = options.name(request).await?;
    let mut fields = Row::new();
    for column in &auth.table(User::KEY).columns {
        if let DefaultValue::Value(value) = &column.default {
            fields.set(column.key.clone(), value.clone());
        }
    }
    let fields = fields
        .with(User::EMAIL.key, User::normal_email(&email))
        .with(User::EMAIL_VERIFIED.key, false)
        .with(User::NAME.key, name)
        .with(IS_ANONYMOUS.key, true);
    check_new_user(request, &fields, "anonymous").await?;

    let user = match User::create(auth, &mut auth.db(), fields).await {
        Ok(user) => user,
        // The operator's function gave an address twice.
        Err(error) if error.is_unique() => {
            tracing::error!("an anonymous user's address is taken: generateRandomEmail must give new ones");
            return Err(error::FAILED_TO_CREATE_USER.at(StatusCode::INTERNAL_SERVER_ERROR).into());
        }
        Err(error) => return Err(error),
    };
    auth.tell(request.event(Kind::SignedUp).method("anonymous").user(&user.id));
    let proven = Proven { request, user, method: "anonymous", remember: None, fields: Row::new() };
    // The user is there before anybody hears of the session, as at a sign-up: webhooks are not waited for
    // inside a transaction. Should no session follow, somebody of whom nothing is known stays behind.
    auth.sign_in(&mut auth.db(), proven).await
}

/// The caller, an anonymous user, is deleted.
pub(super) async fn delete(
    options: &Options,
    request: &Request,
    caller: &SessionUser,
) -> Result<Cookies, Error> {
    if options.disable_delete_anonymous_user {
        return Err(errors::DELETE_ANONYMOUS_USER_DISABLED.into());
    }
    if !is_anonymous(&caller.user) {
        return Err(errors::USER_IS_NOT_ANONYMOUS.into());
    }
    let gone = request.event(Kind::UserDeleted).user(&caller.user.id);
    remove(&request.auth, &caller.user.id).await?;
    request.auth.tell(gone);
    Ok(clear_session_cookies(request, false))
}

/// Deletes an anonymous user, and what is theirs where the database does not do it by itself.
///
/// The user goes first, in one statement that looks again whether they are anonymous: of several
/// callers one deletes, and nobody who has become real in the meantime loses anything.
async fn remove(auth: &Auth, user: &str) -> Result<(), Error> {
    let mut agreed = Agreed::new();
    User::ask_delete(auth, &mut agreed, user).await?;
    let mut tx = auth.begin_agreed(agreed).await?;
    let db = &mut tx.db();
    if User::delete_if(auth, db, &User::ID.is(user).and(IS_ANONYMOUS.is(true))).await? {
        Session::delete_with_user(auth, db, user).await?;
        Account::delete(auth, db, &Account::USER_ID.is(user)).await?;
    }
    tx.commit().await
}

/// A session was handed over. If the request has just begun it, and came with the session of an
/// anonymous user, that user has become somebody: the operator is told and the anonymous user goes.
pub(super) async fn leave(
    options: &Options,
    request: &Request,
    db: &mut Db<'_>,
    current: &SessionUser,
) -> Result<(), Error> {
    // An older session is refreshed, or one of the device's sessions takes another's place.
    if current.session.created_at != request.now || is_anonymous(&current.user) {
        return Ok(());
    }
    let Some(left) = carried(request, db).await? else { return Ok(()) };
    if left.user.id == current.user.id || !is_anonymous(&left.user) {
        return Ok(());
    }
    let auth = &request.auth;
    if let Some(callback) = &options.on_link_account {
        let data = json!({
            "anonymousUser": left.for_webhook(auth),
            "newUser": current.for_webhook(auth),
            "ctx": request.context_for_webhook(),
        });
        let name = "plugins.anonymous.onLinkAccount";
        // A refusal replaces the answer, and the session's cookies go along (better-auth 1.7.6, hooks
        // after an endpoint).
        callback.call(auth.outbound(), name, vec![data]).await?;
    }
    if options.disable_delete_anonymous_user {
        return Ok(());
    }
    if let Err(error) = remove(auth, &left.user.id).await {
        // Who has signed in is signed in; somebody who is nobody may stay behind.
        tracing::error!(user = %left.user.id, %error, "an anonymous user could not be deleted");
    }
    Ok(())
}

/// The session whose signed cookie the request carries, if it is still good.
async fn carried(request: &Request, db: &mut Db<'_>) -> Result<Option<SessionUser>, Error> {
    let auth = &request.auth;
    let spec = &auth.cookies().session_token;
    let Some(token) = request.cookies.signed(spec, auth.config().secrets.current()) else { return Ok(None) };
    let found = Session::find(auth, db, token).await?;
    Ok(found.filter(|carried| carried.session.expires_at >= request.now))
}
