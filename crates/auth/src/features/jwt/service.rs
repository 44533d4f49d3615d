//! What the tokens say, how they are signed, and which are believed.

use portcullis_core::clock::Timestamp;
use portcullis_core::crypto::{Algorithm, Expect, Header, seal_hs256, verify_hs256, verify_jwt};
use portcullis_core::error::Error;
use portcullis_core::http::Request;
use portcullis_core::identity::SessionUser;
use portcullis_core::seams::AccessToken;
use portcullis_core::store::Db;
use serde_json::{Map, Value as Json, json};

use super::keys::{Asker, Keys, SigningKey};
use super::options::{Expiry, Payload, SESSION_ID};
use super::span;

/// `typ` of a session cookie cache (better-auth 1.7.6 `cookies/jwt`).
const CACHE_TYPE: &str = "better-auth.session-cache+jwt";
/// Its audience, and its issuer where there is no base URL: so no API takes it for a token of its own.
const CACHE_AUDIENCE: &str = "better-auth:session-cache";
/// How far clocks may differ for it.
const CACHE_LEEWAY: i64 = 15;

/// The published keys.
pub(super) async fn jwks(keys: &Keys, asker: Asker<'_>, db: &mut Db<'_>) -> Result<Json, Error> {
    let rules = &keys.rules;
    let mut published = Vec::new();
    for row in keys.published(asker, db).await? {
        let Some(public) = keys.public(&row) else { continue };
        let mut jwk = Map::new();
        jwk.insert("alg".into(), public.alg.name().into());
        if let Some(curve) = row.crv.or_else(|| rules.crv.clone()) {
            jwk.insert("crv".into(), curve.into());
        }
        jwk.extend(public.jwk);
        jwk.insert("kid".into(), row.id.into());
        published.push(Json::Object(jwk));
    }
    Ok(json!({ "keys": published }))
}

/// What a token has beside the configured claims.
#[derive(Default)]
pub(super) struct Further {
    /// The key that signs, if it is known already.
    pub key: Option<SigningKey>,
    /// It is an access token, good for so many seconds in place of `expirationTime`.
    pub access: Option<i64>,
}

/// `typ` of access tokens (RFC 9068 §2.1): what tells them from tokens for other services.
const ACCESS_TYPE: &str = "at+jwt";

/// A token for the holder of a session.
pub(super) async fn token_for(
    keys: &Keys,
    request: &Request,
    db: &mut Db<'_>,
    current: &SessionUser,
    further: Further,
) -> Result<String, Error> {
    let auth = &request.auth;
    let options = &keys.rules.written.jwt;
    let mut claims = Map::new();
    claims.insert("iat".into(), request.now.seconds().into());
    match &options.define_payload {
        None => claims.extend(current.user.view(auth)),
        Some(Payload::Claims(names)) => {
            let mut user = current.user.view(auth);
            user.insert(SESSION_ID.into(), current.session.id.as_str().into());
            claims.extend(names.iter().filter_map(|name| user.remove_entry(name)));
        }
        Some(Payload::Trait(define)) => claims.extend(define.define_payload(auth, current).await?),
        Some(Payload::Callback(define)) => {
            let args = vec![Json::Object(current.view(auth))];
            match define.call(auth.outbound(), "plugins.jwt.jwt.definePayload", args).await? {
                Json::Object(defined) => claims.extend(defined),
                Json::Null => {}
                _ => return Err(Error::broken("jwt.definePayload: the answer is not an object")),
            }
        }
    }
    if keys.rules.shared.is_some() {
        // What services that know the secret look for; Better Auth has no such tokens. Only the operator's own
        // function may say something else.
        let says = matches!(options.define_payload, Some(Payload::Callback(_) | Payload::Trait(_)));
        if !(says && claims.contains_key("user_id")) {
            claims.insert("user_id".into(), current.user.id.as_str().into());
        }
    }
    let subject = match &options.get_subject {
        None => Json::Null,
        Some(subject) => {
            let args = vec![Json::Object(current.view(auth))];
            subject.call(auth.outbound(), "plugins.jwt.jwt.getSubject", args).await?
        }
    };
    let subject = match subject {
        Json::Null => current.user.id.clone(),
        Json::String(subject) => subject,
        _ => return Err(Error::broken("jwt.getSubject: the answer is not a text")),
    };
    claims.insert("sub".into(), subject.into());
    // For whom an access token is besides is the operator's to say, but not how long and of which session.
    if let Some(seconds) = further.access {
        claims.insert("iat".into(), request.now.seconds().into());
        claims.insert("exp".into(), request.now.seconds().saturating_add(seconds).into());
        claims.insert(SESSION_ID.into(), current.session.id.as_str().into());
    }
    let with = further.key.map_or(How::Alg(None), How::Key);
    sign_as(keys, Asker::of(request), db, claims, with, further.access.map(|_| ACCESS_TYPE)).await
}

