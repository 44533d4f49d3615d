//! The rules of mailed links that prove an address.

use http::StatusCode;
use portcullis_core::auth::Auth;
use portcullis_core::crypto::{Hs256, base64url, read_hs256, sha256};
use portcullis_core::error::{self, Code, Error};
use portcullis_core::events::Kind;
use portcullis_core::hooks::Callback;
use portcullis_core::http::body::is_email;
use portcullis_core::http::{Cookies, Request};
use portcullis_core::identity::{
    CONFIRM_CHANGE, Handed, How, PROVE_CHANGE, ProofLink, Purpose, SessionUser, SignIn as Proven, SignedIn,
    User, Verification, discreetly, hand_over,
};
use portcullis_core::mail::VERIFY_EMAIL;
use portcullis_core::store::Row;
use serde_json::{Map, Value as Json, json};
use url::Url;

use super::errors;
use super::wire::Ask;

/// Mails the link that proves an address.
///
/// Whoever is signed in hears what is wrong. To strangers the answer is the same for every address, and no
/// sooner for those that nobody has.
pub(super) async fn send(request: &Request, current: Option<&SessionUser>, body: &Ask) -> Result<(), Error> {
    let auth = &request.auth;
    if !auth.mailer().sends(VERIFY_EMAIL) {
        tracing::error!(
            "no address can be proven: neither emailVerification.sendVerificationEmail nor a mailer (mail.smtp, mail.send) is set"
        );
        return Err(errors::VERIFICATION_EMAIL_NOT_ENABLED.into());
    }
    let back = body.callback_url.as_deref();
    let Some(SessionUser { user, .. }) = current else {
        return discreetly(async {
            match User::by_email(&mut auth.db(), &body.email).await? {
                Some(user) if !user.email_verified => mail(request, &user, back).await,
                _ => auth.pretend_mail().await,
            }
        })
        .await;
    };
    if User::normal_email(&user.email) != User::normal_email(&body.email) {
        return Err(errors::EMAIL_MISMATCH.into());
    }
    if user.email_verified {
        return Err(errors::EMAIL_ALREADY_VERIFIED.into());
    }
    mail(request, user, back).await
}

/// A mail that was asked for: with Better Auth, and so under the test contract, a delivery that fails is
/// said.
async fn mail(request: &Request, user: &User, back: Option<&str>) -> Result<(), Error> {
    let auth = &request.auth;
    let link = ProofLink::new(request, user, Purpose::Prove, back)?;
    auth.send_mail(&mut auth.db(), link.mail(request, VERIFY_EMAIL, user.for_webhook(auth)).said()).await
}

/// What came of following a link.
pub(super) enum Outcome {
    /// The visitor is told why not: by a parameter of the page they are sent to, or by the answer.
    Refused(Code),
    /// Done.
    Done(Followed),
}

/// What goes back with a link that was good.
#[derive(Default)]
pub(super) struct Followed {
    pub cookies: Cookies,
    pub body: Map<String, Json>,
}

impl Followed {
    fn with(cookies: Cookies, body: Json) -> Outcome {
        let Json::Object(body) = body else { return Outcome::Done(Self { cookies, body: Map::new() }) };
        Outcome::Done(Self { cookies, body })
    }
}

/// The claims of a link.
struct Claims {
    email: String,
    update_to: Option<String>,
    request_type: Option<String>,
    user_id: Option<String>,
}

impl Claims {
    /// Another token that the secret signed (a cookie cache, say) has no address and is no link.
    fn of(claims: &Map<String, Json>) -> Option<Self> {
        let text = |name: &str| claims.get(name).and_then(Json::as_str).map(str::to_owned);
        Some(Self {
            email: text("email").filter(|email| is_email(email))?,
            update_to: text("updateTo").filter(|to| !to.is_empty()),
            request_type: text("requestType"),
            user_id: text("userId"),
        })
    }
}

