//! The rules of a change of address: who has to agree before it is theirs.

use http::StatusCode;
use portcullis_core::error::{self, Code, Error};
use portcullis_core::events::Kind;
use portcullis_core::http::{Cookies, Request};
use portcullis_core::identity::{Handed, ProofLink, Purpose, SessionUser, User, discreetly, hand_over};
use portcullis_core::mail::{CHANGE_EMAIL, Outgoing, VERIFY_EMAIL};
use portcullis_core::store::{Agreed, Row};
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
    if !at_once && !request.auth.mailer().sends(VERIFY_EMAIL) {
        tracing::error!(
            "an address cannot be changed: neither emailVerification.sendVerificationEmail nor a mailer (mail.smtp, mail.send) is set"
        );
        return Err(only_saying("Verification email isn't enabled"));
    }
    discreetly(async {
        if User::by_email(&mut request.auth.db(), &new_email).await?.is_some() {
            request.auth.pretend_mail().await?;
            return Ok(Cookies::new());
        }
        if at_once {
            replace(request, current, &new_email, body.callback_url.as_deref()).await
        } else {
            mail(request, &current.user, &new_email, body.callback_url.as_deref()).await?;
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
    let mut agreed = Agreed::new();
    User::ask_update(auth, &mut agreed, changes.clone()).await?;
    let mut tx = auth.begin_agreed(agreed).await?;
    let user = match User::update_if(auth, &mut tx.db(), &unproven, changes.clone()).await {
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
    auth.tell_after(&mut tx.db(), request.event(Kind::EmailChanged).user(&user.id)).await?;
    if auth.mailer().sends(VERIFY_EMAIL) {
        let link = ProofLink::new(request, &user, Purpose::Prove, back)?;
        let mail = link.mail(request, VERIFY_EMAIL, user.for_webhook(auth)).beside();
        auth.send_mail(&mut tx.db(), mail).await?;
    }
    tx.commit().await?;
    let current = SessionUser { session: current.session, user };
    hand_over(request, &mut auth.db(), &current, Handed::default()).await
}

/// Asks the owner of the old address, where it is proven and the operator wants that, or else the owner of
/// the new one.
async fn mail(request: &Request, user: &User, new_email: &str, back: Option<&str>) -> Result<(), Error> {
    let auth = &request.auth;
    let mail = if user.email_verified && auth.mailer().sends(CHANGE_EMAIL) {
        let link = ProofLink::new(request, user, Purpose::ConfirmChange(new_email), back)?;
        let mut message = link.message(user.for_webhook(auth));
        if let Some(message) = message.as_object_mut() {
            message.insert("newEmail".into(), json!(new_email));
        }
        Outgoing::new(CHANGE_EMAIL, request, message).until(link.until())
    } else {
        let link = ProofLink::new(request, user, Purpose::ProveChange(new_email), back)?;
        let mut told = user.clone();
        new_email.clone_into(&mut told.email);
        link.mail(request, VERIFY_EMAIL, told.for_webhook(auth))
    };
    auth.send_mail(&mut auth.db(), mail.beside()).await
}
