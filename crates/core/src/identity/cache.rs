//! The cookie cache (`session.cookieCache`): session and user as a signed or encrypted cookie, so that
//! most reads need no database, in Better Auth's three forms.
//!
//! A cache is believed only for the session token beside it, in its version, before both its own and
//! the session's expiry. It is never an authority where `Sensitive` is asked for.

use async_trait::async_trait;
use serde_json::{Map, Value as Json, json};

use super::fields::from_json;
use super::session::{Session, SessionUser};
use super::user::User;
use crate::auth::Auth;
use crate::clock::Timestamp;
use crate::config::{CacheStrategy, CacheVersion};
use crate::crypto::{
    base64url, base64url_decode, constant_time_eq, hmac_sha256, jwe_decrypt, jwe_encrypt, sign_hs256,
    verify_hs256,
};
use crate::error::Error;
use crate::http::{Cookies, Request};
use crate::store::{Db, Row, Table, Value};

/// HKDF salt of the encrypted form.
const SALT: &str = "better-auth-session";

/// Signs the `jwt` form with keys of its own (the jwt room with `sessionCookieCache`).
#[async_trait]
pub trait CacheSigner: Send + Sync {
    /// The token for a payload `{session, user, updatedAt, version}`. `db` may be a transaction that
    /// holds the pool's only connection: whatever is read or written goes through it.
    async fn sign(
        &self,
        request: &Request,
        db: &mut Db<'_>,
        payload: Map<String, Json>,
        max_age: i64,
    ) -> Result<String, Error>;
    /// Payload and expiry of a token that is good.
    async fn verify(
        &self,
        request: &Request,
        db: &mut Db<'_>,
        token: &str,
    ) -> Result<Option<(Map<String, Json>, Timestamp)>, Error>;
}

/// What a good cache says.
#[derive(Debug)]
pub(super) struct Cached {
    pub current: SessionUser,
    pub version: String,
    pub expires_at: Timestamp,
}

async fn version_of(request: &Request, session: &Json, user: &Json) -> Result<String, Error> {
    match &request.auth.config().session.cache.version {
        CacheVersion::Fixed(text) => Ok(text.clone()),
        CacheVersion::Asked(callback) => {
            let args = vec![session.clone(), user.clone()];
            let answer = callback.call(request.auth.outbound(), "session.cookieCache.version", args).await?;
            Ok(answer.as_str().unwrap_or_default().to_owned())
        }
    }
}

/// The version that the operator expects for this session now.
pub(super) async fn expected_version(request: &Request, cached: &SessionUser) -> Result<String, Error> {
    let auth = &request.auth;
    version_of(request, &Json::Object(cached.session.view(auth)), &Json::Object(cached.user.view(auth))).await
}

/// Writes the cache's cookies, when the cache is on.
pub(super) async fn write(
    request: &Request,
    db: &mut Db<'_>,
    current: &SessionUser,
    remember: bool,
    cookies: &mut Cookies,
) -> Result<(), Error> {
    let auth = &request.auth;
    let cache = &auth.config().session.cache;
    if !cache.enabled {
        return Ok(());
    }
    let now = request.now;
    let session = Json::Object(current.session.view(auth));
    let user = Json::Object(current.user.view(auth));
    let version = version_of(request, &session, &user).await?;
    let mut payload = Map::new();
    payload.insert("session".into(), session);
    payload.insert("user".into(), user);
    payload.insert("updatedAt".into(), Json::from(now.millis()));
    payload.insert("version".into(), Json::from(version));

    let spec = auth.cookies().session_data.clone();
    let max_age = remember.then_some(spec.attributes.max_age).flatten();
    let spec = spec.lasting(max_age);
    let secrets = &auth.config().secrets;
    let lasting = max_age.unwrap_or(300);
    let value = match (cache.strategy, &auth.seams().cache_signer) {
        (CacheStrategy::Jwe, _) => {
            jwe_encrypt(secrets, SALT, &payload, now, lasting, auth.random()).map_err(Error::broken)?
        }
        (CacheStrategy::Jwt, Some(signer)) => signer.sign(request, db, payload, lasting).await?,
        (CacheStrategy::Jwt, None) => {
            sign_hs256(secrets.current(), &payload, now, lasting).map_err(Error::broken)?
        }
        (CacheStrategy::Compact, _) => {
            let expires_at = now.plus_seconds(max_age.unwrap_or(60)).millis();
            let signature = base64url(&compact_mac(auth, payload.clone(), expires_at));
            let envelope = json!({ "session": payload, "expiresAt": expires_at, "signature": signature });
            base64url(envelope.to_string().as_bytes())
        }
    };
    cookies.set_chunked(&spec, &value, &request.cookies);
    Ok(())
}

