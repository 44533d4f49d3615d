//! Extractors for handlers of your own: who is calling?
//!
//! Both read the session from the store's truth (or the cookie cache, where that is on), with every
//! rule that `/get-session` has: an expired or revoked session is none. They set no cookies; the client
//! refreshes its own by `/get-session`.

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use portcullis_core::error::{self, Error};
use portcullis_core::http::Request;
use portcullis_core::identity::{How, SessionUser, read_session};

use crate::Auth;

/// The caller's session; without one the answer is 401 and the handler does not run.
#[derive(Debug, Clone)]
pub struct CurrentSession(pub SessionUser);

/// The caller's session, if there is one.
#[derive(Debug, Clone)]
pub struct MaybeSession(pub Option<SessionUser>);

async fn read(parts: &Parts, auth: &Auth) -> Result<Option<SessionUser>, Error> {
    let request = Request::of_parts(auth, parts.clone());
    // Nothing is extended here: the new cookie could not reach the client.
    let how = How { skip_refresh: true, ..How::default() };
    let found = read_session(&request, how).await?.found;
    found.map(|found| found.into_current(auth)).transpose()
}

impl<S> FromRequestParts<S> for CurrentSession
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let auth = Auth::from_ref(state);
        read(parts, &auth).await?.map(Self).ok_or_else(|| error::UNAUTHORIZED.into())
    }
}

impl<S> FromRequestParts<S> for MaybeSession
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let auth = Auth::from_ref(state);
        read(parts, &auth).await.map(Self)
    }
}