/// Does what a link is for.
pub(super) async fn follow(request: &Request, token: &str, back: Option<&str>) -> Result<Outcome, Error> {
    let auth = &request.auth;
    let claims = match read_hs256(auth.config().secrets.current(), token, request.now) {
        Hs256::Good(claims) => claims,
        Hs256::Expired => return Ok(Outcome::Refused(errors::TOKEN_EXPIRED)),
        Hs256::Wrong => return Ok(Outcome::Refused(errors::INVALID_TOKEN)),
    };
    let Some(claims) = Claims::of(&claims) else { return Ok(Outcome::Refused(errors::INVALID_TOKEN)) };
    let Some(user) = User::by_email(&mut auth.db(), &claims.email).await? else {
        return Ok(Outcome::Refused(user_not_found()));
    };
    match claims.update_to {
        // The address has gone over to somebody else since; or a server before better-auth 1.7.16 has
        // mailed the link, which then names no user.
        Some(_) if claims.user_id.as_ref() != Some(&user.id) => Ok(Outcome::Refused(errors::INVALID_TOKEN)),
        Some(new_email) => {
            let step = Step { token, kind: claims.request_type.as_deref(), new_email: &new_email };
            change(request, user, step, back).await
        }
        None => prove(request, user).await,
    }
}

fn user_not_found() -> Code {
    error::USER_NOT_FOUND.at(StatusCode::UNAUTHORIZED)
}

/// The session that the request carries, from the store: a revoked one must not be handed out again.
async fn session(request: &Request, cookies: &mut Cookies) -> Result<Option<SessionUser>, Error> {
    request.session(How::authoritative(&request.auth), cookies).await
}

/// Calls a function of the operator's about a user.
async fn ask(request: &Request, callback: &Callback, name: &str, user: &User) -> Result<(), Error> {
    let auth = &request.auth;
    let args = vec![user.for_webhook(auth), request.for_webhook()];
    callback.call(auth.outbound(), &format!("emailVerification.{name}"), args).await?;
    Ok(())
}

/// The address counts as proven from now on; of several who follow the link at once one is told so.
async fn prove(request: &Request, user: User) -> Result<Outcome, Error> {
    let auth = &request.auth;
    let settings = &auth.config().settings.email_verification;
    let done = || json!({ "status": true, "user": null });
    if user.email_verified {
        return Ok(Followed::with(Cookies::new(), done()));
    }
    if let Some(callback) = &settings.before_email_verification {
        ask(request, callback, "beforeEmailVerification", &user).await?;
    }
    let unproven = User::ID
        .is(user.id.as_str())
        .and(User::EMAIL.is(user.email.as_str()))
        .and(User::EMAIL_VERIFIED.is(false));
    let changes = Row::new().with(User::EMAIL_VERIFIED.key, true);
    let Some(user) = User::update_if(auth, &mut auth.db(), &unproven, changes).await? else {
        // Somebody else followed the link in the meantime, or the address is another by now.
        return Ok(Followed::with(Cookies::new(), done()));
    };
    auth.tell(request.event(Kind::EmailVerified).user(&user.id));
    if let Some(callback) = &settings.after_email_verification {
        ask(request, callback, "afterEmailVerification", &user).await?;
    }
    if !settings.auto_sign_in_after_verification {
        return Ok(Followed::with(Cookies::new(), done()));
    }
    let mut cookies = Cookies::new();
    if let Some(current) = session(request, &mut cookies).await?
        && current.user.id == user.id
    {
        let current = SessionUser { session: current.session, user };
        cookies.extend(hand_over(request, &mut auth.db(), &current, Handed::default()).await?);
        return Ok(Followed::with(cookies, done()));
    }
    // What reading the old session asked for would end the new one.
    let proven = Proven { request, user, method: "email-verification", remember: None, fields: Row::new() };
    Ok(match auth.sign_in(&mut auth.db(), proven).await? {
        SignedIn::Session(_, cookies) => Followed::with(cookies, done()),
        SignedIn::Challenge(challenge) => {
            Outcome::Done(Followed { cookies: challenge.cookies, body: challenge.body })
        }
    })
}

/// A step in the change of an address.
struct Step<'a> {
    token: &'a str,
    kind: Option<&'a str>,
    new_email: &'a str,
}

