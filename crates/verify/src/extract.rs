//! Extractors for axum. All of them need a [`VerifyLayer`](crate::VerifyLayer) around the router.

use std::fmt;
use std::marker::PhantomData;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::layer::{Outcome, refusal};
use crate::{Claims, Error, Rejection};

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.into_http().into_response()
    }
}

fn claims<T: DeserializeOwned>(parts: &Parts) -> Result<Claims<T>, Rejection> {
    let token = Outcome::of(&parts.extensions)?;
    Claims::of(token).map_err(|error| refusal(error, &Outcome::shape_of(&parts.extensions)))
}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Claims<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Rejection> {
        claims(parts)
    }
}

impl<T: DeserializeOwned, S: Sync> OptionalFromRequestParts<S> for Claims<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Rejection> {
        match claims(parts) {
            Ok(claims) => Ok(Some(claims)),
            Err(rejection) if *rejection.error() == Error::Missing => Ok(None),
            Err(rejection) => Err(rejection),
        }
    }
}

/// What a token must have for a handler that takes [`Holds`].
pub trait Requirement {
    /// One of these roles; empty: none is needed.
    const ANY_ROLE: &'static [&'static str] = &[];
    /// All of these scopes.
    const SCOPES: &'static [&'static str] = &[];
}

/// An extractor that lets a handler run only for tokens that meet a [`Requirement`]: 401 without a
/// token, 403 with one that does not.
///
/// ```
/// use portcullis_verify::{Holds, Requirement};
///
/// struct Admin;
/// impl Requirement for Admin {
///     const ANY_ROLE: &'static [&'static str] = &["admin", "owner"];
/// }
///
/// async fn delete_everything(_: Holds<Admin>) {}
/// ```
pub struct Holds<R>(PhantomData<fn() -> R>);

impl<R> fmt::Debug for Holds<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Holds")
    }
}

impl<R: Requirement, S: Sync> FromRequestParts<S> for Holds<R> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Rejection> {
        let token = Outcome::of(&parts.extensions)?;
        let role = if R::ANY_ROLE.is_empty() { Ok(()) } else { token.require_any_role(R::ANY_ROLE) };
        role.and_then(|()| token.require_scopes(R::SCOPES))
            .map(|()| Self(PhantomData))
            .map_err(|error| refusal(error, &Outcome::shape_of(&parts.extensions)))
    }
}
