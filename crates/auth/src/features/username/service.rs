//! The rules of user names: what one may be, whose it is, and signing in with it.

use http::StatusCode;
use portcullis_core::auth::Auth;
use portcullis_core::error::{self, Code, Error};
use portcullis_core::events::{Kind, Reason};
use portcullis_core::http::{Request, truthy};
use portcullis_core::identity::{
    Action, Occasion, SignIn as Proven, SignedIn, User, mail_verification, password,
};
use portcullis_core::outbound::Outbound;
use portcullis_core::seams::UserWrite;
use portcullis_core::store::{Db, Field, Row};
use serde_json::Value as Json;

use super::errors;
use super::options::{Moment, Options};
use super::wire::SignIn;

/// Lent to `user`: normalised, unique.
pub(super) const USERNAME: Field<Option<String>> = Field::new("username");
/// Lent to `user`: as the user wrote it.
pub(super) const DISPLAY_USERNAME: Field<Option<String>> = Field::new("displayUsername");

/// Length in UTF-16 units, as JavaScript counts it.
fn length(name: &str) -> usize {
    name.encode_utf16().count()
}

/// What is wrong with a user name, if anything.
async fn complaint(options: &Options, http: &Outbound, name: &str) -> Result<Option<Code>, Error> {
    Ok(if length(name) < options.shortest() {
        Some(errors::USERNAME_TOO_SHORT)
    } else if length(name) > options.longest() {
        Some(errors::USERNAME_TOO_LONG)
    } else if !options.is_valid(http, name).await? {
        Some(errors::INVALID_USERNAME)
    } else {
        None
    })
}

/// The same, for a name that a client wants to have.
async fn complaint_about_new(options: &Options, http: &Outbound, name: &str) -> Result<Option<Code>, Error> {
    if options.validation_order.username == Some(Moment::PostNormalization) {
        return complaint(options, http, &options.normal(http, name).await?).await;
    }
    complaint(options, http, name).await
}

/// The user whom the database finds under a normalised name.
async fn find(db: &mut Db<'_>, normal: &str) -> Result<Option<User>, Error> {
    Ok(db.find(User::KEY, &USERNAME.is(normal)).await?.map(User::from_row).transpose()?)
}

/// Looks at the names in a sign-up or update, refuses them or brings them into the form in which
/// they are stored (better-auth 1.7.6 `username`: hooks before sign-up and update-user).
pub(super) async fn amend(
    options: &Options,
    db: &mut Db<'_>,
    write: &mut UserWrite<'_>,
) -> Result<(), Error> {
    let http = write.request.auth.outbound();
    let text = |write: &UserWrite<'_>, key| write.body.get(key).and_then(Json::as_str).map(str::to_owned);
    let written_display = text(write, DISPLAY_USERNAME.key);
    // At sign-up a displayed name that would do as a user name is one, too.
    if write.action == Action::Create
        && !write.body.contains_key(USERNAME.key)
        && let Some(display) = &written_display
        && complaint_about_new(options, http, display).await?.is_none()
    {
        write.body.insert(USERNAME.key.into(), Json::from(display.as_str()));
    }
    let old = write.user.and_then(|user| user.extra.text(USERNAME.key)).filter(|old| !old.is_empty());
    let written = text(write, USERNAME.key);
    if let Some(name) = &written {
        if let Some(code) = complaint_about_new(options, http, name).await? {
            return Err(code.into());
        }
        let normal = options.normal(http, name).await?;
        if options.immutable_username && old.is_some_and(|old| old != normal) {
            return Err(errors::USERNAME_IS_IMMUTABLE.into());
        }
        let owner = find(db, &normal).await?;
        if owner.is_some_and(|owner| write.user.is_none_or(|user| user.id != owner.id)) {
            return Err(errors::USERNAME_IS_ALREADY_TAKEN.into());
        }
        write.body.insert(USERNAME.key.into(), Json::from(normal));
    } else if options.immutable_username && old.is_some() && write.body.contains_key(USERNAME.key) {
        // A name that cannot be changed cannot be taken away either.
        return Err(errors::USERNAME_IS_IMMUTABLE.into());
    }
    if !options.has_display_username() {
        return Ok(());
    }
    if let Some(display) = &written_display
        && !options.is_valid_display(http, display).await?
    {
        return Err(errors::INVALID_DISPLAY_USERNAME.into());
    }
    let said_nothing = !write.body.get(DISPLAY_USERNAME.key).is_some_and(truthy);
    let display = match (write.action, written) {
        // A new user without a displayed name is shown as the name was written.
        (Action::Create, Some(name)) if said_nothing => Some(name),
        _ => written_display.filter(|display| !display.is_empty()),
    };
    if let Some(display) = display {
        let normal = options.normal_display(http, &display).await?;
        write.body.insert(DISPLAY_USERNAME.key.into(), Json::from(normal));
    }
    Ok(())
}