/// HMAC over `{…payload, expiresAt}`; key order is part of it, hence `preserve_order`.
fn compact_mac(auth: &Auth, mut payload: Map<String, Json>, expires_at: i64) -> [u8; 32] {
    payload.insert("expiresAt".into(), Json::from(expires_at));
    hmac_sha256(
        auth.config().secrets.current().expose().as_bytes(),
        Json::Object(payload).to_string().as_bytes(),
    )
}

/// Reads a cache; `None` when it cannot be believed at all.
pub(super) async fn read(request: &Request, db: &mut Db<'_>, text: &str) -> Result<Option<Cached>, Error> {
    let auth = &request.auth;
    let secrets = &auth.config().secrets;
    let now = request.now;
    let expiry = |claims: &Map<String, Json>| {
        claims
            .get("exp")
            .and_then(Json::as_i64)
            .map_or(now, |exp| Timestamp::from_millis(exp.saturating_mul(1000)))
    };
    let (payload, expires_at) = match (auth.config().session.cache.strategy, &auth.seams().cache_signer) {
        (CacheStrategy::Jwe, _) => {
            let Some(claims) = jwe_decrypt(secrets, SALT, text, now) else { return Ok(None) };
            let expires_at = expiry(&claims);
            (claims, expires_at)
        }
        (CacheStrategy::Jwt, Some(signer)) => {
            let Some(good) = signer.verify(request, db, text).await? else { return Ok(None) };
            good
        }
        (CacheStrategy::Jwt, None) => {
            let Some(claims) = verify_hs256(secrets.current(), text, now) else { return Ok(None) };
            let expires_at = expiry(&claims);
            (claims, expires_at)
        }
        (CacheStrategy::Compact, _) => {
            let Some(good) = read_compact(auth, text) else { return Ok(None) };
            good
        }
    };
    let user = payload.get("user").and_then(Json::as_object);
    let session = payload.get("session").and_then(Json::as_object);
    let (Some(session), Some(user)) = (session, user) else { return Ok(None) };
    let session = row_of(auth.table(Session::KEY), session).and_then(|row| Session::from_row(row).ok());
    let user = row_of(auth.table(User::KEY), user).and_then(|row| User::from_row(row).ok());
    // A cache that another version of the schema wrote is no failure: the store is asked instead.
    let (Some(session), Some(user)) = (session, user) else { return Ok(None) };
    let version =
        payload.get("version").and_then(Json::as_str).filter(|v| !v.is_empty()).unwrap_or("1").to_owned();
    Ok(Some(Cached { current: SessionUser { session, user }, version, expires_at }))
}

fn read_compact(auth: &Auth, text: &str) -> Option<(Map<String, Json>, Timestamp)> {
    let envelope: Json = serde_json::from_slice(&base64url_decode(text)?).ok()?;
    let payload = envelope.get("session")?.as_object()?.clone();
    let expires_at = envelope.get("expiresAt")?.as_i64()?;
    let signature = base64url_decode(envelope.get("signature")?.as_str()?)?;
    constant_time_eq(&compact_mac(auth, payload.clone(), expires_at), &signature)
        .then(|| (payload, Timestamp::from_millis(expires_at)))
}

/// A row from the JSON that an answer shows: hidden columns are null or their kind's nothing.
pub(super) fn row_of(table: &Table, map: &Map<String, Json>) -> Option<Row> {
    let mut row = Row::new();
    for column in &table.columns {
        let value = match map.get(&*column.key) {
            Some(json) => from_json(column.kind, json)?,
            None => Value::Null,
        };
        row.set(column.key.clone(), value);
    }
    Some(row)
}
