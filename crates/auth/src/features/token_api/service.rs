//! The rules: who gets tokens, how a refresh token is replaced, and when a chain of them ends.

use http::StatusCode;
use portcullis_core::clock::Timestamp;
use portcullis_core::crypto::base64url;
use portcullis_core::error::{self, Error};
use portcullis_core::events::Kind;
use portcullis_core::http::{Answer, Content, Request};
use portcullis_core::identity::{Session, SessionUser, User, password};
use portcullis_core::store::Row;
use serde_json::{Map, Value as Json};

use super::errors;
use super::options::Options;
use super::store::{self, RefreshToken};
use super::token::Token;

/// What a client is handed.
pub(super) struct Pair {
    pub access: String,
    pub refresh: String,
    pub current: SessionUser,
}

/// What came of a sign-up.
pub(super) enum SignedUp {
    /// Signed in at once.
    In(Box<Pair>),
    /// The user, as the other way in shows them: the address is to be proven first, say.
    User(Json),
}

/// A new user.
pub(super) async fn sign_up(
    options: &Options,
    request: &Request,
    mut body: Map<String, Json>,
) -> Result<SignedUp, Error> {
    body.entry("name").or_insert_with(|| "".into());
    let answer = request.ask("/sign-up/email", body).await?;
    match (session_of(request, &answer).await?, user_of(&answer)) {
        (Some(current), _) => {
            let credential = password::fingerprint(&request.auth, &current.user.id).await?;
            let pair = first(options, request, current, credential).await?;
            Ok(SignedUp::In(Box::new(pair)))
        }
        (None, Some(user)) => Ok(SignedUp::User(user.clone())),
        (None, None) => Err(second_factor(answer)),
    }
}

/// Sign-in with address and password.
pub(super) async fn sign_in(
    options: &Options,
    request: &Request,
    body: Map<String, Json>,
) -> Result<Pair, Error> {
    let auth = &request.auth;
    let text = |name: &str| body.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let (email, tried) = (text("email"), text("password"));
    // What the password was before it was proven. Nobody's is looked for as well: it takes the same time.
    let user = User::by_email(&mut auth.db(), &email).await?;
    let id = user.map_or_else(|| auth.id_drawn_by(&email), |user| user.id);
    let before = password::fingerprint(auth, &id).await?;
    let answer = request.ask("/sign-in/email", body).await?;
    let Some(current) = session_of(request, &answer).await? else { return Err(second_factor(answer)) };
    // The proof may have hashed it anew; or somebody has changed it since, and then what was proven is void.
    let credential = password::fingerprint(auth, &current.user.id).await?;
    if credential != before && !password::is_right(auth, &current.user.id, &tried).await? {
        Session::delete(auth, &mut auth.db(), &current.session.token).await?;
        return Err(error::INVALID_EMAIL_OR_PASSWORD.into());
    }
    first(options, request, current, credential).await
}

/// Tokens for a session that was made for them: without them nobody has it.
async fn first(
    options: &Options,
    request: &Request,
    current: SessionUser,
    credential: String,
) -> Result<Pair, Error> {
    let (auth, token) = (&request.auth, current.session.token.clone());
    match start(options, request, current, credential).await {
        Err(failed) => {
            Session::delete(auth, &mut auth.db(), &token).await?;
            Err(failed)
        }
        pair => pair,
    }
}

fn content(answer: &Answer) -> Option<&Json> {
    match &answer.body {
        Content::Json(body) => Some(body),
        _ => None,
    }
}

fn user_of(answer: &Answer) -> Option<&Json> {
    content(answer)?.get("user").filter(|user| user.is_object())
}

/// The session that a way in has made.
async fn session_of(request: &Request, answer: &Answer) -> Result<Option<SessionUser>, Error> {
    let Some(token) = content(answer).and_then(|body| body.get("token")).and_then(Json::as_str) else {
        return Ok(None);
    };
    let found = Session::find(&request.auth, &mut request.auth.db(), token).await?;
    // Ended since: somebody changed the password, say.
    found.map(Some).ok_or_else(|| error::UNAUTHORIZED.into())
}

/// Its cookies go along: a client that keeps them shows the second factor where browsers do.
fn second_factor(answer: Answer) -> Error {
    Error::from(errors::SECOND_FACTOR_REQUIRED).with_cookies(answer.cookies)
}

