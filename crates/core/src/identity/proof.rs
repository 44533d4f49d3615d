//! The mail that proves an address. Every way in that needs a proven address sends the same one.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::user::User;
use crate::clock::Timestamp;
use crate::crypto::{encode_uri_component, sign_hs256};
use crate::error::Error;
use crate::http::Request;
use crate::mail::{Outgoing, VERIFY_EMAIL};
use crate::store::Db;

/// Why the mail might be sent; each has an option of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// Somebody signed up: `emailVerification.sendOnSignUp`.
    SignUp,
    /// A sign-in is refused because the address is not proven: `emailVerification.sendOnSignIn`.
    SignIn,
}

/// Mails the link that proves the address, when the options say so.
///
/// # Errors
/// The link cannot be signed, or the outbox cannot be written.
pub async fn mail_verification(
    request: &Request,
    db: &mut Db<'_>,
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
    if !wanted || !auth.mailer().sends(VERIFY_EMAIL) {
        return Ok(());
    }
    let link = ProofLink::new(request, user, Purpose::Prove, callback_url)?;
    auth.send_mail(db, link.mail(request, VERIFY_EMAIL, user.for_webhook(auth))).await
}

/// What following a link does.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// Proves the user's address.
    Prove,
    /// The owner of the old address agrees; the new one, which is named here, is asked next.
    ConfirmChange(&'a str),
    /// Proves the new address, which is named here, and makes it the user's.
    ProveChange(&'a str),
}

/// `requestType` of [`Purpose::ConfirmChange`].
pub const CONFIRM_CHANGE: &str = "change-email-confirmation";
/// `requestType` of [`Purpose::ProveChange`].
pub const PROVE_CHANGE: &str = "change-email-verification";

/// A link to `/verify-email`. Whoever has it can do what it is for, so it is mailed and never logged.
#[derive(Clone)]
pub struct ProofLink {
    url: String,
    token: String,
    until: Timestamp,
}

impl std::fmt::Debug for ProofLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProofLink").finish_non_exhaustive()
    }
}

impl ProofLink {
    /// A link about a user as they are now: the token names address and user (better-auth 1.7.16), so
    /// that a change means nothing for somebody else who has the address later.
    ///
    /// # Errors
    /// The token cannot be signed.
    pub fn new(
        request: &Request,
        user: &User,
        purpose: Purpose<'_>,
        callback_url: Option<&str>,
    ) -> Result<Self, Error> {
        let config = request.auth.config();
        let mut claims = Map::new();
        claims.insert("email".into(), Json::from(user.email.to_lowercase()));
        let (update_to, request_type) = match purpose {
            Purpose::Prove => (None, None),
            Purpose::ConfirmChange(to) => (Some(to), Some(CONFIRM_CHANGE)),
            Purpose::ProveChange(to) => (Some(to), Some(PROVE_CHANGE)),
        };
        if let Some(to) = update_to {
            claims.insert("updateTo".into(), Json::from(to.to_lowercase()));
        }
        if let Some(kind) = request_type {
            claims.insert("requestType".into(), Json::from(kind));
        }
        claims.insert("userId".into(), Json::from(user.id.as_str()));
        let lasting = config.settings.email_verification.expires_in.unwrap_or(3600);
        let token =
            sign_hs256(config.secrets.current(), &claims, request.now, lasting).map_err(Error::broken)?;
        let back = encode_uri_component(callback_url.filter(|url| !url.is_empty()).unwrap_or("/"));
        let url = format!("{}/verify-email?token={token}&callbackURL={back}", request.base_url());
        Ok(Self { url, token, until: request.now.plus_seconds(lasting) })
    }

    /// What the callback that mails it is told: `{user, url, token}`.
    pub fn message(&self, user: Json) -> Json {
        json!({ "user": user, "url": self.url, "token": self.token })
    }

    /// The mail with the link.
    pub fn mail(&self, request: &Request, kind: &'static str, user: Json) -> Outgoing {
        Outgoing::new(kind, request, self.message(user)).until(self.until)
    }

    /// When the link ends.
    pub fn until(&self) -> Timestamp {
        self.until
    }
}

/// The least time of an answer that must not tell whether an address is known (better-auth 1.7.6
/// `/send-verification-email`).
const DISCREET: Duration = Duration::from_millis(500);

/// Does the work and lets no less than half a second pass, so that work which depends on whether there
/// is such a user does not show in the time of the answer. Deliveries that may take longer belong beside
/// the request ([`Outgoing::beside`]).
pub async fn discreetly<T>(work: impl Future<Output = T>) -> T {
    let floor = tokio::time::sleep(DISCREET);
    let outcome = work.await;
    floor.await;
    outcome
}
