//! The routes of the session room.

use http::{HeaderName, HeaderValue, Method, StatusCode};
use portcullis_core::error::{self, Code, Error};
use portcullis_core::events::Kind;
use portcullis_core::http::call::{Anyone, Fresh, Sensitive};
use portcullis_core::http::{Answer, Call, Cookies, Fields, FromFields, Routes};
use portcullis_core::identity::{
    Action, Handed, How, Session, SessionUser, clear_session_cookies, hand_over, parse_input, read_session,
};
use portcullis_core::seams::View;
use serde_json::{Map, Value as Json, json};

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/get-session", get_session)
        .post("/get-session", get_session)
        .post("/sign-out", sign_out)
        .get("/list-sessions", list_sessions)
        .post("/update-session", update_session)
        .post("/revoke-session", revoke_session)
        .post("/revoke-sessions", revoke_sessions)
        .post("/revoke-other-sessions", revoke_other_sessions)
}

/// `null` without a session: that is an answer, not an error.
async fn get_session(call: Call<(), Anyone>) -> Result<Answer, Error> {
    let request = &call.request;
    let auth = call.auth();
    let post = request.method == Method::POST;
    if post && !auth.config().session.defer_refresh {
        return Err(no_store_error(error::METHOD_NOT_ALLOWED_DEFER_SESSION_REQUIRED.into()));
    }
    let reading = read_session(request, How { post, ..How::default() }).await.map_err(no_store_error)?;
    let mut headers = no_store();
    let answer = match &reading.found {
        None => Answer::value(Json::Null),
        Some(found) => {
            let mut body = View::new(auth, found);
            if let Some(needs_refresh) = reading.needs_refresh {
                body.amend()?.insert("needsRefresh".into(), Json::from(needs_refresh));
            }
            for seam in &auth.seams().view_session {
                headers.extend(seam.view(request, &mut body).await?);
            }
            body.into_answer()?
        }
    };
    Ok(answer.with_cookies(reading.cookies).with_headers(headers))
}

fn no_store() -> Vec<(HeaderName, HeaderValue)> {
    vec![
        (http::header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (http::header::PRAGMA, HeaderValue::from_static("no-cache")),
    ]
}

fn no_store_error(error: Error) -> Error {
    no_store().into_iter().fold(error, |error, (name, value)| error.with_header(name, value))
}

/// A body may say where a provider should send the browser afterwards; without one it is not needed.
struct SignOutBody;

impl FromFields for SignOutBody {
    const OPTIONAL: bool = true;
    const FIELDS: &'static [(&'static str, &'static str)] =
        &[("callbackURL", "string?"), ("disableRedirect", "boolean?"), ("state", "string?")];
    fn from_fields(fields: &mut Fields) -> Self {
        fields.optional_string("callbackURL");
        fields.optional_bool("disableRedirect");
        fields.optional_string("state");
        Self
    }
}

async fn sign_out(call: Call<SignOutBody, Anyone>) -> Result<Answer, Error> {
    let request = &call.request;
    let auth = call.auth();
    let mut db = auth.db();
    let token = request.cookies.signed(&auth.cookies().session_token, auth.config().secrets.current());
    if let Some(token) = token {
        let ended = Session::find(auth, &mut db, token).await?;
        Session::delete(auth, &mut db, token).await?;
        if let Some(SessionUser { session, user }) = ended {
            auth.tell(request.event(Kind::SignedOut).user(&user.id).session(&session.id));
        }
    }
    let mut cookies = clear_session_cookies(request, false);
    for seam in &auth.seams().sign_out {
        seam.sign_out(request, &mut db, &mut cookies).await?;
    }
    Ok(Answer::value(json!({ "success": true })).with_cookies(cookies))
}

async fn list_sessions(call: Call<(), Fresh>) -> Result<Answer, Error> {
    let auth = call.auth();
    let sessions = Session::list_active(auth, &mut auth.db(), &call.session.user.id).await?;
    Answer::json(sessions.iter().map(|session| session.view(auth)).collect::<Vec<_>>())
}

/// Any object: the operator's and rooms' fields of the session.
struct Changes(Map<String, Json>);

impl FromFields for Changes {
    const SHAPE: &'static str = "record";
    fn from_fields(fields: &mut Fields) -> Self {
        Self(fields.rest(&[]))
    }
}

async fn update_session(call: Call<Changes, Sensitive>) -> Result<Answer, Error> {
    let Call { request, body: Changes(body), session: Sensitive(current) } = call;
    let auth = &request.auth;
    let mut changes = parse_input(auth, Session::KEY, Session::OWN, &body, Action::Update).await?;
    if changes.is_empty() {
        return Err(Code::message(StatusCode::BAD_REQUEST, "No fields to update").into());
    }
    changes.set(Session::UPDATED_AT.key, request.now);
    let mut db = auth.db();
    let session = match Session::update(auth, &mut db, &current.session.token, changes.clone()).await? {
        Some(session) => session,
        None if auth.config().stateless => {
            let mut row = current.session.clone().into_row();
            row.extend(changes);
            Session::from_row(row)?
        }
        None => {
            let refused = Error::from(error::FAILED_TO_GET_SESSION);
            return Err(refused.with_cookies(clear_session_cookies(&request, false)));
        }
    };
    let current = SessionUser { session, user: current.user };
    let cookies = hand_over(&request, &mut db, &current, Handed::default()).await?;
    Ok(Answer::value(json!({ "session": current.session.view(auth) })).with_cookies(cookies))
}

struct Token(String);

impl FromFields for Token {
    const FIELDS: &'static [(&'static str, &'static str)] = &[("token", "string")];
    fn from_fields(fields: &mut Fields) -> Self {
        Self(fields.string("token"))
    }
}

fn done(cookies: Cookies) -> Answer {
    Answer::value(json!({ "status": true })).with_cookies(cookies)
}

/// Ends one session of the caller's. A token of somebody else ends nothing, and the answer is the same.
async fn revoke_session(call: Call<Token, Sensitive>) -> Result<Answer, Error> {
    let auth = call.auth();
    let Token(token) = &call.body;
    let ended = Session::delete_own(auth, &mut auth.db(), &call.session.user.id, token).await?;
    if ended {
        auth.tell(call.request.event(Kind::SessionsRevoked).user(&call.session.user.id));
    }
    let own = ended && *token == call.session.session.token;
    Ok(done(if own { clear_session_cookies(&call.request, false) } else { Cookies::new() }))
}

async fn revoke_sessions(call: Call<(), Sensitive>) -> Result<Answer, Error> {
    Session::delete_all(call.auth(), &mut call.auth().db(), &call.session.user.id).await?;
    call.auth().tell(call.request.event(Kind::SessionsRevoked).user(&call.session.user.id));
    Ok(done(clear_session_cookies(&call.request, false)))
}

async fn revoke_other_sessions(call: Call<(), Sensitive>) -> Result<Answer, Error> {
    let current = &call.session;
    Session::delete_others(call.auth(), &mut call.auth().db(), &current.user.id, &current.session.token)
        .await?;
    call.auth().tell(call.request.event(Kind::SessionsRevoked).user(&current.user.id));
    Ok(done(Cookies::new()))
}