/// Reads an access token. Issuer and audience are not looked at: it is ours by key and by type.
pub(super) async fn read_access_token(
    keys: &Keys,
    asker: Asker<'_>,
    db: &mut Db<'_>,
    token: &str,
) -> Result<Option<AccessToken>, Error> {
    if Header::of(token).and_then(|header| header.typ).as_deref() != Some(ACCESS_TYPE) {
        return Ok(None);
    }
    let Some(claims) = signed_by_us(keys, asker, db, token).await? else { return Ok(None) };
    let expect = Expect { issuer: None, audience: None, now: asker.now, leeway_secs: 0 };
    if !claims.contains_key("exp") || expect.check(&claims).is_err() {
        return Ok(None);
    }
    let text = |name: &str| claims.get(name).and_then(Json::as_str).map(str::to_owned);
    let (Some(session), Some(subject)) = (text(SESSION_ID), text("sub")) else { return Ok(None) };
    let user = keys.rules.written.jwt.get_subject.is_none().then_some(subject);
    Ok(Some(AccessToken { session, user }))
}

/// What signs.
pub(super) enum How {
    /// The key of an algorithm, or the default one.
    Alg(Option<Algorithm>),
    /// This one.
    Key(SigningKey),
}

/// Signs claims; `exp`, `iss` and `aud` have defaults (better-auth 1.7.6 `plugins/jwt/sign` signJWT).
pub(super) async fn sign(
    keys: &Keys,
    asker: Asker<'_>,
    db: &mut Db<'_>,
    claims: Map<String, Json>,
    with: How,
) -> Result<String, Error> {
    sign_as(keys, asker, db, claims, with, None).await
}

async fn sign_as(
    keys: &Keys,
    asker: Asker<'_>,
    db: &mut Db<'_>,
    mut claims: Map<String, Json>,
    with: How,
    typ: Option<&'static str>,
) -> Result<String, Error> {
    let options = &keys.rules.written.jwt;
    // A default takes the place of `null`, and a date that is `null` is none.
    claims.retain(|name, value| {
        !(value.is_null() && ["iat", "nbf", "exp", "iss", "aud"].contains(&name.as_str()))
    });
    for name in ["iat", "nbf", "exp"] {
        if let Some(value) = claims.get_mut(name) {
            *value = numeric_date(name, value, asker.now)?;
        }
    }
    if !claims.contains_key("exp") {
        let exp = match &keys.rules.expiry {
            Expiry::At(at) => at.clone(),
            Expiry::After(seconds) => match claims.get("iat").map(|iat| (iat.as_i64(), iat.as_f64())) {
                Some((None, Some(iat))) => Json::from(iat + *seconds as f64),
                Some((Some(iat), _)) => Json::from(iat.saturating_add(*seconds)),
                Some((None, None)) | None => Json::from(asker.now.seconds().saturating_add(*seconds)),
            },
        };
        claims.insert("exp".into(), exp);
    }
    if !claims.contains_key("iss") {
        let issuer = options.issuer.clone().unwrap_or_else(|| asker.origin());
        claims.insert("iss".into(), issuer.into());
    }
    if !claims.contains_key("aud") {
        let audience = options.audience.clone().filter(|audience| !audience.is_null());
        claims.insert("aud".into(), audience.unwrap_or_else(|| asker.origin().into()));
    }
    if let Some(remote) = &options.sign {
        let how = match with {
            How::Alg(None) | How::Key(_) => json!({}),
            How::Alg(Some(alg)) => json!({ "signingAlgorithm": alg.name() }),
        };
        let args = vec![Json::Object(claims), Json::Null, how];
        let answer = remote.call(asker.auth.outbound(), "plugins.jwt.jwt.sign", args).await?;
        return match answer {
            Json::String(token) => Ok(token),
            _ => Err(Error::broken("jwt.sign: the answer is not a text")),
        };
    }
    if let Some(secret) = &keys.rules.shared {
        if let How::Alg(Some(alg)) = with {
            return Err(Error::broken(format!("jwt: no key for {alg}: plugins.jwt.algorithm is HS256")));
        }
        let typ = Map::from_iter([("typ".to_owned(), Json::from(typ.unwrap_or("JWT")))]);
        return Ok(seal_hs256(secret, typ, &claims)?);
    }
    let key = match with {
        How::Alg(alg) => keys.signing(asker, db, alg).await?,
        How::Key(key) => key,
    };
    let mut header = Map::new();
    header.insert("alg".into(), key.pair.algorithm().name().into());
    header.insert("kid".into(), key.kid.into());
    if let Some(typ) = typ {
        header.insert("typ".into(), typ.into());
    }
    Ok(key.pair.sign_jwt(&header, &claims)?)
}

/// A date of a claim as jose reads it: seconds, an ISO date, or a time span from now.
fn numeric_date(name: &str, value: &Json, now: Timestamp) -> Result<Json, Error> {
    match value {
        Json::Number(_) => return Ok(value.clone()),
        Json::String(text) => {
            if let Some(at) = Timestamp::parse(text) {
                return Ok(at.seconds().into());
            }
            if let Some(seconds) = span::seconds(text) {
                return Ok(now.seconds().saturating_add(seconds).into());
            }
        }
        _ => {}
    }
    Err(Error::broken(format!("jwt: the claim {name} is not a date")))
}

