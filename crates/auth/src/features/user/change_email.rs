//! The rules of a change of address: who has to agree before it is theirs.

use http::StatusCode;
use portcullis_core::error::{self, Code, Error};
use portcullis_core::events::Kind;
use portcullis_core::http::{Cookies, Request};
use portcullis_core::identity::{
    Handed, ProofLink, Purpose, SEND_VERIFICATION_EMAIL, SessionUser, User, discreetly, hand_over,
};
use portcullis_core::store::Row;
use serde_json::json;

use super::errors;
use super::wire::ChangeEmail;

fn only_saying(message: &'static str) -> Error {
    Code::message(StatusCode::BAD_REQUEST, message).into()
}

/// Begins a change of address. A taken one gets the same answer and no mail.
pub(super) async fn begin(
    request: &Request,
    current: SessionUser,
    body: &ChangeEmail,
) -> Result<Cookies, Error> {
    let settings = &request.auth.config().settings;
    if !settings.user.change_email.enabled {
        return Err(errors::CHANGE_EMAIL_DISABLED.into());
    }
    let new_email = User::normal_email(&body.new_email);
    if new_email == current.user.email {
        return Err(only_saying("Email is the same"));
    }
    // Said before anybody looks whether the address is taken: an answer that depended on it would tell.
    let at_once =
        !current.user.email_verified && settings.user.change_email.update_email_without_verification;
    if !at_once && settings.email_verification.send_verification_email.is_none() {
        tracing::error!("an address cannot be changed: emailVerification.sendVerificationEmail is not set");
        return Err(only_saying("Verification email isn't enabled"));
    }
    discreetly(async {
        if User::by_email(&mut request.auth.db(), &new_email).await?.is_some() {
            return Ok(Cookies::new());
        }
        if at_once {
            replace(request, current, &new_email, body.callback_url.as_deref()).await
        } else {
            mail(request, &current.user, &new_email, body.callback_url.as_deref())?;
            Ok(Cookies::new())
        }
    })
    .await
}

/// An address that was never proven gives way at once; the new one is to be proven.
async fn replace(
    request: &Request,
    current: SessionUser,
    new_email: &str,
    back: Option<&str>,
) -> Result<Cookies, Error> {
    let auth = &request.auth;
    let old = &current.user;
    // Had the old address been proven since it was read, the new one would count as proven with it.
    let unproven = User::ID
        .is(old.id.as_str())
        .and(User::EMAIL.is(old.email.as_str()))
        .and(User::EMAIL_VERIFIED.is(false));
    let changes = Row::new().with(User::EMAIL.key, new_email);
    let user = match User::update_if(auth, &mut auth.db(), &unproven, changes.clone()).await {
        Ok(Some(user)) => user,
        // Nothing is stored, so the session's own copy is the user.
        Ok(None) if auth.config().stateless => {
            let mut row = old.clone().into_row();
            row.extend(changes.with(User::UPDATED_AT.key, request.now));
            User::from_row(row)?
        }
        Ok(None) => return Err(error::UNAUTHORIZED.into()),
        // Somebody else was first, between the look and the write.
        Err(error) if error.is_unique() => return Ok(Cookies::new()),
        Err(error) => return Err(error),
    };
    auth.tell(request.event(Kind::EmailChanged).user(&user.id));
    if let Some(callback) = &auth.config().settings.email_verification.send_verification_email {
        let link = ProofLink::new(request, &user, Purpose::Prove, back)?;
        let args = vec![link.message(user.for_webhook(auth)), request.for_webhook()];
        callback.tell_beside(auth, SEND_VERIFICATION_EMAIL, args);
    }
    let current = SessionUser { session: current.session, user };
    hand_over(request, &mut auth.db(), &current, Handed::default()).await
}

/// Asks the owner of the old address, where it is proven and the operator wants that, or else the owner of
/// the new one.
fn mail(request: &Request, user: &User, new_email: &str, back: Option<&str>) -> Result<(), Error> {
    let auth = &request.auth;
    let settings = &auth.config().settings;
    let confirm = settings.user.change_email.send_change_email_confirmation.as_ref();
    if let Some(callback) = confirm.filter(|_| user.email_verified) {
        let link = ProofLink::new(request, user, Purpose::ConfirmChange(new_email), back)?;
        let mut message = link.message(user.for_webhook(auth));
        if let Some(message) = message.as_object_mut() {
            message.insert("newEmail".into(), json!(new_email));
        }
        let args = vec![message, request.for_webhook()];
        callback.tell_beside(auth, "user.changeEmail.sendChangeEmailConfirmation", args);
    } else if let Some(callback) = &settings.email_verification.send_verification_email {
        let link = ProofLink::new(request, user, Purpose::ProveChange(new_email), back)?;
        let mut told = user.clone();
        new_email.clone_into(&mut told.email);
        let args = vec![link.message(told.for_webhook(auth)), request.for_webhook()];
        callback.tell_beside(auth, SEND_VERIFICATION_EMAIL, args);
    }
    Ok(())
}
