//! The rules of sign-up, sign-in and password change.

use http::StatusCode;
use portcullis_core::auth::Auth;
use portcullis_core::config::Environment;
use portcullis_core::crypto::Verdict;
use portcullis_core::error::{self, Error};
use portcullis_core::events::{Kind, Reason};
use portcullis_core::http::body::is_email;
use portcullis_core::http::{Cookies, Request};
use portcullis_core::identity::{
    Account, Action, Challenge, Handed, Occasion, Session, SessionUser, SignIn as Proven, SignedIn, User,
    Verification, check_new_user, discreetly, hand_over, mail_verification, parse_input, password,
};
use portcullis_core::mail::{EXISTING_USER, Outgoing};
use portcullis_core::seams::UserWrite;
use portcullis_core::store::{Agreed, DefaultValue, Filter, Query, Row, Value};
use serde_json::{Map, Value as Json, json};

use super::errors;
use super::wire::{ChangePassword, SignIn, SignUp};

/// What came of a sign-up.
pub(super) enum SignedUp {
    /// Signed in at once.
    WithSession(Box<SessionUser>, Cookies),
    /// Something is still to be shown.
    Challenged(Challenge),
    /// An answer that says nothing about whether the address was taken.
    WithoutSession(Map<String, Json>),
}

/// A new user with a password.
pub(super) async fn sign_up(request: Request, mut body: SignUp) -> Result<SignedUp, Error> {
    let auth = request.auth.clone();
    for seam in &auth.seams().write_user {
        let mut write =
            UserWrite { request: &request, action: Action::Create, user: None, body: &mut body.all };
        seam.amend(&mut auth.db(), &mut write).await?;
    }
    let settings = &auth.config().settings.email_and_password;
    if settings.enabled != Some(true) || settings.disable_sign_up {
        return Err(errors::EMAIL_PASSWORD_SIGN_UP_DISABLED.into());
    }
    if !is_email(&body.email) {
        return Err(error::INVALID_EMAIL.into());
    }
    password::check_new_length(&auth, &body.password)?;
    // With either option the answer must not tell whether the address is taken.
    let discreet = settings.require_email_verification || settings.auto_sign_in == Some(false);
    let additional = parse_input(&auth, User::KEY, User::OWN, &body.all, Action::Create).await?;
    let email = User::normal_email(&body.email);
    let mut fields = additional.clone();
    fields.set(User::EMAIL.key, email.as_str());
    fields.set(User::NAME.key, body.name.as_str());
    if let Some(image) = &body.image {
        fields.set(User::IMAGE.key, image.as_str());
    }
    fields.set(User::EMAIL_VERIFIED.key, false);
    // Before anybody looks whether the address is taken: what it says is the same for all.
    password::check_new(&auth, &body.password, &fields).await?;

    User::check_room(&auth, &fields)?;
    let made = async {
        let taken = User::by_email(&mut auth.db(), &email).await?;
        if taken.is_some() && !discreet {
            return Err(error::USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL.into());
        }
        // From here to the transaction a taken address is treated as a free one, the operator's functions
        // included: what they say, and how long they take, must not tell either.
        let hash = auth.passwords().hash(&body.password).await?;
        if let Err(refused) = check_new_user(&request, &fields, "email-password").await {
            // A policy must not tell which addresses are taken, either.
            return if discreet {
                synthetic_user(&request, &body, &email, &additional).await.map(SignedUp::WithoutSession)
            } else {
                Err(refused)
            };
        }

        let mut agreed = Agreed::new();
        let asked = match User::ask_create(&auth, &mut agreed, &mut fields).await {
            // As a policy that refuses.
            Err(error)
                if discreet && error.code().is_some_and(|code| code.status == StatusCode::FORBIDDEN) =>
            {
                return synthetic_user(&request, &body, &email, &additional)
                    .await
                    .map(SignedUp::WithoutSession);
            }
            Err(Error::Broken(cause)) => {
                // better-auth 1.7.6 sign-up: whatever goes wrong while the user is made.
                tracing::error!(error = %cause, "a hook failed; the user is not made");
                return Err(error::FAILED_TO_CREATE_USER.into());
            }
            asked => asked?,
        };
        let id = asked.as_deref();
        Account::ask_create_credential(&auth, &mut agreed, id, hash.clone()).await?;
        // Nobody is made who then may not come in (better-auth 1.7.6: one transaction with the session).
        let remember = body.remember_me != Some(false);
        let mut agreed_session = Agreed::new();
        if !discreet {
            let asked = Session::ask_create(&request, &mut agreed_session, id, remember, Row::new()).await;
            asked.map_err(|error| match error.code() {
                Some(code) if *code == error::FAILED_TO_CREATE_SESSION => {
                    error::FAILED_TO_CREATE_SESSION.at(StatusCode::BAD_REQUEST).into()
                }
                _ => error,
            })?;
        }
        if let Some(existing) = taken {
            return already_there(&request, &body, &email, &additional, existing).await;
        }
        let mut tx = auth.begin_agreed(agreed).await?;
        let user = match User::create(&auth, &mut tx.db(), fields).await {
            Ok(user) => user,
            Err(error) if error.is_unique() => {
                // Somebody else was first, between the look and the write: the constraint decides.
                drop(tx);
                return match User::by_email(&mut auth.db(), &email).await? {
                    Some(_) if !discreet => Err(error::USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL.into()),
                    Some(existing) => already_there(&request, &body, &email, &additional, existing).await,
                    // Another unique field than the address: a room's (a username) or the operator's.
                    None => {
                        let error = User::write_failed(&auth, &mut auth.db(), &additional, error).await;
                        Err(if error.is_unique() { error::FAILED_TO_CREATE_USER.into() } else { error })
                    }
                };
            }
            Err(error) => return Err(error),
        };
        Account::create_credential(&auth, &mut tx.db(), &user, hash).await?;
        auth.tell_after(&mut tx.db(), request.event(Kind::SignedUp).method("email").user(&user.id)).await?;
        if discreet {
            mail_verification(&request, &mut tx.db(), &user, body.callback_url.as_deref(), Occasion::SignUp)
                .await?;
            tx.commit().await?;
            return Ok(SignedUp::WithoutSession(user.view(&auth)));
        }
        let proven = Proven {
            request: &request,
            user: user.clone(),
            method: "sign-up",
            remember: Some(remember),
            fields: Row::new(),
        };
        // The user is there before anybody hears of the session: rooms may tell a webhook of the operator's,
        // which would neither see an open transaction's user nor be able to write beside it.
        mail_verification(&request, &mut tx.db(), &user, body.callback_url.as_deref(), Occasion::SignUp)
            .await?;
        tx.commit().await?;
        Ok(match auth.sign_in_agreed(proven, agreed_session).await? {
            SignedIn::Session(current, cookies) => SignedUp::WithSession(current, cookies),
            SignedIn::Challenge(challenge) => SignedUp::Challenged(challenge),
        })
    };
    // A new user is more work than a word to the owner of the address.
    if discreet { discreetly(made).await } else { made.await }
}