/// Tokens for the holder of a session; a chain that it had ends.
pub(super) async fn exchange(
    options: &Options,
    request: &Request,
    current: SessionUser,
) -> Result<Pair, Error> {
    let credential = password::fingerprint(&request.auth, &current.user.id).await?;
    start(options, request, current, credential).await
}

async fn start(
    options: &Options,
    request: &Request,
    mut current: SessionUser,
    credential: String,
) -> Result<Pair, Error> {
    let auth = &request.auth;
    let now = request.now;
    // From sign-in on, whatever comes between.
    let ends_at = current.session.created_at.plus_seconds(options.absolute_expires_in);
    if ends_at <= now {
        return Err(error::SESSION_EXPIRED.at(StatusCode::UNAUTHORIZED).into());
    }
    let access = access_token(options, request, &current).await?;
    let chain = base64url(&auth.random().bytes::<16>());
    let token = Token::first(auth.config().secrets.current(), &chain, auth.random().bytes());
    let expires_at = now.plus_seconds(options.refresh_token_expires_in).min(ends_at);
    let row = Row::new()
        .with(RefreshToken::CHAIN.key, chain)
        .with(RefreshToken::SESSION_ID.key, current.session.id.as_str())
        .with(RefreshToken::USER_ID.key, current.user.id.as_str())
        .with(RefreshToken::CREDENTIAL.key, credential)
        .with(RefreshToken::CURRENT.key, token.hash())
        .with(RefreshToken::USED.key, "[]")
        .with(RefreshToken::EXPIRES_AT.key, expires_at)
        .with(RefreshToken::ENDS_AT.key, ends_at)
        .with(RefreshToken::CREATED_AT.key, now);
    extend(request, &mut current, expires_at).await?;
    store::begin(auth, &current.session.id, row).await.map_err(|failed| match failed.is_orphan() {
        // The session ended a moment ago.
        true => error::UNAUTHORIZED.into(),
        false => failed,
    })?;
    Ok(Pair { access, refresh: token.into_text(), current })
}

/// A session lives at least as long as the token that stands for it.
async fn extend(request: &Request, current: &mut SessionUser, until: Timestamp) -> Result<(), Error> {
    if current.session.expires_at >= until {
        return Ok(());
    }
    let changes = Row::new().with(Session::EXPIRES_AT.key, until).with(Session::UPDATED_AT.key, request.now);
    let auth = &request.auth;
    let updated = Session::update(auth, &mut auth.db(), &current.session.token, changes).await?;
    current.session = updated.ok_or_else(|| Error::from(error::UNAUTHORIZED))?;
    Ok(())
}

async fn access_token(options: &Options, request: &Request, current: &SessionUser) -> Result<String, Error> {
    let Some(tokens) = &request.auth.seams().access_tokens else {
        return Err(Error::broken("token-api: no room makes access tokens"));
    };
    tokens.issue(request, &mut request.auth.db(), current, options.access_token_expires_in).await
}

/// New tokens for a refresh token.
///
/// Of any number of requests with one token, one replaces it, and within `reuseInterval` all of them get
/// the same successor. Later it can only be in a second pair of hands: everything ends.
pub(super) async fn refresh(options: &Options, request: &Request, text: &str) -> Result<Pair, Error> {
    let auth = &request.auth;
    let (secrets, now) = (&auth.config().secrets, request.now);
    let refused = || Error::from(errors::INVALID_REFRESH_TOKEN);
    let token = Token::read(secrets, text).ok_or_else(refused)?;
    let hash = token.hash();
    // Twice at most: who lost the race finds the token among the used ones.
    for _ in 0..2 {
        let chain = store::find(&mut auth.db(), token.chain()).await?.ok_or_else(refused)?;
        let mut current = chain.session(&mut auth.db()).await?.ok_or_else(refused)?;
        if chain.ends_at <= now || current.session.expires_at <= now {
            return Err(refused());
        }
        if chain.credential != password::fingerprint(auth, &current.user.id).await? {
            store::end(&mut auth.db(), &current.session.id).await?;
            return Err(refused());
        }
        if chain.current == hash {
            if chain.expires_at <= now {
                return Err(refused());
            }
            if let Some(pair) = replace(options, request, &chain, &token, current).await? {
                return Ok(pair);
            }
            continue;
        }
        let forget_before = now.plus_seconds(-options.reuse_interval);
        let used = chain.used()?;
        let known = used.iter().any(|one| one.hash == hash && one.at >= forget_before.millis());
        let live = |next: &Token| {
            let next = next.hash();
            next == chain.current || used.iter().any(|one| one.hash == next)
        };
        let successor = secrets.all().into_iter().map(|secret| token.successor(secret)).find(live);
        let Some(successor) = successor.filter(|_| known) else {
            return Err(stolen(request, &current).await?);
        };
        let access = access_token(options, request, &current).await?;
        // Whoever replaced it may have died before they came to this.
        extend(request, &mut current, chain.expires_at).await?;
        return Ok(Pair { access, refresh: successor.into_text(), current });
    }
    Err(Error::broken("token-api: a chain changed twice while one token was looked at"))
}

