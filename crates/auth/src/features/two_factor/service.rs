//! Switching the second factor on and off.

use portcullis_core::auth::Auth;
use portcullis_core::error::{self, Error};
use portcullis_core::events::Kind;
use portcullis_core::http::{Cookies, Request};
use portcullis_core::identity::{
    Account, Handed, Session, SessionUser, User, hand_over, password as passwords,
};
use portcullis_core::store::{Agreed, Db, Row};

use super::challenge::distrust_device;
use super::options::Options;
use super::store::{ENABLED, Factor, is_enabled};
use super::wire::Method;
use super::{backup_codes, errors, totp};

/// The user's password, unless the options let users without one pass and this is one.
pub(super) async fn check_password(
    auth: &Auth,
    user: &str,
    text: Option<&str>,
    passwordless: bool,
) -> Result<(), Error> {
    if passwordless {
        let account = Account::credential_of(&mut auth.db(), user).await?;
        if account.and_then(|account| account.password).is_none_or(|hash| hash.is_empty()) {
            return Ok(());
        }
    }
    match text.filter(|text| !text.is_empty()) {
        Some(text) if passwords::is_right(auth, user, text).await? => Ok(()),
        _ => Err(error::INVALID_PASSWORD.into()),
    }
}

/// What came of enabling.
pub(super) enum Enabled {
    /// Codes are sent from now on.
    Otp(Cookies),
    /// What the user puts into the authenticator and onto paper.
    Totp { uri: String, backup_codes: Vec<String>, cookies: Cookies },
}

/// Begins (or, with `skipVerificationOnEnable` or sent codes, finishes) the setup.
pub(super) async fn enable(
    request: &Request,
    options: &Options,
    current: &SessionUser,
    password: Option<&str>,
    method: Method,
    issuer: Option<&str>,
) -> Result<Enabled, Error> {
    let auth = &request.auth;
    let user = &current.user;
    check_password(auth, &user.id, password, options.allow_passwordless).await?;
    if method == Method::Otp {
        if !options.sends_codes() {
            return Err(errors::OTP_NOT_CONFIGURED.into());
        }
        let mut agreed = Agreed::new();
        ask_switch(request, &mut agreed, current, true).await?;
        let mut tx = auth.begin_agreed(agreed).await?;
        let renewed = switch(request, &mut tx.db(), current, true).await?;
        tx.commit().await?;
        return Ok(Enabled::Otp(handed(request, &renewed).await?));
    }
    if options.totp_options.disable {
        return Err(errors::TOTP_NOT_CONFIGURED.into());
    }
    let existing = Factor::of(&mut auth.db(), &user.id).await?;
    if existing.as_ref().is_some_and(Factor::is_ready) {
        return Err(errors::TOTP_ALREADY_ENABLED.into());
    }
    let (backup_codes, kept) = backup_codes::generate(auth, options).await?;
    let secret = totp::new_secret(auth);
    let row = Row::new()
        .with(Factor::SECRET.key, auth.config().secrets.seal(auth.random(), &secret)?)
        .with(Factor::BACKUP_CODES.key, kept)
        .with(Factor::VERIFIED.key, options.skip_verification_on_enable);
    let mut agreed = Agreed::new();
    if options.skip_verification_on_enable {
        ask_switch(request, &mut agreed, current, true).await?;
    }
    let mut tx = auth.begin_agreed(agreed).await?;
    let db = &mut tx.db();
    match existing {
        Some(factor) => {
            // Finished by another request since it was read: a live secret is not overwritten.
            if !factor.change_if_same(db, Factor::VERIFIED.is(false), row).await? {
                return Err(errors::TOTP_ALREADY_ENABLED.into());
            }
        }
        None => {
            let row = auth.with_new_id(row).with(Factor::USER_ID.key, user.id.as_str());
            db.insert(Factor::KEY, row).await?;
        }
    }
    let renewed = if options.skip_verification_on_enable {
        Some(switch(request, db, current, true).await?)
    } else {
        None
    };
    tx.commit().await?;
    let cookies = match &renewed {
        Some(renewed) => handed(request, renewed).await?,
        None => Cookies::new(),
    };
    let named = |name: &'_ &str| !name.is_empty();
    let issuer = issuer.filter(named).or(options.issuer.as_deref().filter(named));
    let issuer = issuer.unwrap_or(&auth.config().app_name);
    let uri = totp::uri(options, secret.as_bytes(), issuer, &user.email);
    Ok(Enabled::Totp { uri, backup_codes, cookies })
}