/// The address is taken: answers as if it were not, and tells its owner.
async fn already_there(
    request: &Request,
    body: &SignUp,
    email: &str,
    additional: &Row,
    existing: User,
) -> Result<SignedUp, Error> {
    let auth = &request.auth;
    let message = json!({ "user": existing.for_webhook(auth) });
    auth.send_mail(&mut auth.db(), Outgoing::new(EXISTING_USER, request, message)).await?;
    synthetic_user(request, body, email, additional).await.map(SignedUp::WithoutSession)
}

/// The id that the database would give next, where it counts. It cannot hide for long that nobody was
/// made: with counted ids every new user tells how many there are.
async fn next_number(auth: &Auth) -> Result<String, Error> {
    let last = Query::from(Filter::All).newest_first(User::ID.key).limit(1);
    let row = auth.db().list(User::KEY, &last).await?.into_iter().next();
    let last = row.and_then(|row| row.text("id").and_then(|id| id.parse::<i64>().ok())).unwrap_or(0);
    Ok((last + 1).to_string())
}

/// A user that does not exist, in the shape of one that was just made.
async fn synthetic_user(
    request: &Request,
    body: &SignUp,
    email: &str,
    additional: &Row,
) -> Result<Map<String, Json>, Error> {
    let auth = &request.auth;
    let table = auth.table(User::KEY);
    let id = match auth.with_new_id(Row::new()).text("id") {
        Some(id) => id.to_owned(),
        None => next_number(auth).await?,
    };
    let mut row = additional.clone();
    row.set("id", id.as_str());
    row.set(User::NAME.key, body.name.as_str());
    row.set(User::EMAIL.key, email);
    row.set(User::EMAIL_VERIFIED.key, false);
    row.set(User::IMAGE.key, body.image.clone());
    row.set(User::CREATED_AT.key, request.now);
    row.set(User::UPDATED_AT.key, request.now);
    let mut user = Row::new();
    for column in &table.columns {
        let value = row.remove(&column.key).or_else(|| match &column.default {
            DefaultValue::Value(value) => Some(value.clone()),
            _ => None,
        });
        user.set(column.key.clone(), value.unwrap_or(Value::Null));
    }
    let shown = portcullis_core::identity::to_json(table, user, false);
    let Some(callback) = &auth.config().settings.email_and_password.custom_synthetic_user else {
        return Ok(shown);
    };

    let core: Map<String, Json> = ["name", "email", "emailVerified", "image", "createdAt", "updatedAt"]
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), shown.get(*key)?.clone())))
        .collect();
    let own: Map<String, Json> = auth
        .config()
        .settings
        .user
        .additional_fields
        .0
        .iter()
        .filter_map(|(key, _)| Some((key.clone(), shown.get(key)?.clone())))
        .collect();
    let args = vec![json!({ "coreFields": core, "additionalFields": own, "id": id })];
    let answer = callback.call(auth.outbound(), "emailAndPassword.customSyntheticUser", args).await?;
    let Json::Object(answer) = answer else {
        return Err(Error::broken("emailAndPassword.customSyntheticUser did not answer an object"));
    };
    // Only what a real user has, and all of it.
    let mut user = Map::new();
    for column in table.columns.iter().filter(|column| column.returned) {
        let value = answer.get(&*column.key).or_else(|| shown.get(&*column.key)).cloned();
        user.insert(column.key.to_string(), value.unwrap_or(Json::Null));
    }
    Ok(user)
}