impl Step<'_> {
    /// A link is good once: a second time it would mail to a stranger again, or take back what the user
    /// has changed since. Of any number who follow it one does.
    async fn take(&self, request: &Request) -> Result<bool, Error> {
        let auth = &request.auth;
        let lasting = auth.config().settings.email_verification.expires_in.unwrap_or(3600);
        let until = request.now.plus_seconds(lasting);
        Verification::reserve(auth, &mut auth.db(), &self.identifier(), until).await
    }

    /// It did nothing, so it is as good as before.
    async fn give_back(&self, auth: &Auth) -> Result<(), Error> {
        Verification::delete(auth, &mut auth.db(), &self.identifier()).await
    }

    fn identifier(&self) -> String {
        format!("change-email-used:{}", base64url(&sha256(self.token.as_bytes())))
    }
}

async fn change(request: &Request, user: User, step: Step<'_>, back: Option<&str>) -> Result<Outcome, Error> {
    let auth = &request.auth;
    let new_email = step.new_email;
    let mut cookies = Cookies::new();
    let current = session(request, &mut cookies).await?;
    if current.as_ref().is_some_and(|current| current.user.id != user.id) {
        return Ok(Outcome::Refused(errors::INVALID_USER));
    }
    let settings = &auth.config().settings.email_verification;
    match step.kind {
        Some(CONFIRM_CHANGE | PROVE_CHANGE) if !step.take(request).await? => {
            Ok(Outcome::Refused(errors::INVALID_TOKEN))
        }
        Some(CONFIRM_CHANGE) => {
            if auth.mailer().sends(VERIFY_EMAIL) {
                let link = ProofLink::new(request, &user, Purpose::ProveChange(new_email), back)?;
                let mut told = user.clone();
                new_email.clone_into(&mut told.email);
                let mail = link.mail(request, VERIFY_EMAIL, told.for_webhook(auth));
                auth.send_mail(&mut auth.db(), mail).await?;
            }
            Ok(Followed::with(cookies, json!({ "status": true })))
        }
        Some(PROVE_CHANGE) => {
            let same = User::ID.is(user.id.as_str()).and(User::EMAIL.is(user.email.as_str()));
            let changes = Row::new()
                .with(User::EMAIL.key, User::normal_email(new_email))
                .with(User::EMAIL_VERIFIED.key, true);
            let user = match User::update_if(auth, &mut auth.db(), &same, changes).await {
                Ok(Some(user)) => user,
                // Of several who follow the link at once one changes the address.
                Ok(None) => return Ok(Outcome::Refused(user_not_found())),
                // Somebody has signed up with it since; who follows the link owns it, so that is no secret.
                Err(error) if error.is_unique() => {
                    step.give_back(auth).await?;
                    return Ok(Outcome::Refused(error::USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL));
                }
                Err(error) => {
                    step.give_back(auth).await?;
                    return Err(error);
                }
            };
            Verification::forget_resets(auth, &mut auth.db(), &user.id).await?;
            auth.tell(request.event(Kind::EmailChanged).user(&user.id));
            if let Some(callback) = &settings.after_email_verification {
                ask(request, callback, "afterEmailVerification", &user).await?;
            }
            let view = user.view(auth);
            // Who is signed in stays so; nobody is signed in by a change (better-auth 1.7.16).
            if let Some(current) = current {
                let current = SessionUser { session: current.session, user };
                cookies.extend(hand_over(request, &mut auth.db(), &current, Handed::default()).await?);
            }
            Ok(Followed::with(cookies, json!({ "status": true, "user": view })))
        }
        _ => Ok(Outcome::Refused(errors::INVALID_TOKEN)),
    }
}

/// The page with the reason, behind what its query says already and before its fragment.
pub(super) fn with_error(page: &str, code: &str) -> Result<String, Error> {
    const NOWHERE: &str = "https://relative.invalid";
    let relative = page.starts_with('/');
    let base = Url::parse(NOWHERE).map_err(Error::broken)?;
    let mut url = if relative { base.join(page) } else { Url::parse(page) }.map_err(Error::broken)?;
    let query = match url.query().filter(|query| !query.is_empty()) {
        Some(query) => format!("{}&error={code}", query.strip_suffix('&').unwrap_or(query)),
        None => format!("error={code}"),
    };
    url.set_query(Some(&query));
    let whole = String::from(url);
    if !relative {
        return Ok(whole);
    }
    // `/.//elsewhere.example` has become `//elsewhere.example`, which is another origin.
    let path = whole.strip_prefix(NOWHERE).unwrap_or("/").trim_start_matches('/');
    Ok(format!("/{path}"))
}