/// Ends the second factor and the trust in this device.
pub(super) async fn disable(
    request: &Request,
    options: &Options,
    current: &SessionUser,
    password: Option<&str>,
) -> Result<Cookies, Error> {
    let auth = &request.auth;
    let user = &current.user;
    check_password(auth, &user.id, password, options.allow_passwordless).await?;
    let mut agreed = Agreed::new();
    ask_switch(request, &mut agreed, current, false).await?;
    let mut tx = auth.begin_agreed(agreed).await?;
    let db = &mut tx.db();
    db.delete(Factor::KEY, &Factor::USER_ID.is(user.id.as_str())).await?;
    let renewed = switch(request, db, current, false).await?;
    tx.commit().await?;
    let mut cookies = handed(request, &renewed).await?;
    distrust_device(request, &mut auth.db(), options, &mut cookies).await?;
    Ok(cookies)
}

/// Asks the operator's hooks about what [`enable_for`] writes.
pub(super) async fn ask_enable_for(
    request: &Request,
    agreed: &mut Agreed,
    current: &SessionUser,
) -> Result<(), Error> {
    if is_enabled(&current.user) { Ok(()) } else { ask_switch(request, agreed, current, true).await }
}

/// Enables it for a user who has not got it yet; the new session, when there is one, to be handed over
/// ([`handed`]) after the commit.
pub(super) async fn enable_for(
    request: &Request,
    db: &mut Db<'_>,
    current: &SessionUser,
) -> Result<Option<SessionUser>, Error> {
    if is_enabled(&current.user) {
        return Ok(None);
    }
    switch(request, db, current, true).await.map(Some)
}

/// The cookies of a session that has replaced another. Rooms may tell a webhook of the operator's about
/// it, so this is not for transactions.
pub(super) async fn handed(request: &Request, renewed: &SessionUser) -> Result<Cookies, Error> {
    hand_over(request, &mut request.auth.db(), renewed, Handed::default()).await
}

async fn ask_switch(
    request: &Request,
    agreed: &mut Agreed,
    current: &SessionUser,
    enabled: bool,
) -> Result<(), Error> {
    let auth = &request.auth;
    User::ask_update(auth, agreed, Row::new().with(ENABLED, enabled)).await?;
    Session::ask_delete(auth, agreed, &current.session.token).await?;
    Session::ask_create(request, agreed, Some(&current.user.id), true, current.session.lent_fields()).await
}

/// Writes the user and replaces the session: a token from before says nothing about the second factor.
async fn switch(
    request: &Request,
    db: &mut Db<'_>,
    current: &SessionUser,
    enabled: bool,
) -> Result<SessionUser, Error> {
    let auth = &request.auth;
    let changes = Row::new().with(ENABLED, enabled);
    let Some(user) = User::update(auth, db, &current.user.id, changes).await? else {
        return Err(error::UNAUTHORIZED.into());
    };
    let kind = if enabled { Kind::SecondFactorEnabled } else { Kind::SecondFactorDisabled };
    auth.tell_after(db, request.event(kind).user(&user.id)).await?;
    Session::delete(auth, db, &current.session.token).await?;
    let session = Session::create(request, db, &user, true, current.session.lent_fields()).await?;
    Ok(SessionUser { session, user })
}
