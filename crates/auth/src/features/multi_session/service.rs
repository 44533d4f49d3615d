//! The rules of several sessions on one device.
//!
//! A session belongs to a device when the device carries its token in a signed cookie of the token's
//! own name. The signature is checked before anything is looked up, so a cookie that was made up
//! reaches no table; the name is checked because a signature says nothing about it.

use portcullis_core::error::Error;
use portcullis_core::events::Kind;
use portcullis_core::http::{CookieSpec, Cookies, Request};
use portcullis_core::identity::{Handed, Session, SessionUser, clear_session_cookies, hand_over};
use portcullis_core::store::Db;

use super::errors;

/// What stands between the name of the session cookie and the token.
const MARK: &str = "_multi-";

/// The cookie that keeps a session on its device.
fn cookie(request: &Request, token: &str) -> CookieSpec {
    let spec = &request.auth.cookies().session_token;
    // Lower case, as some clients fold the names of cookies (better-auth 1.7.6).
    spec.named(format!("{}{MARK}{}", spec.name, token.to_ascii_lowercase()))
}

/// The token that the device's cookie for `token` vouches for.
fn held<'r>(request: &'r Request, spec: &CookieSpec) -> Option<&'r str> {
    let token = request.cookies.signed(spec, request.auth.config().secrets.current())?;
    (cookie(request, token).name == spec.name).then_some(token)
}

/// Every token that the device holds, in the order of its cookies.
fn all_held(request: &Request) -> Vec<String> {
    let prefix = format!("{}{MARK}", request.auth.cookies().session_token.name);
    let spec = &request.auth.cookies().session_token;
    request
        .cookies
        .iter()
        .filter(|(name, _)| name.starts_with(&prefix))
        .filter_map(|(name, _)| held(request, &spec.named(name)))
        .map(str::to_owned)
        .collect()
}

/// Those of them that are still good.
async fn all_alive(request: &Request, db: &mut Db<'_>, tokens: &[String]) -> Result<Vec<SessionUser>, Error> {
    let mut held = Session::find_all(&request.auth, db, tokens).await?;
    held.retain(|held| held.session.expires_at > request.now);
    Ok(held)
}

/// A session is handed to the device: keep it beside the others, in place of an older one of the same
/// user, be that good or over.
pub(super) async fn remember(
    most: usize,
    request: &Request,
    db: &mut Db<'_>,
    current: &SessionUser,
    cookies: &mut Cookies,
) -> Result<(), Error> {
    let token = &current.session.token;
    let own = cookie(request, token);
    if request.cookies.get(&own.name).is_some() || cookies.last(&own.name).is_some() {
        return Ok(());
    }
    let others = all_held(request);
    let mut replaced: Vec<String> = Vec::new();
    if !others.is_empty() {
        for other in Session::find_all(&request.auth, db, &others).await? {
            if other.user.id == current.user.id && other.session.token != *token {
                cookies.expire(&cookie(request, &other.session.token));
                replaced.push(other.session.token);
            }
        }
    }
    let kept = others.len().saturating_sub(replaced.len());
    Session::delete_each(&request.auth, db, &replaced).await?;
    if kept < most {
        cookies.push(own.set_signed(request.auth.config().secrets.current(), token));
    }
    Ok(())
}

/// The device signs out: all of its sessions end.
pub(super) async fn forget_all(
    request: &Request,
    db: &mut Db<'_>,
    cookies: &mut Cookies,
) -> Result<(), Error> {
    let tokens = all_held(request);
    for token in &tokens {
        cookies.expire(&cookie(request, token));
    }
    Session::delete_each(&request.auth, db, &tokens).await
}

/// The device's sessions, one for each user.
pub(super) async fn list(request: &Request, db: &mut Db<'_>) -> Result<Vec<SessionUser>, Error> {
    let mut shown: Vec<SessionUser> = Vec::new();
    for current in all_alive(request, db, &all_held(request)).await? {
        if !shown.iter().any(|other| other.user.id == current.user.id) {
            shown.push(current);
        }
    }
    Ok(shown)
}

/// Makes one of the device's sessions the one that counts.
pub(super) async fn set_active(request: &Request, token: &str) -> Result<(SessionUser, Cookies), Error> {
    let spec = cookie(request, token);
    let refused = || Error::from(errors::INVALID_SESSION_TOKEN);
    let held = held(request, &spec).ok_or_else(refused)?;
    let mut db = request.auth.db();
    let found = Session::find(&request.auth, &mut db, held).await?;
    let Some(current) = found.filter(|current| current.session.expires_at >= request.now) else {
        let mut cookies = Cookies::new();
        cookies.expire(&spec);
        return Err(refused().with_cookies(cookies));
    };
    let cookies = hand_over(request, &mut db, &current, Handed::default()).await?;
    Ok((current, cookies))
}

/// Ends one of the device's sessions; if it was the one that counts, another takes its place.
pub(super) async fn revoke(request: &Request, caller: &SessionUser, token: &str) -> Result<Cookies, Error> {
    let spec = cookie(request, token);
    let held = held(request, &spec).ok_or_else(|| Error::from(errors::INVALID_SESSION_TOKEN))?;
    let mut db = request.auth.db();
    // Of the device, which may hold somebody else's beside the caller's.
    let ended = Session::find(&request.auth, &mut db, held).await?;
    Session::delete(&request.auth, &mut db, held).await?;
    if let Some(SessionUser { session, user }) = ended {
        request.auth.tell(request.event(Kind::SessionsRevoked).user(&user.id).session(&session.id));
    }
    let mut cookies = Cookies::new();
    cookies.expire(&spec);
    if held != caller.session.token {
        return Ok(cookies);
    }
    let mut others = all_held(request);
    others.retain(|other| other != held);
    match all_alive(request, &mut db, &others).await?.into_iter().next() {
        Some(next) => cookies.extend(hand_over(request, &mut db, &next, Handed::default()).await?),
        None => cookies.extend(clear_session_cookies(request, false)),
    }
    Ok(cookies)
}