/// The one step that counts; `None` when somebody else has taken it.
async fn replace(
    options: &Options,
    request: &Request,
    chain: &RefreshToken,
    token: &Token,
    mut current: SessionUser,
) -> Result<Option<Pair>, Error> {
    let (auth, now) = (&request.auth, request.now);
    // Before anything is written: if it cannot be signed, the token is still good.
    let access = access_token(options, request, &current).await?;
    let successor = token.successor(auth.config().secrets.current());
    let expires_at = now.plus_seconds(options.refresh_token_expires_in).min(chain.ends_at);
    let forget_before = now.plus_seconds(-options.reuse_interval);
    if !chain.rotate(&mut auth.db(), &successor.hash(), now, forget_before, expires_at).await? {
        return Ok(None);
    }
    extend(request, &mut current, expires_at).await?;
    Ok(Some(Pair { access, refresh: successor.into_text(), current }))
}

/// A token that was used, too late for a client that lost an answer: whoever has it, the session ends.
async fn stolen(request: &Request, current: &SessionUser) -> Result<Error, Error> {
    let auth = &request.auth;
    close(request, current).await?;
    tracing::warn!(
        user = current.user.id,
        session = current.session.id,
        "a refresh token was used again; its session has ended"
    );
    let event = request.event(Kind::RefreshTokenReused);
    auth.tell(event.user(&current.user.id).session(&current.session.id));
    Ok(errors::INVALID_REFRESH_TOKEN.into())
}

/// Ends the session of a refresh token, be it the current one or an older one; nothing for any other.
pub(super) async fn sign_out(request: &Request, text: &str) -> Result<(), Error> {
    let auth = &request.auth;
    let Some(token) = Token::read(&auth.config().secrets, text) else { return Ok(()) };
    let mut db = auth.db();
    let Some(chain) = store::find(&mut db, token.chain()).await? else { return Ok(()) };
    match chain.session(&mut db).await? {
        Some(current) => end(request, &current).await,
        None => Ok(()),
    }
}

/// The chain first: it goes even if a hook of the operator's keeps the session.
async fn close(request: &Request, current: &SessionUser) -> Result<(), Error> {
    let auth = &request.auth;
    store::end(&mut auth.db(), &current.session.id).await?;
    Session::delete(auth, &mut auth.db(), &current.session.token).await
}

/// Ends a session.
pub(super) async fn end(request: &Request, current: &SessionUser) -> Result<(), Error> {
    let auth = &request.auth;
    close(request, current).await?;
    let event = request.event(Kind::SignedOut);
    auth.tell(event.user(&current.user.id).session(&current.session.id));
    Ok(())
}

/// Who holds the request's access token: the user of a session that is still there.
pub(super) async fn holder(request: &Request) -> Result<SessionUser, Error> {
    let missing = || Error::from(errors::MISSING_ACCESS_TOKEN);
    let refused = || Error::from(errors::INVALID_ACCESS_TOKEN);
    let (scheme, token) =
        request.header("authorization").and_then(|value| value.trim().split_once(' ')).ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing());
    }
    let auth = &request.auth;
    let Some(tokens) = &auth.seams().access_tokens else {
        return Err(Error::broken("token-api: no room reads access tokens"));
    };
    let mut db = auth.db();
    let token = tokens.read(request, &mut db, token.trim()).await?.ok_or_else(refused)?;
    let current = Session::stored(&mut db, &Session::ID.is(token.session)).await?.ok_or_else(refused)?;
    let of_another = token.user.is_some_and(|user| user != current.user.id);
    if of_another || current.session.expires_at <= request.now {
        return Err(refused());
    }
    Ok(current)
}