/// Sign-in with address and password.
pub(super) async fn sign_in(request: Request, body: SignIn) -> Result<SignedIn, Error> {
    let auth = request.auth.clone();
    let settings = &auth.config().settings.email_and_password;
    if settings.enabled != Some(true) {
        if auth.config().environment == Environment::Development {
            tracing::warn!("sign-in by e-mail is off; set emailAndPassword.enabled = true");
        }
        return Err(errors::EMAIL_PASSWORD_DISABLED.into());
    }
    if !is_email(&body.email) {
        return Err(error::INVALID_EMAIL.into());
    }
    password::check_length(&auth, &body.password)?;
    let user = User::by_email(&mut auth.db(), &body.email).await?;
    let known = user.as_ref().map(|user| user.id.clone());
    let proof = password::prove(&auth, &body.email, user, &body.password).await?;
    let Some((user, credential)) = proof else {
        auth.tell(request.event(Kind::wrong_password(known.is_some())).method("email").of(known));
        return Err(error::INVALID_EMAIL_OR_PASSWORD.into());
    };
    if settings.require_email_verification && !user.email_verified {
        let failed = request.event(Kind::SignInFailed(Reason::NotVerified));
        auth.tell(failed.method("email").user(&user.id));
        let back = body.callback_url.as_deref();
        mail_verification(&request, &mut auth.db(), &user, back, Occasion::SignIn).await?;
        return Err(error::EMAIL_NOT_VERIFIED.into());
    }
    let proven = Proven {
        request: &request,
        user,
        method: "email",
        remember: Some(body.remember_me != Some(false)),
        fields: Row::new(),
    };
    auth.sign_in_by_password(proven, &credential, error::INVALID_EMAIL_OR_PASSWORD).await
}

/// Is this the user's password?
pub(super) async fn verify_password(auth: &Auth, user: &str, text: &str) -> Result<(), Error> {
    if password::is_right(auth, user, text).await? { Ok(()) } else { Err(error::INVALID_PASSWORD.into()) }
}

/// Replaces the password; optionally every session but a new one ends.
pub(super) async fn change_password(
    request: &Request,
    current: &SessionUser,
    body: ChangePassword,
) -> Result<(Option<String>, Cookies), Error> {
    let auth = &request.auth;
    let user = &current.user;
    password::check_new_length(auth, &body.new_password)?;
    password::check_length(auth, &body.current_password)?;
    password::check_new(auth, &body.new_password, &user.clone().into_row()).await?;
    let account = Account::credential_of(&mut auth.db(), &user.id).await?;
    let Some((account, stored)) = account.and_then(|a| a.password.clone().map(|p| (a, p))) else {
        return Err(error::CREDENTIAL_ACCOUNT_NOT_FOUND.into());
    };
    if auth.passwords().verify(&stored, &body.current_password).await? == Verdict::Wrong {
        return Err(error::INVALID_PASSWORD.into());
    }
    let hash = auth.passwords().hash(&body.new_password).await?;
    let mut agreed = Agreed::new();
    Account::ask_password(auth, &mut agreed, hash.clone()).await?;
    if body.revoke_other_sessions {
        Session::ask_delete_all(auth, &mut agreed, &user.id).await?;
        Session::ask_create(request, &mut agreed, Some(&user.id), true, current.session.lent_fields())
            .await?;
    }
    let mut tx = auth.begin_agreed(agreed).await?;
    Verification::forget_resets(auth, &mut tx.db(), &user.id).await?;
    if !account.replace_password(auth, &mut tx.db(), hash).await? {
        // Changed by somebody else since it was read: what was proven is no longer the password.
        return Err(error::INVALID_PASSWORD.into());
    }
    auth.tell_after(&mut tx.db(), request.event(Kind::PasswordChanged).user(&user.id)).await?;
    password::tell_changed(request, &mut tx.db(), user).await?;
    if !body.revoke_other_sessions {
        tx.commit().await?;
        return Ok((None, Cookies::new()));
    }
    Session::delete_all(auth, &mut tx.db(), &user.id).await?;
    // `fields-carried` in COMPATIBILITY.md.
    let session = Session::create(request, &mut tx.db(), user, true, current.session.lent_fields()).await?;
    // Rooms may tell a webhook of the operator's about the session, which is not waited for in there.
    tx.commit().await?;
    // Those that began between the two, with the old password.
    Session::delete_others(auth, &mut auth.db(), &user.id, &session.token).await?;
    let renewed = SessionUser { session, user: user.clone() };
    let cookies = hand_over(request, &mut auth.db(), &renewed, Handed::default()).await?;
    Ok((Some(renewed.session.token), cookies))
}
