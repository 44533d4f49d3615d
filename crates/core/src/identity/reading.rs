//! Reading the session of a request: the rules of `/get-session`, which every other route shares.

use super::cache;
use super::memory::Found;
use super::session::{Handed, Session, SessionUser, clear_session_cookies, hand_over};
use crate::auth::Auth;
use crate::error::{self, Error};
use crate::http::{Cookies, Request};
use crate::store::{Db, Row};

/// How to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// Ask the store even if the cookie cache knows.
    pub skip_cache: bool,
    /// Do not extend.
    pub skip_refresh: bool,
    /// This is `POST /get-session`: with `deferSessionRefresh` only it writes.
    pub post: bool,
}

impl How {
    /// From where sessions really are. Without a store that is the cookie itself.
    pub fn authoritative(auth: &Auth) -> Self {
        Self { skip_cache: !auth.config().stateless, ..Self::default() }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Reading {
    /// The session and its user.
    pub found: Option<Found>,
    /// Cookies to send along.
    pub cookies: Cookies,
    /// With `deferSessionRefresh`: would `POST` extend it?
    pub needs_refresh: Option<bool>,
}

/// Reads the session of a request.
pub async fn read_session(request: &Request, how: How) -> Result<Reading, Error> {
    let auth = &request.auth;
    let specs = auth.cookies();
    let secret = auth.config().secrets.current();
    let rules = &auth.config().session;
    let mut reading = Reading::default();

    let token = request.cookies.signed(&specs.session_token, secret);
    if token.is_none() && rules.cache.enabled {
        return Ok(reading);
    }
    let cached_text = request.cookies.chunked(&specs.session_data.name);
    if cached_text.is_some() && !rules.cache.enabled {
        reading.cookies.clean(&specs.session_data, &request.cookies);
    }
    let Some(token) = token else { return Ok(reading) };
    let marked = request.cookies.signed(&specs.dont_remember, secret).is_some();

    let mut db = auth.db();
    let skip_cache = how.skip_cache || request.query_truthy("disableCookieCache");
    if rules.cache.enabled
        && !skip_cache
        && let Some(text) = cached_text
    {
        match cache::read(request, &mut db, &text).await? {
            Some(cached) if cached.current.session.token == token => {
                let same_version =
                    cached.version == cache::expected_version(request, &cached.current).await?;
                let alive =
                    cached.expires_at >= request.now && cached.current.session.expires_at >= request.now;
                if same_version && alive {
                    if let Some(update_age) = rules.cache.refresh_update_age
                        && cached.expires_at < request.now.plus_seconds(update_age)
                    {
                        cache::write(request, &mut db, &cached.current, true, &mut reading.cookies).await?;
                        let lasting = (!marked).then_some(rules.expires_in);
                        reading.cookies.push(specs.session_token.lasting(lasting).set_signed(secret, token));
                    }
                    reading.found = Some(cached.current.into());
                    return Ok(reading);
                }
                reading.cookies.expire(&specs.session_data);
            }
            _ => reading.cookies.expire(&specs.session_data),
        }
    }

    let mut found = Session::recall(auth, &mut db, token).await?;
    if found.as_ref().is_some_and(|found| found.is_remembered() && found.expires_at() < request.now) {
        // Another process may have extended it a moment ago, and what is over is deleted.
        auth.memory().forget(token);
        found = Session::recall(auth, &mut db, token).await?;
    }
    let Some(found) = found else {
        reading.cookies.extend(clear_session_cookies(request, false));
        return Ok(reading);
    };
    if found.expires_at() < request.now {
        reading.cookies = clear_session_cookies(request, false);
        if !rules.defer_refresh || how.post {
            Session::delete(auth, &mut db, token).await?;
        }
        return Ok(reading);
    }
    let skip_refresh = how.skip_refresh || request.query_truthy("disableRefresh");
    if marked || skip_refresh {
        reading.found = Some(found);
        return Ok(reading);
    }
    let due = found.expires_at().plus_seconds(rules.update_age - rules.expires_in) <= request.now;
    let needs_refresh = due && !rules.disable_refresh;
    if rules.defer_refresh && !how.post {
        cache_found(request, &mut db, &found, &mut reading.cookies).await?;
        reading.needs_refresh = Some(needs_refresh);
        reading.found = Some(found);
        return Ok(reading);
    }
    if needs_refresh {
        let changes = Row::new()
            .with(Session::EXPIRES_AT.key, request.now.plus_seconds(rules.expires_in))
            .with(Session::UPDATED_AT.key, request.now);
        let Some(session) = Session::update(auth, &mut db, token, changes).await? else {
            // Ended by somebody else between the read and the write.
            let refused = Error::from(error::FAILED_TO_GET_SESSION);
            return Err(refused.with_cookies(clear_session_cookies(request, false)));
        };
        let current = SessionUser { session, user: found.into_current(auth)?.user };
        let handed = Handed { remember: Some(true) };
        reading.cookies.extend(hand_over(request, &mut db, &current, handed).await?);
        reading.found = Some(current.into());
        return Ok(reading);
    }
    cache_found(request, &mut db, &found, &mut reading.cookies).await?;
    reading.found = Some(found);
    Ok(reading)
}

/// Writes the cookie cache, when that is on.
async fn cache_found(
    request: &Request,
    db: &mut Db<'_>,
    found: &Found,
    cookies: &mut Cookies,
) -> Result<(), Error> {
    if !request.auth.config().session.cache.enabled {
        return Ok(());
    }
    cache::write(request, db, found.current(&request.auth)?, true, cookies).await
}