/// A write met a unique constraint: was it the user name's?
pub(super) async fn taken(
    db: &mut Db<'_>,
    fields: &Row,
    column: Option<&str>,
) -> Result<Option<Code>, Error> {
    let Some(name) = fields.text(USERNAME.key) else { return Ok(None) };
    let taken = match column {
        Some(column) => column == USERNAME.key,
        // A constraint that somebody named as they liked.
        None => find(db, name).await?.is_some(),
    };
    Ok(taken.then_some(errors::USERNAME_IS_ALREADY_TAKEN))
}

/// Is the name free?
pub(super) async fn is_available(options: &Options, auth: &Auth, name: &str) -> Result<bool, Error> {
    if name.is_empty() {
        return Err(errors::INVALID_USERNAME.at(StatusCode::UNPROCESSABLE_ENTITY).into());
    }
    let http = auth.outbound();
    if let Some(code) = complaint(options, http, name).await? {
        return Err(code.at(StatusCode::UNPROCESSABLE_ENTITY).into());
    }
    let normal = options.normal(http, name).await?;
    Ok(find(&mut auth.db(), &normal).await?.is_none())
}

/// Sign-in with user name and password.
pub(super) async fn sign_in(options: &Options, request: &Request, body: SignIn) -> Result<SignedIn, Error> {
    let auth = &request.auth;
    let http = auth.outbound();
    if body.username.is_empty() || body.password.is_empty() {
        return Err(errors::INVALID_USERNAME_OR_PASSWORD.into());
    }
    let normal = options.normal(http, &body.username).await?;
    // Here, and only here, `pre-normalization` looks at the normalised name (better-auth 1.7.6).
    let looked_at = match options.validation_order.username {
        Some(Moment::PreNormalization) => &normal,
        _ => &body.username,
    };
    if let Some(code) = complaint(options, http, looked_at).await? {
        return Err(code.at(StatusCode::UNPROCESSABLE_ENTITY).into());
    }
    password::check_length(auth, &body.password)?;
    let user = find(&mut auth.db(), &normal).await?;
    let known = user.as_ref().map(|user| user.id.clone());
    let proof = password::prove(auth, &normal, user, &body.password).await?;
    let Some((user, credential)) = proof else {
        auth.tell(request.event(Kind::wrong_password(known.is_some())).method("username").of(known));
        return Err(errors::INVALID_USERNAME_OR_PASSWORD.into());
    };
    let required = auth.config().settings.email_and_password.require_email_verification;
    if required && !user.email_verified {
        let failed = request.event(Kind::SignInFailed(Reason::NotVerified));
        auth.tell(failed.method("username").user(&user.id));
        let back = body.callback_url.as_deref();
        mail_verification(request, &mut auth.db(), &user, back, Occasion::SignIn).await?;
        return Err(error::EMAIL_NOT_VERIFIED.into());
    }
    let proven = Proven {
        request,
        user,
        method: "username",
        remember: Some(body.remember_me != Some(false)),
        fields: Row::new(),
    };
    auth.sign_in_by_password(proven, &credential, errors::INVALID_USERNAME_OR_PASSWORD).await
}
