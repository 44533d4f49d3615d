//! What goes wrong, as the client sees it: always `{"detail": …}`.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use portcullis_verify::Rejection;
use serde::Serialize;
use serde_json::json;

use crate::input::Wrong;

/// Why a request is not answered as the client hoped.
#[derive(Debug)]
pub enum Error {
    /// 401 or 503: there is no token that counts, or no key to tell.
    Unauthenticated(Rejection),
    /// 403: the user was switched off.
    Inactive,
    /// 403: the path is another user's.
    NotYours,
    /// 403: for admins.
    AdminOnly,
    /// 404: there is none, or it is none of the caller's.
    NotFound(&'static str),
    /// 405.
    MethodNotAllowed,
    /// 413: the body is too long.
    TooLarge,
    /// 422: what is wrong with the input.
    Invalid(Vec<Problem>),
    /// 500: the log knows.
    Database(sqlx::Error),
}

/// One thing that is wrong with the input, as FastAPI says it.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// Where: `["body", "title"]`.
    pub loc: Vec<String>,
    /// For people.
    pub msg: String,
    /// For programs.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl Problem {
    /// Of one field.
    pub fn of(place: &str, name: &str, (msg, kind): Wrong) -> Self {
        Self { loc: vec![place.to_owned(), name.to_owned()], msg, kind }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, detail) = match self {
            Self::Unauthenticated(rejection) => return rejection.into_response(),
            Self::Inactive => (StatusCode::FORBIDDEN, json!("Inactive user")),
            Self::NotYours => (StatusCode::FORBIDDEN, json!("You can only access your own resources")),
            Self::AdminOnly => (StatusCode::FORBIDDEN, json!("Admin access required")),
            Self::NotFound(what) => (StatusCode::NOT_FOUND, json!(what)),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, json!("Method Not Allowed")),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, json!("Request body too large")),
            Self::Invalid(problems) => (StatusCode::UNPROCESSABLE_ENTITY, json!(problems)),
            Self::Database(error) if is_away(&error) => {
                tracing::error!(%error, "the database cannot be reached");
                let detail = Json(json!({ "detail": "The database cannot be reached" }));
                return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], detail).into_response();
            }
            Self::Database(error) => {
                // Not for the client: it may name tables, columns and values.
                tracing::error!(%error, "the database refused");
                (StatusCode::INTERNAL_SERVER_ERROR, json!("Internal Server Error"))
            }
        };
        (status, Json(json!({ "detail": detail }))).into_response()
    }
}

/// Is it not there, rather than of another opinion?
const fn is_away(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Unauthenticated(rejection)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}