/// The claims of a token that one of our keys signed for this issuer and audience (better-auth 1.7.6
/// `plugins/jwt/verify`); `None` for any other.
pub(super) async fn verify(
    keys: &Keys,
    asker: Asker<'_>,
    db: &mut Db<'_>,
    token: &str,
    issuer: Option<&str>,
) -> Result<Option<Map<String, Json>>, Error> {
    let options = &keys.rules.written.jwt;
    let Some(claims) = signed_by_us(keys, asker, db, token).await? else { return Ok(None) };
    let issuer =
        issuer.map(str::to_owned).or_else(|| options.issuer.clone()).unwrap_or_else(|| asker.origin());
    let audience = match &options.audience {
        Some(Json::String(one)) => vec![one.clone()],
        Some(Json::Array(all)) => all.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        _ => vec![asker.origin()],
    };
    let expect =
        Expect { issuer: Some(vec![issuer]), audience: Some(audience), now: asker.now, leeway_secs: 0 };
    let filled = |name: &str| match claims.get(name) {
        Some(Json::String(text)) => !text.is_empty(),
        Some(Json::Array(all)) => !all.is_empty(),
        _ => false,
    };
    let good = expect.check(&claims).is_ok() && filled("iss") && filled("sub") && filled("aud");
    Ok(good.then_some(claims))
}

/// The claims, if the key that the header names is ours and signed them with the algorithm that its
/// row says: the token's own `alg` only has to agree. With a shared secret that is HS256, and no other.
async fn signed_by_us(
    keys: &Keys,
    asker: Asker<'_>,
    db: &mut Db<'_>,
    token: &str,
) -> Result<Option<Map<String, Json>>, Error> {
    if let Some(secret) = &keys.rules.shared {
        return Ok(verify_hs256(secret, token, asker.now));
    }
    let Some(kid) = Header::of(token).and_then(|header| header.kid) else { return Ok(None) };
    let Some(key) = keys.verifying(asker, db, &kid).await? else { return Ok(None) };
    Ok(verify_jwt(key.alg, &key.jwk, token))
}

/// The issuer of the session cookie cache.
fn cache_issuer(asker: Asker<'_>) -> String {
    let origin = asker.origin();
    if origin.is_empty() { CACHE_AUDIENCE.to_owned() } else { origin }
}

/// Signs the session cookie cache.
pub(super) async fn sign_cache(
    keys: &Keys,
    asker: Asker<'_>,
    db: &mut Db<'_>,
    payload: Map<String, Json>,
    max_age: i64,
) -> Result<String, Error> {
    let text = |of: &str, name: &str| {
        let value = payload.get(of).and_then(|of| of.get(name)).and_then(Json::as_str);
        value.map(str::to_owned).ok_or_else(|| Error::broken(format!("cookie cache without {of}.{name}")))
    };
    let (sid, sub) = (text("session", "token")?, text("user", "id")?);
    let mut claims = payload;
    claims.insert("sid".into(), sid.into());
    claims.insert("iat".into(), asker.now.seconds().into());
    claims.insert("exp".into(), asker.now.seconds().saturating_add(max_age).into());
    claims.insert("iss".into(), cache_issuer(asker).into());
    claims.insert("aud".into(), CACHE_AUDIENCE.into());
    claims.insert("sub".into(), sub.into());
    let key = keys.signing(asker, db, None).await?;
    let mut header = Map::new();
    header.insert("alg".into(), key.pair.algorithm().name().into());
    header.insert("kid".into(), key.kid.into());
    header.insert("typ".into(), CACHE_TYPE.into());
    Ok(key.pair.sign_jwt(&header, &claims)?)
}

/// Reads the session cookie cache; `None` when it is not to be believed, and the store is asked.
pub(super) async fn verify_cache(
    keys: &Keys,
    asker: Asker<'_>,
    db: &mut Db<'_>,
    token: &str,
) -> Result<Option<(Map<String, Json>, Timestamp)>, Error> {
    if Header::of(token).and_then(|header| header.typ).as_deref() != Some(CACHE_TYPE) {
        return Ok(None);
    }
    let Some(claims) = signed_by_us(keys, asker, db, token).await? else { return Ok(None) };
    let expect = Expect {
        issuer: Some(vec![cache_issuer(asker)]),
        audience: Some(vec![CACHE_AUDIENCE.to_owned()]),
        now: asker.now,
        leeway_secs: CACHE_LEEWAY,
    };
    let inner = |of: &str, name: &str| claims.get(of).and_then(|of| of.get(name));
    let bound = claims.get("sub").is_some_and(Json::is_string)
        && claims.get("sub") == inner("user", "id")
        && claims.get("sid").is_some_and(Json::is_string)
        && claims.get("sid") == inner("session", "token");
    if !bound || expect.check(&claims).is_err() {
        return Ok(None);
    }
    let exp = claims.get("exp").and_then(Json::as_i64);
    Ok(exp.map(|exp| (claims, Timestamp::from_millis(exp.saturating_mul(1000)))))
}
